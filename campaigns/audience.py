"""Whom a campaign is for: segment − holdout − gate; planned window by window of member ids.

A window is a range of ids, not a number of rows: each costs a look into the same indexes whatever was planned before,
nothing is sorted or skipped over, and memory is bounded by it.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from campaigns import days, deliveries, experiments, group_audience, guards, sieve
from campaigns.definition import CampaignWrong, Definition, Groups
from campaigns.guard_rules import Channel, Gate
from campaigns.models.campaign import Copy, Delivery, DeliveryStatus
from crm import conditions, segment_compiler, segments
from crm.base.clock import local_day
from crm.base.db import insert, is_among, not_among
from crm.conditions import Condition
from crm.models.audience import Segment
from crm.models.member import Contact, Member, Staff

WINDOW = 10_000  # member ids: what is put on its way together
PLANNED_TOGETHER = 5  # windows in one statement: a commit each costs as much as its rows
JUDGED_TOGETHER = 500
_quiet = {"synchronize_session": False}


@dataclass(frozen=True, slots=True)
class Reach:
    """What a campaign would do now, before it does anything."""

    everybody: int  # living members of the shop
    selected: int  # in the segment
    holdout: int
    refused: Mapping[str, int] = field(default_factory=dict)  # by the gate's reason
    without_contact: int = 0  # in nobody's contacts, or groups without an owner, so that no mass send gets there
    are_groups: bool = False  # the numbers count customer groups, not members

    @property
    def reached(self) -> int:
        return self.selected - self.holdout - sum(self.refused.values()) - self.without_contact

    @property
    def oddity(self) -> str:
        """What a person should be told before saying yes; empty when nothing is odd."""
        if not self.selected:
            return "nobody"
        return "everybody" if self.selected == self.everybody and self.everybody > 1 else ""


async def look_up(session: AsyncSession, definition: Definition) -> Definition:
    """The definition with the named segment's condition in place of its name. Raises CampaignWrong."""
    if definition.segment is None:
        return definition
    condition = await session.scalar(sa.select(Segment.condition).where(Segment.name == definition.segment))
    if condition is None:
        raise CampaignWrong([{"field": "segment", "reason": f"没有叫“{definition.segment}”的人群"}])
    return definition.model_copy(update={"segment": None, "audience": condition})


async def living(session: AsyncSession) -> int:
    """How many members the shop has."""
    everybody = sa.select(sa.func.count()).select_from(Member).where(*segment_compiler.living(Member))
    return await session.scalar(everybody) or 0


async def newest_member(session: AsyncSession) -> int:
    return await session.scalar(sa.select(sa.func.max(Member.id))) or 0


async def plan_window(
    session: AsyncSession, definition: Definition, *, campaign_id: int, run_id: int, after_id: int, upto_id: int,
    now: datetime,
) -> int:  # fmt: skip
    """A delivery for everybody of the segment whose id lies in (after_id, upto_id]; returns how many are new."""
    found, member_id = await selected(session, definition, campaign_id=campaign_id, now=now)
    rows = found.where(member_id > after_id, member_id <= upto_id).with_only_columns(
        sa.literal(run_id, sa.BigInteger()),
        member_id,
        _status(campaign_id, definition.holdout_percent, member_id),
        experiments.variant_column(campaign_id, [one.share for one in definition.messages], member_id),
        maintain_column_froms=True,
    )
    table: Any = Delivery.__table__
    columns = ["run_id", "member_id", "status", "variant"]
    planned = await session.execute(sa.insert(table).from_select(columns, rows, include_defaults=False))
    return int(planned.rowcount)  # type: ignore[attr-defined]


async def selected(
    session: AsyncSession, definition: Definition, *, campaign_id: int, now: datetime
) -> tuple[sa.Select[tuple[int]], Any]:
    """Everybody of the segment whom the trigger means, if one is looked for daily; and the column of their ids."""
    found = segment_compiler.member_ids(definition.condition, now=now)
    member_id: Any = found.selected_columns[0]
    if definition.on is not None and not definition.listens:
        after = await days.since(session, campaign_id, due_at=now)
        found = found.where(days.whose(definition.on, member_id, after=after, today=local_day(now)))
    return found, member_id


def _status(campaign_id: int, percent: int, member_id: Any) -> sa.ColumnElement[Any]:
    planned, holdout = (
        sa.literal(one, Delivery.status.type) for one in (DeliveryStatus.PLANNED, DeliveryStatus.HOLDOUT)
    )
    if not percent:
        return planned
    return sa.case((experiments.in_holdout(campaign_id, percent, member_id), holdout), else_=planned)


async def tiers(
    session: AsyncSession, definition: Definition, member_ids: deliveries.Ids, *, now: datetime
) -> dict[int, int]:
    """The first tier that fits each member; who fits none is left out."""
    if not definition.tiers or not member_ids:
        return {}
    asked = [conditions.read(tier.audience) for tier in definition.tiers]
    judged = await segment_compiler.judge(session, asked, member_ids, now=now)
    return {member_id: holds.index(True) for member_id, holds in judged.items() if any(holds)}


async def who_left(
    session: AsyncSession, condition: Condition, member_ids: deliveries.Ids, *, now: datetime
) -> set[int]:
    """Those who no longer satisfy the condition: a triggered message with a delay asks again."""
    out: set[int] = set()
    asked = sorted(member_ids)
    for start in range(0, len(asked), JUDGED_TOGETHER):
        some = asked[start : start + JUDGED_TOGETHER]
        judged = await segment_compiler.judge(session, [condition], some, now=now)
        out |= {member_id for member_id in some if not judged.get(member_id, [False])[0]}
    return out


async def copy_out(session: AsyncSession, run_id: int, after_id: int, upto_id: int) -> None:
    """A copy of a mass send for each planned delivery of a range whose member is a contact; these are on their way.

    Who sends: of the active staff the one who has had the member as a contact for the shortest time.
    """
    mine = (Delivery.run_id == run_id, Delivery.member_id > after_id, Delivery.member_id <= upto_id)
    planned = (*mine, Delivery.status == DeliveryStatus.PLANNED)
    contacts = (Contact.member_id > after_id, Contact.member_id <= upto_id, *_newest_sender())
    columns = ["run_id", "member_id", "staff_id", "variant", "tier", "external_userid"]
    rows = (
        sa.select(Delivery.run_id, Delivery.member_id, Contact.staff_id, Delivery.variant, Delivery.tier,
                  Contact.external_userid)
        .join(Contact, Contact.member_id == Delivery.member_id)
        .where(*planned, *contacts)
    )  # fmt: skip
    copies = insert(session, Copy).from_select(columns, rows, include_defaults=False)
    new = {name: copies.excluded[name] for name in columns[2:]}
    again = copies.on_conflict_do_update(index_elements=["run_id", "member_id"], set_={**new, "broadcast_id": None})
    await session.execute(again, execution_options=_quiet)
    # + 0: by the key, one by one. Of a run that it has not counted yet PostgreSQL expects a single row, and would walk
    # all loose copies for each delivery: 4 seconds a window instead of 0.05
    loose = sa.exists().where(
        Copy.run_id == Delivery.run_id, Copy.member_id == Delivery.member_id, (Copy.broadcast_id + 0).is_(None)
    )
    going = sa.update(Delivery).where(*planned, loose)
    queued = {"status": DeliveryStatus.QUEUED, "channel": Channel.BROADCAST, "reason": None}
    await session.execute(going.values(queued), execution_options=_quiet)


@dataclass(frozen=True, slots=True)
class Sender:
    """The member of staff who sends to a member, and the identity they have as a contact."""

    staff_id: int
    external_userid: str


async def senders(session: AsyncSession, member_ids: deliveries.Ids) -> dict[int, Sender]:
    """Who sends to each of a few members, by the same rule."""
    mine = sa.select(Contact.member_id, Contact.staff_id, Contact.external_userid)
    rows = await session.execute(mine.where(is_among(session, Contact.member_id, member_ids), *_newest_sender()))
    return {row.member_id: Sender(row.staff_id, row.external_userid) for row in rows}


def _newest_sender() -> tuple[sa.ColumnElement[bool], ...]:
    """SQL about Contact: it is the one through which its member is sent to."""
    later = aliased(Contact)
    active = sa.select(Staff.id).where(Staff.active)
    newer = sa.exists().where(
        later.member_id == Contact.member_id,
        later.ended_at.is_(None),
        sa.tuple_(later.added_at, later.id) > sa.tuple_(Contact.added_at, Contact.id),
        later.staff_id.in_(active),
    )
    return Contact.ended_at.is_(None), Contact.staff_id.in_(active), ~newer


async def preview(
    session: AsyncSession, definition: Definition, *, campaign_id: int = 0, gate: Gate, now: datetime
) -> Reach:
    """Whom it would reach now. Walks the windows a run would walk, so it takes as long as planning does."""
    if definition.groups is not None:
        return await _preview_groups(session, definition.groups, gate=gate, now=now)
    definition = await look_up(session, definition)
    found = segment_compiler.member_ids(definition.condition, now=now)
    member_id: Any = found.selected_columns[0]
    chosen = found
    if definition.holdout_percent:
        chosen = found.where(~experiments.in_holdout(campaign_id, definition.holdout_percent, member_id))
    selected = left = without = 0
    refused: Counter[str] = Counter()
    last = await newest_member(session)
    channel, topic = definition.channels[-1], definition.topic
    for after in range(0, last, WINDOW):
        here = (member_id > after, member_id <= after + WINDOW)
        asked = chosen.where(*here)
        selected += await _count(session, found.where(*here))
        going = await _count(session, asked)
        left += going
        said = await sieve.sift(session, gate, asked, after, after + WINDOW, channel=channel, topic=topic, now=now)
        refused.update(one.code for one in said.refused.values())
        if not said.rest.is_allowed:
            refused[said.rest.code] += going - len(said.known)
        if definition.channels == (Channel.BROADCAST,):
            without += await _without_sender(session, asked, member_id, said)
    return Reach(await living(session), selected, selected - left, dict(refused), without)


async def _without_sender(session: AsyncSession, asked: sa.Select[Any], member_id: Any, said: sieve.Sifted) -> int:
    """How many of those whom the gate lets through are in nobody's contacts."""
    alone = asked.where(~sa.exists().where(Contact.member_id == member_id, *_newest_sender()))
    if not said.rest.is_allowed:
        return len([one for one in await session.scalars(alone.where(is_among(session, member_id, said.known)))
                    if said.of(one).is_allowed])  # fmt: skip
    return await _count(session, alone.where(not_among(session, member_id, said.refused)))


async def _count(session: AsyncSession, ids: sa.Select[Any]) -> int:
    return await session.scalar(sa.select(sa.func.count()).select_from(ids.subquery())) or 0


async def _preview_groups(session: AsyncSession, wanted: Groups, *, gate: Gate, now: datetime) -> Reach:
    chosen = await group_audience.select(session, wanted)
    without = [one for one in chosen if one.owner_id is None]
    asked = [one.group_id for one in chosen if one.owner_id is not None]
    decisions = await guards.judge_groups(session, gate, asked, now=now)
    refused = Counter(one.code for one in decisions.values() if not one.is_allowed)
    everybody = await group_audience.living(session)
    return Reach(everybody, len(chosen), 0, dict(refused), len(without), are_groups=True)


async def size(session: AsyncSession, definition: Definition, *, now: datetime) -> int:
    """How many people it selects: of groups those in them, once, and no fewer than there are groups."""
    if definition.groups is not None:
        chosen = await group_audience.select(session, definition.groups)
        return max(len(chosen), await group_audience.people(session, [one.group_id for one in chosen]))
    return await segments.count(session, (await look_up(session, definition)).condition, now=now)
