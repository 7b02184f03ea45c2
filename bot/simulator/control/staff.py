"""/sim/staff: being an employee in the WeCom client."""

from collections.abc import Callable

from aiohttp import web

from bot.simulator.chats import Chat, last_line
from bot.simulator.control.bots import rooms_of
from bot.simulator.control.core import Deed, Told, control, stream
from bot.simulator.control.phone import MAX_MESSAGES, customer_shown, staff_shown
from bot.simulator.corp import Staff
from bot.simulator.kf import Session
from bot.simulator.notices import Notice
from bot.simulator.refusals import NotPossible, Unknown
from bot.simulator.tasks import SENT, UNSENT, Task

CLIENT = "/sim/staff/{userid}"
SESSION = CLIENT + "/kf/{account}/{customer}"
CONTACT = CLIENT + "/contacts/{customer}"


def add_routes(app: web.Application) -> None:
    add_get = app.router.add_get
    add_get("/sim/staff", control(everybody))
    add_get(CLIENT, control(overview))
    add_get(CLIENT + "/stream", live)
    add_get(SESSION + "/messages", control(session_messages))
    add_get(CONTACT + "/messages", control(contact_messages))
    add_get(CLIENT + "/groups/{chat}/messages", control(group_messages))
    for path, deed in POSTS.items():
        app.router.add_post(path, control(deed))


def everybody(deed: Deed) -> Told:
    return {"staff": [staff_shown(member) for member in deed.world.corp.staff.values()]}


def overview(deed: Deed) -> Told:
    world, me = deed.world, _me(deed)
    return {
        "staff": staff_shown(me),
        "servicer_of": [
            {"open_kfid": each.open_kfid, "name": each.name, "receiving": each.servicers[me.userid].receiving}
            for each in world.kf.accounts.values()
            if me.userid in each.servicers and not each.deleted
        ],
        "sessions": [_session(deed, session) for session in world.kf.sessions_for(me.userid)],
        "tasks": [_task(deed, task) for task in reversed(world.tasks.of_member(me.userid))],
        "cards": [_notice(deed, notice) for notice in reversed(world.notices.of_member(me.userid))],
        "contacts": _contacts(deed),
        "groups": [
            {"chat_id": each.chat_id, "name": each.name, "members": len(each.members), "owner": each.owner}
            for each in world.groups.of_member(me.userid)
        ],
        **rooms_of(world, me),
        "apps": [{"agentid": app.agentid, "name": app.name} for app in world.corp.apps.values()],
    }


def _session(deed: Deed, session: Session) -> Told:
    last = session.chat.messages[-1] if session.chat.messages else None
    words = [each for each in session.chat.messages[-20:] if each.sender_kind == "staff"]
    since = words[-1].seq if words else 0
    return {
        "open_kfid": session.account.open_kfid,
        "external_userid": session.customer.external_userid,
        "name": session.customer.name,
        "avatar": session.customer.avatar,
        "state": int(session.state),
        "servicer_userid": session.servicer,
        "last": {"text": last_line(last), "at": last.at} if last else None,
        "unread": sum(each.sender_kind == "customer" and each.seq > since for each in session.chat.messages[-20:]),
    }


def _task(deed: Deed, task: Task) -> Told:
    share = task.shares[_me(deed).userid]
    return {
        "msgid": task.msgid,
        "chat_type": task.chat_type,
        "text": task.text,
        "attachments": task.attachments,
        "status": "cancelled" if task.cancelled else share.status,
        "created_at": int(task.created_at),
        "sent_at": share.sent_at,
        "targets": len(share.targets),
        "target_names": [_target_name(deed, task, target) for target in share.targets[:20]],
        "reminders": len(task.reminded_at),
        "allow_select": task.allow_select,
        "sent": sum(status == SENT for status in share.results.values()),
        "failed": _failed(share.results),
    }


def _target_name(deed: Deed, task: Task, target: str) -> str:
    if task.chat_type == "group":
        return deed.world.chats.title(target)[0]
    return deed.world.groups.name_of(target)


def _failed(results: dict[str, int]) -> list[Told]:
    return [{"id": target, "status": status} for target, status in results.items() if status not in (SENT, UNSENT)]


def _notice(deed: Deed, notice: Notice) -> Told:
    app = deed.world.corp.apps.get(notice.agentid)
    return {
        "id": notice.id,
        "at": notice.at,
        "agentid": notice.agentid,
        "agent_name": app.name if app else "",
        "msgtype": notice.msgtype,
        "card" if notice.msgtype == "template_card" else "content": notice.payload,
        "pressed": notice.pressed,
        "replaced": notice.replaced,
        "mine": notice.mine,
    }


def _contacts(deed: Deed) -> list[Told]:
    world = deed.world
    shown = []
    for follow in world.contacts.of_member(_me(deed).userid):
        tags = [found[1].name for tag_id in follow.tags if (found := world.tags.find(tag_id))]
        facts = {"remark": follow.remark, "tags": tags, "one_way": follow.one_way, "confirmed": follow.confirmed}
        shown.append({**customer_shown(world.corp.customers[follow.external_userid]), **facts, "state": follow.state})
    return shown


# sessions


def session_messages(deed: Deed) -> Told:
    chat = deed.world.kf.session(deed.path["account"], deed.path["customer"]).chat
    return _messages(deed, chat)


def contact_messages(deed: Deed) -> Told:
    deed.world.contacts.get(_me(deed).userid, deed.path["customer"])
    return _messages(deed, deed.world.chats.private("staff", deed.path["customer"], _me(deed).userid))


def group_messages(deed: Deed) -> Told:
    deed.world.groups.find(deed.path["chat"])
    return _messages(deed, deed.world.chats.group(deed.path["chat"]))


def _messages(deed: Deed, chat: Chat) -> Told:
    found = chat.after(deed.integer("after", 0), min(max(deed.integer("limit", 200), 1), MAX_MESSAGES))
    return {"messages": [deed.world.chats.shown(chat, message) for message in found]}


def accept(deed: Deed) -> Told:
    return _session(deed, deed.world.kf.accept(*_held(deed)))


def end(deed: Deed) -> Told:
    return _session(deed, deed.world.kf.end(*_held(deed)))


def transfer(deed: Deed) -> Told:
    to = deed.world.corp.get_staff(deed.text("userid")).userid
    return _session(deed, deed.world.kf.transfer(*_held(deed), to))


def reply(deed: Deed) -> Told:
    message = deed.world.kf.reply(*_held(deed), *deed.message())
    return deed.world.chats.shown(deed.world.kf.session(*_held(deed)[1:]).chat, message)


def recall(deed: Deed) -> Told:
    message = deed.world.kf.recall_reply(*_held(deed), deed.whole("seq"))
    return deed.world.chats.shown(deed.world.kf.session(*_held(deed)[1:]).chat, message)


def reject(deed: Deed) -> Told:
    deed.world.kf.set_rejected(*_held(deed), bool(deed.body.get("rejected", True)))
    return {}


def _held(deed: Deed) -> tuple[str, str, str]:
    return _me(deed).userid, deed.path["account"], deed.path["customer"]


def receiving(deed: Deed) -> Told:
    on = deed.body.get("receiving")
    if not isinstance(on, bool):
        raise NotPossible("receiving 要是 true 或 false")
    stop_type = deed.whole("stop_type", 0)
    deed.world.kf.set_receiving(_me(deed).userid, deed.text("open_kfid"), on, stop_type)
    return {}


# tasks, cards, apps


def send_task(deed: Deed) -> Told:
    share = deed.world.tasks.send(_me(deed).userid, deed.path["msgid"], deed.texts("except"))
    return {"sent": sum(status == SENT for status in share.results.values()), "failed": _failed(share.results)}


def press(deed: Deed) -> Told:
    selected = deed.body.get("selected")
    if selected is not None and not isinstance(selected, dict):
        raise NotPossible("selected 要是 问题到选项 的对照")
    if not deed.path["card"].isdigit():
        raise Unknown("没有这张卡片")
    deed.world.notices.press(_me(deed).userid, int(deed.path["card"]), deed.text("key"), selected)
    return {}


def enter_agent(deed: Deed) -> Told:
    deed.world.notices.enter(_me(deed).userid, deed.whole("agentid"))
    return {}


def write_to_app(deed: Deed) -> Told:
    content = _text(deed)
    if not deed.path["agentid"].isdigit():
        raise Unknown("没有这个应用")
    return _notice(deed, deed.world.notices.say(_me(deed).userid, int(deed.path["agentid"]), content))


def click_menu(deed: Deed) -> Told:
    if not deed.path["agentid"].isdigit():
        raise Unknown("没有这个应用")
    deed.world.notices.click(_me(deed).userid, int(deed.path["agentid"]), deed.text("key"))
    return {}


# contacts and groups


def delete_contact(deed: Deed) -> Told:
    deed.world.contacts.drop(_me(deed).userid, deed.path["customer"])
    return {}


def write_to_contact(deed: Deed) -> Told:
    userid, customer = _me(deed).userid, deed.path["customer"]
    message = deed.world.contacts.write(userid, customer, *deed.message())
    return deed.world.chats.shown(deed.world.chats.private("staff", customer, userid), message)


def accept_contact(deed: Deed) -> Told:
    deed.world.contacts.confirm(_me(deed).userid, deed.path["customer"])
    return {}


def edit_contact(deed: Deed) -> Told:
    add, remove = deed.texts("add_tag"), deed.texts("remove_tag")
    deed.world.tags.check_ids([*add, *remove])
    remark = deed.text("remark", "") if "remark" in deed.body else None
    deed.world.contacts.edit(_me(deed).userid, deed.path["customer"], remark=remark, add=add, remove=remove)
    return {}


def write_to_group(deed: Deed) -> Told:
    message = deed.world.groups.say(deed.path["chat"], _me(deed).userid, *deed.message())
    return deed.world.chats.shown(deed.world.chats.group(deed.path["chat"]), message)


def console_welcome(deed: Deed) -> Told:
    _me(deed).console_welcome = bool(deed.body.get("on"))
    return staff_shown(_me(deed))


def _text(deed: Deed) -> str:
    return str(deed.message()[1].get("content", ""))


async def live(request: web.Request) -> web.StreamResponse:
    deed = Deed(request, {})
    member = deed.world.corp.find_staff(deed.path["userid"])
    if member is None:
        return web.Response(status=404)
    return await stream(request, deed.world.corp.feed, f"staff:{member.userid}")


def _me(deed: Deed) -> Staff:
    return deed.world.corp.get_staff(deed.path["userid"])


POSTS: dict[str, Callable[[Deed], Told]] = {
    SESSION + "/accept": accept,
    SESSION + "/end": end,
    SESSION + "/transfer": transfer,
    SESSION + "/reply": reply,
    SESSION + "/recall": recall,
    SESSION + "/reject": reject,
    CLIENT + "/receiving": receiving,
    CLIENT + "/tasks/{msgid}/send": send_task,
    CLIENT + "/cards/{card}/press": press,
    CLIENT + "/enter_agent": enter_agent,
    CLIENT + "/app/{agentid}/message": write_to_app,
    CLIENT + "/app/{agentid}/click": click_menu,
    CONTACT + "/delete": delete_contact,
    CONTACT + "/message": write_to_contact,
    CONTACT + "/accept": accept_contact,
    CONTACT + "/edit": edit_contact,
    CLIENT + "/groups/{chat}/message": write_to_group,
    CLIENT + "/console_welcome": console_welcome,
}
