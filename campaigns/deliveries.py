"""Deliveries: what the gate said about each, and how each came to its end."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.guard_rules import Channel, Decision, Verdict
from campaigns.models.campaign import OPEN, Delivery, DeliveryStatus, Run
from crm.base.db import is_among, not_among

Ids = Collection[int]
WAITING = (DeliveryStatus.PLANNED, DeliveryStatus.HELD)
FIELD_MISSING, TOO_LONG = "field_missing", "too_long"
CANCELLED, LEFT_AUDIENCE, NO_CONTACT = "cancelled", "left_audience", "not_a_contact"
NO_COUPON = "no_coupon"  # the campaign gives one, and there is none for them
NOT_DELIVERED = "not_delivered"  # the platform took a kf message and said later that it did not arrive
STOPPED = "stopped"  # by the emergency brake, when staff had the task already
NOT_CONFIRMED, UNREACHABLE, LIMIT_REACHED, NO_LONGER_CONTACT, NOT_SENT = (
    "not_confirmed", "unreachable", "limit_reached", "no_longer_a_contact", "not_sent",
)  # fmt: skip


# Reads


def waiting(run_id: int, after_id: int, upto_id: int, among: Collection[DeliveryStatus]) -> sa.Select[int, int]:
    """SQL for the members of a range that are not on their way yet, and their variants."""
    found = sa.select(Delivery.member_id, Delivery.variant)
    return found.where(*_range(run_id, after_id, upto_id), Delivery.status.in_(among))


async def on_the_way(session: AsyncSession, run_id: int, after_id: int, upto_id: int, channel: Channel) -> list[int]:
    """Members of a range whose message is in the outbox."""
    rows = await session.scalars(
        sa.select(Delivery.member_id)
        .where(*_range(run_id, after_id, upto_id))
        .where(Delivery.status == DeliveryStatus.QUEUED, Delivery.channel == channel)
    )
    return list(rows)


async def figures(session: AsyncSession, run_id: int) -> dict[str, Any]:
    """How many of a run's deliveries stand where, and why those that did not arrive did not. Reads all of them."""
    rows = await session.execute(
        sa.select(Delivery.status, Delivery.reason, sa.func.count())
        .where(Delivery.run_id == run_id)
        .group_by(Delivery.status, Delivery.reason)
    )
    return count(rows)


def count(rows: Iterable[Any]) -> dict[str, Any]:
    """Rows of status, reason and how many, together."""
    by_status: defaultdict[str, int] = defaultdict(int)
    reasons: defaultdict[str, int] = defaultdict(int)
    for status, reason, many in rows:
        by_status[status.value] += many
        if reason is not None and status is not DeliveryStatus.HOLDOUT:
            reasons[reason] += many
    return {"total": sum(by_status.values()), "by_status": dict(by_status), "reasons": dict(reasons)}


# Verbs


async def decide(session: AsyncSession, run_id: int, decisions: Mapping[int, Decision]) -> None:
    """Write down what the gate said about these members of a run; holdouts it refuses would not have been reached."""
    alike: defaultdict[tuple[Verdict, str], list[int]] = defaultdict(list)
    for member_id, one in decisions.items():
        if one.is_allowed:
            continue
        alike[one.verdict, one.code[:60]].append(member_id)
    for (verdict, reason), member_ids in alike.items():
        held = verdict is Verdict.HELD
        await move(
            session,
            run_id,
            member_ids,
            DeliveryStatus.HELD if held else DeliveryStatus.SKIPPED,
            before=WAITING if held else (*WAITING, DeliveryStatus.HOLDOUT),
            reason=reason,
        )


async def decide_rest(
    session: AsyncSession, run_id: int, after_id: int, upto_id: int, decision: Decision, *, known: Ids
) -> None:
    """Write down one decision for all of a range that wait and are not among `known`; what stands there stays."""
    held = decision.verdict is Verdict.HELD
    to, reason = DeliveryStatus.HELD if held else DeliveryStatus.SKIPPED, decision.code[:60]
    rest = sa.update(Delivery).where(*_range(run_id, after_id, upto_id), Delivery.status.in_(WAITING))
    rest = rest.where(_is_news(to, reason), not_among(session, Delivery.member_id, known))
    await session.execute(rest.values(status=to, reason=reason), execution_options=_quiet)


def _is_news(to: DeliveryStatus, reason: str) -> sa.ColumnElement[bool]:
    """A brake that stays on is asked about every minute: the same answer is not written again."""
    return sa.or_(Delivery.status != to, Delivery.reason.is_distinct_from(reason))


async def reopen(session: AsyncSession, run_id: int, after_id: int, upto_id: int) -> None:
    """Who was held back is planned again."""
    held = sa.update(Delivery).where(*_range(run_id, after_id, upto_id), Delivery.status == DeliveryStatus.HELD)
    await session.execute(held.values(status=DeliveryStatus.PLANNED), execution_options=_quiet)


async def put_tiers(session: AsyncSession, run_id: int, after_id: int, upto_id: int, tiers: Mapping[int, int]) -> None:
    """The tier of each member of a range that waits; who is in none of `tiers` is of none."""
    mine = sa.update(Delivery).where(*_range(run_id, after_id, upto_id), Delivery.status.in_(WAITING))
    await session.execute(mine.where(Delivery.tier.is_not(None)).values(tier=None), execution_options=_quiet)
    for tier in sorted(set(tiers.values())):
        whose = is_among(session, Delivery.member_id, [one for one, its in tiers.items() if its == tier])
        await session.execute(mine.where(whose).values(tier=tier), execution_options=_quiet)


async def leave_out(session: AsyncSession, run_id: int, after_id: int, upto_id: int, reason: str) -> None:
    """Whoever of a range is still planned is not reached, and why."""
    rest = sa.update(Delivery).where(*_range(run_id, after_id, upto_id), Delivery.status == DeliveryStatus.PLANNED)
    await session.execute(rest.values(status=DeliveryStatus.SKIPPED, reason=reason), execution_options=_quiet)


async def move(
    session: AsyncSession,
    run_id: int,
    member_ids: Ids,
    to: DeliveryStatus,
    *,
    before: Collection[DeliveryStatus] = OPEN,
    **values: Any,
) -> int:
    """Bring these members' deliveries from one of `before` to `to`; returns how many. What has ended stays ended."""
    if not member_ids:
        return 0
    moved = await session.execute(
        sa.update(Delivery)
        .where(Delivery.run_id == run_id, is_among(session, Delivery.member_id, member_ids))
        .where(Delivery.status.in_(before))
        .values(status=to, **values)
        .execution_options(synchronize_session=False)
    )
    return int(moved.rowcount)  # type: ignore[attr-defined]


async def sent(session: AsyncSession, run_id: int, sent_at: Mapping[int, datetime]) -> int:
    """The platform says these members got it, and when; returns how many that is news about.

    Also of one that had ended otherwise: a task taken back too late was sent all the same, and the truth is the
    platform's.
    """
    by_instant: defaultdict[datetime, list[int]] = defaultdict(list)
    for member_id, at in sent_at.items():
        by_instant[at].append(member_id)
    news = 0
    for at, member_ids in by_instant.items():
        before = (*OPEN, DeliveryStatus.FAILED, DeliveryStatus.SKIPPED)
        news += await move(session, run_id, member_ids, DeliveryStatus.SENT, before=before, sent_at=at, reason=None)
    await session.execute(sa.update(Run).where(Run.id == run_id).values(sent=Run.sent + news), execution_options=_quiet)
    return news


async def failed(session: AsyncSession, run_id: int, member_ids: Ids, reason: str) -> int:
    """These will not get it, by the platform or the staff."""
    news = await move(session, run_id, member_ids, DeliveryStatus.FAILED, reason=reason[:60])
    if reason not in (NOT_CONFIRMED, STOPPED):  # a person's choice is not an error
        counted = sa.update(Run).where(Run.id == run_id).values(failed=Run.failed + news)
        await session.execute(counted, execution_options=_quiet)
    return news


async def bounced(session: AsyncSession, run_id: int, member_id: int) -> None:
    """What counted as sent did not arrive."""
    before = (*OPEN, DeliveryStatus.SENT)
    was = await session.scalar(
        sa.select(Delivery.status).where(Delivery.run_id == run_id, Delivery.member_id == member_id)
    )
    if await move(
        session, run_id, [member_id], DeliveryStatus.FAILED, before=before, reason=NOT_DELIVERED, sent_at=None
    ):
        less = 1 if was is DeliveryStatus.SENT else 0
        counted = sa.update(Run).where(Run.id == run_id).values(failed=Run.failed + 1, sent=Run.sent - less)
        await session.execute(counted, execution_options=_quiet)


async def close(session: AsyncSession, run_id: int, reason: str) -> None:
    """A run ends early: who has not got it yet will not, and it says why."""
    await session.execute(
        sa.update(Delivery)
        .where(Delivery.run_id == run_id, Delivery.status.in_(OPEN))
        .values(status=DeliveryStatus.SKIPPED, reason=reason),
        execution_options=_quiet,
    )


_quiet = {"synchronize_session": False}


def _range(run_id: int, after_id: int, upto_id: int) -> tuple[sa.ColumnElement[bool], ...]:
    return Delivery.run_id == run_id, Delivery.member_id > after_id, Delivery.member_id <= upto_id
