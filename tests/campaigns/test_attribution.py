"""Last touch inside the window wins; what was caused is the difference to the holdout."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from campaigns import attribution, definition
from campaigns.attribution import Reached, last_touch
from campaigns.models.campaign import Campaign, CampaignStatus, Conversion, Delivery, DeliveryStatus, Run, RunStatus
from crm import orders
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.models.member import Member
from tests.campaigns.fixtures import told
from tests.factories import Make

PAID = datetime(2026, 3, 9, 2, tzinfo=UTC)
WEEK = timedelta(days=7)


def ago(**before: float) -> datetime:
    return PAID - timedelta(**before)


@pytest.mark.parametrize(
    ("touches", "winner"),
    [
        ([], None),
        ([(1, ago(hours=1))], 1),
        ([(1, ago(days=6)), (2, ago(days=1))], 2),
        ([(1, PAID)], 1),
        ([(1, ago(seconds=-1))], None),
        ([(1, WEEK)], None),
        ([(1, ago(days=6, hours=23))], 1),
        ([(1, ago(days=2)), (2, ago(days=2))], 2),
        ([(1, ago(days=3)), (3, ago(days=2))], 1),
    ],
    ids=["none", "one", "last", "at once", "after", "window over", "just inside", "a tie", "a short window"],
)
def test_last_touch(touches: list[tuple[int, datetime | timedelta]], winner: int | None) -> None:
    windows = {1: WEEK, 2: WEEK, 3: timedelta(days=1)}
    reached = [Reached(run, PAID - at if isinstance(at, timedelta) else at) for run, at in touches]
    found = last_touch(reached, windows, PAID)
    assert (found.run_id if found else None) == winner


async def a_run(sessions: Sessions, at: datetime, *, name: str = "周末满减", **more: object) -> tuple[int, int]:
    async with sessions.begin() as session:
        one = definition.write(told(**more))
        campaign = Campaign(
            name=name, kind="one_off", status=CampaignStatus.FINISHED, definition=one, created_by="amy",
            created_at=at, changed_at=at,
        )  # fmt: skip
        session.add(campaign)
        await session.flush()
        run = Run(
            campaign_id=campaign.id, occurrence=at.isoformat(), status=RunStatus.FINISHED, definition=one, due_at=at,
            ticked_at=at, finished_at=at,
        )  # fmt: skip
        session.add(run)
        await session.flush()
        return campaign.id, run.id


async def delivered(
    sessions: Sessions, run_id: int, members: list[int], at: datetime | None, *, variant: int = 0
) -> None:
    status = DeliveryStatus.SENT if at else DeliveryStatus.HOLDOUT
    async with sessions.begin() as session:
        session.add_all(
            Delivery(run_id=run_id, member_id=one, status=status, variant=variant, sent_at=at) for one in members
        )


async def test_an_order_is_credited_once_and_moves_to_a_later_touch(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    member = await make.member()
    first_campaign, first = await a_run(sessions, clock.now() - timedelta(days=3))
    second_campaign, second = await a_run(sessions, clock.now() - timedelta(days=2), name="第二个")
    await delivered(sessions, first, [member.id], clock.now() - timedelta(days=3))
    order = await make.order(member, total_fen=8800)

    async def credited() -> tuple[int, int]:
        async with sessions.begin() as session:
            await attribution.credit_recent(session, now=clock.now())
            row = (await session.scalars(sa.select(Conversion))).one()
            return row.order_id, row.run_id

    assert [await credited(), await credited()] == [(order.id, first)] * 2
    await delivered(sessions, second, [member.id], clock.now() - timedelta(hours=5))  # the platform said so late
    assert await credited() == (order.id, second)
    async with sessions.begin() as session:
        at = clock.now()
        await orders.refund(session, "test", "R1", order_no=order.external_no, amount_fen=800, refunded_at=at, now=at)
    async with sessions.read() as session:
        assert (await attribution.outcome(session, first_campaign)).credit.orders == 0
        assert (await attribution.outcome(session, second_campaign)).credit.revenue_fen == 8000


async def test_lift_is_against_the_holdout_and_says_how_sure(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    messages = [{"name": "A", "text": "满减"}, {"name": "B", "text": "猫条"}]
    start = clock.now()
    campaign_id, run_id = await a_run(sessions, start, messages=messages, worth_fen=100, cost_fen=900)
    people = [(await make.member()).id for _ in range(90)]
    await delivered(sessions, run_id, people[:30], start)
    await delivered(sessions, run_id, people[30:60], start, variant=1)
    await delivered(sessions, run_id, people[60:], None)
    clock.advance(days=1)
    for number in (*range(16), *range(30, 33), *range(60, 62)):
        async with sessions.read() as session:
            member = await session.get_one(Member, people[number])
        await make.order(member, total_fen=1000)
    async with sessions.read() as session:
        found = await attribution.outcome(session, campaign_id)
    assert [(one.name, one.members, one.buyers) for one in found.arms] == [("A", 30, 16), ("B", 30, 3)]
    assert (found.holdout.members, found.holdout.buyers) == (30, 2)
    assert found.winner == "A"
    assert found.lift is not None and found.lift.is_above_zero
    assert found.incremental_fen == round((19000 / 60 - 2000 / 30) * 60)
    assert found.cost_fen == 900 + 60 * 100
    assert found.return_on_cost == pytest.approx((15000 - 6900) / 6900)
