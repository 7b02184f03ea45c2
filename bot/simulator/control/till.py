"""A payment page that stands in for the shop's own: shows what is due, takes pretended money, tells the service.

The notice is signed as the service documents it: hex HMAC-SHA256 of `timestamp.body` with the shared key. The money is
in the corp's list of bills whether the notice arrives or not, and a second button loses it on the way.
"""

import hmac
import json
from hashlib import sha256
from html import escape

import aiohttp
from aiohttp import web

from bot.simulator.api.core import SIMULATOR
from bot.simulator.bills import Bill
from bot.simulator.control.core import Deed, Told, control
from bot.simulator.control.visits import VISITOR_COOKIE
from bot.simulator.refusals import NotPossible
from bot.simulator.simulator import Simulator

TIMEOUT = aiohttp.ClientTimeout(total=5)


def add_routes(app: web.Application) -> None:
    app.router.add_get("/pay", show)
    app.router.add_post("/pay", pay)
    app.router.add_get("/sim/bills", control(bills))
    app.router.add_post("/sim/bills", control(collect))
    app.router.add_post("/sim/bills/{transaction}/refund", control(refund))


async def show(request: web.Request) -> web.Response:
    """What is due, and the button."""
    query = request.query
    fen = query.get("fen", "")
    if not (fen.isascii() and fen.isdigit() and query.get("no")):
        return _page("<p>付款链接不完整，请回到订单页再点一次。</p>", status=400)
    fields = "".join(
        f'<input type="hidden" name="{name}" value="{escape(query.get(name, ""))}">'
        for name in ("no", "fen", "back", "title")
    )
    return _page(
        f"<p>{escape(query.get('title', ''))}</p><p class=sum>¥{int(fen) / 100:.2f}</p>"
        f'<form method="post">{fields}<button data-test="pay">付款（模拟）</button>'
        '<button class=quiet name="lost" value="1" data-test="pay-lost">付款，但通知在路上丢了</button></form>'
    )


async def pay(request: web.Request) -> web.StreamResponse:
    """The money is there: tell the service, then back to its page."""
    form = await request.post()
    no, fen, back, title = (str(form.get(name, "")) for name in ("no", "fen", "back", "title"))
    simulator = request.app[SIMULATOR]
    try:
        who = simulator.world.visitors.named(request.cookies.get(VISITOR_COOKIE, ""))
        payer = who.id if who.kind == "customer" else ""
    except NotPossible:
        payer = ""
    try:
        bill = simulator.world.bills.take(int(fen), external_userid=payer, out_trade_no=no, description=title)
    except (ValueError, NotPossible):
        return _page("<p>金额不对，没有收款。</p>", status=400)
    if not form.get("lost") and (problem := await _tell(simulator, bill)) is not None:
        return problem
    if back.startswith(("http://", "https://")):
        raise web.HTTPSeeOther(back)
    return _page("<p>付款成功。</p>")


async def _tell(simulator: Simulator, bill: Bill) -> web.Response | None:
    """The notice of a payment; a page that says what went wrong with it."""
    till = simulator.till
    if till is None:
        return _page("<p>钱收到了，但模拟器没有设置付款通知的地址。</p>", status=503)
    now = simulator.clock.now()
    body = json.dumps(
        {
            "transaction_id": bill.transaction_id,
            "out_trade_no": bill.out_trade_no,
            "paid_fen": bill.fee,
            "paid_at": now.isoformat(),
        }
    ).encode()
    stamp = str(int(now.timestamp()))
    signature = hmac.digest(till.key, stamp.encode() + b"." + body, sha256).hex()
    headers = {"X-Siyu-Timestamp": stamp, "X-Siyu-Signature": signature, "Content-Type": "application/json"}
    try:
        async with (
            aiohttp.ClientSession(timeout=TIMEOUT) as http,
            http.post(till.url, data=body, headers=headers) as told,
        ):
            if told.status != 200:
                return _page(f"<p>钱收到了，但商家没有认：{escape(await told.text())}</p>", status=502)
    except (aiohttp.ClientError, TimeoutError):
        return _page("<p>钱收到了，但没有通知到商家；商家查账单的时候会看到，不用再付。</p>", status=502)
    return None


def bills(deed: Deed) -> Told:
    """Everything that was paid, the newest last."""
    return {
        "bills": [
            {
                "transaction_id": one.transaction_id,
                "out_trade_no": one.out_trade_no,
                "fee": one.fee,
                "customer": one.external_userid,
                "userid": one.payee,
                "refunded": sum(each["refund_fee"] for each in one.refunds),
            }
            for one in deed.world.bills.all
        ]
    }


def collect(deed: Deed) -> Told:
    """A member of staff collects money from a customer in their chat (对外收款)."""
    bill = deed.world.bills.take(
        deed.whole("fee"),
        external_userid=deed.text("customer", ""),
        payee=deed.text("userid"),
        remark=deed.text("remark", ""),
        description=deed.text("description", ""),
        kind=0,
    )
    return {"transaction_id": bill.transaction_id}


def refund(deed: Deed) -> Told:
    fee = deed.whole("fee") if "fee" in deed.body else None
    deed.world.bills.give_back(deed.path["transaction"], fee, deed.text("userid", ""))
    return {}


def _page(content: str, *, status: int = 200) -> web.Response:
    html = (
        '<!doctype html><html lang="zh-CN"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        "<title>付款（模拟）</title><style>body{font:16px/1.6 system-ui,sans-serif;margin:0;background:#ededed;"
        "text-align:center;padding:48px 24px}.sum{font-size:40px;margin:16px}button{font:inherit;width:100%;"
        "max-width:320px;padding:12px;border:0;border-radius:8px;background:#07803f;color:#fff}"
        ".quiet{margin-top:16px;background:none;color:#576b95}</style>"
        f"<h1>付款（模拟）</h1>{content}<p>这是模拟器的付款页，不会动真的钱。</p></html>"
    )
    return web.Response(text=html, status=status, content_type="text/html")
