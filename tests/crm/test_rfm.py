"""RFM against its definition: on a real shop's orders, on made-up ones, order by order and night by night."""

import asyncio
import csv
import random
from collections import defaultdict
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from crm import orders, rfm, rfm_history
from crm.base.clock import FrozenClock, local_day
from crm.base.db import Sessions
from crm.models.order import Order, Refund
from crm.models.rfm import MemberRfm, RfmSnapshot, Segment, Tier
from crm.order_terms import Told
from crm.rfm import DayNotOver
from crm.rfm_history import SnapshotNotFound
from crm.rfm_rules import TIERS, FixedCutoffs, Rule
from crm.rfm_scratch import ColumnsMissing, read_orders, score, write_scores
from tests.conftest import ROOT
from tests.crm import rfm_by_definition as definition
from tests.factories import Make

REAL = ROOT.parent / "shared" / "data" / "orders" / "online_retail_orders.csv"
TODAY = date(2026, 3, 9)  # of the tests' clock, in Shanghai


def scored_file(path: Path, as_of: date, rule: Rule | None = None) -> dict[str, definition.Row]:
    rows = asyncio.run(score(read_orders(path), as_of=as_of, rule=rule or Rule()))
    return {
        row.member_id: (row.recency_days, row.frequency, row.monetary_fen, row.r, row.f, row.m, str(row.segment))
        for row in rows
    }


@pytest.mark.skipif(not REAL.exists(), reason="the shared orders are not here")
@pytest.mark.parametrize(
    ("as_of", "window"), [(date(2011, 12, 10), 365), (date(2011, 12, 1), 365), (date(2011, 6, 15), 90)]
)
def test_a_real_shops_orders_score_as_defined_row_by_row(as_of: date, window: int) -> None:
    sales, loose = [], []
    with REAL.open(newline="") as lines:
        for row in csv.DictReader(lines):
            day, fen = date.fromisoformat(row["paid_at"][:10]), round(float(row["amount"]) * 100)
            if row["kind"] == "sale":
                sales.append(definition.Order(row["member_id"], day, fen))
            else:
                loose.append(definition.LooseRefund(row["member_id"], day, -fen))
    expected = definition.score(sales, loose, as_of, window)
    assert len(expected) > 1000
    assert scored_file(REAL, as_of, Rule(window_days=window)) == expected


MEMBERS = st.sampled_from(["甲", "乙", "丙", "丁", "戊", "己", "庚"])
INSTANTS = st.datetimes(datetime(2025, 12, 20), datetime(2026, 1, 20))  # noqa: DTZ001  (as files have them: local)
SALES = st.tuples(MEMBERS, INSTANTS, st.integers(0, 5) | st.integers(0, 100_000))
REFUNDS = st.tuples(st.none() | st.integers(0, 30), MEMBERS, INSTANTS, st.integers(1, 3) | st.integers(1, 50_000))


@settings(max_examples=60, deadline=None)
@given(st.lists(SALES, max_size=25), st.lists(REFUNDS, max_size=10), st.integers(1, 20))
def test_made_up_files_score_as_defined(tmp_path_factory, sales, refunds, window) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("orders") / "orders.csv"
    as_of = date(2026, 1, 10)
    back: dict[int, list[tuple[date, int]]] = defaultdict(list)
    loose, lines = [], []
    for place, (member, at, fen) in enumerate(sales):
        lines.append((f"o{place}", member, at.isoformat(), "sale", f"{fen / 100:.2f}"))
    left = {place: fen for place, (_, _, fen) in enumerate(sales)}
    for named, member, at, fen in sorted(refunds, key=lambda row: row[2]):
        mine = named is not None and named < len(sales)
        if mine:
            member = sales[named][0]
        taken = min(fen, left[named]) if mine else 0
        if taken:
            left[named] -= taken
            back[named].append((at.date(), taken))
        if fen > taken:
            loose.append(definition.LooseRefund(member, at.date(), fen - taken))
        lines.append((f"o{named}" if mine else "", member, at.isoformat(), "refund", f"-{fen / 100:.2f}"))
    lines = [(order_id or f"r{place}", *rest) for place, (order_id, *rest) in enumerate(lines)]
    path.write_text(
        "\n".join([",".join(row) for row in [("order_id", "member_id", "paid_at", "kind", "amount"), *lines]])
    )
    told = [
        definition.Order(member, at.date(), fen, tuple(back[place])) for place, (member, at, fen) in enumerate(sales)
    ]
    assert scored_file(path, as_of, Rule(window_days=window)) == definition.score(told, loose, as_of, window)


def test_the_day_is_the_shops_and_the_edges_are_sharp(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(
        "order_id,member_id,paid_at,kind,amount\n"
        "1,last-second,2026-03-08T15:59:59Z,sale,10\n"  # 23:59:59 in the shop
        "2,too-late,2026-03-08T16:00:00Z,sale,10\n"  # 00:00 of the day itself
        "3,first-day,2025-03-09T00:00:00,sale,10\n"
        "4,too-early,2025-03-08T23:59:59,sale,10\n"
        "5,nothing-paid,2026-03-01T12:00:00,sale,0.00\n"
        "6,only-refund,2026-03-01T12:00:00,refund,-5\n"
        "7,gave-it-back,2026-03-01T12:00:00,sale,10\n"
        "7,gave-it-back,2026-03-02T12:00:00,refund,10\n"
        "8,gave-it-back-later,2026-03-01T12:00:00,sale,10\n"
        "8,gave-it-back-later,2026-03-09T00:00:00,refund,10\n"
    )
    found = scored_file(path, TODAY)
    assert {member: row[:3] for member, row in found.items()} == {
        "last-second": (1, 1, 1000),
        "first-day": (365, 1, 1000),
        "gave-it-back-later": (8, 1, 1000),
    }


def test_a_bad_row_is_refused_alone_and_missing_columns_are_named(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(
        "order_id,member_id,paid_at,kind,amount\n1,a,2026-03-01,sale,十元\n2,a,昨天,sale,1\n3,a,2026-03-01,gift,1\n"
        '4,,2026-03-01,sale,1\n5,a,2026-03-01,sale,-1\n6,a,2026/03/01 08:30,sale,"¥1,299.00"\n7,a,2026-03-01\n'
    )
    read = read_orders(path)
    assert [row.row_number for row in read.refused] == [2, 3, 4, 5, 6, 8]
    assert [sale.fen for sale in read.sales.values()] == [129_900]
    path.write_text("订单号,member_id\n1,a\n")
    with pytest.raises(ColumnsMissing) as refused:
        read_orders(path)
    assert refused.value.missing == ("order_id", "paid_at", "kind", "amount")


def test_scores_are_written_whole(tmp_path: Path) -> None:
    orders_file, out = tmp_path / "orders.csv", tmp_path / "scores.csv"
    orders_file.write_text("order_id,member_id,paid_at,kind,amount\n1,00012,2026-03-01,sale,10\n")
    write_scores(out, asyncio.run(score(read_orders(orders_file), as_of=TODAY, rule=Rule())))
    assert out.read_text() == (
        "member_id,recency_days,frequency,monetary_fen,r,f,m,segment\n00012,8,1,1000,1,1,1,重要价值\n"
    )


def test_every_segment_has_a_tier_and_all_tiers_are_used() -> None:
    assert set(TIERS) == set(Segment) and set(TIERS.values()) == set(Tier)


class Shop:
    """A few members who buy and give back through the product's verbs, from day to day."""

    def __init__(self, sessions: Sessions, make: Make, clock: FrozenClock) -> None:
        self.sessions, self.make, self.clock = sessions, make, clock
        self.chance = random.Random(11)
        self.numbers = 0

    async def open(self, people: int) -> None:
        self.members = [await self.make.member(name=f"会员{number}") for number in range(people)]

    def today(self) -> date:
        return local_day(self.clock.now())

    async def buy(self, member_id: int, fen: int, *, days_ago: int = 0) -> Order:
        at = self.clock.now() - timedelta(days=days_ago)
        self.numbers += 1
        told = Told(
            source="t",
            external_no=f"N{self.numbers}",
            member_id=member_id,
            placed_at=at,
            total_fen=fen,
            paid_at=at,
        )
        async with self.sessions.begin() as session:
            return await orders.place(session, told, now=self.clock.now())

    async def give_back(self, member_id: int, fen: int, order: Order | None = None) -> None:
        self.numbers += 1
        async with self.sessions.begin() as session:
            await orders.refund(
                session,
                "t",
                f"R{self.numbers}",
                amount_fen=fen,
                refunded_at=self.clock.now(),
                order_no=order.external_no if order else None,
                member_id=None if order else member_id,
                now=self.clock.now(),
            )

    async def refresh(
        self, as_of: date | None = None, *, rule: Rule = rfm.DEFAULT, from_scratch: bool = False
    ) -> RfmSnapshot:
        async with self.sessions.begin() as session:
            return await rfm.refresh(
                session, as_of=as_of or self.today(), rule=rule, now=self.clock.now(), from_scratch=from_scratch
            )

    async def busy_day(self) -> None:
        """A few purchases, some of long ago and some of nothing; refunds of all kinds."""
        bought = []
        for _ in range(self.chance.randrange(6)):
            one = self.chance.choice(self.members).id
            bought.append(
                await self.buy(
                    one, self.chance.choice([0, 1, 500, 500, 9_900]), days_ago=self.chance.choice([0, 0, 3, 12, 30])
                )
            )
        async with self.sessions.read() as session:
            known = list(await session.scalars(sa.select(Order).where(Order.paid_fen > Order.refunded_fen)))
        for order in self.chance.sample(known, min(len(known), 2)):
            left = order.paid_fen - order.refunded_fen
            await self.give_back(order.member_id, self.chance.choice([left, max(1, left // 2)]), order)
        if self.chance.random() < 0.3:
            await self.give_back(self.chance.choice(self.members).id, 70)

    async def by_definition(self, as_of: date, window: int) -> dict[str, definition.Row]:
        async with self.sessions.read() as session:
            refunds = list(await session.scalars(sa.select(Refund)))
            rows = list(await session.scalars(sa.select(Order)))
        back = defaultdict(list)
        for refund in refunds:
            back[refund.order_id].append((refund.refunded_on, refund.amount_fen))
        sales = [definition.Order(str(row.member_id), row.paid_on, row.paid_fen, tuple(back[row.id])) for row in rows]
        loose = [
            definition.LooseRefund(str(one.member_id), one.refunded_on, one.amount_fen)
            for one in refunds
            if one.order_id is None
        ]
        return definition.score(sales, loose, as_of, window)

    async def snapshot(self, day: date) -> dict[str, tuple[int, int, int, str]]:
        async with self.sessions.read() as session:
            state = await rfm_history.state(session, day)
        found = {str(member): rfm_history.decode(code) for member, code in state.items()}
        return {member: (one.r, one.f, one.m, str(one.segment)) for member, one in found.items() if one}

    async def live(self) -> dict[int, MemberRfm]:
        async with self.sessions.read() as session:
            return {row.member_id: row for row in await session.scalars(sa.select(MemberRfm))}


@pytest.fixture
async def shop(sessions: Sessions, make: Make, clock: FrozenClock) -> Shop:
    return Shop(sessions, make, clock)


async def test_night_after_night_the_moved_totals_are_those_of_the_orders(shop: Shop) -> None:
    rule = Rule(window_days=14)
    await shop.open(8)
    expected = {}
    for _ in range(25):
        await shop.busy_day()
        shop.clock.advance(hours=shop.chance.choice([20, 24, 24, 49]))
        if shop.chance.random() < 0.4:  # already something on the day itself
            await shop.busy_day()
        day = shop.today()
        snapshot = await shop.refresh(day, rule=rule)
        expected[day] = await shop.by_definition(day, 14)
        assert await shop.snapshot(day) == {member: row[3:] for member, row in expected[day].items()}
        assert snapshot.members == len(expected[day])
    for day, rows in expected.items():  # later snapshots left the earlier ones as they were
        assert await shop.snapshot(day) == {member: row[3:] for member, row in rows.items()}
    moved = {
        member: (row.frequency, row.monetary_fen, row.last_paid_day, row.r, row.segment)
        for member, row in (await shop.live()).items()
    }
    await shop.refresh(rule=rule, from_scratch=True)
    counted = {
        member: (row.frequency, row.monetary_fen, row.last_paid_day, row.r, row.segment)
        for member, row in (await shop.live()).items()
    }
    assert moved == counted


async def test_an_order_rescores_its_member_at_once_by_the_current_cut_offs(shop: Shop) -> None:
    await shop.open(6)
    for place, member in enumerate(shop.members[:5]):
        for _ in range(place + 1):
            await shop.buy(member.id, 1_000 * (place + 1), days_ago=10 * (5 - place))
    await shop.refresh()
    newcomer = shop.members[5]
    order = await shop.buy(newcomer.id, 10_000)
    row = (await shop.live())[newcomer.id]
    assert (row.r, row.f, row.m, row.frequency) == (5, 1, 4, 1)
    async with shop.sessions.read() as session:
        why = await rfm.explain(session, newcomer.id, now=shop.clock.now())
    assert why is not None and str(why.score) == "5-1-4"
    assert why.reasons[0] == "R=5：今天刚付过款；5 分要不超过 19 天"
    assert why.reasons[2] == "M=4：净消费 ¥100.00；4 分要至少 ¥90.01，5 分要至少 ¥160.01"
    await shop.give_back(newcomer.id, 10_000, order)
    async with shop.sessions.read() as session:
        assert await rfm.explain(session, newcomer.id, now=shop.clock.now()) is None


async def test_a_refund_of_the_last_order_brings_back_the_day_before_it(shop: Shop) -> None:
    await shop.open(1)
    await shop.buy(shop.members[0].id, 500, days_ago=9)
    await shop.refresh()
    last = await shop.buy(shop.members[0].id, 500)
    before = (await shop.live())[shop.members[0].id].last_paid_day
    await shop.give_back(shop.members[0].id, 500, last)
    after = (await shop.live())[shop.members[0].id]
    assert before is not None and after.last_paid_day == before - 9 and after.frequency == 1


async def test_the_shop_may_set_fixed_limits(shop: Shop) -> None:
    await shop.open(2)
    for _ in range(3):
        await shop.buy(shop.members[0].id, 20_000, days_ago=40)
    await shop.buy(shop.members[1].id, 100, days_ago=300)
    fixed = FixedCutoffs(
        r_at_most=(180, 90, 60, 30), f_at_least=(2, 3, 5, 10), m_at_least=(10_000, 30_000, 100_000, 300_000)
    )
    await shop.refresh(rule=Rule(fixed=fixed))
    rows = await shop.live()
    first, second = (rows[member.id] for member in shop.members)
    assert (first.r, first.f, first.m, first.segment) == (4, 3, 3, Segment.IMPORTANT_VALUE)
    assert (second.r, second.f, second.m, second.segment) == (1, 1, 1, Segment.RECALL)


def test_limits_that_do_not_rise_are_refused() -> None:
    with pytest.raises(ValueError, match="fewer days"):
        FixedCutoffs(r_at_most=(30, 60, 90, 180), f_at_least=(2, 3, 5, 10), m_at_least=(1, 2, 3, 4))
    with pytest.raises(ValueError, match="takes more"):
        FixedCutoffs(r_at_most=(180, 90, 60, 30), f_at_least=(5, 3, 5, 10), m_at_least=(1, 2, 3, 4))


async def test_a_day_scored_late_leaves_the_days_around_it_as_they_were(shop: Shop) -> None:
    await shop.open(6)
    days = []
    for _ in range(4):
        await shop.busy_day()
        shop.clock.advance(days=2)
        days.append(shop.today())
        await shop.refresh(rule=Rule(window_days=20))
    before = [await shop.snapshot(day) for day in days]
    between = days[1] + timedelta(days=1)
    for _ in range(2):  # and again
        await shop.refresh(between, rule=Rule(window_days=20))
        assert await shop.snapshot(between) == {
            member: row[3:] for member, row in (await shop.by_definition(between, 20)).items()
        }
        assert [await shop.snapshot(day) for day in days] == before
    await shop.refresh(days[0] - timedelta(days=3), rule=Rule(window_days=20))
    assert [await shop.snapshot(day) for day in days] == before


async def test_two_snapshots_compare_as_a_matrix_of_moves(shop: Shop) -> None:
    await shop.open(6)
    for member in shop.members[:5]:
        await shop.buy(member.id, 900, days_ago=3)
    earlier, later = TODAY, TODAY + timedelta(days=5)
    await shop.refresh(earlier)
    shop.clock.advance(days=4)
    await shop.buy(shop.members[0].id, 90_000)
    await shop.buy(shop.members[5].id, 900)
    shop.clock.advance(days=1)
    await shop.refresh(later)
    async with shop.sessions.read() as session:
        moves = await rfm_history.matrix(session, earlier, later)
        with pytest.raises(SnapshotNotFound):
            await rfm_history.matrix(session, earlier, later + timedelta(days=1))
    assert sum(moves.values()) == 6
    assert moves[None, Segment.GROW] + moves.get((None, Segment.IMPORTANT_GROW), 0) == 1
    assert moves[Segment.IMPORTANT_VALUE, Segment.IMPORTANT_VALUE] == 1


async def test_a_back_test_says_what_each_cell_spent_in_the_ninety_days_after(shop: Shop) -> None:
    await shop.open(3)
    for member in shop.members:
        await shop.buy(member.id, 1_000)
    past = shop.today() + timedelta(days=1)
    shop.clock.advance(days=89)
    order = await shop.buy(shop.members[0].id, 7_000)
    await shop.give_back(0, 2_000, order)
    shop.clock.advance(days=3)  # the ninety days are over
    await shop.buy(shop.members[1].id, 9_000)
    async with shop.sessions.read() as session:
        [cell] = await rfm_history.back_test(session, past, Rule())
    assert (str(cell.score), cell.members, cell.buyers, cell.orders, cell.spent_fen) == ("1-1-1", 3, 1, 1, 5_000)


async def test_a_day_that_has_not_begun_is_refused(shop: Shop) -> None:
    with pytest.raises(DayNotOver):
        await shop.refresh(TODAY + timedelta(days=1))


async def test_a_shop_without_orders_has_a_snapshot_of_nobody(shop: Shop) -> None:
    snapshot = await shop.refresh()
    assert (snapshot.members, snapshot.moved, snapshot.cutoffs) == (0, 0, None)
    await shop.open(1)
    await shop.buy(shop.members[0].id, 100)
    assert (await shop.live())[shop.members[0].id].r is None  # no cut-offs yet
    shop.clock.advance(days=1)
    await shop.refresh()
    assert (await shop.live())[shop.members[0].id].r == 1
