"""A payment page that stands in for the shop's own: shows what is due, takes pretended money, tells the service.

The notice is signed as the service documents it: hex HMAC-SHA256 of `timestamp.body` with the shared key.
"""

import hmac
import json
from hashlib import sha256
from html import escape

import aiohttp
from aiohttp import web

from bot.simulator.api.core import SIMULATOR

TIMEOUT = aiohttp.ClientTimeout(total=5)


def add_routes(app: web.Application) -> None:
    app.router.add_get("/pay", show)
    app.router.add_post("/pay", pay)


async def show(request: web.Request) -> web.Response:
    """What is due, and the button."""
    query = request.query
    fen = query.get("fen", "")
    if not (fen.isascii() and fen.isdigit() and query.get("no")):
        return _page("<p>付款链接不完整，请回到订单页再点一次。</p>", status=400)
    fields = "".join(
        f'<input type="hidden" name="{name}" value="{escape(query.get(name, ""))}">' for name in ("no", "fen", "back")
    )
    return _page(
        f"<p>{escape(query.get('title', ''))}</p><p class=sum>¥{int(fen) / 100:.2f}</p>"
        f'<form method="post">{fields}<button data-test="pay">付款（模拟）</button></form>'
    )


async def pay(request: web.Request) -> web.StreamResponse:
    """The money is there: tell the service, then back to its page."""
    form = await request.post()
    no, fen, back = (str(form.get(name, "")) for name in ("no", "fen", "back"))
    simulator = request.app[SIMULATOR]
    till = simulator.till
    if till is None:
        return _page("<p>模拟器没有设置付款通知的地址。</p>", status=503)
    now = simulator.clock.now()
    body = json.dumps(
        {
            "transaction_id": simulator.world.corp.new_id("42"),
            "out_trade_no": no,
            "paid_fen": int(fen),
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
        return _page("<p>钱收到了，但没有通知到商家，请再点一次付款。</p>", status=502)
    if back.startswith(("http://", "https://")):
        raise web.HTTPSeeOther(back)
    return _page("<p>付款成功。</p>")


def _page(content: str, *, status: int = 200) -> web.Response:
    html = (
        '<!doctype html><html lang="zh-CN"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        "<title>付款（模拟）</title><style>body{font:16px/1.6 system-ui,sans-serif;margin:0;background:#ededed;"
        "text-align:center;padding:48px 24px}.sum{font-size:40px;margin:16px}button{font:inherit;width:100%;"
        "max-width:320px;padding:12px;border:0;border-radius:8px;background:#07803f;color:#fff}</style>"
        f"<h1>付款（模拟）</h1>{content}<p>这是模拟器的付款页，不会动真的钱。</p></html>"
    )
    return web.Response(text=html, status=status, content_type="text/html")
