"""/sim: what the corp's admin console does by hand: tags, groups, robots; and the pages WeChat opens for visitors."""

from urllib.parse import quote

from aiohttp import BodyPartReader, web

from bot.simulator.api.core import SIMULATOR
from bot.simulator.control.core import Deed, Told, control, json_response
from bot.simulator.refusals import NotPossible, Refusal
from bot.simulator.tags import console_name
from bot.simulator.visitors import choice_page

VISITOR_COOKIE = "wecom_simulator_visitor"


def add_routes(app: web.Application) -> None:
    add_get, add_post = app.router.add_get, app.router.add_post
    add_get("/sim/tags", control(tags))
    add_post("/sim/tags", control(add_tag))
    app.router.add_delete("/sim/tags/{id}", control(delete_tag))
    add_get("/sim/groups", control(groups))
    add_post("/sim/groups", control(add_group))
    add_post("/sim/groups/{chat}", control(change_group))
    add_post("/sim/groups/{chat}/members", control(change_members))
    add_post("/sim/groups/{chat}/dismiss", control(dismiss_group))
    add_get("/sim/webhooks", control(webhooks))
    add_post("/sim/webhooks", control(add_webhook))
    add_get("/connect/oauth2/authorize", authorize)
    add_get("/wwlogin/sso/login", authorize)
    add_get("/sim/phone/{customer}/open", open_page)
    add_get("/sim/staff/{userid}/open", open_page)
    add_post("/sim/phone/{customer}/upload", upload)
    add_get("/kf/{account}", enter_by_link)


# tags and groups


def tags(deed: Deed) -> Told:
    return {"tag_group": deed.world.tags.shown([], [])}


def add_tag(deed: Deed) -> Told:
    group, made = deed.world.tags.add(
        deed.text("group_id", ""),
        deed.text("group_name", ""),
        [(console_name(deed.text("name")), int(deed.number("order", 0)))],
        by=None,
    )
    return {"group_id": group.id, "id": made[0].id}


def delete_tag(deed: Deed) -> Told:
    known = deed.path["id"]
    wanted: tuple[list[str], list[str]] = ([], [known]) if known in deed.world.tags.groups else ([known], [])
    deed.world.contacts.forget_tags(deed.world.tags.delete(*wanted, by=None))
    return {}


def groups(deed: Deed) -> Told:
    shown = deed.world.groups
    return {"groups": [shown.current(group) for group in shown.all.values() if not group.dismissed]}


def add_group(deed: Deed) -> Told:
    group = deed.world.groups.create(deed.text("name"), deed.text("owner"), deed.texts("members"))
    return {"chat_id": group.chat_id}


def change_group(deed: Deed) -> Told:
    notice = deed.text("notice", "") if "notice" in deed.body else None
    deed.world.groups.change(deed.path["chat"], name=deed.text("name", ""), notice=notice, owner=deed.text("owner", ""))
    return {}


def change_members(deed: Deed) -> Told:
    if add := deed.texts("add"):
        deed.world.groups.add_members(deed.path["chat"], add)
    if remove := deed.texts("remove"):
        deed.world.groups.remove_members(deed.path["chat"], remove)
    return {}


def dismiss_group(deed: Deed) -> Told:
    deed.world.groups.dismiss(deed.path["chat"])
    return {}


# robots


def webhooks(deed: Deed) -> Told:
    robots = deed.world.webhooks.robots.values()
    return {
        "robots": [
            {"key": each.key, "name": each.name, "disabled": each.disabled, "posts": each.posts} for each in robots
        ]
    }


def add_webhook(deed: Deed) -> Told:
    robot = deed.world.webhooks.add(deed.text("name"), deed.text("key", "") or None)
    robot.disabled = bool(deed.body.get("disabled"))
    return {"key": robot.key}


# visitors


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
