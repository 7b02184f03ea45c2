"""Pages that WeChat itself would open: OAuth, links on a phone, kf links, QR codes, and a customer's upload."""

import io
from urllib.parse import quote

import segno
from aiohttp import BodyPartReader, web

from bot.simulator.api.core import SIMULATOR
from bot.simulator.control.core import Deed, json_response
from bot.simulator.refusals import NotPossible, Refusal
from bot.simulator.visitors import choice_page

VISITOR_COOKIE = "wecom_simulator_visitor"


def add_routes(app: web.Application) -> None:
    add_get = app.router.add_get
    add_get("/connect/oauth2/authorize", authorize)
    add_get("/wwlogin/sso/login", authorize)
    add_get("/sim/phone/{customer}/open", open_page)
    add_get("/sim/staff/{userid}/open", open_page)
    add_get("/sim/qr/{config_id}", qr_code)
    add_get("/kf/{account}", enter_by_link)
    app.router.add_post("/sim/phone/{customer}/upload", upload)


async def authorize(request: web.Request) -> web.Response:
    """OAuth: who is looking comes from `as`, else from the cookie that /open set, else from a page that asks."""
    world, query = request.app[SIMULATOR].world, request.query
    app = world.corp.apps.get(int(query["agentid"])) if query.get("agentid", "").isdigit() else None
    if query.get("appid") != world.corp.corpid:
        return web.Response(text="appid 不是这个企业", status=400)
    try:
        world.visitors.check_redirect(app, query.get("redirect_uri", ""))
        who = query.get("as") or request.cookies.get(VISITOR_COOKIE, "")
        if not who:
            page = choice_page(world.visitors.choices(), dict(query))
            return web.Response(text=page, content_type="text/html")
        target = world.visitors.admit(world.visitors.named(who), query["redirect_uri"], query.get("state", ""))
    except Refusal as refusal:
        return web.Response(text=f"redirect_uri 与应用的可信域名不一致（{refusal.errcode}）", status=400)
    except NotPossible as refusal:
        return web.Response(text=str(refusal), status=400)
    return web.Response(status=302, headers={"Location": target})


async def open_page(request: web.Request) -> web.Response:
    """Open a link on somebody's phone or client: remember who looks, then go there."""
    deed = Deed(request, {})
    url = request.query.get("url", "")
    if not url.startswith(("http://", "https://", "/")):
        return json_response({"error": "只能打开 http 或 https 的链接"}, status=400)
    who = f"customer:{deed.path['customer']}" if "customer" in deed.path else f"staff:{deed.path['userid']}"
    try:
        deed.world.visitors.named(who)
    except NotPossible as refusal:
        return json_response({"error": str(refusal)}, status=404)
    response = web.Response(status=302, headers={"Location": url})
    response.set_cookie(VISITOR_COOKIE, who, httponly=True, samesite="Lax")
    return response


async def upload(request: web.Request) -> web.Response:
    """A picture or file that a customer is about to send."""
    deed = Deed(request, {})
    if not request.content_type.startswith("multipart/"):
        return json_response({"error": "缺少文件"}, status=400)
    async for part in await request.multipart():
        if isinstance(part, BodyPartReader) and part.name == "media":
            data = bytes(await part.read())
            material = deed.world.media.keep("file", part.filename or "file", data)
            return json_response({"media_id": material.media_id, "media_url": f"/sim/media/{material.media_id}"})
    return json_response({"error": "缺少文件"}, status=400)


async def enter_by_link(request: web.Request) -> web.Response:
    """A kf link opened on a phone: the chat, entered with the link's scene."""
    deed = Deed(request, {})
    account, scene = deed.world.kf.links.get(request.query.get("enc_scene", ""), (deed.path["account"], ""))
    kind, _, me = request.cookies.get(VISITOR_COOKIE, "").partition(":")
    if kind != "customer" or me not in deed.world.corp.customers or account not in deed.world.kf.accounts:
        return web.Response(status=302, headers={"Location": "/phone"})
    deed.world.kf.enter(account, me, scene, request.query.get("scene_param", ""))
    return web.Response(status=302, headers={"Location": f"/phone?as={quote(me)}&chat={quote(account)}"})


async def qr_code(request: web.Request) -> web.Response:
    """The QR code of a contact way or join way, as a picture. Scanning is POST /sim/phone/X/add or /join."""
    picture = io.BytesIO()
    address = f"{request.app[SIMULATOR].origin}/phone?scan={quote(request.match_info['config_id'])}"
    segno.make(address, micro=False).save(picture, kind="svg", scale=6, border=3)
    return web.Response(body=picture.getvalue(), content_type="image/svg+xml")
