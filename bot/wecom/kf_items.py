"""Reads what kf/sync_msg hands out: a customer's or servicer's message, or what happened to a session."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, TypeAlias

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LARGEST = 2**53  # a number above it is no count, time or code of the vendor's
Json: TypeAlias = Mapping[str, Any]


class Origin(IntEnum):
    """Who an item comes from."""

    OTHER = 0
    CUSTOMER = 3
    SYSTEM = 4
    SERVICER = 5


class SessionChange(IntEnum):
    OTHER = 0
    ACCEPTED = 1  # from the queue
    TRANSFERRED = 2
    ENDED = 3
    REOPENED = 4  # the servicer wrote first in an ended session


@dataclass(frozen=True, slots=True, kw_only=True)
class KfItem:
    """What every item carries. A field that is missing, or of a type it cannot have, is empty; nothing raises."""

    msgid: str
    open_kfid: str
    external_userid: str  # empty for what concerns a servicer alone
    sent_at: datetime  # 1970 when the vendor did not say


@dataclass(frozen=True, slots=True, kw_only=True)
class KfMessage(KfItem):
    """Something said: by the customer, or by a servicer in the WeCom client."""

    origin: Origin
    msgtype: str
    text: str = ""  # of a text, and what a tapped menu line says
    menu_id: str = ""  # the customer tapped this line of a menu
    media_id: str = ""  # of an image, voice, video or file; three days
    servicer_userid: str = ""
    payload: Json = field(default_factory=dict)  # the vendor's own fields of this msgtype


@dataclass(frozen=True, slots=True, kw_only=True)
class KfEvent(KfItem):
    """Something that happened, told by the system."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnterSession(KfEvent):
    """The customer opened the chat. The code is for one welcome within 20 s, and often absent."""

    scene: str = ""
    scene_param: str = ""
    welcome_code: str = field(default="", repr=False)
    channels_nickname: str = ""
    channels_scene: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MsgSendFail(KfEvent):
    """A message of ours that was accepted did not arrive."""

    fail_msgid: str
    fail_type: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStatusChange(KfEvent):
    """A person took, passed on or ended the session. The code is for one prompt, or one farewell."""

    change: SessionChange
    old_servicer: str = ""
    new_servicer: str = ""
    msg_code: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicerStatusChange(KfEvent):
    """A servicer began or stopped receiving."""

    servicer_userid: str
    receiving: bool
    stop_type: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRecall(KfEvent):
    """The customer took a message back."""

    recall_msgid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicerRecall(KfEvent):
    """A servicer took a message back."""

    recall_msgid: str
    servicer_userid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectSwitchChange(KfEvent):
    """A servicer refuses this customer's messages, or accepts them again."""

    servicer_userid: str
    rejecting: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownKfItem(KfItem):
    """A kind we have no type for: kept as it came."""

    kind: str
    raw: Json


def parse_kf_item(raw: Json) -> KfItem:
    """One element of `msg_list`. Total: any JSON object becomes some item."""
    if _text(raw, "msgtype") == "event":
        return _event(raw, _object(raw, "event"))
    return _message(raw)


def _message(raw: Json) -> KfItem:
    msgtype = _text(raw, "msgtype")
    head = _head(raw, raw)
    payload = _object(raw, msgtype)
    if not (msgtype and head["msgid"]):
        return UnknownKfItem(**head, kind=msgtype, raw=raw)
    origin = _number(raw, "origin")
    return KfMessage(
        **head,
        origin=Origin(origin) if origin in set(Origin) else Origin.OTHER,
        msgtype=msgtype,
        text=_text(payload, "content"),
        menu_id=_text(payload, "menu_id"),
        media_id=_text(payload, "media_id"),
        servicer_userid=_text(raw, "servicer_userid"),
        payload=payload,
    )


def _event(raw: Json, event: Json) -> KfItem:
    kind = _text(event, "event_type")
    head = _head(raw, event)
    read = _EVENTS.get(kind)
    if read is None or not head["msgid"]:
        return UnknownKfItem(**head, kind=f"event.{kind}", raw=raw)
    return read(head, event)


def _head(raw: Json, event: Json) -> dict[str, Any]:
    """An event names its account and customer inside, a message outside."""
    return {
        "msgid": _text(raw, "msgid"),
        "open_kfid": _text(event, "open_kfid") or _text(raw, "open_kfid"),
        "external_userid": _text(event, "external_userid") or _text(raw, "external_userid"),
        "sent_at": _instant(raw, "send_time"),
    }


def _enter_session(head: dict[str, Any], event: Json) -> KfItem:
    channels = _object(event, "wechat_channels")
    return EnterSession(
        **head,
        scene=_text(event, "scene"),
        scene_param=_text(event, "scene_param"),
        welcome_code=_text(event, "welcome_code"),
        channels_nickname=_text(channels, "nickname") or _text(channels, "shop_nickname"),
        channels_scene=_number(channels, "scene"),
    )


def _session_status_change(head: dict[str, Any], event: Json) -> KfItem:
    change = _number(event, "change_type")
    return SessionStatusChange(
        **head,
        change=SessionChange(change) if change in set(SessionChange) else SessionChange.OTHER,
        old_servicer=_text(event, "old_servicer_userid"),
        new_servicer=_text(event, "new_servicer_userid"),
        msg_code=_text(event, "msg_code"),
    )


def _servicer_status_change(head: dict[str, Any], event: Json) -> KfItem:
    return ServicerStatusChange(
        **head,
        servicer_userid=_text(event, "servicer_userid"),
        receiving=_number(event, "status") == 1,
        stop_type=_number(event, "stop_type"),
    )


_EVENTS: dict[str, Callable[[dict[str, Any], Json], KfItem]] = {
    "enter_session": _enter_session,
    "msg_send_fail": lambda head, event: MsgSendFail(
        **head, fail_msgid=_text(event, "fail_msgid"), fail_type=_number(event, "fail_type")
    ),
    "session_status_change": _session_status_change,
    "servicer_status_change": _servicer_status_change,
    "user_recall_msg": lambda head, event: UserRecall(**head, recall_msgid=_text(event, "recall_msgid")),
    "servicer_recall_msg": lambda head, event: ServicerRecall(
        **head, recall_msgid=_text(event, "recall_msgid"), servicer_userid=_text(event, "servicer_userid")
    ),
    "reject_customer_msg_switch_change": lambda head, event: RejectSwitchChange(
        **head, servicer_userid=_text(event, "servicer_userid"), rejecting=_number(event, "reject_switch") == 1
    ),
}


def _text(fields: Json, name: str) -> str:
    found = fields.get(name)
    if isinstance(found, int) and not isinstance(found, bool) and abs(found) < LARGEST:
        return str(found)
    return found if isinstance(found, str) else ""


def _number(fields: Json, name: str) -> int:
    found = fields.get(name)
    if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) < 16:
        return int(found)
    if isinstance(found, int) and not isinstance(found, bool) and abs(found) < LARGEST:
        return found
    return 0


def _object(fields: Json, name: str) -> Json:
    found = fields.get(name)
    return found if isinstance(found, dict) else {}


def _instant(fields: Json, name: str) -> datetime:
    seconds = _number(fields, name)
    return EPOCH + timedelta(seconds=seconds) if 0 < seconds < 100_000_000_000 else EPOCH
