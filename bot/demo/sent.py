"""The demo's campaigns of the last weeks, run by the engine as of the days they were due, and what they brought.

Each is one transaction, so that the service never finds one half way.
"""

import random
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.demo import shop, sync
from campaigns import attribution, broadcasts, definition, engine, firing, ticks
from campaigns.draining import NoKf
from campaigns.engine import Review
from campaigns.guard_rules import Gate
from campaigns.models.campaign import Broadcast, Copy, Delivery, DeliveryStatus
from campaigns.staff_tasks import Copied, Result
from crm import consents, order_batches
from crm.base import outbox
from crm.base.clock import SHANGHAI
from crm.base.db import Sessions
from crm.base.outbox import Settlement, Status
from crm.models.member import Contact, Staff
from crm.order_terms import Line, Told

WAY_OUT = "不想再收到，回复「退订」。"
# name, days ago, hour, what it says, how many of a hundred buy after it, and without it
SENT: tuple[tuple[str, int, int, dict[str, Any], int, int], ...] = (
    (
        "换季护理周", 44, 20,
        {"messages": [{"text": "换季啦，去浮毛梳和香波一起买立减 20 元，回复「换季」看搭配。" + WAY_OUT}],
         "cost_fen": 60_000},
        26, 3,
    ),
    (
        "双十一老客专场", 16, 19,
        {"messages": [
            {"name": "省钱", "text": "老朋友专场：猫粮、猫砂满 299 减 50，今晚 0 点前有效。" + WAY_OUT},
            {"name": "囤货", "text": "囤货单替您列好了：主粮两袋起享老客价，回复「囤货」查看。" + WAY_OUT}],
         "cost_fen": 120_000},
        34, 4,
    ),
    (
        "沉睡老客唤醒", 9, 20,
        {"audience": {"is": "stage", "among": ["at_risk", "lapsed"]},
         "messages": [{"text": "好久不见，给您留了一张满 99 减 20，三天内有效。" + WAY_OUT}],
         "cost_fen": 40_000},
        22, 2,
    ),
)  # fmt: skip
USUAL = {"kind": "one_off", "audience": {"is": "contact_of"}, "channels": ["broadcast"], "holdout_percent": 20}
FORGOT = "dianzhang"  # the one whose task of the newest campaign was never confirmed
OPTED_OUT = 2  # members after each
PATIENCE = 30  # seconds
SELF = 0  # the worker that held the messages; no process has this number
ANY_SIZE = Review(above_members=10**9, above_fen=10**12)
_GOODS = [Line(sku=sku, name=name, category=kind, quantity=1, price_fen=fen) for sku, name, kind, fen in shop.GOODS]


async def send(sessions: Sessions, chance: random.Random, *, contacts: int, gate: Gate, now: datetime) -> None:
    """One after the other, then credit the orders they brought. contacts: how many the first sync will have read."""
    await sync.read(sessions, sa.select(Contact.id), contacts, seconds=PATIENCE)
    for number, (name, days, hour, told, bought, anyway) in enumerate(SENT):
        due = (now - timedelta(days=days)).astimezone(SHANGHAI).replace(hour=hour, minute=0, second=0, microsecond=0)
        forgot = FORGOT if number == len(SENT) - 1 else ""
        async with sessions.begin() as session:
            run_id = await _run(session, name, {**told, "starts_at": due.isoformat()}, gate, due, forgot=forgot)
            await _buy(session, run_id, chance, due, bought, anyway)
            await _leave(session, run_id, due + timedelta(hours=2))
    async with sessions.begin() as session:
        await attribution.credit(session, paid_since=now - timedelta(days=60), now=now)


async def _run(
    session: AsyncSession, name: str, told: dict[str, Any], gate: Gate, due: datetime, *, forgot: str
) -> int:
    """From the draft to the last result; returns the run's id."""
    planned = due - timedelta(days=1)
    campaign = await engine.create(session, name, definition.read({**USUAL, **told}), by="yuanyuan", now=planned)
    await engine.submit(session, campaign.id, review=ANY_SIZE, now=planned)
    await firing.fire_due(session, now=due)
    run_id = (await engine.runs_of(session, campaign.id))[0].id
    while await ticks.plan(session, now=due):
        pass
    while await ticks.drain(session, gate, NoKf(), now=due):
        pass
    while await ticks.settle(session, run_id, gate, now=due):
        pass
    await _ask(session, due)
    await _confirm(session, run_id, due, forgot)
    while await ticks.settle(session, run_id, gate, now=due + timedelta(days=2)):
        pass
    return run_id


async def _ask(session: AsyncSession, at: datetime) -> None:
    """WeCom took every task."""
    claimed = await outbox.claim(session, [broadcasts.LANE], worker=SELF, now=at)
    for one in claimed:
        task = await broadcasts.ready(session, one.body["broadcast_id"], now=at)
        for statement in broadcasts.asked(task, f"msgDEMO{one.id}", [], now=at) if task else []:
            await session.execute(statement)
    done = [Settlement(id=one.id, status=Status.SENT) for one in claimed]
    await outbox.settle(await session.connection(), done, worker=SELF, now=at)


async def _confirm(session: AsyncSession, run_id: int, due: datetime, forgot: str) -> None:
    """Staff tap within two hours; a task that nobody tapped is taken back two days later."""
    rows = await session.execute(
        sa.select(Broadcast.id, Staff.userid)
        .join(Staff, Staff.id == Broadcast.staff_id)
        .where(Broadcast.run_id == run_id)
        .order_by(Broadcast.id)
    )
    for number, (broadcast_id, sender) in enumerate(rows.all()):
        if sender == forgot:
            end = due + timedelta(days=2)
            await broadcasts.take_results(session, broadcast_id, [], confirmed_at=None, is_over=True, now=end)
            continue
        at = due + timedelta(minutes=8 + 17 * number)
        copies = await session.scalars(sa.select(Copy.external_userid).where(Copy.broadcast_id == broadcast_id))
        results = [Result(one, Copied.SENT, at) for one in copies]
        await broadcasts.take_results(session, broadcast_id, results, confirmed_at=at, now=at)


async def _buy(
    session: AsyncSession, run_id: int, chance: random.Random, due: datetime, bought: int, anyway: int
) -> None:
    """Some of whom it reached buy in the days after, and fewer of those who were held out."""
    rows = await session.execute(
        sa.select(Delivery.member_id, Delivery.status).where(Delivery.run_id == run_id).order_by(Delivery.member_id)
    )
    told = []
    for member_id, status in rows:
        if chance.randrange(100) < (bought if status is DeliveryStatus.SENT else anyway):
            at = due + timedelta(hours=chance.uniform(3, 120))
            lines = tuple(chance.sample(_GOODS, k=chance.choice((1, 1, 2))))
            fen = sum(line.price_fen for line in lines)
            told.append(
                Told(
                    source="shop", external_no=f"MQ{at:%y%m%d}R{run_id}{member_id:05d}", member_id=member_id,
                    placed_at=at, total_fen=fen, lines=lines, paid_at=at,
                )
            )  # fmt: skip
    await order_batches.place_all(session, told, now=due + timedelta(days=5))


async def _leave(session: AsyncSession, run_id: int, at: datetime) -> None:
    """Each campaign costs a few readers."""
    reached = await session.scalars(
        sa.select(Delivery.member_id)
        .where(Delivery.run_id == run_id, Delivery.status == DeliveryStatus.SENT)
        .order_by(Delivery.member_id.desc())
        .limit(OPTED_OUT)
    )
    for member_id in reached:
        await consents.opt_out(session, member_id, source="chat", wording_version="1", now=at)
