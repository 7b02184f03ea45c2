"""/sim/phone: being a customer."""

from typing import Any

from aiohttp import web

from bot.simulator.chats import Chat, last_line
from bot.simulator.control.core import Deed, Told, control, stream
from bot.simulator.corp import Customer, Staff
from bot.simulator.refusals import NotPossible
from bot.simulator.world import World

MAX_MESSAGES = 1000


def add_routes(app: web.Application) -> None:
    app.router.add_get("/sim/customers", control(customers))
    app.router.add_post("/sim/customers", control(add_customer))
    phone = "/sim/phone/{customer}"
    app.router.add_get(phone, control(overview))
    app.router.add_get(phone + "/stream", live)
    app.router.add_get(phone + "/chats/{chat}/messages", control(messages))
    app.router.add_post(phone + "/chats/{chat}/messages", control(say))
    app.router.add_post(phone + "/kf/{account}/enter", control(enter))
    for verb, deed in (
        ("add", add), ("delete", delete), ("join", join), ("leave", leave), ("read", read), ("recall", recall),
    ):  # fmt: skip
        app.router.add_post(f"{phone}/{verb}", control(deed))


# people


def customers(deed: Deed) -> Told:
    return {"customers": [customer_shown(person) for person in deed.world.corp.customers.values()]}


def add_customer(deed: Deed) -> Told:
    name = deed.text("name").strip()[:32]
    if not name:
        raise NotPossible("要有一个名字")
    return customer_shown(deed.world.add_customer(name, gender=deed.whole("gender", 0)))


def customer_shown(person: Customer) -> Told:
    return {
        "external_userid": person.external_userid,
        "name": person.name,
        "avatar": person.avatar,
        "gender": person.gender,
        "unionid": person.unionid,
        "openid": person.openid,
    }


def staff_shown(member: Staff) -> Told:
    return {
        "userid": member.userid,
        "name": member.name,
        "avatar": member.avatar,
        "department": member.department,
        "active": member.active,
        "console_welcome": member.console_welcome,
    }


# the phone


def overview(deed: Deed) -> Told:
    world, person = deed.world, _me(deed)
    me = person.external_userid
    friends = {follow.userid for follow in world.contacts.of_customer(me) if not follow.one_way}
    groups = world.groups.all.values()
    begun = [chat for chat in world.chats.of_customer(me) if _begun(world, chat, me)]
    return {
        "customer": customer_shown(person),
        "chats": sorted((_chat(world, chat, me) for chat in begun), key=_last_at, reverse=True),
        "kf_accounts": [
            {"open_kfid": account.open_kfid, "name": account.name, "avatar": account.avatar}
            for account in world.kf.accounts.values()
            if not account.deleted
        ],
        "can_add": [
            staff_shown(member)
            for member in world.corp.staff.values()
            if member.userid not in friends and member.active and member.can_add_customers
        ],
        "friends": sorted(friends),
        "contact_ways": [
            {"config_id": way.config_id, "remark": way.remark, "state": way.state, "userids": way.users}
            for way in world.contacts.ways.values()
        ],
        "groups_joinable": [
            {"chat_id": group.chat_id, "name": group.name}
            for group in groups
            if not group.dismissed and me not in group.members
        ],
        "join_ways": [
            {"config_id": way.config_id, "remark": way.remark, "state": way.state}
            for way in world.groups.join_ways.values()
        ],
    }


def _chat(world: World, chat: Chat, viewer: str) -> Told:
    title, avatar = world.chats.title(chat.ref)
    last = chat.messages[-1] if chat.messages else None
    shown: Told = {
        "chat_id": chat.ref,
        "kind": chat.kind,
        "title": title,
        "avatar": avatar,
        "unread": chat.unread(viewer),
        "last": {"text": last_line(last), "at": last.at} if last else None,
    }
    if chat.kind == "kf":
        session = world.kf.session(chat.ref, viewer)
        shown |= {
            "state": int(session.state),
            "servicer": world.chats.title(session.servicer)[0] if session.servicer else "",
        }
    return shown


def _begun(world: World, chat: Chat, viewer: str) -> bool:
    """A kf chat that the service asked about, but that the customer never opened, is not on the phone."""
    return chat.kind != "kf" or bool(chat.messages) or world.kf.session(chat.ref, viewer).entered


def _last_at(shown: Told) -> int:
    return shown["last"]["at"] if shown["last"] else 0


def messages(deed: Deed) -> Told:
    chats, me = deed.world.chats, _me(deed).external_userid
    chat = next((chat for chat in chats.of_customer(me) if chat.ref == deed.path["chat"]), None)
    if chat is None:
        return {"messages": []}
    found = chat.after(deed.integer("after", 0), min(max(deed.integer("limit", 200), 1), MAX_MESSAGES))
    return {"messages": [chats.shown(chat, message) for message in found]}


def say(deed: Deed) -> Told:
    world, me, ref = deed.world, _me(deed).external_userid, deed.path["chat"]
    msgtype, payload = deed.message()
    if ref in world.kf.accounts:
        message = world.kf.say(ref, me, msgtype, payload)
        return world.chats.shown(world.chats.private("kf", me, ref), message)
    if ref in world.groups.all:
        return world.chats.shown(world.chats.group(ref), world.groups.say(ref, me, msgtype, payload))
    userid = world.corp.get_staff(ref).userid
    return world.chats.shown(world.chats.private("staff", me, userid), world.contacts.say(me, userid, msgtype, payload))


def enter(deed: Deed) -> Told:
    account, me = deed.path["account"], _me(deed).external_userid
    code = deed.world.kf.enter(account, me, deed.text("scene", ""), deed.text("scene_param", ""))
    return {"welcome_code_sent": bool(code)}


def add(deed: Deed) -> Told:
    me = _me(deed).external_userid
    if deed.body.get("config_id"):
        follow = deed.world.contacts.scan(me, deed.text("config_id"))
    else:
        follow = deed.world.contacts.add(deed.text("userid"), me)
    return {"userid": follow.userid}


def delete(deed: Deed) -> Told:
    deed.world.contacts.leave(_me(deed).external_userid, deed.text("userid"))
    return {}


def join(deed: Deed) -> Told:
    me = _me(deed).external_userid
    group = deed.world.groups.join(me, deed.text("chat_id", ""), deed.text("config_id", ""))
    return {"chat_id": group.chat_id}


def leave(deed: Deed) -> Told:
    deed.world.groups.remove_members(deed.text("chat_id"), [_me(deed).external_userid], quit_scene=0)
    return {}


def read(deed: Deed) -> Told:
    chats, me = deed.world.chats, _me(deed).external_userid
    chats.read(chats.find(me, deed.text("chat_id")), me)
    return {}


def recall(deed: Deed) -> Told:
    world, me, ref, seq = deed.world, _me(deed).external_userid, deed.text("chat_id"), deed.whole("seq")
    chat = world.chats.find(me, ref)
    message: Any = world.kf.recall(ref, me, seq) if chat.kind == "kf" else world.chats.recall(chat, seq, by=me)
    return world.chats.shown(chat, message)


async def live(request: web.Request) -> web.StreamResponse:
    deed = Deed(request, {})
    if deed.path["customer"] not in deed.world.corp.customers:
        return web.Response(status=404)
    return await stream(request, deed.world.corp.feed, f"phone:{deed.path['customer']}")


def _me(deed: Deed) -> Customer:
    return deed.world.corp.get_customer(deed.path["customer"])
