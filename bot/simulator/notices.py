"""App messages to staff: who gets them, what clients show, pressed cards, updates, recalls, and what staff write."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

from bot.simulator import cards
from bot.simulator.codes import Codes
from bot.simulator.corp import DAY, HOUR, App, Corp, Event, Staff
from bot.simulator.envelope import BadEnvelope
from bot.simulator.faults import Limits
from bot.simulator.refusals import NotPossible, Refusal, Unknown
from bot.simulator.replies import REPLIABLE_EVENTS, read

RESPONSE_CODE_LIFE = 72 * HOUR
PER_MINUTE, PER_HOUR = 30, 1000


@dataclass(slots=True)
class Sending:
    """One accepted message/send, with one Notice per employee who got it."""

    msgid: str
    agentid: int
    at: float
    msgtype: str
    payload: dict[str, Any]
    notices: dict[str, "Notice"] = field(default_factory=dict)
    response_code: str = ""


@dataclass(slots=True)
class Notice:
    """One message in one employee's app chat. `mine`: the employee wrote it."""

    id: int
    at: int
    agentid: int
    userid: str
    msgtype: str
    payload: dict[str, Any]
    sending: Sending | None = None
    pressed: str | None = None
    replaced: str | None = None
    mine: bool = False


class Notices:
    def __init__(self, corp: Corp) -> None:
        self.corp = corp
        self.member_limit = True  # 30 a minute and 1000 an hour per employee; the excess vanishes with errcode 0
        self.response_codes: Codes[Sending] = Codes(corp, "RSP")
        self._notices: dict[str, dict[int, Notice]] = {}
        self._sendings: dict[str, Sending] = {}
        self._task_ids: set[tuple[int, str]] = set()
        self._said: dict[str, float] = {}  # fingerprint -> when it was last sent, for the duplicate check
        self._windows = Limits()
        self._next_id = 0
        self._presses: dict[str, Notice] = {}  # ResponseCode of a press -> the card pressed

    # by API

    def send(self, app: App, people: list[Staff], msgtype: str, payload: dict[str, Any]) -> Sending:
        if msgtype == "template_card" and cards.needs_task_id(payload):
            self._take_task_id(app, payload)
        sending = Sending(self.corp.new_id("M", 128), app.agentid, self.corp.now(), msgtype, payload)
        self._sendings[sending.msgid] = sending
        for member in people:
            if self._under_limit(member.userid):
                sending.notices[member.userid] = self._show(member.userid, app.agentid, msgtype, payload, sending)
        if msgtype == "template_card" and payload["card_type"] in cards.INTERACTIVE:
            sending.response_code = self.response_codes.issue(sending, seconds=RESPONSE_CODE_LIFE)
        return sending

    def said_lately(self, app: App, userids: Iterable[str], payload: dict[str, Any], seconds: float) -> bool:
        """Whether the same content went to the same people inside the interval; if not, it is noted."""
        content = json.dumps(payload, sort_keys=True, ensure_ascii=False)
        mark, now = f"{app.agentid} {sorted(userids)} {content}", self.corp.now()
        if now - self._said.get(mark, float("-inf")) < seconds:
            return True
        self._said[mark] = now
        return False

    def update_card(
        self, app: App, code: str, userids: list[str] | None, replace_name: str, card: dict[str, Any] | None
    ) -> None:
        """Change the cards that `code` opens; it works once. `userids` None is everybody who got it."""
        sending = self.response_codes.find(code)
        if sending is None:
            raise Refusal(42014, "response_code is unknown, used or too old")
        if sending.agentid != app.agentid:
            raise Refusal(42015)
        self.response_codes.burn(code)
        self._presses.pop(code, None)
        for userid, notice in sending.notices.items():
            if userids is None or userid in userids:
                self._replace(notice, replace_name, card)

    def recall(self, app: App, msgid: str) -> None:
        sending = self._sendings.get(msgid)
        if sending is None or sending.agentid != app.agentid or self.corp.now() - sending.at > DAY:
            raise Refusal(40058, "msgid")
        for userid, notice in sending.notices.items():
            self._notices[userid].pop(notice.id, None)
            self.corp.changed(userid, "cards")

    def sent_by(self, app: App) -> int:
        return sum(sending.agentid == app.agentid for sending in self._sendings.values())

    # by hand

    def of_member(self, userid: str) -> list[Notice]:
        return list(self._notices.get(userid, {}).values())

    def press(self, userid: str, notice_id: int, key: str, selected: dict[str, list[str]] | None = None) -> None:
        """The employee presses a button, submits a vote, or picks from the card's menu."""
        notice = self._notices.get(userid, {}).get(notice_id)
        if notice is None or notice.msgtype != "template_card" or notice.sending is None:
            raise Unknown("没有这张卡片")
        if notice.replaced is not None:
            raise NotPossible("这张卡片已经处理过了")
        event = cards.press_keys(notice.payload).get(key)
        if event is None:
            raise NotPossible("卡片上没有这个按钮")
        notice.pressed = key
        code = self.response_codes.issue(notice.sending, seconds=RESPONSE_CODE_LIFE)
        self._presses[code] = notice
        self.corp.changed(userid, "cards")
        fields = {
            **self.corp.head(userid),
            "Event": event,
            "EventKey": key,
            "TaskId": str(notice.payload.get("task_id", "")),
            "CardType": notice.payload["card_type"],
            "ResponseCode": code,
            "AgentID": notice.agentid,
        }
        if selected:
            fields["SelectedItems"] = {"SelectedItem": [_selected(*each) for each in selected.items()]}
        self.corp.emit(Event("app", fields, notice.agentid))

    def enter(self, userid: str, agentid: int) -> None:
        self._app(agentid)
        fields = {**self.corp.head(userid), "Event": "enter_agent", "EventKey": "", "AgentID": agentid}
        self.corp.emit(Event("app", fields, agentid))

    def click(self, userid: str, agentid: int, key: str) -> None:
        self._app(agentid)
        fields = {**self.corp.head(userid), "Event": "click", "EventKey": key, "AgentID": agentid}
        self.corp.emit(Event("app", fields, agentid))

    def say(self, userid: str, agentid: int, content: str) -> Notice:
        """The employee writes to the app."""
        self._app(agentid)
        message_id = self.corp.chance.getrandbits(62)
        fields = {
            **self.corp.head(userid, "text"),
            "Content": content,
            "MsgId": message_id,
            "AgentID": agentid,
        }
        notice = self._show(userid, agentid, "text", {"content": content}, None, mine=True)
        self.corp.emit(Event("app", fields, agentid))
        return notice

    # passive replies

    def take_reply(self, app: App, event: Event, inner_xml: str) -> None:
        """A verified reply to a callback: shown to the member, or put onto the card they pressed."""
        if event.topic != "app" or (
            event.fields["MsgType"] == "event" and event.fields.get("Event") not in REPLIABLE_EVENTS
        ):
            raise NotPossible("这类事件不能被动回复")
        userid = str(event.fields["FromUserName"])
        msgtype, root = read(inner_xml, corpid=self.corp.corpid, userid=userid)
        if msgtype in ("update_button", "update_template_card"):
            self._update_pressed(event, msgtype, root)
        else:
            self._show(userid, app.agentid, msgtype, _reply_payload(msgtype, root), None)

    def _update_pressed(self, event: Event, msgtype: str, root: ElementTree.Element) -> None:
        code = str(event.fields.get("ResponseCode", ""))
        notice = self._presses.pop(code, None)
        if notice is None or self.response_codes.find(code) is None:
            raise BadEnvelope("this event's card was updated already")
        self.response_codes.burn(code)
        if msgtype == "update_button":
            self._replace(notice, root.findtext("Button/ReplaceName") or "", None)
            return
        given = root.find("TemplateCard")
        if given is None:
            raise BadEnvelope("TemplateCard is missing")
        self._replace(notice, "", cards.from_xml(given))

    # inside

    def _replace(self, notice: Notice, replace_name: str, card: dict[str, Any] | None) -> None:
        if card is not None:
            notice.payload, notice.pressed = card, None
        else:
            notice.replaced = replace_name
        self.corp.changed(notice.userid, "cards")

    def _take_task_id(self, app: App, card: dict[str, Any]) -> None:
        mark = (app.agentid, str(card["task_id"]))
        if mark in self._task_ids:
            raise Refusal(42014, "task_id was used before")
        self._task_ids.add(mark)

    def _under_limit(self, userid: str) -> bool:
        now, count = self.corp.now(), self._windows.count
        if not self.member_limit:
            return True
        return count(f"{userid}/h", PER_HOUR, now, HOUR) and count(f"{userid}/min", PER_MINUTE, now)

    def _show(
        self,
        userid: str,
        agentid: int,
        msgtype: str,
        payload: dict[str, Any],
        sending: Sending | None,
        mine: bool = False,
    ) -> Notice:
        self._next_id += 1
        notice = Notice(self._next_id, int(self.corp.now()), agentid, userid, msgtype, payload, sending, mine=mine)
        self._notices.setdefault(userid, {})[notice.id] = notice
        self.corp.changed(userid, "cards")
        return notice

    def _app(self, agentid: int) -> App:
        if agentid not in self.corp.apps:
            raise Unknown("没有这个应用")
        return self.corp.apps[agentid]


def _selected(question_key: str, option_ids: list[str]) -> dict[str, object]:
    return {"QuestionKey": question_key, "OptionIds": {"OptionId": list(option_ids)}}


def _reply_payload(msgtype: str, root: ElementTree.Element) -> dict[str, Any]:
    if msgtype == "text":
        return {"content": root.findtext("Content") or ""}
    if msgtype == "news":
        items = root.findall("Articles/item")
        return {"articles": [{child.tag.lower(): child.text or "" for child in item} for item in items]}
    return {"media_id": root.findtext(f"{msgtype.capitalize()}/MediaId") or ""}
