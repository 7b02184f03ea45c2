"""Contacts: which customer is in whose contacts, spell by spell.

WeCom's callbacks come doubled, late and in any order, so every verb compares instants: when WeCom says it happened,
not when we heard. A pair (staff, external_userid) has any number of ended spells and at most one open.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm import identities, members, staff, tags
from crm.base import events
from crm.identities import Person, wechat_person
from crm.models.member import Contact, ContactEnd, MemberSource, Staff

HANDED_OVER = frozenset({201, 202})  # add_way: shared by a colleague, assigned by an admin


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactAdded:
    """A customer is in a staff member's contacts. Learned late in a first sync: compare `added_at` with the event's."""

    contact_id: int
    member_id: int
    staff_id: int
    state: str
    added_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactLost:
    """A relation ended. Appended by lost() and end_unlisted()."""

    contact_id: int
    member_id: int
    staff_id: int
    ended_by: ContactEnd
    ended_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """One customer of one staff member, as WeCom lists it. None: the listing does not say."""

    userid: str
    person: Person  # its first key is the external_userid
    added_at: datetime
    state: str | None = None
    add_way: int | None = None
    remark: str | None = None
    description: str | None = None
    tag_ids: tuple[str, ...] | None = None  # WeCom's ids of the corp tags

    @property
    def external_userid(self) -> str:
        return self.person.keys[0][1]

    @property
    def begun_by_customer_at(self) -> datetime | None:
        """When the customer began it; None when colleagues share or hand over the contact."""
        return None if self.add_way in HANDED_OVER else self.added_at


# Rules


def open_spell(spells: Sequence[Contact]) -> Contact | None:
    return next((spell for spell in spells if spell.ended_at is None), None)


def last_ended(spells: Sequence[Contact]) -> Contact | None:
    ended = [spell for spell in spells if spell.ended_at is not None]
    return max(ended, key=_end, default=None)


def begins_new_spell(spells: Sequence[Contact], at: datetime) -> bool:
    """Whether an adding at `at` begins a spell there is no row of. `spells`: all of the pair, all ended.

    WeCom counts whole seconds, so an end and a new beginning may share one.
    """
    last = last_ended(spells)
    return last is None or at > _end(last) or (at == _end(last) and at > last.added_at)


def ended_around(spells: Sequence[Contact], at: datetime) -> Contact | None:
    """The ended spell that `at` lies in: an end told for this instant is its own."""
    return next((spell for spell in spells if spell.ended_at is not None and spell.added_at <= at <= _end(spell)), None)


def lone_end(spells: Sequence[Contact], at: datetime) -> Contact | None:
    """The spell of which we only know the end, and whose beginning may be `at`: the next one after it."""
    later = min((spell for spell in spells if spell.added_at > at), key=lambda spell: spell.added_at, default=None)
    return later if later is not None and later.added_at == later.ended_at else None


def _end(spell: Contact) -> datetime:
    if spell.ended_at is None:
        raise ValueError(f"spell {spell.id} is open")
    return spell.ended_at


# Reads


async def open_of(session: AsyncSession, member_id: int) -> list[Contact]:
    """The relations a member has now, newest first."""
    rows = await session.scalars(
        sa.select(Contact)
        .where(Contact.member_id == member_id, Contact.ended_at.is_(None))
        .order_by(Contact.added_at.desc(), Contact.id.desc())
    )
    return list(rows)


async def history_of(session: AsyncSession, member_id: int) -> list[Contact]:
    """Every spell a member had with any of the staff, oldest first."""
    rows = await session.scalars(
        sa.select(Contact).where(Contact.member_id == member_id).order_by(Contact.added_at, Contact.id)
    )
    return list(rows)


async def unseen_staff(session: AsyncSession, staff_ids: Collection[int], *, since: datetime) -> list[str]:
    """Userids of those who have contacts by our book, none of which was shown since `since`."""
    rows = await session.scalars(
        sa.select(Staff.userid)
        .join(Contact, Contact.staff_id == Staff.id)
        .where(Staff.id.in_(staff_ids), Contact.ended_at.is_(None))
        .group_by(Staff.userid)
        .having(sa.func.max(Contact.seen_at) < since)
        .order_by(Staff.userid)
    )
    return list(rows)


async def unseen(
    session: AsyncSession, staff_ids: Collection[int], *, since: datetime, after: str = "", limit: int
) -> list[str]:
    """External_userids of open relations of these staff that were not shown since `since`, in order, behind `after`."""
    rows = await session.scalars(
        sa.select(Contact.external_userid)
        .where(Contact.staff_id.in_(staff_ids), Contact.ended_at.is_(None), Contact.seen_at < since)
        .where(Contact.external_userid > after)
        .distinct()
        .order_by(Contact.external_userid)
        .limit(limit)
    )
    return list(rows)


# Verbs: what one callback says


async def added(
    session: AsyncSession, *, userid: str, external_userid: str, at: datetime, state: str | None = None, now: datetime
) -> Contact | None:
    """A callback says the customer was added at `at`. Returns the open relation, or None when it is over already.

    Nor does it bring an erased person back: what WeCom shows of them then says whether they did it themselves.
    """
    relation = Relation(userid=userid, person=wechat_person(external_userid), added_at=at, state=state)
    staff_id, member_id, spells = await _lock_pair(session, relation, now=now)
    if member_id is None:
        return None
    if lone := lone_end(spells, at):
        lone.added_at = at
    if current := open_spell(spells):
        current.told_at, current.seen_at = max(current.told_at, at), max(current.seen_at, now)
        current.state = state or current.state
        return current
    if begins_new_spell(spells, at):
        return await _open(session, relation, staff_id=staff_id, member_id=member_id, now=now)
    return None


async def lost(
    session: AsyncSession, *, userid: str, external_userid: str, at: datetime, by: ContactEnd, now: datetime
) -> Contact | None:
    """A callback says the relation ended at `at`. Returns the spell it ended, or None when that is known or older."""
    relation = Relation(userid=userid, person=wechat_person(external_userid), added_at=at)
    staff_id, member_id, spells = await _lock_pair(session, relation, now=now)
    if member_id is None:
        return None
    current, known = open_spell(spells), ended_around(spells, at)
    if known is not None:
        if known.ended_by is ContactEnd.SYNC:
            known.ended_at, known.ended_by = at, by  # a listing had missed it; now we know when and who
        return None
    if current is None:  # we never heard how it began
        current = Contact(**_row(relation, staff_id=staff_id, member_id=member_id, now=now))
        return await _end_spell(session, current, at=at, by=by, now=now)
    if at < current.added_at:  # history only: no event may say that somebody is lost who is here
        earlier = _row(relation, staff_id=staff_id, member_id=member_id, now=now)
        await _insert(session, [earlier | {"ended_at": at, "ended_by": by}])
        return None
    told_at = current.told_at
    await _end_spell(session, current, at=at, by=by, now=now)
    if at < told_at:  # it was added again after this end, and that news overtook this
        again = replace(relation, added_at=told_at, state=current.state, add_way=current.add_way)
        await _open(session, again, staff_id=staff_id, member_id=member_id, now=now)
    return current


# Verbs: what a listing says


@dataclass(frozen=True, slots=True)
class Taken:
    """What a page of relations changed."""

    added: int
    reopened: int
    open: int  # relations that are open now, new ones included


async def take_batch(
    session: AsyncSession, relations: Sequence[Relation], *, read_at: datetime, now: datetime
) -> Taken:
    """Bring a page of relations up to what WeCom listed when asked at `read_at`.

    relations: one page, up to a few thousand. The number of statements does not grow with it, and a row that says
    the same only gets a new `seen_at`. An end that we learned of after `read_at` is not undone. An erased person is
    left out, unless they added one of us since: a relation that colleagues hand over is not their doing.
    """
    by_pair = {(staff.key(relation.userid), relation.external_userid): relation for relation in relations}
    page = list(by_pair.values())
    staff_ids = await staff.know(session, [relation.userid for relation in page])
    shown_as = [replace(relation.person, acted_at=relation.begun_by_customer_at) for relation in page]
    enrolled = await identities.enrol_batch(session, shown_as, source=MemberSource.CONTACT, now=now)
    people = await members.get_batch(session, [member_id for member_id in enrolled if member_id is not None])
    spells = await _spells(session, [relation.external_userid for relation in page])
    fresh: list[dict[str, Any]] = []
    reopened: list[Contact] = []
    still: list[Contact] = []
    for relation, member_id in zip(page, enrolled, strict=True):
        if member_id is None:
            continue
        members.describe(people[member_id], relation.person.profile)
        staff_id = staff_ids[staff.key(relation.userid)]
        pair = spells[staff_id, relation.external_userid]
        current = open_spell(pair)
        if current is None and begins_new_spell(pair, relation.added_at):
            fresh.append(_row(relation, staff_id=staff_id, member_id=member_id, now=now))
        elif current is None and (current := _wrongly_ended(pair, read_at=read_at)):
            current.ended_at = current.ended_by = None
            reopened.append(current)
        if current is not None:
            _update(current, relation)
            still.append(current)
    new = await _insert(session, fresh)
    await _see(session, [contact.id for contact in still], at=now)
    listed = {(staff_ids[key], external_userid): relation for (key, external_userid), relation in by_pair.items()}
    shown = [*still, *new]
    borne = [(each, listed[each.staff_id, each.external_userid]) for each in shown]
    await _bear(session, borne, read_at=read_at, now=now)
    await events.append_all(session, [_as_added(contact) for contact in [*new, *reopened]], now=now)
    return Taken(len(new), len(reopened), len(shown))


async def end_unlisted(
    session: AsyncSession, external_userid: str, *, followers: Collection[str], read_at: datetime, now: datetime
) -> list[Contact]:
    """After one customer's full list of followers, asked for at `read_at`: relations it did not name are over.

    Only those of staff whom WeCom lists: it does not show us the others, and not shown is not gone.
    """
    named = await staff.know(session, followers)
    listed = sa.select(Staff.id).where(Staff.follows, Staff.id.not_in(named.values()))
    rows = await session.scalars(
        sa.select(Contact)
        .where(Contact.external_userid == external_userid, Contact.ended_at.is_(None), Contact.seen_at < read_at)
        .where(Contact.staff_id.in_(listed))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    gone = list(rows)
    for contact in gone:
        contact.ended_at, contact.ended_by = max(contact.added_at, now), ContactEnd.SYNC
    await session.flush()
    await events.append_all(session, [_as_lost(contact) for contact in gone], now=now)
    return gone


async def _lock_pair(
    session: AsyncSession, relation: Relation, *, now: datetime
) -> tuple[int, int | None, list[Contact]]:
    """Staff id, member id and all spells of the pair. The identity is locked: one callback of a person at a time.

    Without a member: the person was erased.
    """
    staff_ids = await staff.know(session, [relation.userid])
    [member_id] = await identities.enrol_batch(session, [relation.person], source=MemberSource.CONTACT, now=now)
    staff_id = staff_ids[staff.key(relation.userid)]
    spells = await _spells(session, [relation.external_userid])
    return staff_id, member_id, spells[staff_id, relation.external_userid]


async def _spells(
    session: AsyncSession, external_userids: Collection[str]
) -> defaultdict[tuple[int, str], list[Contact]]:
    rows = await session.scalars(
        sa.select(Contact)
        .where(Contact.external_userid.in_(set(external_userids)))
        .execution_options(populate_existing=True)
    )
    spells: defaultdict[tuple[int, str], list[Contact]] = defaultdict(list)
    for spell in rows:
        spells[spell.staff_id, spell.external_userid].append(spell)
    return spells


def _row(relation: Relation, *, staff_id: int, member_id: int, now: datetime) -> dict[str, Any]:
    return {
        "staff_id": staff_id,
        "member_id": member_id,
        "external_userid": relation.external_userid,
        "added_at": relation.added_at,
        "told_at": relation.added_at,
        "seen_at": now,
        "state": relation.state or "",
        "add_way": relation.add_way,
        "remark": relation.remark or "",
        "description": relation.description or "",
    }


async def _insert(session: AsyncSession, rows: Sequence[dict[str, Any]]) -> list[Contact]:
    """In one statement, in no particular order: SQLAlchemy's `add_all` sends SQLite one INSERT per row."""
    if not rows:
        return []
    return list(await session.scalars(sa.insert(Contact).returning(Contact), rows))


def _wrongly_ended(spells: Sequence[Contact], *, read_at: datetime) -> Contact | None:
    """The spell that a listing had ended and a newer listing shows again. What a callback ended stays ended."""
    last = last_ended(spells)
    return last if last is not None and last.ended_by is ContactEnd.SYNC and _end(last) < read_at else None


def _update(contact: Contact, relation: Relation) -> None:
    contact.told_at = max(contact.told_at, relation.added_at)
    for field in ("state", "add_way", "remark", "description"):
        said = getattr(relation, field)
        if said is not None:
            setattr(contact, field, said)


async def _open(session: AsyncSession, relation: Relation, *, staff_id: int, member_id: int, now: datetime) -> Contact:
    [contact] = await _insert(session, [_row(relation, staff_id=staff_id, member_id=member_id, now=now)])
    await events.append(session, _as_added(contact), now=now)
    return contact


async def _end_spell(
    session: AsyncSession, contact: Contact, *, at: datetime, by: ContactEnd, now: datetime
) -> Contact:
    contact.ended_at, contact.ended_by = at, by
    session.add(contact)
    await session.flush()
    await events.append(session, _as_lost(contact), now=now)
    return contact


async def _see(session: AsyncSession, contact_ids: Sequence[int], *, at: datetime) -> None:
    seen = sa.update(Contact).where(Contact.id.in_(contact_ids), Contact.seen_at < at).values(seen_at=at)
    await session.execute(seen, execution_options={"synchronize_session": False})


async def _bear(
    session: AsyncSession, listed: Sequence[tuple[Contact, Relation]], *, read_at: datetime, now: datetime
) -> None:
    borne = {contact.id: relation.tag_ids for contact, relation in listed if relation.tag_ids is not None}
    if borne:
        await tags.bear(session, borne, read_at=read_at, now=now)


def _as_added(contact: Contact) -> ContactAdded:
    return ContactAdded(
        contact_id=contact.id,
        member_id=contact.member_id,
        staff_id=contact.staff_id,
        state=contact.state,
        added_at=contact.added_at,
    )


def _as_lost(contact: Contact) -> ContactLost:
    return ContactLost(
        contact_id=contact.id,
        member_id=contact.member_id,
        staff_id=contact.staff_id,
        ended_by=contact.ended_by or ContactEnd.SYNC,
        ended_at=_end(contact),
    )
