"""Corp tags (企业标签) as facts: the groups and tags WeCom has, and which relation bears which, with dates."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm.base.db import insert
from crm.models.tag import ContactTag, CorpTag, CorpTagGroup


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


async def bear(session: AsyncSession, borne: Mapping[int, Collection[str]], *, now: datetime) -> None:
    """Each of these contacts bears exactly these tags (WeCom ids) from now on."""
    ids = await _know(session, {wecom_id for tags in borne.values() for wecom_id in tags})
    wanted = {(contact_id, ids[wecom_id]) for contact_id, tags in borne.items() for wecom_id in tags}
    had = await session.execute(
        sa.select(ContactTag.contact_id, ContactTag.tag_id, ContactTag.id).where(
            ContactTag.contact_id.in_(borne), ContactTag.unmarked_at.is_(None)
        )
    )
    rows = {(row.contact_id, row.tag_id): row.id for row in had}
    if gone := [row_id for pair, row_id in rows.items() if pair not in wanted]:
        await session.execute(sa.update(ContactTag).where(ContactTag.id.in_(gone)).values(unmarked_at=now))
    if fresh := sorted(wanted - rows.keys()):
        added = insert(session, ContactTag.__table__).on_conflict_do_nothing()
        marks = [{"contact_id": contact_id, "tag_id": tag_id, "marked_at": now} for contact_id, tag_id in fresh]
        await session.execute(added, marks)


async def names_of(session: AsyncSession, contact_id: int) -> list[str]:
    """The names of the tags a contact bears now, in WeCom's order."""
    rows = await session.scalars(
        sa.select(CorpTag.name)
        .join(ContactTag, ContactTag.tag_id == CorpTag.id)
        .where(ContactTag.contact_id == contact_id, ContactTag.unmarked_at.is_(None), CorpTag.deleted_at.is_(None))
        .order_by(CorpTag.rank.desc(), CorpTag.id)
    )
    return list(rows)


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
