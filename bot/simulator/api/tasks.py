"""企业群发 calls: creating a mass-send task and asking how far the members got."""

from collections.abc import Sequence
from typing import TypeVar

from bot.simulator import attachments, checks
from bot.simulator.api.core import Answer, Call, post
from bot.simulator.contacts import Follow
from bot.simulator.refusals import Refusal
from bot.simulator.tasks import SENT, UNSENT, Share, Task

MAX_CUSTOMERS = 10_000
MAX_GROUPS = 2000
MAX_SPAN = 31 * 86_400
Item = TypeVar("Item")


@post("externalcontact/add_msg_template", module="contacts", empty={"fail_list": [], "msgid": ""})
def add_msg_template(call: Call) -> Answer:
    world, body = call.world, call.body
    chat_type = body.get("chat_type", "single")
    if chat_type not in ("single", "group"):
        raise Refusal(40058, "chat_type")
    sender = world.corp.visible_staff(call.app, body["sender"]).userid if body.get("sender") else ""
    text, parts = attachments.checked(body, world.media)
    allow_select = checks.flag(body, "allow_select")
    shares, failed = _single(call, sender) if chat_type == "single" else _group(call, sender)
    if not any(shares.values()):
        raise Refusal(41048)
    task = world.tasks.create(
        call.app,
        chat_type=chat_type,
        shares=shares,
        text=text,
        parts=parts,
        attachments=body.get("attachments") or [],
        allow_select=allow_select,
        sender=sender,
    )
    return {"fail_list": failed, "msgid": task.msgid}


def _single(call: Call, sender: str) -> tuple[dict[str, list[str]], list[str]]:
    """Who sends to which customers, and the customers nobody can reach."""
    asked = checks.strings(call.body, "external_userid", most=MAX_CUSTOMERS)
    wanted_tags = _tag_filter(call)
    if not asked and not sender and not wanted_tags:
        raise Refusal(40063, "external_userid, tag_filter or sender needed")
    people = asked or [each.external_userid for each in _reachable(call, sender)]
    shares: dict[str, list[str]] = {}
    failed: list[str] = []
    for external_userid in dict.fromkeys(people):
        follow = _follow_to_use(call, external_userid, sender, wanted_tags)
        if follow:
            shares.setdefault(follow.userid, []).append(external_userid)
        elif asked:
            failed.append(external_userid)
    return shares, failed


def _reachable(call: Call, sender: str) -> list[Follow]:
    visible = [each.userid for each in call.world.corp.staff.values() if call.app.sees(each.userid)]
    staff = [sender] if sender else visible
    return [follow for userid in staff for follow in call.world.contacts.of_member(userid)]


def _follow_to_use(call: Call, external_userid: str, sender: str, wanted_tags: list[set[str]]) -> Follow | None:
    """The sender's own relation; without a sender that of the member who talked to the customer last."""
    follows = [
        follow
        for follow in call.world.contacts.of_customer(external_userid)
        if (follow.userid == sender if sender else call.app.sees(follow.userid))
        and all(follow.tags.keys() & alternatives for alternatives in wanted_tags)
    ]
    return max(follows, key=lambda follow: follow.talked_at, default=None)


def _tag_filter(call: Call) -> list[set[str]]:
    """OR inside a group, AND across groups."""
    given = call.body.get("tag_filter")
    if not given:
        return []
    groups = checks.nodes(checks.node(call.body, "tag_filter"), "group_list", most=100)
    wanted = [set(checks.strings(group, "tag_list", most=100, least=1)) for group in groups]
    call.world.tags.check_ids([tag_id for alternatives in wanted for tag_id in alternatives])
    return wanted


def _group(call: Call, sender: str) -> tuple[dict[str, list[str]], list[str]]:
    if not sender:
        raise Refusal(40063, "sender needed for groups")
    owned = {group.chat_id for group in call.world.groups.of_owner(sender)}
    asked = checks.strings(call.body, "chat_id_list", most=MAX_GROUPS) or sorted(owned)
    return {sender: [chat_id for chat_id in dict.fromkeys(asked) if chat_id in owned]}, [
        chat_id for chat_id in asked if chat_id not in owned
    ]


@post("externalcontact/get_groupmsg_list_v2", module="contacts", empty={"group_msg_list": [], "next_cursor": ""})
def get_groupmsg_list(call: Call) -> Answer:
    body = call.body
    if body.get("chat_type") not in ("single", "group"):
        raise Refusal(40058, "chat_type")
    since = checks.integer(body, "start_time", -1, low=0, high=2**40)
    until = checks.integer(body, "end_time", -1, low=since, high=since + MAX_SPAN)
    tasks = [
        task
        for task in call.world.tasks.all.values()
        if task.chat_type == body["chat_type"]
        and since <= task.created_at <= until
        and task.agentid == call.app.agentid
        and body.get("creator", task.sender) == task.sender
        and not task.cancelled
    ]
    page, after = _page(call, tasks, default=50, most=100)
    return {"group_msg_list": [_task(task) for task in page], "next_cursor": after}


def _task(task: Task) -> Answer:
    return {
        "msgid": task.msgid,
        "creator": task.sender,
        "create_time": int(task.created_at),
        "create_type": 0,
        "text": {"content": task.text},
        "attachments": task.attachments,
    }


@post("externalcontact/get_groupmsg_task", module="contacts", empty={"task_list": [], "next_cursor": ""})
def get_groupmsg_task(call: Call) -> Answer:
    task = call.world.tasks.get(call.app, call.body.get("msgid"))
    page, after = _page(call, list(task.shares.values()), default=500, most=1000)
    return {"task_list": [_share(share) for share in page], "next_cursor": after}


def _share(share: Share) -> Answer:
    sent = {"send_time": share.sent_at} if share.sent_at else {}
    return {"userid": share.userid, "status": share.status, **sent}


@post("externalcontact/get_groupmsg_send_result", module="contacts", empty={"send_list": [], "next_cursor": ""})
def get_groupmsg_send_result(call: Call) -> Answer:
    task = call.world.tasks.get(call.app, call.body.get("msgid"))
    member = call.world.corp.visible_staff(call.app, call.body.get("userid"))
    share = task.shares.get(member.userid)
    if share is None:
        raise Refusal(40003, member.userid)
    results = [(target, share.results.get(target, UNSENT)) for target in share.targets]
    if task.chat_type == "group":
        results = [(target, status) for target, status in results if status == SENT]
    page, after = _page(call, results, default=500, most=1000)
    name = "chat_id" if task.chat_type == "group" else "external_userid"
    return {
        "send_list": [
            {name: target, "userid": share.userid, "status": status, **_sent_time(share, status)}
            for target, status in page
        ],
        "next_cursor": after,
    }


def _sent_time(share: Share, status: int) -> Answer:
    return {"send_time": share.sent_at} if status == SENT else {}


@post("externalcontact/remind_groupmsg_send", module="contacts")
def remind_groupmsg_send(call: Call) -> Answer:
    call.world.tasks.remind(call.app, call.body.get("msgid"))
    return {}


@post("externalcontact/cancel_groupmsg_send", module="contacts")
def cancel_groupmsg_send(call: Call) -> Answer:
    call.world.tasks.cancel(call.app, call.body.get("msgid"))
    return {}


def _page(call: Call, items: Sequence[Item], *, default: int, most: int) -> tuple[Sequence[Item], str]:
    limit = checks.integer(call.body, "limit", default, low=1, high=most)
    cursor = checks.optional_text(call.body, "cursor")
    if cursor and not cursor.isdigit():
        raise Refusal(40058, "cursor")
    start = int(cursor or 0)
    end = start + limit
    return items[start:end], str(end) if end < len(items) else ""
