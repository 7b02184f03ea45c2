"""27 real campaigns replayed through the gate and the attribution: the figures agree with a plain computation."""

import csv
import lzma
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta

import pytest
import sqlalchemy as sa

from campaigns import attribution, definition, guards
from campaigns.guard_rules import Channel, FrequencyCap, Gate, PlatformQuota
from campaigns.models.campaign import (
    Campaign,
    CampaignStatus,
    Conversion,
    Delivery,
    DeliveryStatus,
    Kind,
    Run,
    RunStatus,
)
from crm.base.clock import SHANGHAI
from crm.base.db import Sessions, insert_all
from crm.models.member import Gender, Member, MemberSource
from crm.models.order import Order, OrderStatus
from tests.campaigns.fixtures import told
from tests.conftest import ROOT

FOLDER = ROOT.parent / "shared" / "data" / "campaigns"
WINDOW, CAP = timedelta(days=7), FrequencyCap(1, timedelta(days=10))
GATE = Gate(quiet=None, caps=(CAP,), quota=PlatformQuota(None, None, None))
CHANNEL = Channel.KF

pytestmark = pytest.mark.skipif(not (FOLDER / "campaign_members.csv").exists(), reason="the data set is not here")


def rows(name: str) -> Iterator[dict[str, str]]:
    path = FOLDER / name
    opened = lzma.open(path, "rt") if path.suffix == ".xz" else path.open()  # noqa: SIM115  (closed below)
    with opened as lines:
        yield from csv.DictReader(lines)


def starts() -> dict[int, datetime]:
    """When each campaign goes out: 10:00 in the shop on its first day."""
    days = {int(row["campaign_id"]): date.fromisoformat(row["start_date"]) for row in rows("campaign_descriptions.csv")}
    return {number: datetime.combine(day, time(10), tzinfo=SHANGHAI).astimezone(UTC) for number, day in days.items()}


def wanted() -> dict[int, list[int]]:
    found: defaultdict[int, list[int]] = defaultdict(list)
    for row in rows("campaign_members.csv"):
        found[int(row["campaign_id"])].append(int(row["member_id"]))
    return dict(found)


def baskets(members: set[int]) -> list[tuple[int, int, datetime, int]]:
    """(number, member, paid at, fen) of these members' paid baskets; numbered in the file's order."""
    found = []
    for number, row in enumerate(rows("baskets.csv.xz"), 1):
        fen = round(float(row["amount"]) * 100)
        if fen > 0 and int(row["member_id"]) in members:
            at = datetime.fromisoformat(row["paid_at"]).replace(tzinfo=SHANGHAI).astimezone(UTC)
            found.append((number, int(row["member_id"]), at, fen))
    return found


async def lay_ground(sessions: Sessions, members: set[int], orders: list[tuple[int, int, datetime, int]]) -> None:
    first = min(at for _, _, at, _ in orders)
    async with sessions.begin() as session:
        people = [
            {"id": one, "code": f"M{one:07}", "name": "", "avatar": "", "gender": Gender.UNKNOWN,
             "source": MemberSource.IMPORT, "joined_at": first}
            for one in sorted(members)
        ]  # fmt: skip
        await insert_all(session, Member.__table__, people)
        bought = [
            {"id": number, "member_id": member, "source": "replay", "external_no": str(number),
             "status": OrderStatus.PAID, "total_fen": fen, "paid_fen": fen, "refunded_fen": 0, "placed_at": at,
             "told_at": at, "paid_at": at, "paid_on": at.astimezone(SHANGHAI).date()}
            for number, member, at, fen in orders
        ]  # fmt: skip
        for start in range(0, len(bought), 10_000):
            await insert_all(session, Order.__table__, bought[start : start + 10_000])


async def send_out(sessions: Sessions, number: int, at: datetime, members: list[int]) -> set[int]:
    """One campaign through the gate; those it lets through are reached at once. Returns these."""
    async with sessions.begin() as session:
        ref = f"replay:{number}"
        refs = dict.fromkeys(members, ref)
        decisions = await guards.admit(session, GATE, refs, channel=CHANNEL, now=at)
        through = {one for one, decision in decisions.items() if decision.is_allowed}
        for statement in guards.sent(ref, at=at):
            await session.execute(statement)
        frozen = definition.write(told(attribution_days=WINDOW.days))
        session.add(
            Campaign(
                id=number, name=f"{number}", kind=Kind.ONE_OFF, status=CampaignStatus.FINISHED, definition=frozen,
                created_by="replay", created_at=at, changed_at=at,
            )
        )  # fmt: skip
        await session.flush()
        session.add(
            Run(
                id=number, campaign_id=number, occurrence=at.isoformat(), status=RunStatus.FINISHED, definition=frozen,
                due_at=at, ticked_at=at, finished_at=at,
            )
        )  # fmt: skip
        delivered = [
            {"run_id": number, "member_id": one,
             "status": DeliveryStatus.SENT if one in through else DeliveryStatus.SKIPPED, "variant": 0,
             "reason": None if one in through else "gate.frequency", "sent_at": at if one in through else None}
            for one in sorted(members)
        ]  # fmt: skip
        await insert_all(session, Delivery.__table__, delivered)
        return through


def plainly(
    times: dict[int, datetime], asked: dict[int, list[int]], orders: list[tuple[int, int, datetime, int]]
) -> tuple[dict[int, set[int]], dict[int, tuple[int, int]]]:
    """The same by hand: who is let through, and orders and fen credited to each campaign."""
    last: dict[int, datetime] = {}
    through: dict[int, set[int]] = {}
    touches: defaultdict[int, list[tuple[datetime, int]]] = defaultdict(list)
    for number in sorted(times, key=lambda one: (times[one], one)):
        at = times[number]
        may = {one for one in asked[number] if one not in last or at - last[one] >= CAP.window}
        through[number] = may
        for one in may:
            last[one] = at
            touches[one].append((at, number))
    credited: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
    for _, member, paid_at, fen in orders:
        before = [touch for touch in touches[member] if touch[0] <= paid_at < touch[0] + WINDOW]
        if before:
            sums = credited[max(before)[1]]
            sums[0] += 1
            sums[1] += fen
    return through, {number: (count, fen) for number, (count, fen) in credited.items()}


async def test_the_figures_agree_with_a_plain_computation(sessions: Sessions) -> None:
    times, asked = starts(), wanted()
    members = {one for some in asked.values() for one in some}
    orders = baskets(members)
    await lay_ground(sessions, members, orders)
    through = {
        number: await send_out(sessions, number, times[number], asked[number])
        for number in sorted(times, key=lambda one: (times[one], one))
    }
    async with sessions.begin() as session:
        end = max(at for _, _, at, _ in orders)
        await attribution.credit(session, paid_since=min(times.values()), now=end)
    async with sessions.read() as session:
        sums = await session.execute(
            sa.select(Conversion.run_id, sa.func.count(), sa.func.sum(Order.paid_fen))
            .join(Order, Order.id == Conversion.order_id)
            .group_by(Conversion.run_id)
        )
        credited = {row[0]: (row[1], int(row[2])) for row in sums}
        some = await attribution.outcome(session, 13)
    expected_through, expected_credit = plainly(times, asked, orders)
    assert through == expected_through
    assert credited == expected_credit
    assert sum(map(len, through.values())) < sum(map(len, asked.values())), "the cap held somebody back"
    assert (some.credit.orders, some.credit.revenue_fen) == expected_credit[13]
