"""Money that reached the corp (对外收款): every payment and refund as the vendor lists it, and nobody is told of it."""

from dataclasses import dataclass, field
from typing import Any

from bot.simulator.corp import DAY, App, Corp
from bot.simulator.refusals import NotPossible, Refusal

LONGEST_SPAN = 31 * DAY
MOST = 1000
COMPLETED, WITH_REFUND = 1, 3
REFUNDED = 2
BY_MINI_PROGRAM = 15


@dataclass(slots=True)
class Bill:
    """One payment. payee: the member of staff who collected it; none for a payment page of the shop's own."""

    transaction_id: str
    out_trade_no: str
    paid_at: int
    fee: int
    external_userid: str
    payee: str
    kind: int
    remark: str
    description: str
    refunds: list[dict[str, Any]] = field(default_factory=list)


class Bills:
    """The account's list, oldest first."""

    def __init__(self, corp: Corp) -> None:
        self._corp = corp
        self.all: list[Bill] = []
        self.licensed: set[int] | None = None  # agentids under 可调用接口的应用; None is every app

    def take(
        self,
        fee: int,
        *,
        external_userid: str = "",
        payee: str = "",
        out_trade_no: str = "",
        remark: str = "",
        description: str = "",
        kind: int = BY_MINI_PROGRAM,
    ) -> Bill:
        """Money arrives now. out_trade_no: the payer's page names it; a collection in the chat gets one of its own."""
        if fee <= 0:
            raise NotPossible("金额要大于 0")
        if payee:
            payee = self._corp.get_staff(payee).userid
        if external_userid:
            external_userid = self._corp.get_customer(external_userid).external_userid
        bill = Bill(
            transaction_id=self._corp.new_id("42"),
            out_trade_no=out_trade_no or self._corp.new_id("10"),
            paid_at=int(self._corp.now()),
            fee=fee,
            external_userid=external_userid,
            payee=payee,
            kind=kind,
            remark=remark,
            description=description,
        )
        self.all.append(bill)
        return bill

    def give_back(self, transaction_id: str, fee: int | None = None, by: str = "") -> Bill:
        """The money of a payment goes back, or part of it."""
        bill = next((one for one in self.all if one.transaction_id == transaction_id), None)
        if bill is None:
            raise NotPossible("没有这笔收款")
        left = bill.fee - sum(one["refund_fee"] for one in bill.refunds)
        fee = left if fee is None else fee
        if not 0 < fee <= left:
            raise NotPossible(f"最多还能退 {left} 分")
        bill.refunds.append(
            {
                "out_refund_no": self._corp.new_id("50"),
                "refund_userid": by or bill.payee,
                "refund_comment": "",
                "refund_reqtime": int(self._corp.now()),
                "refund_status": REFUNDED,
                "refund_fee": fee,
            }
        )
        return bill

    def page(
        self, app: App, begin: int, end: int, payee: str, cursor: str, limit: int
    ) -> tuple[list[dict[str, Any]], str]:
        """Bills of a time, and the next cursor. What the app may not see is left out after paging: pages run short."""
        if self.licensed is not None and app.agentid not in self.licensed:
            raise Refusal(48002)
        if not 0 < end - begin <= LONGEST_SPAN:
            raise Refusal(40058, "begin_time and end_time must be up to a month apart")
        if cursor and not (cursor.isascii() and cursor.isdigit()):
            raise Refusal(40058, "cursor")
        start = int(cursor or 0)
        found = [one for one in self.all if begin <= one.paid_at <= end and payee in ("", one.payee)]
        shown = [_shown(one) for one in found[start : start + limit] if not one.payee or app.sees(one.payee)]
        return shown, str(start + limit) if start + limit < len(found) else ""


def _shown(bill: Bill) -> dict[str, Any]:
    return {
        "transaction_id": bill.transaction_id,
        "bill_type": 0,
        "trade_state": WITH_REFUND if bill.refunds else COMPLETED,
        "pay_time": bill.paid_at,
        "out_trade_no": bill.out_trade_no,
        "out_refund_no": "",
        "external_userid": bill.external_userid,
        "total_fee": bill.fee,
        "payee_userid": bill.payee,
        "payment_type": bill.kind,
        "mch_id": "1000000000",
        "remark": bill.remark,
        "commodity_list": [{"description": bill.description, "amount": 1}] if bill.description else [],
        "total_refund_fee": sum(one["refund_fee"] for one in bill.refunds),
        "refund_list": list(bill.refunds),
        "contact_info": {"name": "", "phone": "", "address": ""},
        "miniprogram_info": {"appid": "", "name": ""},
    }
