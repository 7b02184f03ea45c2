"""Reads a decrypted callback: XML in, one of the events out."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, TypeAlias

from lxml import etree

from bot.wecom.crypto import parse_xml
from bot.wecom.events import (
    CardMenuPressed,
    CardPressed,
    EnterAgent,
    Event,
    ExternalContactAdded,
    ExternalContactDeleted,
    ExternalContactEdited,
    ExternalContactHalfAdded,
    FollowDeleted,
    GroupCreated,
    GroupDismissed,
    GroupMembersJoined,
    GroupMembersLeft,
    GroupNoticeChanged,
    GroupOwnerChanged,
    GroupRenamed,
    KfAccountAuthChanged,
    KfMsgOrEvent,
    MenuClicked,
    MenuLinkOpened,
    MsgAuditApproved,
    MsgAuditNotify,
    StaffLink,
    StaffLocation,
    StaffMedia,
    StaffText,
    TagChange,
    TagChanged,
    TransferFailed,
    UnknownEvent,
)
from bot.wecom.reading import EPOCH

Fields: TypeAlias = dict[str, Any]  # text, nested fields, or a list of either where a name repeats
Read: TypeAlias = str | Callable[[Fields], Any]  # the XML name of a text, or how to find the value


def parse_event(xml: bytes) -> Event:
    """The event in a decrypted callback. Raises BadEnvelope when it is no XML; what we do not know is UnknownEvent."""
    fields = _fields(parse_xml(xml))
    kind = _kind(fields)
    head: dict[str, Any] = {
        "corp_id": _text(fields, "ToUserName"),
        "from_user": _text(fields, "FromUserName"),
        "agent_id": _text(fields, "AgentID"),
        "created_at": _instant(_text(fields, "CreateTime")),
    }
    made, reads, needed = _SHAPES.get(kind, _UNKNOWN)
    values = {name: _text(fields, read) if isinstance(read, str) else read(fields) for name, read in reads.items()}
    if made is UnknownEvent or not all(values[name] for name in needed):
        return UnknownEvent(**head, kind=kind, raw=fields)
    return made(**head, **values)


def _fields(node: "etree._Element") -> Fields:
    found: Fields = {}
    for child in node:
        value: Any = _fields(child) if len(child) else child.text or ""
        name = str(child.tag)
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    return found


def _kind(fields: Fields) -> str:
    names = (_text(fields, name) for name in ("MsgType", "Event", "ChangeType", "UpdateDetail"))
    return ".".join(name for name in names if name)


def _text(fields: Fields, name: str) -> str:
    found = fields.get(name, "")
    if isinstance(found, list):
        found = found[0]
    return found if isinstance(found, str) else ""


def _texts(found: Any) -> tuple[str, ...]:
    """None, one or many: a node that repeats is a list, one that does not is its text."""
    several = found if isinstance(found, list) else [found]
    return tuple(one for one in several if isinstance(one, str) and one)


def _node(fields: Fields, name: str) -> Fields:
    found = fields.get(name)
    return found if isinstance(found, dict) else {}


def _number(name: str) -> Callable[[Fields], int]:
    def read(fields: Fields) -> int:
        text = _text(fields, name)
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0

    return read


def _instant(text: str) -> datetime:
    return EPOCH + timedelta(seconds=int(text)) if text.isascii() and text.isdigit() and len(text) <= 11 else EPOCH


def _people(fields: Fields) -> tuple[str, ...]:
    return _texts(_node(fields, "MemChangeList").get("Item"))


def _selected(fields: Fields) -> Mapping[str, tuple[str, ...]]:
    items = _node(fields, "SelectedItems").get("SelectedItem")
    several = items if isinstance(items, list) else [items]
    return MappingProxyType({_text(one, "QuestionKey"): _options(one) for one in several if isinstance(one, dict)})


def _options(item: Fields) -> tuple[str, ...]:
    # the vendor's own samples spell it both ways
    named = _node(item, "OptionIds").get("OptionId") or _node(item, "OpitonIds").get("OpitonId")
    return _texts(named)


_PAIR: dict[str, Read] = {"userid": "UserID", "external_userid": "ExternalUserID"}
_PAIR_NEEDS = ("userid", "external_userid")
_ADDED: dict[str, Read] = _PAIR | {
    "state": "State",
    "welcome_code": "WelcomeCode",
    "channels_nickname": lambda fields: _text(_node(fields, "WechatChannels"), "NickName"),
    "channels_source": lambda fields: _text(_node(fields, "WechatChannels"), "Source"),
}
_CHAT: dict[str, Read] = {"chat_id": "ChatId"}
_MEMBERS: dict[str, Read] = _CHAT | {
    "people": _people,
    "count": _number("MemChangeCnt"),
    "last_version": "LastMemVer",
    "current_version": "CurMemVer",
}
_CARD: dict[str, Read] = {
    "event_key": "EventKey",
    "task_id": "TaskId",
    "card_type": "CardType",
    "response_code": "ResponseCode",
    "selected": _selected,
}
_MEDIA: dict[str, Read] = {
    "msgid": "MsgId",
    "kind": "MsgType",
    "media_id": "MediaId",
    "pic_url": "PicUrl",
    "format": "Format",
    "thumb_media_id": "ThumbMediaId",
}
_CONTACT, _GROUP = "event.change_external_contact.", "event.change_external_chat."
_TAG: dict[str, Read] = {
    "change": lambda fields: TagChange(_text(fields, "ChangeType")),
    "is_group": lambda fields: _text(fields, "TagType") == "tag_group",
    "tag_id": "Id",
    "strategy_id": "StrategyId",
}

# kind of callback -> the type, where its fields come from, and those without which it is not that type
Shape: TypeAlias = tuple[Callable[..., Event], Mapping[str, Read], tuple[str, ...]]
_UNKNOWN: Shape = (UnknownEvent, {}, ())
_SHAPES: dict[str, Shape] = {
    "event.kf_msg_or_event": (KfMsgOrEvent, {"open_kfid": "OpenKfId", "token": "Token"}, ("open_kfid",)),
    "event.kf_account_auth_change": (
        KfAccountAuthChanged,
        {
            "granted": lambda fields: _texts(fields.get("AuthAddOpenKfId")),
            "revoked": lambda fields: _texts(fields.get("AuthDelOpenKfId")),
        },
        (),
    ),
    _CONTACT + "add_external_contact": (ExternalContactAdded, _ADDED, _PAIR_NEEDS),
    _CONTACT + "add_half_external_contact": (ExternalContactHalfAdded, _ADDED, _PAIR_NEEDS),
    _CONTACT + "edit_external_contact": (ExternalContactEdited, _PAIR | {"state": "State"}, _PAIR_NEEDS),
    _CONTACT + "del_external_contact": (ExternalContactDeleted, _PAIR | {"source": "Source"}, _PAIR_NEEDS),
    _CONTACT + "del_follow_user": (FollowDeleted, _PAIR, _PAIR_NEEDS),
    _CONTACT + "transfer_fail": (TransferFailed, _PAIR | {"fail_reason": "FailReason"}, _PAIR_NEEDS),
    _CONTACT + "msg_audit_approved": (MsgAuditApproved, _PAIR | {"welcome_code": "WelcomeCode"}, _PAIR_NEEDS),
    _GROUP + "create": (GroupCreated, _CHAT, ("chat_id",)),
    _GROUP + "dismiss": (GroupDismissed, _CHAT, ("chat_id",)),
    _GROUP + "update.change_owner": (GroupOwnerChanged, _CHAT, ("chat_id",)),
    _GROUP + "update.change_name": (GroupRenamed, _CHAT, ("chat_id",)),
    _GROUP + "update.change_notice": (GroupNoticeChanged, _CHAT, ("chat_id",)),
    _GROUP + "update.add_member": (
        GroupMembersJoined,
        _MEMBERS | {"join_scene": _number("JoinScene")},
        ("chat_id",),
    ),
    _GROUP + "update.del_member": (GroupMembersLeft, _MEMBERS | {"quit_scene": _number("QuitScene")}, ("chat_id",)),
    **{f"event.change_external_tag.{change.value}": (TagChanged, _TAG, ("tag_id",)) for change in TagChange},
    "event.msgaudit_notify": (MsgAuditNotify, {}, ()),
    "event.enter_agent": (EnterAgent, {"event_key": "EventKey"}, ()),
    "event.click": (MenuClicked, {"event_key": "EventKey"}, ()),
    "event.view": (MenuLinkOpened, {"event_key": "EventKey"}, ()),
    "event.template_card_event": (CardPressed, _CARD, ("task_id",)),
    "event.template_card_menu_event": (CardMenuPressed, _CARD, ("task_id",)),
    "text": (StaffText, {"msgid": "MsgId", "content": "Content"}, ("msgid",)),
    "image": (StaffMedia, _MEDIA, ("msgid",)),
    "voice": (StaffMedia, _MEDIA, ("msgid",)),
    "video": (StaffMedia, _MEDIA, ("msgid",)),
    "location": (
        StaffLocation,
        {"msgid": "MsgId", "latitude": "Location_X", "longitude": "Location_Y", "label": "Label"},
        ("msgid",),
    ),
    "link": (
        StaffLink,
        {"msgid": "MsgId", "title": "Title", "description": "Description", "url": "Url", "pic_url": "PicUrl"},
        ("msgid",),
    ),
}
