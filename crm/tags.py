"""Corp tags (企业标签) as facts: the groups and tags WeCom has, and which relation bears which, with dates."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm.base import events
from crm.base.db import insert
from crm.models.audience import Tag
from crm.models.member import Contact
from crm.models.tag import ContactTag, CorpTag, CorpTagGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpTagMarked:
    """Staff put on a relation a corp tag that mirrors one of ours. Appended by bear(), not for what we marked."""

    contact_id: int
    corp_tag_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpTagUnmarked:
    """Staff took off such a tag."""

    contact_id: int
    corp_tag_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TagListing:
    """A corp tag as WeCom lists it. rank: WeCom's `order`, larger stands earlier."""

    wecom_id: str
    name: str
    rank: int = 0
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TagGroupListing:
    """A tag group as WeCom lists it, with the tags it has now."""

    wecom_id: str
    name: str
    rank: int = 0
    created_at: datetime | None = None
    tags: tuple[TagListing, ...] = ()


async def take_listing(session: AsyncSession, listing: Sequence[TagGroupListing], *, now: datetime) -> None:
    """Mirror the whole list: what it no longer names is deleted, what it names again lives again."""
    await take_groups(session, listing)
    await _delete_unlisted(session, CorpTagGroup, {group.wecom_id for group in listing}, now=now)
    await _delete_unlisted(session, CorpTag, {tag.wecom_id for group in listing for tag in group.tags}, now=now)
    await _stop_mirroring(session)


async def take_groups(session: AsyncSession, listing: Sequence[TagGroupListing]) -> None:
    """Take over these groups and tags as they are; what is not listed is left alone."""
    await _upsert(session, CorpTagGroup, [_row(group) for group in listing])
    ids = await _ids(session, CorpTagGroup, [group.wecom_id for group in listing])
    await _upsert(
        session, CorpTag, [_row(tag) | {"group_id": ids[group.wecom_id]} for group in listing for tag in group.tags]
    )


async def deleted(session: AsyncSession, *, wecom_id: str, now: datetime) -> None:
    """A tag or a whole group is gone. A group takes its tags along: WeCom sends no callback for each."""
    group_id = await session.scalar(sa.select(CorpTagGroup.id).where(CorpTagGroup.wecom_id == wecom_id))
    for table, gone in (
        (CorpTagGroup, CorpTagGroup.id == group_id),
        (CorpTag, (CorpTag.wecom_id == wecom_id) | (CorpTag.group_id == group_id)),
    ):
        await session.execute(sa.update(table).where(gone, table.deleted_at.is_(None)).values(deleted_at=now))
    await _stop_mirroring(session)


async def bear(
    session: AsyncSession, borne: Mapping[int, Collection[str]], *, read_at: datetime | None = None, now: datetime
) -> None:
    """Each of these contacts bears exactly these tags (WeCom ids) from now on.

    read_at: when WeCom was asked. What changed here since then is newer than its answer and stays.
    """
    ids = await _know(session, {wecom_id for tags in borne.values() for wecom_id in tags})
    wanted = {(contact_id, ids[wecom_id]) for contact_id, tags in borne.items() for wecom_id in tags}
    read_at = read_at or now
    had = await session.execute(
        sa.select(ContactTag.contact_id, ContactTag.tag_id, ContactTag.marked_at, ContactTag.unmarked_at).where(
            ContactTag.contact_id.in_(borne), ContactTag.unmarked_at.is_(None) | (ContactTag.unmarked_at > read_at)
        )
    )
    rows = {(row.contact_id, row.tag_id): row for row in had}
    fresh = sorted(wanted - rows.keys())
    gone = [
        pair
        for pair, row in rows.items()
        if pair not in wanted and row.unmarked_at is None and row.marked_at <= read_at
    ]
    await _mark(session, fresh, now=now)
    await _unmark(session, gone, now=now)
    await _tell(session, fresh, gone, now=now)


async def marked(
    session: AsyncSession, contact_id: int, *, added: Collection[int], removed: Collection[int], now: datetime
) -> None:
    """We ourselves put these corp tags on a relation and took those off, and WeCom said yes."""
    open_ = sa.select(ContactTag.tag_id).where(ContactTag.contact_id == contact_id, ContactTag.unmarked_at.is_(None))
    known = set(await session.scalars(open_))
    await _mark(session, [(contact_id, tag_id) for tag_id in sorted(set(added) - known)], now=now)
    await _unmark(session, [(contact_id, tag_id) for tag_id in removed], now=now)


async def _mark(session: AsyncSession, pairs: Sequence[tuple[int, int]], *, now: datetime) -> None:
    if pairs:
        added = insert(session, ContactTag.__table__).on_conflict_do_nothing()
        marks = [{"contact_id": contact_id, "tag_id": tag_id, "marked_at": now} for contact_id, tag_id in pairs]
        await session.execute(added, marks)


async def _unmark(session: AsyncSession, pairs: Sequence[tuple[int, int]], *, now: datetime) -> None:
    if pairs:
        gone = sa.tuple_(ContactTag.contact_id, ContactTag.tag_id).in_(pairs)
        ended = sa.update(ContactTag).where(gone, ContactTag.unmarked_at.is_(None)).values(unmarked_at=now)
        await session.execute(ended, execution_options={"synchronize_session": False})


async def _tell(
    session: AsyncSession, fresh: Sequence[tuple[int, int]], gone: Sequence[tuple[int, int]], *, now: datetime
) -> None:
    """Append events for the corp tags that mirror tags of ours; nobody follows the others."""
    if not fresh and not gone:
        return
    seen = {tag_id for _, tag_id in (*fresh, *gone)}
    ours = set(await session.scalars(sa.select(Tag.corp_tag_id).where(Tag.corp_tag_id.in_(seen))))
    news: list[CorpTagMarked | CorpTagUnmarked] = []
    news += [CorpTagMarked(contact_id=contact, corp_tag_id=tag) for contact, tag in fresh if tag in ours]
    news += [CorpTagUnmarked(contact_id=contact, corp_tag_id=tag) for contact, tag in gone if tag in ours]
    await events.append_all(session, news, now=now)


async def names_of(session: AsyncSession, contact_id: int) -> list[str]:
    """The names of the tags a contact bears now, in WeCom's order."""
    rows = await session.scalars(
        sa.select(CorpTag.name)
        .join(ContactTag, ContactTag.tag_id == CorpTag.id)
        .where(ContactTag.contact_id == contact_id, ContactTag.unmarked_at.is_(None), CorpTag.deleted_at.is_(None))
        .order_by(CorpTag.rank.desc(), CorpTag.id)
    )
    return list(rows)


def borne_by(member_id: int | None) -> sa.Select[str]:
    """SQL for the names of the tags that any of the staff shows on this member now; CorpTag can be narrowed further."""
    return (
        sa.select(CorpTag.name)
        .join(ContactTag, ContactTag.tag_id == CorpTag.id)
        .join(Contact, Contact.id == ContactTag.contact_id)
        .where(
            Contact.member_id == member_id,
            Contact.ended_at.is_(None),
            ContactTag.unmarked_at.is_(None),
            CorpTag.deleted_at.is_(None),
        )
    )


async def _know(session: AsyncSession, wecom_ids: Iterable[str]) -> dict[str, int]:
    """Ids by WeCom's id. A tag made since the list was last read gets a nameless row, which the next list fills in."""
    wanted = sorted(set(wecom_ids))
    ids = await _ids(session, CorpTag, wanted)
    if missing := [{"wecom_id": each} for each in wanted if each not in ids]:
        await session.execute(insert(session, CorpTag.__table__).on_conflict_do_nothing(), missing)
        ids = await _ids(session, CorpTag, wanted)
    return ids


def _row(listed: TagListing | TagGroupListing) -> dict[str, Any]:
    return {
        "wecom_id": listed.wecom_id,
        "name": listed.name,
        "rank": listed.rank,
        "created_at": listed.created_at,
        "deleted_at": None,
    }


async def _upsert(
    session: AsyncSession, table: type[CorpTag] | type[CorpTagGroup], rows: Sequence[dict[str, Any]]
) -> None:
    if not rows:
        return
    stated = insert(session, table.__table__)
    fresh = {name: stated.excluded[name] for name in rows[0] if name != "wecom_id"}
    await session.execute(stated.on_conflict_do_update(index_elements=["wecom_id"], set_=fresh), list(rows))


async def _ids(
    session: AsyncSession, table: type[CorpTag] | type[CorpTagGroup], wecom_ids: Collection[str]
) -> dict[str, int]:
    if not wecom_ids:
        return {}
    rows = await session.execute(sa.select(table.wecom_id, table.id).where(table.wecom_id.in_(wecom_ids)))
    return {row.wecom_id: row.id for row in rows}


async def _delete_unlisted(
    session: AsyncSession, table: type[CorpTag] | type[CorpTagGroup], listed: Collection[str], *, now: datetime
) -> None:
    """A corp may have 10,000 tags: compared here, not in a list of that many parameters."""
    alive = (await session.execute(sa.select(table.id, table.wecom_id).where(table.deleted_at.is_(None)))).all()
    gone = [row.id for row in alive if row.wecom_id not in listed]
    for start in range(0, len(gone), 1000):
        await session.execute(sa.update(table).where(table.id.in_(gone[start : start + 1000])).values(deleted_at=now))


async def _stop_mirroring(session: AsyncSession) -> None:
    """Who deletes a corp tag in WeCom does not want to see it there: our tag stays and is shown no more."""
    gone = sa.select(CorpTag.id).where(CorpTag.deleted_at.is_not(None))
    mirrors = sa.update(Tag).where(Tag.corp_tag_id.in_(gone)).values(mirrored=False, corp_tag_id=None)
    await session.execute(mirrors, execution_options={"synchronize_session": False})
