"""Who is in a sequence: entering it, the version they go through, and whether somebody is still in it."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import audience, definition, step_times
from campaigns.definition import STEP_CAME, Definition
from campaigns.models.sequence import Enrolment, EnrolmentStatus, EnrolmentStep, GroupEnrolment, SequenceVersion
from campaigns.step_times import Place
from crm.base.clock import local_day
from crm.base.db import insert, is_among
from crm.base.events import EventRow

GOAL, CANCELLED = "goal_reached", "cancelled"
ACTIVE = EnrolmentStatus.ACTIVE
_quiet = {"synchronize_session": False}


# Versions


async def version_of(session: AsyncSession, campaign_id: int, told: Definition) -> int:
    """The number of this very definition, its segment looked up; a new one when nobody entered it before."""
    written = definition.write(told)
    while True:
        newest = 0
        mine = sa.select(SequenceVersion).where(SequenceVersion.campaign_id == campaign_id)
        for one in await session.scalars(mine.order_by(SequenceVersion.version.desc())):
            newest = max(newest, one.version)
            if one.definition == written:
                return one.version
        row = insert(session, SequenceVersion).values(campaign_id=campaign_id, version=newest + 1, definition=written)
        await session.execute(row.on_conflict_do_nothing())  # another worker may have been first with another one


async def told_in(session: AsyncSession, campaign_id: int, version: int) -> Definition:
    """The definition as it was when they entered."""
    written = await session.scalar(
        sa.select(SequenceVersion.definition).where(
            SequenceVersion.campaign_id == campaign_id, SequenceVersion.version == version
        )
    )
    return definition.read(written)


# Entering


async def enter(
    session: AsyncSession, campaign_id: int, told: Definition, entered: Mapping[int, datetime], *, now: datetime
) -> list[int]:
    """Let these members in, who have just met what it waits for at these instants; returns who is in it now.

    Not who is outside its audience, is in it already, or was and may not again. told: its segment looked up.
    """
    out = await audience.who_left(session, told.condition, entered, now=now)
    may = [member_id for member_id in sorted(entered) if member_id not in out]
    known = sa.select(Enrolment.member_id, Enrolment.status, Enrolment.entered_at).where(
        Enrolment.campaign_id == campaign_id, is_among(session, Enrolment.member_id, may)
    )
    for member_id, status, entered_at in await session.execute(known):
        again = told.again_after is not None and entered[member_id] - entered_at >= told.again_after
        if member_id in may and (status is ACTIVE or not again):
            may.remove(member_id)
    if not may:
        return []
    version = await version_of(session, campaign_id, told)
    rows = [{"member_id": one, **_fresh(campaign_id, told, version, entered[one])} for one in may]
    made = insert(session, Enrolment).values(rows).on_conflict_do_nothing().returning(Enrolment.member_id)
    return sorted(await session.scalars(made))


async def enter_window(
    session: AsyncSession, told: Definition, *, campaign_id: int, after_id: int, upto_id: int, due_at: datetime,
    now: datetime,
) -> int:  # fmt: skip
    """Let everybody of the audience in whose id lies in (after_id, upto_id], who may; returns how many."""
    found, member_id = await audience.selected(session, told, campaign_id=campaign_id, now=due_at)
    was = sa.true() if told.again_after is None else Enrolment.entered_at > now - told.again_after
    in_it = sa.exists().where(
        Enrolment.campaign_id == campaign_id, Enrolment.member_id == member_id, sa.or_(Enrolment.status == ACTIVE, was)
    )
    fresh = _fresh(campaign_id, told, await version_of(session, campaign_id, told), now)
    table: Any = Enrolment.__table__
    literals = [sa.literal(value, table.c[name].type) for name, value in fresh.items()]
    rows = found.where(member_id > after_id, member_id <= upto_id, ~in_it).with_only_columns(
        member_id, *literals, maintain_column_froms=True
    )
    entered = insert(session, Enrolment).from_select(["member_id", *fresh], rows, include_defaults=False)
    made = await session.execute(entered.on_conflict_do_nothing())
    return int(made.rowcount)  # type: ignore[attr-defined]


def _fresh(campaign_id: int, told: Definition, version: int, at: datetime) -> dict[str, Any]:
    begun = at + (told.on.delay if told.on is not None else timedelta())
    place = step_times.begins(told, 0, day_zero=local_day(begun), ended_at=begun)
    return {
        "campaign_id": campaign_id, "version": version, "status": ACTIVE, "step": 0, "phase": place.phase,
        "due_at": place.due_at, "waits_since": place.waits_since, "entered_at": at, "day_zero": local_day(begun),
        "because": "",
    }  # fmt: skip


# Still in it?


async def has_active(session: AsyncSession, campaign_id: int) -> bool:
    """A member, or a group."""
    for table in (Enrolment, GroupEnrolment):
        some = sa.select(table.id).where(table.campaign_id == campaign_id, table.status == ACTIVE).limit(1)
        if await session.scalar(some) is not None:
            return True
    return False


async def reached(session: AsyncSession, told: Definition, entered_at: Mapping[int, datetime]) -> set[int]:
    """Of these members, who has reached the goal since they entered, whether or not the event was read yet."""
    if not told.goal or not entered_at:
        return set()
    rows = await session.execute(
        sa.select(EventRow.member_id, EventRow.name, EventRow.body, EventRow.at).where(
            is_among(session, EventRow.member_id, entered_at),
            EventRow.name.in_({one.event for one in told.goal}),
            EventRow.at >= min(entered_at.values()),
        )
    )
    return {
        row.member_id
        for row in rows
        if row.at > entered_at[row.member_id] and any(one.fits(row.name, row.body) for one in told.goal)
    }


async def gone(session: AsyncSession, run_id: int, told: Definition, member_ids: Collection[int]) -> dict[int, str]:
    """Of the members whom a run sends a step to, who is in the sequence no longer, and why. told: the run's."""
    if told.on is None or told.on.event != STEP_CAME:
        return {}
    rows = await session.execute(
        sa.select(EnrolmentStep.member_id, Enrolment)
        .join(Enrolment, Enrolment.id == EnrolmentStep.enrolment_id)
        .where(EnrolmentStep.run_id == run_id, is_among(session, EnrolmentStep.member_id, member_ids))
        .execution_options(populate_existing=True)
    )
    left: dict[int, str] = {}
    inside: dict[int, Enrolment] = {}
    for member_id, one in rows:
        if one.status is ACTIVE:
            inside[member_id] = one
        else:
            left[member_id] = one.because or one.status.value
    for campaign_id, version in {(one.campaign_id, one.version) for one in inside.values()}:
        alike = {who: one.entered_at for who, one in inside.items() if one.version == version}
        whole = await told_in(session, campaign_id, version)
        left |= dict.fromkeys(await reached(session, whole, alike), GOAL)
    return left


async def cancel(session: AsyncSession, campaign_id: int, *, now: datetime) -> None:
    """The campaign is cancelled: nobody is in it any more."""
    ended = {"status": EnrolmentStatus.CANCELLED, "due_at": None, "ended_at": now, "because": CANCELLED}
    for table in (Enrolment, GroupEnrolment):
        mine = sa.update(table).where(table.campaign_id == campaign_id, table.status == ACTIVE)
        await session.execute(mine.values(**ended), execution_options=_quiet)


async def of_member(session: AsyncSession, member_ids: Collection[int], *, locks: bool = True) -> Sequence[Enrolment]:
    """The ways these members are on now, of whatever campaign."""
    mine = sa.select(Enrolment).where(is_among(session, Enrolment.member_id, member_ids), Enrolment.status == ACTIVE)
    mine = mine.order_by(Enrolment.id).execution_options(populate_existing=True)
    return (await session.scalars(mine.with_for_update() if locks else mine)).all()


def stand(one: Enrolment, place: Place) -> None:
    one.phase, one.due_at, one.waits_since = place.phase, place.due_at, place.waits_since
