"""What a callback can say, as frozen types, and the key that tells a repeat. event_xml.py reads them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from bot.wecom.reading import EPOCH
from crm.base import ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What every callback carries; a field the vendor left out is empty."""

    corp_id: str
    from_user: str = ""  # "sys", the userid of staff, or nothing at all (kf)
    agent_id: str = ""
    created_at: datetime = EPOCH


@dataclass(frozen=True, slots=True, kw_only=True)
class KfMsgOrEvent(Event):
    """Something waits in this customer-service account: come and pull. The token is good for ten minutes."""

    open_kfid: str
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KfAccountAuthChanged(Event):
    """Customer-service accounts were given to, or taken from, our app."""

    granted: tuple[str, ...]
    revoked: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalContactEvent(Event):
    """Something happened between one member of staff and one customer."""

    userid: str
    external_userid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalContactAdded(ExternalContactEvent):
    """They are contacts now. The code lets us say one welcome within 20 s; often there is none."""

    state: str = ""  # of the contact way they came by
    welcome_code: str = field(default="", repr=False)
    channels_nickname: str = ""  # 视频号, when they came from one
    channels_source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalContactHalfAdded(ExternalContactAdded):
    """The customer added the member of staff, who has yet to confirm. Comes before, or instead of, the full one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalContactEdited(ExternalContactEvent):
    """Remark, tags or the like were edited in the client."""

    state: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalContactDeleted(ExternalContactEvent):
    """The member of staff deleted the customer. `source` DELETE_BY_TRANSFER: a colleague inherits them."""

    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowDeleted(ExternalContactEvent):
    """The customer deleted the member of staff."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferFailed(ExternalContactEvent):
    """The customer stays where they were: customer_refused or customer_limit_exceed."""

    fail_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MsgAuditApproved(ExternalContactEvent):
    """The customer agreed to the chat archive; a welcome code held back until then comes now."""

    welcome_code: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupEvent(Event):
    """Something happened to a customer group. `groupchat/get` may lag behind by some seconds."""

    chat_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupCreated(GroupEvent):
    """A new customer group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMembersChanged(GroupEvent):
    """People came or went: userids and external_userids mixed, possibly fewer than `count`, possibly none."""

    people: tuple[str, ...] = ()
    count: int = 0
    last_version: str = ""
    current_version: str = ""  # the group's member_version once groupchat/get has caught up


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMembersJoined(GroupMembersChanged):
    join_scene: int = 0  # the vendor's own samples disagree on the values: groupchat/get knows


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMembersLeft(GroupMembersChanged):
    quit_scene: int = 0  # 0 left by themselves, 1 removed by the owner or an administrator


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupOwnerChanged(GroupEvent):
    """Another member of staff owns the group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRenamed(GroupEvent):
    """The group's name changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupNoticeChanged(GroupEvent):
    """The group's notice changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDismissed(GroupEvent):
    """The group is no more."""


class TagChange(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    SHUFFLE = "shuffle"  # the order changed


@dataclass(frozen=True, slots=True, kw_only=True)
class TagChanged(Event):
    """A corp tag or tag group changed. Deleting a group tells nothing of its tags."""

    change: TagChange
    is_group: bool
    tag_id: str
    strategy_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MsgAuditNotify(Event):
    """The chat archive has something new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffEvent(Event):
    """Something a member of staff did in our app: `from_user` is their userid."""

    event_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnterAgent(StaffEvent):
    """Opened the app."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MenuClicked(StaffEvent):
    """Clicked a menu entry with a key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MenuLinkOpened(StaffEvent):
    """Clicked a menu entry that opens a link: `event_key` is the link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardPressed(StaffEvent):
    """Pressed a button, voted, or submitted a choice on a template card. The code updates the card once, in 72 h."""

    task_id: str = ""
    card_type: str = ""
    response_code: str = field(default="", repr=False)
    selected: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))  # question -> options


@dataclass(frozen=True, slots=True, kw_only=True)
class CardMenuPressed(CardPressed):
    """Chose from the menu in a template card's corner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffMessage(Event):
    """What a member of staff wrote to our app. Customers never come this way."""

    msgid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffText(StaffMessage):
    content: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffMedia(StaffMessage):
    """An image, a voice or a video."""

    kind: str
    media_id: str = ""
    pic_url: str = ""
    format: str = ""  # of a voice
    thumb_media_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffLocation(StaffMessage):
    latitude: str = ""
    longitude: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffLink(StaffMessage):
    title: str = ""
    description: str = ""
    url: str = ""
    pic_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownEvent(Event):
    """Genuine, but of a kind or a shape we have no type for: kept as it came."""

    kind: str  # MsgType, Event and ChangeType joined with a dot, for a counter
    raw: Mapping[str, Any]


def dedupe_key(event: Event, *scope: str) -> str | None:
    """Equal for two deliveries of one event. None for KfMsgOrEvent: each is a reason to pull, none says what came."""
    if isinstance(event, KfMsgOrEvent):
        return None
    if isinstance(event, UnknownEvent):
        return ids.dedupe_key(*scope, json.dumps(event.raw, sort_keys=True))
    for kind, names in _KEYS:
        if isinstance(event, kind):
            values = [getattr(event, name) for name in names]
            if any(values):
                return ids.dedupe_key(*scope, type(event).__name__, *values)
    return ids.dedupe_key(*scope, type(event).__name__, event.agent_id, event.from_user, event.created_at)


# FromUserName and CreateTime, the vendor's advice, collide: two customers can add one employee in the same second.
_KEYS: tuple[tuple[type[Event], tuple[str, ...]], ...] = (
    (ExternalContactAdded, ("userid", "external_userid", "created_at", "welcome_code")),
    (MsgAuditApproved, ("userid", "external_userid", "created_at", "welcome_code")),
    (ExternalContactEvent, ("userid", "external_userid", "created_at")),
    (GroupMembersChanged, ("chat_id", "created_at", "current_version")),
    (GroupEvent, ("chat_id", "created_at")),
    (TagChanged, ("change", "is_group", "tag_id", "created_at")),
    (KfAccountAuthChanged, ("granted", "revoked", "created_at")),
    (CardPressed, ("response_code",)),
    (StaffEvent, ("from_user", "created_at", "event_key", "agent_id")),
    (StaffMessage, ("msgid",)),
)
