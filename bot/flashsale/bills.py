"""Payments that nobody told us of: read from the corp's bills, once, and put to the claims they pay for.

What comes by notice, by a person and by the bills is one payment, because its transaction is one. Money that fits no
claim is kept for a person; of several claims that it might pay for none is guessed.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.app import App
from bot.flashsale import allocator, payments
from bot.flashsale.payments import SOURCE, Payment
from bot.flashsale.terms import BillNotFound
from bot.flashsale.watch import TOPIC
from bot.metrics import ALERTS
from bot.models.bill import BillReading, StrayBill
from bot.models.sale import Claim, ClaimStatus, PaymentOutcome, SalePayment
from bot.wecom.api.bills import LONGEST, Bill, BillsApi
from bot.wecom.errors import NotAllowed
from crm import identities, orders
from crm.base.db import insert
from crm.base.errors import ShopError
from crm.models.member import IdentityKind

log = logging.getLogger(__name__)

READING = "sale"
FIRST = timedelta(days=1)  # how far back the very first reading looks
OVERLAP = timedelta(hours=1)  # read again each time: a bill may be listed later than it was paid
LOOK_EVERY = 10.0  # seconds
SECOND = timedelta(seconds=1)  # the bills know no smaller unit
NUMBER = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")  # of a claim, in what staff wrote


@dataclass(frozen=True, slots=True)
class Choices:
    """How the shop has its bills read. payees: only what these userids collected; none means everything."""

    poll: timedelta
    payees: Sequence[str] = ()
    app: str | None = None


class BillWatch:
    """The loop that reads. Any number of workers may run it: one of them reads at a time."""

    def __init__(self, app: App, api: BillsApi, choices: Choices) -> None:
        self._app, self._api, self._choices = app, api, choices

    async def run(self) -> None:
        """Forever."""
        while True:
            if not await self.round():
                await self._app.peers.wait("bills", seconds=LOOK_EVERY)

    async def round(self) -> bool:
        """Read what was paid lately, if it is time; whether there is more to read at once.

        A reading that is cut short begins again where it began: only its end moves the place on.
        """
        now = self._app.clock.now()
        since = await self._take_turn(now)
        if since is None:
            return False
        until = min(now, since + LONGEST - OVERLAP)
        try:
            for payee in self._choices.payees or ("",):
                async for page in self._api.bills(since - OVERLAP, until, payee=payee, app=self._choices.app):
                    await self._take(page.items)
        except NotAllowed as error:
            ALERTS.labels("bills_not_allowed").inc()
            log.error("bills.not_allowed", extra={"error": str(error)})
            return False
        is_behind = until < now
        async with self._app.sessions.begin() as session:
            moved = sa.update(BillReading).where(BillReading.name == READING, BillReading.read_until < until)
            await session.execute(moved.values(read_until=until, **({"next_at": now} if is_behind else {})))
        return is_behind

    async def _take_turn(self, now: datetime) -> datetime | None:
        """From when to read, if this process shall do it now."""
        first = {"name": READING, "read_until": now - FIRST, "next_at": now}
        mine = sa.update(BillReading).where(BillReading.name == READING, BillReading.next_at <= now)
        async with self._app.sessions.begin() as session:
            await session.execute(insert(session, BillReading).values(first).on_conflict_do_nothing())
            since: datetime | None = await session.scalar(
                mine.values(next_at=now + self._choices.poll).returning(BillReading.read_until)
            )
        return since

    async def _take(self, bills: Sequence[Bill]) -> None:
        """Each bill in a transaction of its own: one that cannot be taken keeps no other waiting, nor is it lost."""
        async with self._app.sessions.read() as session:
            known = await _known(session, [one.transaction_id for one in bills])
        fresh = [one for one in bills if one.transaction_id not in known]
        for bill in fresh:
            try:
                async with self._app.sessions.begin() as session:
                    await take(session, bill, now=self._app.clock.now())
            except Exception as bug:
                ALERTS.labels("bill_failed").inc()
                log.exception("bills.failed", extra={"transaction_id": bill.transaction_id})
                async with self._app.sessions.begin() as session:
                    why = f"入账时出错：{type(bug).__name__}"
                    await _keep(session, bill, why, now=self._app.clock.now())
        for bill in (one for one in bills if one.refunds):
            try:
                async with self._app.sessions.begin() as session:
                    await follow_refunds(session, bill, now=self._app.clock.now())
            except ShopError as refusal:  # the books know of it otherwise; a person looks
                log.warning("bills.refund", extra={"transaction_id": bill.transaction_id, "code": refusal.code})
        if fresh:
            self._app.peers.tap(TOPIC)


async def take(session: AsyncSession, bill: Bill, *, now: datetime) -> SalePayment | None:
    """Put a payment to its claim; None: it fits none and is kept for a person."""
    no, why = await _claim_of(session, bill)
    if no is None:
        await _keep(session, bill, why, now=now)
        return None
    return await payments.pay(session, Payment(bill.transaction_id, no, bill.fen, bill.paid_at), now=now)


async def _claim_of(session: AsyncSession, bill: Bill) -> tuple[str | None, str]:
    """The claim that a payment is for, or why it fits none.

    Named by its number: as out_trade_no, or in what staff wrote. Else the payer's only claim of that very amount
    which was waiting for money at the instant of the payment.
    """
    named = {bill.out_trade_no, *NUMBER.findall(bill.words)} - {""}
    found = list(await session.scalars(sa.select(Claim.no).where(Claim.no.in_(named)).limit(2)))
    if len(found) > 1:
        return None, "写着几个单号"
    if found:
        return found[0], ""
    if not bill.external_userid:
        return None, "没有单号，也不知道是谁付的"
    payer = await identities.find_by(session, IdentityKind.EXTERNAL_USERID, bill.external_userid)
    if payer is None:
        return None, "没有单号，付款的人不是会员"
    person = await allocator.identities_of(session, payer.id)
    waited = sa.and_(Claim.claimed_at < bill.paid_at + SECOND, Claim.pay_due_at > bill.paid_at)
    unpaid = (Claim.status != ClaimStatus.PAID, sa.func.coalesce(Claim.released_at, bill.paid_at) >= bill.paid_at)
    fits = (Claim.member_id.in_(person), Claim.total_fen == bill.fen, waited, *unpaid)
    found = list(await session.scalars(sa.select(Claim.no).where(*fits).limit(2)))
    if len(found) == 1:
        return found[0], ""
    return None, "这位会员有几单都是这个金额" if found else "这位会员那时没有这个金额的单"


async def _keep(session: AsyncSession, bill: Bill, why: str, *, now: datetime) -> None:
    values = {
        "transaction_id": bill.transaction_id[:64],
        "external_userid": bill.external_userid[:64],
        "payee": bill.payee[:64],
        "paid_fen": bill.fen,
        "paid_at": bill.paid_at,
        "words": bill.words,
        "why": why,
        "found_at": now,
        "settled_as": "",
    }
    await session.execute(insert(session, StrayBill).values(values).on_conflict_do_nothing())


async def _known(session: AsyncSession, transactions: Sequence[str]) -> set[str]:
    mine = (
        sa.select(table.transaction_id).where(table.transaction_id.in_(transactions))
        for table in (SalePayment, StrayBill)
    )
    return set(await session.scalars(sa.union(*mine)))


async def follow_refunds(session: AsyncSession, bill: Bill, *, now: datetime) -> None:
    """Money that went back: what was due back has gone, and of a paid claim the books lose what its member got.

    Raises the refusals of orders.refund().
    """
    row = (
        await session.execute(
            sa.select(SalePayment.id, SalePayment.outcome, SalePayment.paid_fen, Claim.no)
            .join(Claim, Claim.id == SalePayment.claim_id)
            .where(SalePayment.transaction_id == bill.transaction_id)
        )
    ).first()
    if row is None:
        return
    if row.outcome is PaymentOutcome.REFUND_DUE and sum(one.fen for one in bill.refunds) >= row.paid_fen:
        await payments.refunded(session, row.id)
    if row.outcome in (PaymentOutcome.APPLIED, PaymentOutcome.HONOURED):
        for one in bill.refunds:
            await orders.refund(
                session, SOURCE, one.no, amount_fen=one.fen, refunded_at=one.asked_at, order_no=row.no, now=now
            )


# For people


async def strays(session: AsyncSession, *, limit: int = 50) -> list[StrayBill]:
    """Money that fits no claim and that nobody has settled, the oldest first. A notice may have named its claim."""
    elsewhere = sa.exists().where(SalePayment.transaction_id == StrayBill.transaction_id)
    rows = await session.scalars(
        sa.select(StrayBill).where(StrayBill.settled_at.is_(None), ~elsewhere).order_by(StrayBill.id).limit(limit)
    )
    return list(rows)


async def settle(
    session: AsyncSession, transaction_id: str, *, no: str = "", other: str = "", now: datetime
) -> SalePayment | None:
    """A person says what stray money was for: the claim `no`, or something `other` than a sale.

    Returns what became of the payment. Raises BillNotFound, also for what is settled already, and ClaimNotFound.
    """
    open_one = (StrayBill.transaction_id == transaction_id, StrayBill.settled_at.is_(None))
    stray: StrayBill | None = await session.scalar(
        sa.update(StrayBill).where(*open_one).values(settled_at=now, settled_as=no or other).returning(StrayBill)
    )
    if stray is None:
        raise BillNotFound(transaction_id)
    if not no:
        return None
    return await payments.pay(session, Payment(transaction_id, no, stray.paid_fen, stray.paid_at), now=now)
