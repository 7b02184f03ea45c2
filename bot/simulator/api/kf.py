"""微信客服 calls: accounts, links, servicers, states, messages, customers."""

from collections.abc import Callable

from bot.simulator import checks
from bot.simulator.api.core import Answer, Call, either, get, post
from bot.simulator.corp import HOUR
from bot.simulator.kf import Account, Servicer, State, must_exist
from bot.simulator.kf_log import MAX_PAGE
from bot.simulator.refusals import Refusal

MAX_NAME_CHARS = 16
MAX_ACCOUNTS = 5000
MAX_SERVICERS = 2000
SCENE = r"[0-9a-zA-Z_-]{1,32}"


@either("kf/account/list", module="kf", empty={"account_list": []})
def account_list(call: Call) -> Answer:
    offset = checks.integer(call.body, "offset", 0, low=0, high=10**9)
    limit = checks.integer(call.body, "limit", 100, low=1, high=100)
    accounts = [account for account in call.world.kf.accounts.values() if not account.deleted]
    granted = [account for account in accounts if account.apps is None or call.app.agentid in account.apps]
    return {"account_list": [_account(account) for account in granted[offset : offset + limit]]}


def _account(account: Account) -> Answer:
    return {
        "open_kfid": account.open_kfid,
        "name": account.name,
        "avatar": account.avatar,
        "manage_privilege": True,
    }


@post("kf/account/add", module="kf", empty={"open_kfid": ""})
def account_add(call: Call) -> Answer:
    name = _account_name(call)
    material = call.world.media.get(call.body.get("media_id"))
    if len(call.world.kf.accounts) >= MAX_ACCOUNTS:
        raise Refusal(95005)
    account = call.world.kf.add_account(name, avatar=call.url(f"/sim/media/{material.media_id}"))
    return {"open_kfid": account.open_kfid}


@post("kf/account/update", module="kf")
def account_update(call: Call) -> Answer:
    account = call.world.kf_bot.account(call.app, call.body.get("open_kfid"))
    name = _account_name(call) if call.body.get("name") else account.name
    if call.body.get("media_id"):
        account.avatar = call.url(f"/sim/media/{call.world.media.get(call.body['media_id']).media_id}")
    account.name = name
    call.world.chats.name(account.open_kfid, name, account.avatar)
    return {}


@post("kf/account/del", module="kf")
def account_del(call: Call) -> Answer:
    call.world.kf_bot.account(call.app, call.body.get("open_kfid")).deleted = True
    return {}


def _account_name(call: Call) -> str:
    name = call.body.get("name")
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME_CHARS:
        raise Refusal(95006)
    return name


@post("kf/add_contact_way", module="kf", empty={"url": ""})
def add_contact_way(call: Call) -> Answer:
    account = call.world.kf_bot.account(call.app, call.body.get("open_kfid"))
    scene = checks.optional_text(call.body, "scene", max_bytes=32)
    if scene and not checks.MSGID.fullmatch(scene):
        raise Refusal(40058, "scene must be of [0-9a-zA-Z_-]")
    enc_scene = call.world.corp.new_id("ENC", 64)
    call.world.kf.links[enc_scene] = (account.open_kfid, scene)
    return {"url": call.url(f"/kf/{account.open_kfid}?enc_scene={enc_scene}")}


# servicers


@post("kf/servicer/add", module="kf", empty={"result_list": []})
def servicer_add(call: Call) -> Answer:
    account = call.world.kf_bot.account(call.app, call.body.get("open_kfid"))

    def add(userid: str) -> bool:
        if len(account.servicers) >= MAX_SERVICERS:
            raise Refusal(40058, "too many servicers")
        known = userid in account.servicers
        account.servicers.setdefault(userid, Servicer(userid))
        return not known

    return {"result_list": _servicer_results(call, add)}


@post("kf/servicer/del", module="kf", empty={"result_list": []})
def servicer_del(call: Call) -> Answer:
    account = call.world.kf_bot.account(call.app, call.body.get("open_kfid"))
    return {"result_list": _servicer_results(call, lambda userid: account.servicers.pop(userid, None) is not None)}


def _servicer_results(call: Call, change: Callable[[str], bool]) -> list[Answer]:
    """One result per member and department. `change` says whether it changed anything; departments are unknown here."""
    departments = checks.integers(call.body, "department_id_list", most=100)
    userids = checks.strings(call.body, "userid_list", most=100, least=0 if departments else 1)
    unknown = [{"department_id": each, "errcode": 60003, "errmsg": "department not found"} for each in departments]
    return [_servicer_result(call, userid, change) for userid in userids] + unknown


def _servicer_result(call: Call, userid: str, change: Callable[[str], bool]) -> Answer:
    try:
        changed = change(call.world.corp.visible_staff(call.app, userid).userid)
    except Refusal as refusal:
        return {"userid": userid, "errcode": refusal.errcode, "errmsg": refusal.errmsg}
    return {"userid": userid, "errcode": 0, "errmsg": "success" if changed else "ignored"}


@get("kf/servicer/list", module="kf", empty={"servicer_list": []})
def servicer_list(call: Call) -> Answer:
    account = call.world.kf_bot.account(call.app, call.query.get("open_kfid"))
    return {"servicer_list": [_servicer(servicer) for servicer in account.servicers.values()]}


def _servicer(servicer: Servicer) -> Answer:
    if servicer.receiving:
        return {"userid": servicer.userid, "status": 0}
    return {"userid": servicer.userid, "status": 1, "stop_type": servicer.stop_type}


# states and messages


@post("kf/service_state/get", module="kf")
def state_get(call: Call) -> Answer:
    session = call.world.kf_bot.session(call.app, call.body)
    servicer = {"servicer_userid": session.servicer} if session.state == State.HUMAN else {}
    return {"service_state": int(session.state), **servicer}


@post("kf/service_state/trans", module="kf")
def state_trans(call: Call) -> Answer:
    code = call.world.kf_bot.change_state(call.app, call.body)
    return {"msg_code": code} if code else {}


@post("kf/sync_msg", module="kf", empty={"next_cursor": "", "has_more": 0, "msg_list": []})
def sync_msg(call: Call) -> Answer:
    body, simulator = call.body, call.simulator
    account = call.world.kf_bot.account(call.app, body.get("open_kfid"))
    cursor = checks.optional_text(body, "cursor", max_bytes=64)
    token = checks.optional_text(body, "token", max_bytes=128)
    limit = checks.integer(body, "limit", MAX_PAGE, low=0, high=MAX_PAGE) or MAX_PAGE
    checks.integer(body, "voice_format", 0, low=0, high=1)
    now = call.world.corp.now()
    most = simulator.options.tokenless_pulls_per_minute
    if token:
        call.world.kf.tokens.check(token, account.open_kfid)
    elif most and not simulator.limits.count(f"tokenless {account.open_kfid}", most, now):
        raise Refusal(45009, "sync_msg without token")
    simulator.pulls += 1
    every = simulator.options.empty_page_every
    empty_page = bool(every) and simulator.pulls % every == 0
    items, after, more = account.log.page(cursor, 0 if empty_page else limit, now)
    return {"next_cursor": after, "has_more": int(more), "msg_list": items}


@post("kf/send_msg", module="kf")
def send_msg(call: Call) -> Answer:
    return {"msgid": call.world.kf_bot.send(call.app, call.body)}


@post("kf/send_msg_on_event", module="kf")
def send_msg_on_event(call: Call) -> Answer:
    return {"msgid": call.world.kf_bot.send_on_event(call.body)}


# customers


@post("kf/customer/batchget", module="kf", empty={"customer_list": [], "invalid_external_userid": []})
def customer_batchget(call: Call) -> Answer:
    asked = checks.strings(call.body, "external_userid_list", most=100, least=1)
    with_context = checks.flag(call.body, "need_enter_session_context")
    known = {each: _consulting(call, each, with_context) for each in asked}
    return {
        "customer_list": [found for found in known.values() if found],
        "invalid_external_userid": [each for each, found in known.items() if not found],
    }


def _consulting(call: Call, external_userid: str, with_context: bool) -> Answer | None:
    session = call.world.kf.consulted_within(external_userid, 48 * HOUR)
    if session is None:
        return None
    person = session.customer
    found: Answer = {
        "external_userid": person.external_userid,
        "nickname": person.name,
        "avatar": person.avatar,
        "gender": person.gender,
        "unionid": person.unionid,
    }
    if with_context:
        found["enter_session_context"] = {"scene": session.scene, "scene_param": session.scene_param}
    return found


@get("kf/customer/get_upgrade_service_config", module="kf")
def upgrade_service_config(call: Call) -> Answer:
    staff = [member.userid for member in call.world.corp.staff.values() if call.app.sees(member.userid)]
    return {
        "member_range": {"userid_list": staff, "department_id_list": []},
        "groupchat_range": {"chat_id_list": list(call.world.groups.all)},
    }


@post("kf/customer/upgrade_service", module="kf")
def upgrade_service(call: Call) -> Answer:
    """Show the customer a card to add a member (type 1) or to join a group (type 2)."""
    world, body = call.world, call.body
    session = world.kf_bot.session(call.app, body)
    if world.kf.consulted_within(session.customer.external_userid, 48 * HOUR) is None:
        raise Refusal(95031)
    if session.state == State.ENDED:
        raise Refusal(95013)
    kind = checks.integer(body, "type", 0, low=1, high=2)
    if kind == 1:
        member = world.corp.visible_staff(call.app, checks.node(body, "member").get("userid"))
        card = {"userid": member.userid, "wording": checks.optional_text(body["member"], "wording")}
    else:
        group = world.groups.get(checks.node(body, "groupchat").get("chat_id"))
        card = {
            "chat_id": group.chat_id,
            "title": group.name,
            "wording": checks.optional_text(body["groupchat"], "wording"),
        }
    world.chats.post(session.chat, "bot", session.account.open_kfid, "business_card", card)
    return {}


@post("kf/customer/cancel_upgrade_service", module="kf")
def cancel_upgrade_service(call: Call) -> Answer:
    call.world.kf_bot.session(call.app, call.body)
    return {}


@post("kf/get_corp_statistic", module="kf", empty={"statistic_list": []})
def corp_statistic(call: Call) -> Answer:
    return _statistics(call)


def _statistics(call: Call) -> Answer:
    """One row for the whole span; what the simulator counts is sessions and customers' messages."""
    kf = call.world.kf
    wanted = call.body.get("open_kfid")
    accounts = [must_exist(kf.accounts, wanted)] if wanted else list(kf.accounts.values())
    since = checks.integer(call.body, "start_time", 0, low=0, high=2**40)
    until = checks.integer(call.body, "end_time", 0, low=since, high=since + 31 * 86_400)
    statistic = {
        "session_cnt": sum(account.openings for account in accounts),
        "customer_msg_cnt": sum(account.messages for account in accounts),
    }
    return {"statistic_list": [{"stat_time": until, "statistic": statistic}]}


@post("kf/get_servicer_statistic", module="kf", empty={"statistic_list": []})
def servicer_statistic(call: Call) -> Answer:
    return _statistics(call)


@get("kf/get_corp_qualification", module="kf")
def corp_qualification(call: Call) -> Answer:
    return {"wechat_channels_binding": False}
