"""/sim: what the corp's admin console does by hand: tags, groups, robots, kf accounts and who may use them."""

from aiohttp import web

from bot.simulator.control.core import Deed, Told, control
from bot.simulator.refusals import Unknown
from bot.simulator.tags import console_name


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
    add_post("/sim/kf", control(add_account))
    add_post("/sim/kf/{account}/apps", control(change_apps))


# tags and groups


def tags(deed: Deed) -> Told:
    return {"tag_group": deed.world.tags.shown([], [])}


def add_tag(deed: Deed) -> Told:
    group, made = deed.world.tags.add(
        deed.text("group_id", ""),
        deed.text("group_name", ""),
        [(console_name(deed.text("name")), deed.whole("order", 0))],
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


# kf accounts


def add_account(deed: Deed) -> Told:
    staff = [deed.world.corp.get_staff(userid).userid for userid in deed.texts("servicers")]
    return {"open_kfid": deed.world.add_kf_account(deed.text("name"), servicers=staff).open_kfid}


def change_apps(deed: Deed) -> Told:
    """Authorise an app to an account or take that away (48007 from then on); the app is told."""
    account = deed.world.kf.get_account(deed.path["account"])
    agentid, grant = deed.whole("agentid"), bool(deed.body.get("grant", True))
    if agentid not in deed.world.corp.apps:
        raise Unknown("没有这个应用")
    granted = set(deed.world.corp.apps) if account.apps is None else account.apps
    account.apps = granted | {agentid} if grant else granted - {agentid}
    name = "AuthAddOpenKfId" if grant else "AuthDelOpenKfId"
    deed.world.corp.emit_event("app", "kf_account_auth_change", {name: account.open_kfid}, agentid=agentid)
    return {"apps": sorted(account.apps)}
