"""/cgi-bin/externalpay: what customers paid, for who asks; nobody is told."""

from bot.simulator import checks
from bot.simulator.api.core import Answer, Call, post
from bot.simulator.bills import MOST

FAR = 10**11


@post("externalpay/get_bill_list", empty={"bill_list": []})
def get_bill_list(call: Call) -> Answer:
    body = call.body
    found, cursor = call.world.bills.page(
        call.app,
        checks.integer(body, "begin_time", -1, low=0, high=FAR),
        checks.integer(body, "end_time", -1, low=0, high=FAR),
        checks.optional_text(body, "payee_userid"),
        checks.optional_text(body, "cursor"),
        checks.integer(body, "limit", MOST, low=1, high=MOST),
    )
    return {"bill_list": found, **({"next_cursor": cursor} if cursor else {})}
