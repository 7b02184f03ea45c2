"""客户联系 calls: customers, remarks, welcome messages, contact ways, id conversions."""

from typing import Any

from bot.simulator import checks
from bot.simulator.api.core import Answer, Call, get, post
from bot.simulator.contacts import ContactWay, Follow
from bot.simulator.corp import Customer
from bot.simulator.refusals import Refusal

MAX_USERS = 100
MAX_WAYS = 500_000
FOLLOWERS_PER_PAGE = 500


@get("externalcontact/get_follow_user_list", module="contacts", empty={"follow_user": []})
def get_follow_user_list(call: Call) -> Answer:
    staff = call.world.corp.staff.values()
    return {
        "follow_user": [
            each.userid for each in staff if each.active and each.can_add_customers and call.app.sees(each.userid)
        ]
    }


@get("externalcontact/list", module="contacts", empty={"external_userid": []})
def list_contacts(call: Call) -> Answer:
    member = call.world.corp.visible_staff(call.app, call.query.get("userid"))
    if not member.can_add_customers:
        raise Refusal(84074)
    follows = call.world.contacts.of_member(member.userid)
    if not follows:
        raise Refusal(84061)
    return {"external_userid": [follow.external_userid for follow in follows]}


@get("externalcontact/get", module="contacts")
def get_contact(call: Call) -> Answer:
    customer = call.world.corp.known_customer(call.query.get("external_userid"))
    follows = call.world.contacts.visible_follows(call.app, customer.external_userid)
    start = _offset(call.query.get("cursor", ""))
    page = follows[start : start + FOLLOWERS_PER_PAGE]
    more = {"next_cursor": str(start + len(page))} if start + len(page) < len(follows) else {}
    return {
        "external_contact": _external_contact(customer),
        "follow_user": [{**_follow(follow), "tags": _tags(call, follow)} for follow in page],
        **more,
    }


@post("externalcontact/batch/get_by_user", module="contacts", empty={"external_contact_list": [], "next_cursor": ""})
def batch_get_by_user(call: Call) -> Answer:
    asked = checks.strings(call.body, "userid_list", most=100, least=1)
    limit = checks.integer(call.body, "limit", 50, low=1, high=100, errcode=40035)
    members = [call.world.corp.visible_staff(call.app, userid).userid for userid in asked]
    start = _offset(checks.optional_text(call.body, "cursor"))
    follows = [follow for userid in members for follow in call.world.contacts.of_member(userid)]
    page = follows[start : start + limit]
    end = start + len(page)
    return {
        "external_contact_list": [
            {
                "external_contact": _external_contact(call.world.corp.customers[follow.external_userid]),
                "follow_info": {**_follow(follow), "tag_id": list(follow.tags)},
            }
            for follow in page
        ],
        "next_cursor": str(end) if end < len(follows) else "",
        "fail_info": {"unlicensed_userid_list": []},
    }


def _offset(cursor: str) -> int:
    if cursor and not cursor.isdigit():
        raise Refusal(40058, "cursor")
    return int(cursor or 0)


def _external_contact(person: Customer) -> Answer:
    return {
        "external_userid": person.external_userid,
        "name": person.name,
        "avatar": person.avatar,
        "type": 1,
        "gender": person.gender,
        "unionid": person.unionid,
    }


def _follow(follow: Follow) -> Answer:
    return {
        "userid": follow.userid,
        "remark": follow.remark,
        "description": follow.description,
        "createtime": follow.created_at,
        "remark_corp_name": follow.company,
        "remark_mobiles": follow.mobiles,
        "state": follow.state,
        "oper_userid": follow.oper_userid,
        "add_way": follow.add_way,
    }


def _tags(call: Call, follow: Follow) -> list[Answer]:
    found = [call.world.tags.find(tag_id) for tag_id in follow.tags]
    return [
        {"group_name": group.name, "tag_name": tag.name, "tag_id": tag.id, "type": 1}
        for group, tag in (each for each in found if each)
    ]


@post("externalcontact/remark", module="contacts")
def remark(call: Call) -> Answer:
    follow = _asked_follow(call)
    fields: dict[str, Any] = {}
    for key, name, most in (
        ("remark", "remark", 20),
        ("description", "description", 150),
        ("remark_company", "company", 20),
    ):
        if key in call.body:
            fields[name] = checks.optional_text(call.body, key, max_chars=most)
    if "remark_mobiles" in call.body:
        fields["mobiles"] = [each for each in checks.strings(call.body, "remark_mobiles", most=50) if each]
    if not fields and not call.body.get("remark_pic_mediaid"):
        raise Refusal(40063, "nothing to change")
    for name, value in fields.items():
        setattr(follow, name, value)
    return {}


def _asked_follow(call: Call) -> Follow:
    """The (userid, external_userid) relation of the body, through all the checks."""
    member = call.world.corp.visible_staff(call.app, call.body.get("userid"))
    customer = call.world.corp.known_customer(call.body.get("external_userid"))
    return call.world.contacts.followed(member.userid, customer.external_userid)


@post("externalcontact/send_welcome_msg", module="contacts")
def send_welcome_msg(call: Call) -> Answer:
    call.world.contacts.send_welcome(call.app, call.body)
    return {}


@post("externalcontact/convert_to_openid", module="contacts", empty={"openid": ""})
def convert_to_openid(call: Call) -> Answer:
    customer = call.world.corp.known_customer(call.body.get("external_userid"))
    call.world.contacts.visible_follows(call.app, customer.external_userid)
    return {"openid": customer.openid}


@post("externalcontact/unionid_to_external_userid", module="contacts", empty={"external_userid": ""})
def unionid_to_external_userid(call: Call) -> Answer:
    return {"external_userid": _by_unionid(call)}


def _by_unionid(call: Call) -> str:
    unionid = checks.text(call.body, "unionid", missing=610014)
    people = call.world.corp.customers.values()
    return next((each.external_userid for each in people if each.unionid == unionid), "")


@post("idconvert/unionid_to_external_userid", module="contacts", empty={"external_userid": ""})
def convert_unionid(call: Call) -> Answer:
    checks.text(call.body, "openid")
    found = _by_unionid(call)
    pending = {} if found else {"pending_id": call.world.corp.new_id("pend")}
    return {"external_userid": found, **pending}


@post("externalcontact/get_user_behavior_data", module="contacts", empty={"behavior_data": []})
def get_user_behavior_data(call: Call) -> Answer:
    """One row a day; only new contacts are counted."""
    staff = [
        call.world.corp.visible_staff(call.app, userid).userid
        for userid in checks.strings(call.body, "userid", most=100, least=1)
    ]
    since = checks.integer(call.body, "start_time", -1, low=0, high=2**40)
    until = checks.integer(call.body, "end_time", -1, low=since, high=since + 30 * 86_400)
    added = [follow.created_at for userid in staff for follow in call.world.contacts.of_member(userid)]
    return {
        "behavior_data": [
            {
                "stat_time": day,
                "chat_cnt": 0,
                "message_cnt": 0,
                "negative_feedback_cnt": 0,
                "new_apply_cnt": 0,
                "new_contact_cnt": sum(day <= at < day + 86_400 for at in added),
            }
            for day in range(since, until + 1, 86_400)
        ]
    }


# contact ways


@post("externalcontact/add_contact_way", module="contacts", empty={"config_id": ""})
def add_contact_way(call: Call) -> Answer:
    world, body = call.world, call.body
    if len(world.contacts.ways) + len(world.groups.join_ways) >= MAX_WAYS:
        raise Refusal(41045)
    kind = checks.integer(body, "type", 0, low=1, high=2)
    scene = checks.integer(body, "scene", 0, low=1, high=2, errcode=41040)
    way = ContactWay(world.corp.new_id("cw"), [], type=kind, scene=scene, created_at=int(world.corp.now()))
    _fill_way(call, way)
    world.contacts.ways[way.config_id] = way
    return {"config_id": way.config_id, **_qr_code(call, way)}


@post("externalcontact/get_contact_way", module="contacts")
def get_contact_way(call: Call) -> Answer:
    way = _way(call)
    return {
        "contact_way": {
            "config_id": way.config_id,
            "type": way.type,
            "scene": way.scene,
            "style": way.style,
            "remark": way.remark,
            "skip_verify": way.skip_verify,
            "state": way.state,
            "user": way.users,
            "party": way.party,
            "is_temp": way.is_temp,
            "is_exclusive": way.is_exclusive,
            "mark_source": way.mark_source,
            **_qr_code(call, way),
        }
    }


@post("externalcontact/list_contact_way", module="contacts", empty={"contact_way": []})
def list_contact_way(call: Call) -> Answer:
    now = int(call.world.corp.now())
    since = checks.integer(call.body, "start_time", now - 90 * 86_400, low=0, high=2**40)
    until = checks.integer(call.body, "end_time", now, low=0, high=2**40)
    limit = checks.integer(call.body, "limit", 100, low=1, high=1000)
    start = _offset(checks.optional_text(call.body, "cursor"))
    ways = [w for w in call.world.contacts.ways.values() if since <= w.created_at <= until and not w.is_temp]
    end = start + limit
    more = {"next_cursor": str(end)} if end < len(ways) else {}
    return {"contact_way": [{"config_id": way.config_id} for way in ways[start:end]], **more}


@post("externalcontact/update_contact_way", module="contacts")
def update_contact_way(call: Call) -> Answer:
    _fill_way(call, _way(call))
    return {}


@post("externalcontact/del_contact_way", module="contacts")
def del_contact_way(call: Call) -> Answer:
    del call.world.contacts.ways[_way(call).config_id]
    return {}


@post("externalcontact/close_temp_chat", module="contacts")
def close_temp_chat(call: Call) -> Answer:
    _asked_follow(call)
    return {}


def _way(call: Call) -> ContactWay:
    config_id = checks.text(call.body, "config_id", missing=41043)
    way = call.world.contacts.ways.get(config_id)
    if way is None:
        raise Refusal(41044)
    return way


def _fill_way(call: Call, way: ContactWay) -> None:
    body = call.body
    users = checks.strings(body, "user", most=10**6) if "user" in body else way.users
    if len(users) > MAX_USERS:
        raise Refusal(41041)
    if (way.type == 1 and len(users) != 1) or not (users or body.get("party")):
        raise Refusal(40058, "user")
    members = [call.world.corp.visible_staff(call.app, userid) for userid in users]
    if not all(member.active for member in members):
        raise Refusal(41054)
    style = checks.integer(body, "style", way.style, low=1, high=3, errcode=41042)
    remark_text = checks.optional_text(body, "remark", max_chars=30) if "remark" in body else way.remark
    state = checks.optional_text(body, "state", max_chars=30) if "state" in body else way.state
    way.skip_verify = checks.flag(body, "skip_verify", way.skip_verify)
    way.is_exclusive = checks.flag(body, "is_exclusive", way.is_exclusive)
    way.mark_source = checks.flag(body, "mark_source", way.mark_source)
    way.is_temp = checks.flag(body, "is_temp", way.is_temp)
    way.users = [member.userid for member in members]
    way.style, way.remark, way.state = style, remark_text, state


def _qr_code(call: Call, way: ContactWay) -> Answer:
    return {"qr_code": call.url(f"/sim/qr/{way.config_id}")} if way.scene == 2 else {}
