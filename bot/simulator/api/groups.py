"""Customer group calls: listing, details, statistics, join ways, handing groups over."""

from datetime import UTC, datetime, timedelta

from bot.simulator import checks
from bot.simulator.api.core import Answer, Call, post
from bot.simulator.corp import SHOP_ZONE
from bot.simulator.groups import Group, JoinWay
from bot.simulator.refusals import Refusal

MAX_UNFILTERED = 1000
MAX_SPAN_DAYS = 30


@post("externalcontact/groupchat/list", module="contacts", empty={"group_chat_list": []})
def list_groups(call: Call) -> Answer:
    limit = checks.integer(call.body, "limit", -1, low=1, high=1000)
    status = checks.integer(call.body, "status_filter", 0, low=0, high=3)
    owners = _owners(call)
    groups = [] if status else [group for group in _visible(call) if owners is None or group.owner in owners]
    if owners is None and len(groups) > MAX_UNFILTERED:
        raise Refusal(81017)
    cursor = checks.optional_text(call.body, "cursor")
    if cursor and not cursor.isdigit():
        raise Refusal(40058, "cursor")
    start = int(cursor or 0)
    end = start + limit
    more = {"next_cursor": str(end)} if end < len(groups) else {}
    return {"group_chat_list": [{"chat_id": each.chat_id, "status": 0} for each in groups[start:end]], **more}


def _visible(call: Call) -> list[Group]:
    return [each for each in call.world.groups.all.values() if not each.dismissed and call.app.sees(each.owner)]


def _owners(call: Call) -> set[str] | None:
    if not call.body.get("owner_filter"):
        return None
    userids = checks.strings(checks.node(call.body, "owner_filter"), "userid_list", most=100, least=1)
    return {call.world.corp.visible_staff(call.app, userid).userid for userid in userids}


@post("externalcontact/groupchat/get", module="contacts")
def get_group(call: Call) -> Answer:
    group = call.world.groups.get(call.body.get("chat_id"))
    if not call.app.sees(group.owner):
        raise Refusal(60011, group.owner)
    shown = call.world.groups.shown(group)
    if not checks.flag(call.body, "need_name"):
        members = [{key: value for key, value in each.items() if key != "name"} for each in shown["member_list"]]
        shown = {**shown, "member_list": members}
    return {"group_chat": shown}


@post("externalcontact/opengid_to_chatid", module="contacts", empty={"chat_id": ""})
def opengid_to_chatid(call: Call) -> Answer:
    """In the simulator a group's opengid is `og-` and its chat_id."""
    opengid = checks.text(call.body, "opengid")
    return {"chat_id": call.world.groups.get(opengid.removeprefix("og-")).chat_id}


# statistics


@post("externalcontact/groupchat/statistic", module="contacts", empty={"items": [], "total": 0, "next_offset": 0})
def statistic(call: Call) -> Answer:
    _begin_day(call)
    offset = checks.integer(call.body, "offset", 0, low=0, high=10**6)
    limit = checks.integer(call.body, "limit", 500, low=1, high=1000)
    owned: dict[str, list[Group]] = {}
    owners = _owners(call)
    for group in _visible(call):
        if owners is None or group.owner in owners:
            owned.setdefault(group.owner, []).append(group)
    items = [{"owner": owner, "data": _data(groups, None)} for owner, groups in owned.items()]
    page = items[offset : offset + limit]
    return {"total": len(items), "next_offset": offset + len(page), "items": page}


@post("externalcontact/groupchat/statistic_group_by_day", module="contacts", empty={"items": []})
def statistic_by_day(call: Call) -> Answer:
    first = _begin_day(call)
    last = checks.integer(call.body, "day_end_time", first, low=first, high=first + MAX_SPAN_DAYS * 86_400)
    owners = _owners(call)
    groups = [group for group in _visible(call) if owners is None or group.owner in owners]
    days = range(first, last + 1, 86_400)
    return {"items": [{"stat_time": day, "data": _data(groups, day)} for day in days]}


def _begin_day(call: Call) -> int:
    """The shop-local midnight of day_begin_time, which may be at most 180 days ago."""
    given = checks.integer(call.body, "day_begin_time", -1, low=0, high=2**40)
    day = datetime.fromtimestamp(given, UTC).astimezone(SHOP_ZONE).replace(hour=0, minute=0, second=0)
    if call.world.corp.clock.now() - day > timedelta(days=181):
        raise Refusal(40058, "day_begin_time")
    return int(day.timestamp())


def _data(groups: list[Group], day: int | None) -> Answer:
    def today(at: int) -> bool:
        return day is None or day <= at < day + 86_400

    members = [member for group in groups for member in group.members.values()]
    return {
        "new_chat_cnt": sum(today(group.create_time) for group in groups),
        "chat_total": len(groups),
        "chat_has_msg": 0,
        "new_member_cnt": sum(today(member.join_time) for member in members),
        "member_total": len(members),
        "member_has_msg": 0,
        "msg_total": 0,
        "migrate_trainee_chat_cnt": 0,
    }


# join ways


@post("externalcontact/groupchat/add_join_way", module="contacts", empty={"config_id": ""})
def add_join_way(call: Call) -> Answer:
    way = JoinWay(call.world.corp.new_id("jw"), [])
    _fill(call, way)
    call.world.groups.join_ways[way.config_id] = way
    return {"config_id": way.config_id}


@post("externalcontact/groupchat/get_join_way", module="contacts")
def get_join_way(call: Call) -> Answer:
    way = _way(call)
    return {
        "join_way": {
            "config_id": way.config_id,
            "scene": way.scene,
            "remark": way.remark,
            "auto_create_room": int(way.auto_create_room),
            "room_base_name": way.room_base_name,
            "room_base_id": way.room_base_id,
            "chat_id_list": way.chat_ids,
            "qr_code": call.url(f"/sim/qr/{way.config_id}"),
            "state": way.state,
            "mark_source": way.mark_source,
        }
    }


@post("externalcontact/groupchat/update_join_way", module="contacts")
def update_join_way(call: Call) -> Answer:
    _fill(call, _way(call))
    return {}


@post("externalcontact/groupchat/del_join_way", module="contacts")
def del_join_way(call: Call) -> Answer:
    del call.world.groups.join_ways[_way(call).config_id]
    return {}


def _way(call: Call) -> JoinWay:
    way = call.world.groups.join_ways.get(checks.text(call.body, "config_id", missing=41043))
    if way is None:
        raise Refusal(41044)
    return way


def _fill(call: Call, way: JoinWay) -> None:
    """Every update replaces the whole way; the remark is cut, not refused."""
    body = call.body
    scene = checks.integer(body, "scene", 0, low=1, high=2, errcode=41040)
    chat_ids = checks.strings(body, "chat_id_list", most=5, least=1, errcode=41091)
    for chat_id in chat_ids:
        call.world.groups.get(chat_id)
    state = checks.optional_text(body, "state", max_chars=30)
    base_name = checks.optional_text(body, "room_base_name", max_bytes=40)
    way.scene, way.chat_ids, way.state, way.room_base_name = scene, chat_ids, state, base_name
    way.remark = checks.optional_text(body, "remark")[:30]
    way.auto_create_room = checks.flag(body, "auto_create_room", True)
    way.room_base_id = checks.integer(body, "room_base_id", 1, low=0, high=10**6)
    way.mark_source = checks.flag(body, "mark_source", True)


# handing over


@post("externalcontact/groupchat/onjob_transfer", module="contacts", empty={"failed_chat_list": []})
def onjob_transfer(call: Call) -> Answer:
    chat_ids = checks.strings(call.body, "chat_id_list", most=100, least=1)
    owner = call.world.corp.visible_staff(call.app, call.body.get("new_owner")).userid
    failed = []
    for chat_id in chat_ids:
        try:
            call.world.groups.get(chat_id).owner = owner
        except Refusal as refusal:
            failed.append({"chat_id": chat_id, "errcode": refusal.errcode, "errmsg": refusal.errmsg})
    return {"failed_chat_list": failed}
