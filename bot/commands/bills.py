"""`siyu bills …`: money that fits no claim of a flash sale, and what a person says it was for."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncSession

from bot.commands.database import with_session
from bot.flashsale import bills
from bot.flashsale.terms import BillNotFound, ClaimNotFound
from bot.flashsale.words import yuan
from bot.models.bill import StrayBill
from bot.models.sale import PaymentOutcome
from crm.base.clock import SHANGHAI, SystemClock

cli = typer.Typer(help="收款里对不上任何一单的钱：看一看，归到一单，或说明不是秒杀的", no_args_is_help=True)
out = Console(highlight=False, soft_wrap=True)
Found = TypeVar("Found")
Transaction = Annotated[str, typer.Argument(help="交易号，见 siyu bills list")]
OUTCOMES = {
    PaymentOutcome.APPLIED: "算这一单的付款。",
    PaymentOutcome.HONOURED: "付得晚，还有货，算数。",
    PaymentOutcome.REFUND_DUE: "这一单不能再收，要退：{why}",
    PaymentOutcome.REFUNDED: "已经退过：{why}",
}


@cli.command(name="list")
def list_all() -> None:
    """Money that waits for a person, the oldest first."""

    async def work(session: AsyncSession, now: datetime) -> list[StrayBill]:
        del now
        return await bills.strays(session)

    found = _with_session(work)
    table = Table("交易号", "付款时间", "元", "谁付的", "谁收的", "写着", "为什么对不上")
    for one in found:
        paid = f"{one.paid_at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"
        table.add_row(one.transaction_id, paid, yuan(one.paid_fen), one.external_userid, one.payee, one.words, one.why)
    out.print(table if found else "没有对不上的收款。")


@cli.command()
def claim(transaction: Transaction, no: Annotated[str, typer.Argument(help="抢单的单号")]) -> None:
    """It was for this claim: taken like any payment, also too late for it."""

    async def work(session: AsyncSession, now: datetime) -> str:
        payment = await bills.settle(session, transaction, no=no, now=now)
        assert payment is not None  # a claim was named
        return OUTCOMES[payment.outcome].format(why=payment.why)

    out.print(_with_session(work), markup=False)


@cli.command()
def other(transaction: Transaction, what: Annotated[str, typer.Argument(help="它是什么钱")]) -> None:
    """It was for something else than a sale; it is not asked after any more."""

    async def work(session: AsyncSession, now: datetime) -> None:
        await bills.settle(session, transaction, other=what, now=now)

    _with_session(work)
    out.print("记下了。")


def _with_session(work: Callable[[AsyncSession, datetime], Awaitable[Found]]) -> Found:
    try:
        return with_session(lambda session: work(session, SystemClock().now()))
    except BillNotFound as no:
        _fail(f"没有在等的收款 {no.transaction_id}")
    except ClaimNotFound as no:
        _fail(f"没有抢单 {no.no}")


def _fail(sentence: str) -> NoReturn:
    Console(stderr=True).print(sentence, style="red", highlight=False, soft_wrap=True, markup=False)
    raise typer.Exit(2)
