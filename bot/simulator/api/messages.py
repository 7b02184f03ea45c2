"""Calls that reach staff: app messages and cards, group robots, and who opened an H5 page."""

from collections.abc import Callable
from typing import Any

from bot.simulator import cards, checks
from bot.simulator.api.basics import uploaded
from bot.simulator.api.core import Answer, Call, get, post
from bot.simulator.checks import Body
from bot.simulator.corp import Staff
from bot.simulator.media import Media
from bot.simulator.refusals import Refusal

MAX_TOUSER = 1000
DUPLICATE_SECONDS, MAX_DUPLICATE_SECONDS = 1800, 4 * 3600
ROOT_DEPARTMENT = "1"  # the only department the simulator has: everybody


@post("message/send", empty={"invaliduser": "", "msgid": ""})
def message_send(call: Call) -> Answer:
    body, app = call.body, call.app
    _check_agentid(call)
    people, invalid_users = _named(call, checks.optional_text(body, "touser"))
    parties = _split(checks.optional_text(body, "toparty"), most=100)
    tags = _split(checks.optional_text(body, "totag"), most=100)
    if not (body.get("touser") or parties or tags):
        raise Refusal(40063, "touser, toparty or totag needed")
    if ROOT_DEPARTMENT in parties:
        people = _everybody(call)
    if not people:
        raise Refusal(81013)
    msgtype = checks.text(body, "msgtype", missing=40008)
    payload = _checked(call, msgtype)
    invalid = {
        "invaliduser": "|".join(invalid_users),
        "invalidparty": "|".join(party for party in parties if party != ROOT_DEPARTMENT),
        "invalidtag": "|".join(tags),
    }
    if _repeated(call, people, {msgtype: payload}):
        return {**invalid, "msgid": ""}
    sending = call.world.notices.send(app, people, msgtype, payload)
    code = {"response_code": sending.response_code} if sending.response_code else {}
    return {**invalid, "msgid": sending.msgid, **code}


def _check_agentid(call: Call) -> None:
    agentid = call.body.get("agentid")
    if isinstance(agentid, bool) or not isinstance(agentid, int):
        raise Refusal(40056)
    if agentid != call.app.agentid:
        raise Refusal(301002)


def _named(call: Call, touser: str) -> tuple[list[Staff], list[str]]:
    """(employees reached, lower-case userids that are not)."""
    if touser == "@all":
        return _everybody(call), []
    people: dict[str, Staff] = {}
    invalid = []
    for userid in _split(touser, most=MAX_TOUSER):
        member = call.world.corp.find_staff(userid)
        if member and member.active and call.app.sees(member.userid):
            people[member.userid] = member
        else:
            invalid.append(userid.lower())
    return list(people.values()), invalid


def _everybody(call: Call) -> list[Staff]:
    return [each for each in call.world.corp.staff.values() if each.active and call.app.sees(each.userid)]


def _split(joined: str, *, most: int) -> list[str]:
    names = [name for name in joined.split("|") if name]
    if len(names) > most:
        raise Refusal(40032)
    return names


def _repeated(call: Call, people: list[Staff], content: dict[str, Any]) -> bool:
    if not checks.flag(call.body, "enable_duplicate_check"):
        return False
    seconds = checks.integer(
        call.body, "duplicate_check_interval", DUPLICATE_SECONDS, low=0, high=MAX_DUPLICATE_SECONDS
    )
    return call.world.notices.said_lately(call.app, [each.userid for each in people], content, seconds)


def _checked(call: Call, msgtype: str) -> dict[str, Any]:
    check = _TYPES.get(msgtype)
    if check is None:
        raise Refusal(40008, msgtype)
    payload = checks.node(call.body, msgtype)
    check(payload, call.world.media)
    if msgtype == "template_card" and cards.needs_task_id(payload) and call.app.callback is None:
        raise Refusal(43012)
    return payload


def _text(payload: Body, media: Media) -> None:
    checks.text(payload, "content", max_bytes=2048, missing=44004)


def _medium(payload: Body, media: Media) -> None:
    media.get(payload.get("media_id"))


def _video(payload: Body, media: Media) -> None:
    media.get(payload.get("media_id"))
    checks.optional_text(payload, "title", max_bytes=128)
    checks.optional_text(payload, "description", max_bytes=512)


def _textcard(payload: Body, media: Media) -> None:
    checks.text(payload, "title", max_bytes=128)
    checks.text(payload, "description", max_bytes=512)
    checks.url(payload, "url")
    checks.optional_text(payload, "btntxt", max_chars=4)


def _news(payload: Body, media: Media) -> None:
    articles = checks.nodes(payload, "articles", most=8, errcode=45008)
    if not articles:
        raise Refusal(40063, "articles")
    for article in articles:
        checks.text(article, "title", max_bytes=128)
        checks.optional_text(article, "description", max_bytes=512)
        checks.url(article, "url", required=not article.get("pagepath"))


def _mpnews(payload: Body, media: Media) -> None:
    for article in checks.nodes(payload, "articles", most=8, errcode=45008):
        checks.text(article, "title")
        checks.text(article, "content", max_bytes=666 * 1024)
        media.get(article.get("thumb_media_id"))


def _miniprogram_notice(payload: Body, media: Media) -> None:
    checks.text(payload, "appid")
    checks.text(payload, "title")
    checks.nodes(payload, "content_item", most=10)


def _template_card(payload: dict[str, Any], media: Media) -> None:
    cards.check(payload)


_TYPES: dict[str, Callable[[dict[str, Any], Media], None]] = {
    "text": _text,
    "markdown": _text,
    "image": _medium,
    "voice": _medium,
    "file": _medium,
    "video": _video,
    "textcard": _textcard,
    "news": _news,
    "mpnews": _mpnews,
    "miniprogram_notice": _miniprogram_notice,
    "template_card": _template_card,
}


@post("message/update_template_card", empty={"invaliduser": []})
def update_template_card(call: Call) -> Answer:
    body = call.body
    _check_agentid(call)
    code = checks.text(body, "response_code", missing=42014)
    card = body.get("template_card")
    name = checks.optional_text(checks.node(body, "button") if body.get("button") else {}, "replace_name")
    if isinstance(card, dict):
        cards.check(card)
    elif not name:
        raise Refusal(40063, "button.replace_name or template_card needed")
    asked = checks.strings(body, "userids", most=100)
    everybody = checks.flag(body, "atall") or bool(body.get("partyids"))
    if not asked and not everybody:
        raise Refusal(40063, "userids, partyids or atall needed")
    people, invalid = _named(call, "|".join(asked))
    userids = None if everybody else [each.userid for each in people]
    call.world.notices.update_card(call.app, code, userids, name, card if isinstance(card, dict) else None)
    return {"invaliduser": invalid}


@post("message/recall")
def message_recall(call: Call) -> Answer:
    call.world.notices.recall(call.app, checks.text(call.body, "msgid"))
    return {}


@post("message/get_statistics", empty={"statistics": []})
def message_statistics(call: Call) -> Answer:
    checks.integer(call.body, "time_type", 0, low=0, high=1)
    count = call.world.notices.sent_by(call.app)
    return {"statistics": [{"agentid": call.app.agentid, "app_name": call.app.name, "count": count}]}


# group robots


@post("webhook/send", token=False)
def webhook_send(call: Call) -> Answer:
    call.world.webhooks.post(call.query.get("key"), call.body)
    return {}


@post("webhook/upload_media", token=False, json=False)
async def webhook_upload(call: Call) -> Answer:
    """An empty upload is refused before the key is looked at."""
    filename, data = await uploaded(call)
    if not data:
        raise Refusal(44001)
    robot = call.world.webhooks.get(call.query.get("key"))
    kind = call.query.get("type", "")
    if kind not in ("file", "voice"):
        raise Refusal(40004, kind)
    material = call.world.media.upload(kind, filename, data)
    robot.files.add(material.media_id)
    return {
        "errmsg": "",
        "type": kind,
        "media_id": material.media_id,
        "created_at": str(int(material.created_at)),
    }


# visitors of H5 pages


@get("auth/getuserinfo")
def getuserinfo(call: Call) -> Answer:
    return dict(call.world.visitors.identify(call.app, call.query.get("code")))
