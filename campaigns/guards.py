"""The one gate of every marketing message: may we contact these members now, and if not, why and until when.

Whoever plans asks `admit` and writes a MarketingMessage under the same reference; the sender asks `recheck` when it
leaves. A member's touches are counted under a lock on their row, so two campaigns at once cannot both take the last
one. A member who absorbed others is judged by the touches, holds and quota of all of them.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cache, partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from campaigns import brakes
from campaigns.guard_rules import ALLOWED, Channel, Decision, Gate, Verdict, held, refused
from campaigns.models.gate import MarketingHold, PassState, QuotaUse, Touch
from crm.base.clock import local_day
from crm.base.db import insert_all, is_among
from crm.base.outbox import OutboxRow, Status
from crm.consents import ANY_CHANNEL, MARKETING
from crm.models.consent import Consent
from crm.models.group import Group
from crm.models.member import Member

PENDING_AT_MOST = timedelta(days=7)  # what was let through and never heard of again stops counting after this
MONTH = timedelta(days=32)  # covers the longest period of the platform's quota
DEAD_ENDS = (Status.DEAD, Status.CANCELLED)
_When = Callable[[tuple[datetime, ...], tuple[date, ...] | None], Decision]


@dataclass(slots=True)
class _Person:
    """What is known about one living member."""

    said_no: dict[str, Any] | None = None
    said_yes: bool = False
    hold: MarketingHold | None = None
    touched: list[tuple[str, PassState, datetime]] = field(default_factory=list)  # ref, state, when it counts
    spent: list[tuple[str, date]] = field(default_factory=list)

    @property
    def is_blank(self) -> bool:
        """Nothing is known that a decision could depend on: it is the same for all of these."""
        return not (self.said_no or self.said_yes or self.hold or self.touched or self.spent)


async def judge(
    session: AsyncSession,
    gate: Gate,
    member_ids: Collection[int],
    *,
    channel: Channel,
    topic: str = MARKETING,
    now: datetime,
) -> dict[int, Decision]:
    """What the gate would say about each of these members; nothing is reserved. Six queries however many they are."""
    return await _judge(session, gate, dict.fromkeys(member_ids, ""), channel=channel, topic=topic, now=now)


async def of_anybody(session: AsyncSession, gate: Gate, *, channel: Channel, now: datetime) -> Decision:
    """What the gate says of each member of whom nothing is known."""
    return _decide(gate, _Person(), "", channel, await brakes.is_on(session), partial(gate.when, now=now))


def counted_since(gate: Gate, now: datetime) -> datetime:
    """Touches before this instant change no decision, unless they are asked about under their own reference."""
    return now - max(gate.longest_window, PENDING_AT_MOST)


async def admit(
    session: AsyncSession,
    gate: Gate,
    wanted: Mapping[int, str],
    *,
    channel: Channel,
    topic: str = MARKETING,
    now: datetime,
) -> dict[int, Decision]:
    """Decide about each member and let those through who may be contacted: from here on it counts as a touch.

    wanted: member id -> the reference (≤ 64 characters) under which the caller's message will leave. Asking again
    under the same reference gives the same touch, unless it reached them already.
    """
    decisions = await _judge(session, gate, wanted, channel=channel, topic=topic, now=now, locks=True)
    through = [member_id for member_id, decision in decisions.items() if decision.is_allowed]
    about = {"channel": channel, "topic": topic}
    rows = [_pass("member_id", member_id, wanted[member_id], now) for member_id in through]
    await insert_all(session, Touch.__table__, [{**row, **about} for row in rows], conflict=_again(Touch, "member_id"))
    if channel is Channel.BROADCAST:
        await insert_all(session, QuotaUse.__table__, rows, conflict=_again(QuotaUse, "member_id"))
    return decisions


async def judge_groups(
    session: AsyncSession, gate: Gate, group_ids: Collection[int], *, now: datetime
) -> dict[int, Decision]:
    """What the gate would say about a 企业群发 into each of these groups; nothing is reserved."""
    return await _judge_groups(session, gate, dict.fromkeys(group_ids, ""), now=now, locks=False)


async def admit_groups(
    session: AsyncSession, gate: Gate, wanted: Mapping[int, str], *, now: datetime
) -> dict[int, Decision]:
    """Like `admit`, for a 企业群发 into customer groups, by group id: the brake, quiet hours and the group's quota."""
    decisions = await _judge_groups(session, gate, wanted, now=now, locks=True)
    through = [group_id for group_id, decision in decisions.items() if decision.is_allowed]
    rows = [_pass("group_id", group_id, wanted[group_id], now) for group_id in through]
    await insert_all(session, QuotaUse.__table__, rows, conflict=_again(QuotaUse, "group_id"))
    return decisions


async def recheck(session: AsyncSession, gate: Gate, refs: Collection[str], *, now: datetime) -> dict[str, Decision]:
    """Asked when messages leave: one decision for each reference, from what is true now.

    Of a message to many, those who may no longer be contacted are released with their reason and the rest goes; see
    `going`. It is refused or held as a whole when nobody is left to go to. A reference nobody was let through under
    is refused.
    """
    decisions: dict[str, dict[tuple[str, int], Decision]] = {ref: {} for ref in refs}
    touches = await _pending(session, Touch, refs, Touch.member_id, Touch.channel, Touch.topic)
    kinds: defaultdict[tuple[str, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row in touches:
        kinds[row.channel, row.topic][row.ref].append(row.member_id)
    for (channel, topic), by_ref in kinds.items():
        for wanted in _one_ref_each(by_ref):
            judged = await _judge(
                session, gate, wanted, channel=Channel(channel), topic=topic, now=now, locks=True, follows_merges=True
            )
            for member_id, decision in judged.items():
                decisions[wanted[member_id]]["member", member_id] = decision
    used = await _pending(session, QuotaUse, refs, QuotaUse.group_id)
    groups = {row.group_id: row.ref for row in used if row.group_id is not None}
    for group_id, decision in (await _judge_groups(session, gate, groups, now=now, locks=True)).items():
        decisions[groups[group_id]]["group", group_id] = decision
    return {ref: await _settle(session, ref, known) for ref, known in decisions.items()}


async def going(session: AsyncSession, ref: str) -> list[int]:
    """The members whom a message under this reference still goes to."""
    mine = sa.select(Touch.member_id).where(Touch.ref == ref, Touch.state == PassState.PENDING)
    return list(await session.scalars(mine.order_by(Touch.member_id)))


async def going_groups(session: AsyncSession, ref: str) -> list[int]:
    """The groups into which a message under this reference still goes."""
    mine = sa.select(QuotaUse.group_id).where(QuotaUse.ref == ref, QuotaUse.state == PassState.PENDING)
    return [one for one in await session.scalars(mine.order_by(QuotaUse.group_id)) if one is not None]


def sent(
    ref: str, *, at: datetime, member_ids: Collection[int] = (), group_ids: Collection[int] = ()
) -> list[sa.Update]:
    """Statements that note that a message reached them at `at`; without ids, all whom it went to."""
    return _end(ref, PassState.SENT, member_ids, group_ids, at=at)


async def release(
    session: AsyncSession,
    ref: str,
    *,
    code: str = "",
    member_ids: Collection[int] = (),
    group_ids: Collection[int] = (),
) -> None:
    """What was let through under this reference will not reach them, and counts no longer; without ids, all of it."""
    for statement in _end(ref, PassState.RELEASED, member_ids, group_ids, code=code):
        await session.execute(statement)


async def bounced(session: AsyncSession, ref: str, *, code: str) -> None:
    """What went out under this reference did not arrive after all, whether or not it was noted as sent."""
    gone = sa.update(Touch).where(Touch.ref == ref).values(state=PassState.RELEASED, code=code)
    await session.execute(gone.execution_options(synchronize_session=False))


async def platform_refused(session: AsyncSession, ref: str, member_ids: Collection[int], *, now: datetime) -> None:
    """WeCom says these customers had their 企业群发 already (status 3): some went out behind our back."""
    await release(session, ref, code="gate.platform", member_ids=member_ids)
    known = f"platform:{now:%Y%m%d%H}"
    rows = [{**_pass("member_id", member_id, known, now), "state": PassState.SENT} for member_id in member_ids]
    await insert_all(session, QuotaUse.__table__, rows)


# How it is decided


async def _judge(
    session: AsyncSession,
    gate: Gate,
    wanted: Mapping[int, str],
    *,
    channel: Channel,
    topic: str,
    now: datetime,
    locks: bool = False,
    follows_merges: bool = False,
) -> dict[int, Decision]:
    if not wanted:
        return {}
    asked = list(wanted)
    people = await _people(session, asked, locks=locks)
    person_of = {row.id: row.merged_into_id or row.id for row in people}
    erased = {row.id for row in people if row.erased_at is not None}
    known = await _known(session, gate, person_of, channel=channel, topic=topic, now=now)
    is_stopped = await brakes.is_on(session)
    decisions: dict[int, Decision] = {}
    when = cache(partial(gate.when, now=now))  # who got the same mass send waits for the same instant
    of_blank = _decide(gate, _Person(), "", channel, is_stopped, when)
    taken: set[tuple[int, str]] = set()  # one person, asked about under two of their old ids
    for member_id in asked:
        person_id = person_of.get(member_id)
        if person_id is None:
            decisions[member_id] = refused("gate.unknown")
        elif person_id != member_id and not follows_merges:
            decisions[member_id] = refused("gate.merged", into=person_id)
        elif person_id in erased or member_id in erased:
            decisions[member_id] = refused("gate.erased")
        elif (person_id, wanted[member_id]) in taken:
            decisions[member_id] = refused("gate.same_person")
        else:
            taken.add((person_id, wanted[member_id]))
            person = known[person_id]
            decisions[member_id] = (
                of_blank if person.is_blank else _decide(gate, person, wanted[member_id], channel, is_stopped, when)
            )
    return decisions


def _decide(gate: Gate, person: _Person, ref: str, channel: Channel, is_stopped: bool, when: _When) -> Decision:
    if ref and any(one == ref and state is PassState.SENT for one, state, _ in person.touched):
        return refused("gate.already_sent")
    if person.said_no is not None:
        return refused("gate.opted_out", **person.said_no)
    if gate.needs_opt_in and not person.said_yes:
        return refused("gate.no_opt_in")
    if person.hold is not None:
        code = "gate.complaint" if person.hold.reason == brakes.COMPLAINT else "gate.on_hold"
        facts = {"reason": person.hold.reason, "ref": person.hold.ref}
        return refused(code, **facts) if person.hold.until is None else held(code, person.hold.until, **facts)
    if is_stopped:
        return held("gate.stopped", None)
    touched = tuple(at for one, _, at in person.touched if one != ref)
    spent = tuple(day for one, day in person.spent if one != ref) if channel is Channel.BROADCAST else None
    return when(touched, spent)


async def _people(session: AsyncSession, member_ids: Collection[int], *, locks: bool) -> Sequence[Any]:
    """These members, the ones they were merged into, and the ones merged into those; locked in one order."""
    theirs = sa.select(sa.func.coalesce(Member.merged_into_id, Member.id)).where(
        is_among(session, Member.id, member_ids)
    )
    ids = list(await session.scalars(theirs))
    rows = sa.select(Member.id, Member.merged_into_id, Member.erased_at).where(
        sa.or_(is_among(session, Member.id, ids), is_among(session, Member.merged_into_id, ids))
    )
    if locks:  # against another gate and against a word of the member's own, see consents.py
        rows = rows.order_by(Member.id).with_for_update(key_share=True)
    return (await session.execute(rows)).all()


async def _known(
    session: AsyncSession, gate: Gate, person_of: Mapping[int, int], *, channel: Channel, topic: str, now: datetime
) -> dict[int, _Person]:
    known = {person_id: _Person() for person_id in person_of.values()}
    ids = list(person_of)
    for said in await session.execute(
        sa.select(Consent.member_id, Consent.granted, Consent.topic, Consent.channel, Consent.said_at).where(
            is_among(session, Consent.member_id, ids),
            Consent.topic.in_({MARKETING, topic}),
            Consent.channel.in_({ANY_CHANNEL, channel.value}),
            _is_newest(),
        )
    ):
        person = known[person_of[said.member_id]]
        if said.granted:
            person.said_yes = True
        else:
            person.said_no = {"topic": said.topic, "channel": said.channel, "said_at": said.said_at.isoformat()}
    standing = sa.or_(MarketingHold.until.is_(None), MarketingHold.until > now)
    for hold in await session.scalars(
        sa.select(MarketingHold).where(
            is_among(session, MarketingHold.member_id, ids), MarketingHold.lifted_at.is_(None), standing
        )
    ):
        person = known[person_of[hold.member_id]]
        person.hold = _stronger(person.hold, hold)
    for row in await _counted(session, Touch, Touch.member_id, ids, since=counted_since(gate, now)):
        known[person_of[row.member_id]].touched.append((row.ref, row.state, _counts_at(row, now)))
    if channel is Channel.BROADCAST:
        for row in await _counted(session, QuotaUse, QuotaUse.member_id, ids, since=now - MONTH):
            spent = known[person_of[row.member_id]].spent
            spent.append((row.ref, local_day(_counts_at(row, now), gate.zone)))
    return known


def _is_newest() -> sa.ColumnElement[bool]:
    """Of each member, topic and channel the newest word counts."""
    later = aliased(Consent)
    same = (
        later.member_id == Consent.member_id,
        later.topic == Consent.topic,
        later.channel == Consent.channel,
        sa.tuple_(later.said_at, later.id) > sa.tuple_(Consent.said_at, Consent.id),
    )
    return ~sa.exists().where(*same)


def _stronger(one: MarketingHold | None, other: MarketingHold) -> MarketingHold:
    """The one that lasts longer."""
    if one is None or one.until is None:
        return one or other
    return other if other.until is None or other.until > one.until else one


async def _counted(
    session: AsyncSession, table: Any, column: Any, ids: Collection[int], *, since: datetime
) -> Sequence[Any]:
    """Passes of these members or groups that count: sent, or pending and not ended in the outbox meanwhile."""
    ended = sa.exists().where(OutboxRow.gate_ref == table.ref, OutboxRow.status.in_(DEAD_ENDS))
    counts = sa.or_(table.state == PassState.SENT, sa.and_(table.state == PassState.PENDING, ~ended))
    rows = await session.execute(
        sa.select(column, table.ref, table.state, table.at).where(
            is_among(session, column, ids), table.at > since, counts
        )
    )
    return rows.all()


def _counts_at(row: Any, now: datetime) -> datetime:
    """A pending one may reach them at any moment; one of which nothing is heard counts as when it was let through."""
    at: datetime = row.at
    return now if row.state is PassState.PENDING and at > now - PENDING_AT_MOST else at


async def _judge_groups(
    session: AsyncSession, gate: Gate, wanted: Mapping[int, str], *, now: datetime, locks: bool
) -> dict[int, Decision]:
    if not wanted:
        return {}
    rows = sa.select(Group.id, Group.dismissed_at).where(is_among(session, Group.id, wanted.keys()))
    if locks:
        rows = rows.order_by(Group.id).with_for_update(key_share=True)
    gone = {row.id: row.dismissed_at is not None for row in await session.execute(rows)}
    spent: defaultdict[int, list[tuple[str, PassState, date]]] = defaultdict(list)
    for row in await _counted(session, QuotaUse, QuotaUse.group_id, list(wanted), since=now - MONTH):
        spent[row.group_id].append((row.ref, row.state, local_day(_counts_at(row, now), gate.zone)))
    is_stopped = await brakes.is_on(session)
    decisions: dict[int, Decision] = {}
    for group_id, ref in wanted.items():
        if gone.get(group_id, True):
            decisions[group_id] = refused("gate.group_gone")
        elif any(one == ref and state is PassState.SENT for one, state, _ in spent[group_id]):
            decisions[group_id] = refused("gate.already_sent")
        elif is_stopped:
            decisions[group_id] = held("gate.stopped", None)
        else:
            decisions[group_id] = gate.when((), [day for one, _, day in spent[group_id] if one != ref], now=now)
    return decisions


# What becomes of what was let through


async def _pending(session: AsyncSession, table: Any, refs: Collection[str], *columns: Any) -> Sequence[Any]:
    """These columns of what was let through under these references: 10,000 members of a mass send need no objects."""
    mine = sa.select(table.ref, *columns).where(is_among(session, table.ref, refs), table.state == PassState.PENDING)
    return (await session.execute(mine)).all()


def _one_ref_each(by_ref: Mapping[str, Sequence[int]]) -> Iterable[dict[int, str]]:
    """Member id -> reference, in as few rounds as it takes to ask about each member under one reference at a time."""
    rounds: list[dict[int, str]] = []
    for ref, member_ids in by_ref.items():
        for member_id in member_ids:
            free = next((one for one in rounds if member_id not in one), None)
            if free is None:
                rounds.append(free := {})
            free[member_id] = ref
    return rounds


async def _settle(session: AsyncSession, ref: str, known: Mapping[tuple[str, int], Decision]) -> Decision:
    """One decision of many: go to those who may be contacted, else wait for the first who may be, else refuse."""
    if not known:
        return refused("gate.no_pass")
    waits = [one for one in known.values() if one.verdict is Verdict.HELD]
    goes = any(one.is_allowed for one in known.values())
    for code in {one.code for one in known.values() if not one.is_allowed}:
        out = [who for who, one in known.items() if one.code == code and (goes or one.verdict is Verdict.REFUSED)]
        people = [number for kind, number in out if kind == "member"]
        groups = [number for kind, number in out if kind == "group"]
        if people or groups:
            await release(session, ref, code=code, member_ids=people, group_ids=groups)
    if goes:
        return ALLOWED
    if waits:
        return min(waits, key=lambda one: (one.until is not None, one.until))
    return next(iter(known.values()))


def _pass(whose: str, number: int, ref: str, now: datetime) -> dict[str, Any]:
    return {whose: number, "ref": ref, "state": PassState.PENDING, "at": now, "code": ""}


def _again(table: Any, whose: str) -> str:
    """Known already: one that was released is let through anew, any other stays as it is."""
    name = table.__tablename__
    return (
        f"({whose}, ref) DO UPDATE SET state = excluded.state, at = excluded.at, code = ''"
        f" WHERE {name}.state = '{PassState.RELEASED}'"
    )


def _end(
    ref: str, state: PassState, member_ids: Collection[int], group_ids: Collection[int], **values: Any
) -> list[sa.Update]:
    statements = []
    everybody = not member_ids and not group_ids
    for table, whose in ((Touch, "member_id"), (QuotaUse, "member_id"), (QuotaUse, "group_id")):
        column, ids = getattr(table, whose), member_ids if whose == "member_id" else group_ids
        if not everybody and not ids:
            continue
        ending = sa.update(table).where(table.ref == ref, table.state == PassState.PENDING)
        ending = ending.where(column.is_not(None) if everybody else column.in_(ids))
        statements.append(ending.values(state=state, **values).execution_options(synchronize_session=False))
    return statements
