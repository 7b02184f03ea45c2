"""Payments nobody told us of: put to their claims once, and what fits none waits for a person."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from bot.app import App
from bot.flashsale import bills, payments
from bot.flashsale.bills import BillWatch, Choices
from bot.flashsale.terms import BillNotFound, ClaimNotFound
from bot.models.sale import ClaimStatus, PaymentOutcome, SaleItem, SalePayment
from bot.wecom.api.bills import Bill, BillRefund
from bot.wecom.api.call import Page
from bot.wecom.errors import NotAllowed, RateLimited
from crm import orders
from crm.base.clock import FrozenClock
from crm.base.peers import Peers
from tests.bot.flashsale.stall import Stall, item

POLL = timedelta(minutes=2)
LATE = timedelta(minutes=15)


@dataclass
class Listing:
    """The vendor's list of bills, in pages of two that may be empty; it fails as often as told."""

    clock: FrozenClock
    all: list[Bill] = field(default_factory=list)
    asked: list[tuple[datetime, datetime, str]] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    serial: int = 0

    def paid(self, fen: int = 1990, *, no: str = "", who: str = "", words: str = "", payee: str = "mei") -> Bill:
        self.serial += 1
        bill = Bill(
            transaction_id=f"4200{self.serial}",
            out_trade_no=no or f"10{self.serial}",
            fen=fen,
            paid_at=self.clock.now().replace(microsecond=0),
            external_userid=who,
            payee=payee,
            words=words,
        )
        self.all.append(bill)
        return bill

    async def bills(self, begin, end, *, payee="", app=None):
        self.asked.append((begin, end, payee))
        found = [one for one in self.all if begin <= one.paid_at <= end and payee in ("", one.payee)]
        yield Page(())
        for start in range(0, len(found), 2):
            if self.failures:
                raise self.failures.pop()
            yield Page(tuple(found[start : start + 2]))


@pytest.fixture
def listing(clock: FrozenClock) -> Listing:
    return Listing(clock)


@pytest.fixture
def watch(stall: Stall, listing: Listing, chance) -> BillWatch:
    app = App(clock=stall.clock, chance=chance, sessions=stall.sessions, peers=Peers(stall.sessions, chance=chance))
    return BillWatch(app, listing, Choices(POLL))


async def poll(watch: BillWatch, stall: Stall) -> None:
    stall.clock.advance(POLL)
    while await watch.round():
        pass


async def payments_of(stall: Stall) -> list[tuple[str, PaymentOutcome]]:
    async with stall.sessions.read() as session:
        rows = await session.execute(sa.select(SalePayment.transaction_id, SalePayment.outcome).order_by("id"))
        return [(row[0], row[1]) for row in rows]


async def reasons(stall: Stall) -> list[str]:
    async with stall.sessions.read() as session:
        return [one.why for one in await bills.strays(session)]


async def who(stall: Stall, count: int) -> list[tuple[int, str]]:
    """Members, and how WeCom knows them."""
    found = await stall.members(count)
    return [(member_id, f"wm-stall-{stall.keys}-{number}") for number, member_id in enumerate(found)]


async def held(stall: Stall, member_id: int, a1: SaleItem) -> str:
    return (await stall.claim(a1, member_id)).no


async def test_a_payment_the_notice_missed_is_found_and_counts_once(
    stall: Stall, watch: BillWatch, listing: Listing
) -> None:
    (lin,), a1 = await stall.members(1), await stall.item()
    bill = listing.paid(no=await held(stall, lin, a1))
    for _ in range(3):
        await poll(watch, stall)
    assert await stall.statuses(lin) == [ClaimStatus.PAID]
    again = await stall.pay(bill.out_trade_no, 1990, transaction=bill.transaction_id)  # the notice, after all
    assert again.outcome is PaymentOutcome.APPLIED
    assert await payments_of(stall) == [(bill.transaction_id, PaymentOutcome.APPLIED)]
    assert await stall.counters(a1) == (0, 1, 2)


async def test_the_number_in_what_staff_wrote_names_the_claim(stall: Stall, watch: BillWatch, listing: Listing) -> None:
    (lin, chen), a1 = await stall.members(2), await stall.item()
    no, other = await held(stall, lin, a1), await held(stall, chen, a1)
    listing.paid(words=f"秒杀 {no}，谢谢")
    listing.paid(words=f"{no} {other}")
    await poll(watch, stall)
    assert await stall.statuses(lin) == [ClaimStatus.PAID]
    assert await reasons(stall) == ["写着几个单号"]


async def test_without_a_number_the_payers_only_claim_of_that_amount_is_paid(
    stall: Stall, watch: BillWatch, listing: Listing
) -> None:
    (lin, lin_at_wecom), (chen, chen_at_wecom) = await who(stall, 2)
    a1, a2 = await stall.items(await stall.sale(item("A1", stock=9), item("A2", stock=9)))
    await held(stall, lin, a1)
    for each in (a1, a2):
        await held(stall, chen, each)
    listing.paid(who=lin_at_wecom)
    listing.paid(who=chen_at_wecom)  # A1 or A2?
    listing.paid(1980, who=lin_at_wecom)
    listing.paid(who="wm-nobody")
    listing.paid()
    await poll(watch, stall)
    assert await stall.statuses(lin) == [ClaimStatus.PAID]
    assert await stall.statuses(chen) == [ClaimStatus.HELD] * 2
    assert await reasons(stall) == [
        "这位会员有几单都是这个金额",
        "这位会员那时没有这个金额的单",
        "没有单号，付款的人不是会员",
        "没有单号，也不知道是谁付的",
    ]


async def test_money_of_before_the_claim_or_after_its_time_is_not_taken_for_it(
    stall: Stall, watch: BillWatch, listing: Listing
) -> None:
    ((lin, lin_at_wecom),), a1 = await who(stall, 1), await stall.item()
    listing.paid(who=lin_at_wecom)
    stall.clock.advance(seconds=5)
    await held(stall, lin, a1)
    stall.clock.advance(LATE)
    listing.paid(who=lin_at_wecom)
    await poll(watch, stall)
    assert await reasons(stall) == ["这位会员那时没有这个金额的单"] * 2


async def test_what_was_paid_in_time_and_found_after_the_release_is_late_money(
    stall: Stall, watch: BillWatch, listing: Listing
) -> None:
    ((lin, lin_at_wecom),), a1 = await who(stall, 1), await stall.item()
    await held(stall, lin, a1)
    stall.clock.advance(LATE - timedelta(seconds=10))
    listing.paid(who=lin_at_wecom)
    stall.clock.advance(LATE)
    await stall.release()
    await poll(watch, stall)
    assert [outcome for _, outcome in await payments_of(stall)] == [PaymentOutcome.HONOURED]


async def test_a_person_says_whose_money_it_was(stall: Stall, watch: BillWatch, listing: Listing) -> None:
    (lin, chen), a1 = await stall.members(2), await stall.item()
    no, other = await held(stall, lin, a1), await held(stall, chen, a1)
    mine, lost, named = listing.paid(), listing.paid(500), listing.paid()
    await poll(watch, stall)
    assert len(await reasons(stall)) == 3
    now = stall.clock.now()
    async with stall.sessions.begin() as session:
        assert await bills.settle(session, lost.transaction_id, other="猫窝的定金", now=now) is None
    with pytest.raises(ClaimNotFound):
        async with stall.sessions.begin() as session:
            await bills.settle(session, mine.transaction_id, no="nothing", now=now)
    async with stall.sessions.begin() as session:
        taken = await bills.settle(session, mine.transaction_id, no=no, now=now)
        assert taken is not None and taken.outcome is PaymentOutcome.APPLIED
    with pytest.raises(BillNotFound):
        async with stall.sessions.begin() as session:
            await bills.settle(session, mine.transaction_id, no=no, now=now)
    await stall.pay(other, 1990, transaction=named.transaction_id)  # a late notice names the claim of the third
    await poll(watch, stall)
    assert await reasons(stall) == []
    assert await stall.counters(a1) == (0, 2, 1)


async def test_a_reading_that_is_cut_short_is_done_again(stall: Stall, watch: BillWatch, listing: Listing) -> None:
    people, a1 = await stall.members(3), await stall.item(stock=9)
    for one in people:
        listing.paid(no=await held(stall, one, a1))
    stall.clock.advance(POLL)
    listing.failures = [RateLimited()]
    with pytest.raises(RateLimited):
        await watch.round()
    assert not await watch.round()  # not before its time: another worker does not rush in
    listing.failures = [NotAllowed(48002)]
    await poll(watch, stall)
    await poll(watch, stall)
    begins = [begin for begin, _, _ in listing.asked]
    assert len(set(begins)) == 1  # the place has not moved on before a reading came to its end
    assert len(await payments_of(stall)) == 3


async def test_after_a_long_rest_all_of_it_is_read_a_month_at_a_time(
    stall: Stall, watch: BillWatch, listing: Listing
) -> None:
    await poll(watch, stall)
    listing.paid(words="gone")
    stall.clock.advance(days=75)
    await poll(watch, stall)
    assert await reasons(stall) == ["没有单号，也不知道是谁付的"]
    assert all(end - begin <= timedelta(days=30) for begin, end, _ in listing.asked)
    assert listing.asked[-1][1] == stall.clock.now()
    seen = len(listing.asked)
    await poll(watch, stall)
    assert listing.asked[-1][0] == stall.clock.now() - POLL - bills.OVERLAP
    assert len(listing.asked) == seen + 1


async def test_a_bill_that_cannot_be_taken_is_kept_and_keeps_nobody_waiting(
    stall: Stall, watch: BillWatch, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lin, chen), a1 = await stall.members(2), await stall.item()
    bad, good = listing.paid(no=await held(stall, lin, a1)), listing.paid(no=await held(stall, chen, a1))
    real = payments.pay

    async def fails(session, told, *, now):
        if told.transaction_id == bad.transaction_id:
            raise RuntimeError("a bug")
        return await real(session, told, now=now)

    monkeypatch.setattr(payments, "pay", fails)
    await poll(watch, stall)
    assert await reasons(stall) == ["入账时出错：RuntimeError"]
    assert await payments_of(stall) == [(good.transaction_id, PaymentOutcome.APPLIED)]


async def test_what_went_back_is_known_by_the_bills(stall: Stall, watch: BillWatch, listing: Listing) -> None:
    (lin, chen), a1 = await stall.members(2), await stall.item()
    no = await held(stall, lin, a1)
    paid, wrong = listing.paid(no=no), listing.paid(500, no=await held(stall, chen, a1))
    await poll(watch, stall)
    now = stall.clock.now()
    listing.all = [
        replace(paid, refunds=(BillRefund(no="501", fen=990, asked_at=now),)),
        replace(wrong, refunds=(BillRefund(no="502", fen=500, asked_at=now),)),
    ]
    for _ in range(2):
        await poll(watch, stall)
    assert await payments_of(stall) == [
        (paid.transaction_id, PaymentOutcome.APPLIED),
        (wrong.transaction_id, PaymentOutcome.REFUNDED),
    ]
    async with stall.sessions.read() as session:
        (order,) = await orders.latest_of(session, lin)
    assert order.refunded_fen == 990
