"""What customers paid to the corp (对外收款). WeCom tells nobody of a payment: it is asked."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.wecom.api.call import Caller, Page, pages
from bot.wecom.reading import Json, given, instant, number, objs, text

PER_PAGE = 1000
LONGEST = timedelta(days=30)  # between begin and end of one question
PAYMENT = 0
DONE = frozenset({1, 3})  # completed, and completed with a refund
GONE_BACK = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class BillRefund:
    """Money of a payment that went back."""

    no: str
    fen: int
    asked_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """One completed payment. external_userid: empty for who paid a QR code and is nobody's customer."""

    transaction_id: str
    out_trade_no: str
    fen: int
    paid_at: datetime
    external_userid: str = ""
    payee: str = ""
    words: str = ""  # the remark and what was sold, as staff wrote them
    refunds: tuple[BillRefund, ...] = ()


class BillsApi:
    """Needs the app under 可调用接口的应用 of 对外收款, else NotAllowed (48002)."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def get_bill_list(
        self, begin: datetime, end: datetime, *, payee: str = "", cursor: str = "", app: str | None = None
    ) -> Page[Bill]:
        """A page of completed payments; it may be short or empty without being the last. At most LONGEST apart."""
        body = given(
            begin_time=int(begin.timestamp()),
            end_time=int(end.timestamp()),
            payee_userid=payee or None,
            cursor=cursor,
            limit=PER_PAGE,
        )
        answer = await self._caller.post("/cgi-bin/externalpay/get_bill_list", body, app=app, repeatable=True)
        found = (_bill(one) for one in objs(answer, "bill_list") if _is_payment(one))
        return Page(tuple(found), text(answer, "next_cursor"))

    def bills(
        self, begin: datetime, end: datetime, *, payee: str = "", app: str | None = None
    ) -> AsyncIterator[Page[Bill]]:
        """All pages of a time."""
        return pages(lambda cursor: self.get_bill_list(begin, end, payee=payee, cursor=cursor, app=app))


def _is_payment(one: Json) -> bool:
    """Refunds are listed as bills of their own too, and again inside the payment they belong to."""
    is_payment = number(one, "bill_type") == PAYMENT and number(one, "trade_state") in DONE
    return is_payment and bool(text(one, "transaction_id")) and number(one, "total_fee") > 0


def _bill(one: Json) -> Bill:
    sold = [text(each, "description") for each in objs(one, "commodity_list")]
    return Bill(
        transaction_id=text(one, "transaction_id"),
        out_trade_no=text(one, "out_trade_no"),
        fen=number(one, "total_fee"),
        paid_at=instant(one, "pay_time"),
        external_userid=text(one, "external_userid"),
        payee=text(one, "payee_userid"),
        words=" ".join(filter(None, [text(one, "remark"), *sold])),
        refunds=tuple(
            BillRefund(
                no=text(each, "out_refund_no"), fen=number(each, "refund_fee"), asked_at=instant(each, "refund_reqtime")
            )
            for each in objs(one, "refund_list")
            if number(each, "refund_status") == GONE_BACK
        ),
    )
