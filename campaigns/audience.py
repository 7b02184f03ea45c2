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

from campaigns import days, deliveries, experiments, group_audience, guards
from campaigns.definition import CampaignWrong, Definition, Groups
from campaigns.guard_rules import Channel, Gate
from campaigns.models.campaign import Delivery, DeliveryStatus
from crm import conditions, segment_compiler, segments
from crm.base.clock import local_day
from crm.base.db import is_among
from crm.conditions import Condition
from crm.models.audience import Segment
from crm.models.member import Contact, Member, Staff

WINDOW = 10_000  # member ids


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
    judged = await segment_compiler.judge(session, [condition], member_ids, now=now)
    return {member_id for member_id in member_ids if not judged.get(member_id, [False])[0]}


@dataclass(frozen=True, slots=True)
class Sender:
    """The member of staff who sends to a member, and the identity they have as a contact."""

    staff_id: int
    external_userid: str


async def senders(session: AsyncSession, member_ids: deliveries.Ids) -> dict[int, Sender]:
    """Who sends to each member: of the active staff the one who has had them as a contact for the shortest time."""
    rows = await session.execute(
        sa.select(Contact.member_id, Contact.staff_id, Contact.external_userid)
        .join(Staff, Staff.id == Contact.staff_id)
        .where(is_among(session, Contact.member_id, member_ids), Contact.ended_at.is_(None), Staff.active)
        .order_by(Contact.added_at, Contact.id)
    )
    return {row.member_id: Sender(row.staff_id, row.external_userid) for row in rows}


async def preview(
    session: AsyncSession, definition: Definition, *, campaign_id: int = 0, gate: Gate, now: datetime
) -> Reach:
    """Whom it would reach now. Walks the windows a run would walk, so it takes as long as planning does."""
    if definition.groups is not None:
        return await _preview_groups(session, definition.groups, gate=gate, now=now)
    definition = await look_up(session, definition)
    everybody = sa.select(sa.func.count()).select_from(Member).where(*segment_compiler.living(Member))
    found = segment_compiler.member_ids(definition.condition, now=now)
    member_id: Any = found.selected_columns[0]
    selected = holdout = without = 0
    refused: Counter[str] = Counter()
    last = await newest_member(session)
    for after in range(0, last, WINDOW):
        ids = list(await session.scalars(found.where(member_id > after, member_id <= after + WINDOW)))
        selected += len(ids)
        left = [one for one in ids if not experiments.in_holdout(campaign_id, definition.holdout_percent, one)]
        holdout += len(ids) - len(left)
        decisions = await guards.judge(
            session, gate, left, channel=definition.channels[-1], topic=definition.topic, now=now
        )
        no = {one: decision for one, decision in decisions.items() if not decision.is_allowed}
        refused.update(one.code for one in no.values())
        may = [one for one in left if one not in no]
        if definition.channels == (Channel.BROADCAST,) and may:
            without += len(may) - len(await senders(session, may))
    return Reach(int(await session.scalar(everybody) or 0), selected, holdout, dict(refused), without)


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
