"""Decrypted records read: texts of groups, and the few other kinds that mean something to us. The rest has a kind."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from bot.wecom.reading import Fields, Json, number, obj, storable, text

TEXT_CHARS = 2_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LATEST_MS = 100_000_000_000_000
AGREES = {"agree": True, "disagree": False}


@dataclass(frozen=True, slots=True)
class Line:
    """A text in a group."""

    msgid: str
    room_id: str
    sender: str
    text: str
    said_at: datetime

    @property
    def by_customer(self) -> bool:
        return is_external(self.sender)


@dataclass(frozen=True, slots=True)
class Agreed:
    """A customer said yes or no to being archived: what we know of their groups is asked anew."""

    person: str
    agreed: bool


@dataclass(frozen=True, slots=True)
class Revoked:
    """Somebody took a message back."""

    msgid: str


@dataclass(frozen=True, slots=True)
class Uncounted:
    """Something that is counted under its kind and not kept."""

    kind: str


Entry: TypeAlias = Line | Agreed | Revoked | Uncounted


def is_external(person: str) -> bool:
    """A customer (wm: from WeChat, wo: from another company); our people have other userids."""
    return person.startswith(("wm", "wo")) and len(person) > len("wm")


def parse(content: str | None) -> Entry:
    """What a record says. What cannot be read is counted too, and stops nobody."""
    try:
        found = json.loads(content or "")
    except (ValueError, RecursionError):
        return Uncounted("unreadable")
    if not isinstance(found, dict):
        return Uncounted("unreadable")
    return _entry(storable(found))


def _entry(found: Json) -> Entry:
    kind, sender = text(found, "msgtype"), text(found, "from")
    if text(found, "action") not in {"send", ""}:
        return _revoked(found) if text(found, "action") == "recall" else Uncounted(text(found, "action")[:40])
    if kind in AGREES:
        person = text(obj(found, kind), "userid") or sender
        return Agreed(person, AGREES[kind])
    if kind == "revoke":
        return _revoked(found)
    if kind != "text":
        return Uncounted(kind[:40] or "unreadable")
    if not text(found, "roomid"):
        return Uncounted("single_chat")
    if sender.startswith("wb"):
        return Uncounted("robot")
    return _line(found, sender)


def _line(found: Json, sender: str) -> Entry:
    msgid, words = text(found, "msgid"), text(obj(found, "text"), "content").strip()
    if not 0 < len(msgid) <= 128 or not 0 < len(sender) <= 64 or not words:
        return Uncounted("unreadable")
    return Line(msgid, text(found, "roomid"), sender, words[:TEXT_CHARS], _instant(found))


def _revoked(found: Json) -> Entry:
    msgid = text(obj(found, "revoke"), "pre_msgid")
    return Revoked(msgid) if msgid else Uncounted("revoke")


def _instant(found: Fields) -> datetime:
    """msgtime is in milliseconds."""
    ms = number(found, "msgtime")
    return EPOCH + timedelta(milliseconds=ms) if 0 < ms < LATEST_MS else EPOCH
