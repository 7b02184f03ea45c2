"""Two members who prove to be one person, and two after all: what a merge carries over and what its undoing returns."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm import holds, member_tags, members, order_changes, point_accounts
from crm.base import events
from crm.base.db import hold as hold_name
from crm.base.db import is_among
from crm.base.errors import NotFound, Refused
from crm.base.events import EventRow
from crm.holds import PersonErased
from crm.models.consent import Consent
from crm.models.group import GroupMember
from crm.models.loyalty import CheckIn, LevelMove, PointEntry, PointLot
from crm.models.member import Contact, Gender, Identity, Member, MemberMerge
from crm.models.order import MemberOrders, Order, Refund
from crm.models.private import PrivateValue, Reveal

MERGES = "merges"
UNDO_WITHIN = timedelta(days=1)
# What a merge re-points; upper layers follow MembersMerged.
CARRIED = (
    Contact, GroupMember, Consent, Order, Refund, PrivateValue, Reveal, EventRow, PointEntry, PointLot, LevelMove,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class MembersMerged:
    """Two members proved to be one person. Appended by merge(); upper layers re-point their own rows."""

    kept_id: int
    absorbed_id: int
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeUndone:
    """Two members proved to be two after all. Appended by undo(); upper layers make their sums for both anew."""

    kept_id: int
    absorbed_id: int


@dataclass(eq=False)
class MergeNotFound(NotFound):
    """This member is not part of another one."""

    code = "merge.not_found"
    absorbed_id: int


@dataclass(eq=False)
class MergeTooOld(Refused):
    """Too much was built on it to take it apart."""

    code = "merge.too_old"
    absorbed_id: int
    merged_at: datetime


@dataclass(eq=False)
class MergeBuiltUpon(Refused):
    """The member it became part of was absorbed in turn: that merge is undone first."""

    code = "merge.built_upon"
    absorbed_id: int
    kept_id: int


async def merge(session: AsyncSession, one_id: int, other_id: int, *, because: str, now: datetime) -> int:
    """Make one member of two and return its id; the older row is kept. Of racing merges the second finds it done.

    Raises MemberNotFound, and PersonErased: who was erased is nobody to become one with.
    """
    await hold_name(session, MERGES)  # one at a time: each may have to follow the one before to other people's rows
    mine = sa.select(Identity.id).where(Identity.member_id.in_([one_id, other_id]))
    await session.execute(mine.order_by(Identity.id).with_for_update(key_share=True))
    pair = await holds.lock_living(session, {one_id, other_id})
    if len(pair) == 1:
        return pair[0].id
    if any(member.erased_at is not None for member in pair):
        raise PersonErased
    kept, absorbed = pair
    carried: dict[str, list[int]] = {}
    await point_accounts.lock(session, [kept.id, absorbed.id])  # before their lots, as who spends does
    for table in (Identity, *CARRIED):  # identities first: see the module's first words
        went = sa.update(table).where(table.member_id == absorbed.id).values(member_id=kept.id)
        carried[table.__tablename__] = list(await session.scalars(went.returning(table.id)))
    carried["check_ins"] = await _carry_check_ins(session, kept_id=kept.id, absorbed_id=absorbed.id)
    await point_accounts.recount(session, [kept.id, absorbed.id])
    carried["member_tags"] = await member_tags.carry(session, kept_id=kept.id, absorbed_id=absorbed.id, now=now)
    await session.execute(sa.delete(MemberOrders).where(MemberOrders.member_id == absorbed.id))
    await order_changes.recount(session, [kept.id])
    followed = sa.update(Member).where((Member.id == absorbed.id) | (Member.merged_into_id == absorbed.id))
    carried["members"] = list(await session.scalars(followed.values(merged_into_id=kept.id).returning(Member.id)))
    row = MemberMerge(kept_id=kept.id, absorbed_id=absorbed.id, because=because, merged_at=now, carried=carried)
    row.profile = _complete(kept, absorbed)
    session.add(row)
    await session.flush()
    await events.append(session, MembersMerged(kept_id=kept.id, absorbed_id=absorbed.id, because=because), now=now)
    return kept.id


async def _carry_check_ins(session: AsyncSession, *, kept_id: int, absorbed_id: int) -> list[int]:
    """A day on which both checked in is one day: the absorbed member's row of it stays behind."""
    days = sa.select(CheckIn.checked_on).where(CheckIn.member_id == kept_id)
    theirs = sa.update(CheckIn).where(CheckIn.member_id == absorbed_id, CheckIn.checked_on.not_in(days))
    went = theirs.values(member_id=kept_id).returning(CheckIn.id)
    return list(await session.scalars(went.execution_options(synchronize_session=False)))


def _complete(kept: Member, absorbed: Member) -> dict[str, list[str]]:
    """Fill what was blank; returns the fields that changed: before and after."""
    before = _profile(kept)
    kept.joined_at = min(kept.joined_at, absorbed.joined_at)
    kept.name = kept.name or absorbed.name
    kept.avatar = kept.avatar or absorbed.avatar
    kept.gender = absorbed.gender if kept.gender is Gender.UNKNOWN else kept.gender
    after = _profile(kept)
    return {field: [before[field], after[field]] for field in before if before[field] != after[field]}


def _profile(member: Member) -> dict[str, str]:
    return {
        "joined_at": member.joined_at.isoformat(),
        "name": member.name,
        "avatar": member.avatar,
        "gender": member.gender.value,
    }


async def undo(session: AsyncSession, absorbed_id: int, *, now: datetime) -> int:
    """Take a merge back within a day: what it carried over returns, what came since stays; returns the kept id.

    Raises MergeNotFound, MergeTooOld, or MergeBuiltUpon when the kept member was absorbed in turn.
    """
    standing = (MemberMerge.absorbed_id == absorbed_id, MemberMerge.undone_at.is_(None))
    told = await session.scalar(sa.select(MemberMerge).where(*standing))
    if told is None:
        raise MergeNotFound(absorbed_id)
    if now - told.merged_at > UNDO_WITHIN:
        raise MergeTooOld(absorbed_id, told.merged_at)
    await hold_name(session, MERGES)
    if await holds.hold(session, told.kept_id) != told.kept_id:
        raise MergeBuiltUpon(absorbed_id, told.kept_id)
    undone = sa.update(MemberMerge).where(MemberMerge.id == told.id, MemberMerge.undone_at.is_(None))
    if not await session.scalar(undone.values(undone_at=now).returning(MemberMerge.id)):
        raise MergeNotFound(absorbed_id)  # somebody was quicker
    await point_accounts.lock(session, [told.kept_id, absorbed_id])
    for table in (Identity, *CARRIED, CheckIn):
        mine = is_among(session, table.id, told.carried.get(table.__tablename__, []))
        back = sa.update(table).where(mine, table.member_id == told.kept_id).values(member_id=absorbed_id)
        await session.execute(back.execution_options(synchronize_session=False))
    await point_accounts.recount(session, [told.kept_id, absorbed_id])
    await member_tags.give_back(
        session,
        told.carried.get("member_tags", []),
        kept_id=told.kept_id,
        absorbed_id=absorbed_id,
        merged_at=told.merged_at,
        now=now,
    )
    followers = [member_id for member_id in told.carried.get("members", []) if member_id != absorbed_id]
    again = sa.update(Member).where(Member.merged_into_id == told.kept_id)
    for ids, target in (([absorbed_id], None), (followers, absorbed_id)):
        if ids:
            point = again.where(is_among(session, Member.id, ids)).values(merged_into_id=target)
            await session.execute(point.execution_options(synchronize_session="fetch"))
    await _restore(session, told)
    await order_changes.recount(session, [told.kept_id, absorbed_id])
    await events.append(session, MergeUndone(kept_id=told.kept_id, absorbed_id=absorbed_id), now=now)
    return told.kept_id


async def _restore(session: AsyncSession, told: MemberMerge) -> None:
    """Give the kept member back the fields that nobody has changed since."""
    kept = await members.get(session, told.kept_id)
    now_said = _profile(kept)
    for field, (before, after) in told.profile.items():
        if now_said[field] == after:
            value = {"joined_at": datetime.fromisoformat, "gender": Gender}.get(field, str)(before)
            setattr(kept, field, value)
    await session.flush()
