"""Reads what kf/sync_msg hands out: a customer's or servicer's message, or what happened to a session."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Any

from bot.wecom.reading import Fields, instant, number, obj, text


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
    payload: Fields = field(default_factory=dict)  # the vendor's own fields of this msgtype


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
    raw: Fields


def parse_kf_item(raw: Fields) -> KfItem:
    """One element of `msg_list`. Total: any JSON object becomes some item."""
    if text(raw, "msgtype") == "event":
        return _event(raw, obj(raw, "event"))
    return _message(raw)


def _message(raw: Fields) -> KfItem:
    msgtype = text(raw, "msgtype")
    head = _head(raw, raw)
    payload = obj(raw, msgtype)
    if not (msgtype and head["msgid"]):
        return UnknownKfItem(**head, kind=msgtype, raw=raw)
    origin = number(raw, "origin")
    return KfMessage(
        **head,
        origin=Origin(origin) if origin in set(Origin) else Origin.OTHER,
        msgtype=msgtype,
        text=text(payload, "content"),
        menu_id=text(payload, "menu_id"),
        media_id=text(payload, "media_id"),
        servicer_userid=text(raw, "servicer_userid"),
        payload=payload,
    )


def _event(raw: Fields, event: Fields) -> KfItem:
    kind = text(event, "event_type")
    head = _head(raw, event)
    read = _EVENTS.get(kind)
    if read is None or not head["msgid"]:
        return UnknownKfItem(**head, kind=f"event.{kind}", raw=raw)
    return read(head, event)


def _head(raw: Fields, event: Fields) -> dict[str, Any]:
    """An event names its account and customer inside, a message outside."""
    return {
        "msgid": text(raw, "msgid"),
        "open_kfid": text(event, "open_kfid") or text(raw, "open_kfid"),
        "external_userid": text(event, "external_userid") or text(raw, "external_userid"),
        "sent_at": instant(raw, "send_time"),
    }


def _enter_session(head: dict[str, Any], event: Fields) -> KfItem:
    channels = obj(event, "wechat_channels")
    return EnterSession(
        **head,
        scene=text(event, "scene"),
        scene_param=text(event, "scene_param"),
        welcome_code=text(event, "welcome_code"),
        channels_nickname=text(channels, "nickname") or text(channels, "shop_nickname"),
        channels_scene=number(channels, "scene"),
    )


def _session_status_change(head: dict[str, Any], event: Fields) -> KfItem:
    change = number(event, "change_type")
    return SessionStatusChange(
        **head,
        change=SessionChange(change) if change in set(SessionChange) else SessionChange.OTHER,
        old_servicer=text(event, "old_servicer_userid"),
        new_servicer=text(event, "new_servicer_userid"),
        msg_code=text(event, "msg_code"),
    )


def _servicer_status_change(head: dict[str, Any], event: Fields) -> KfItem:
    return ServicerStatusChange(
        **head,
        servicer_userid=text(event, "servicer_userid"),
        receiving=number(event, "status") == 1,
        stop_type=number(event, "stop_type"),
    )


_EVENTS: dict[str, Callable[[dict[str, Any], Fields], KfItem]] = {
    "enter_session": _enter_session,
    "msg_send_fail": lambda head, event: MsgSendFail(
        **head, fail_msgid=text(event, "fail_msgid"), fail_type=number(event, "fail_type")
    ),
    "session_status_change": _session_status_change,
    "servicer_status_change": _servicer_status_change,
    "user_recall_msg": lambda head, event: UserRecall(**head, recall_msgid=text(event, "recall_msgid")),
    "servicer_recall_msg": lambda head, event: ServicerRecall(
        **head, recall_msgid=text(event, "recall_msgid"), servicer_userid=text(event, "servicer_userid")
    ),
    "reject_customer_msg_switch_change": lambda head, event: RejectSwitchChange(
        **head, servicer_userid=text(event, "servicer_userid"), rejecting=number(event, "reject_switch") == 1
    ),
}
