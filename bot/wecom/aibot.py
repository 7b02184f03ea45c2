"""The wire format of an AI bot (智能机器人) in callback mode: JSON in, JSON out, both in envelopes without a receiveid.

Such a bot works in internal groups and in single chats with staff. WeCom lets none into a customer group.
"""

import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeAlias
from urllib.parse import parse_qs, urlsplit

from bot.wecom.crypto import LARGEST_BODY, BadEnvelope, Envelope, Flaw
from bot.wecom.reading import Fields, Json, number, obj, objs, storable, text, texts

STREAM_BYTES = 20_480
STREAM_LIFE = timedelta(minutes=6)  # from the user's message; then WeCom asks no more
RESPONSE_LIFE = timedelta(hours=1)
FEEDBACK_BYTES = 256
MSGID_CHARS, USERID_CHARS = 200, 64
_AT = re.compile(r"(?:^|\s)@\S+(?=\s|$)")  # WeCom writes a mention as @name and a space of its own (U+2005)


@dataclass(frozen=True, slots=True)
class From:
    """Where and from whom something comes. chat_id is empty in a single chat."""

    msgid: str
    userid: str
    chat_id: str = ""
    corp_id: str = ""  # only when the bot serves another corp

    @property
    def in_group(self) -> bool:
        return bool(self.chat_id)


@dataclass(frozen=True, slots=True)
class Mention:
    """Somebody wrote to the bot. `quoted`: the message they point at."""

    sender: From
    text: str
    quoted: str = ""
    response_code: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class NotText:
    """Something the bot cannot read: a picture, a file, a video."""

    sender: From
    kind: str


@dataclass(frozen=True, slots=True)
class StreamRefresh:
    """WeCom asks how far an answer has come."""

    sender: From
    stream_id: str


@dataclass(frozen=True, slots=True)
class ChatEntered:
    """The first time today that somebody opened the single chat."""

    sender: From


class Rating(StrEnum):
    ACCURATE = "1"
    INACCURATE = "2"
    TAKEN_BACK = "3"


@dataclass(frozen=True, slots=True)
class Rated:
    """What somebody thought of an answer. feedback_id: as we gave it with the answer."""

    sender: From
    feedback_id: str
    rating: Rating | None
    words: str = ""
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Other:
    """A kind of callback we know nothing to do about, such as a press on a card: we send none."""

    sender: From
    kind: str


BotEvent: TypeAlias = Mention | NotText | StreamRefresh | ChatEntered | Rated | Other


def open_packet(envelope: Envelope, body: bytes, signed: tuple[str, str, str], *, now: datetime) -> Json:
    """The inner JSON of a POST. Raises BadEnvelope. signed: msg_signature, timestamp and nonce."""
    packet = _object(body)
    encrypted = packet.get("encrypt")
    if not isinstance(encrypted, str):
        raise BadEnvelope(Flaw.JSON)
    return _object(envelope.open_sealed(encrypted, *signed, now=now))


def seal_packet(envelope: Envelope, reply: Json, *, timestamp: int, nonce: str) -> bytes:
    """A passive reply. nonce: the callback's own."""
    encrypted = envelope.encrypt(json.dumps(reply, ensure_ascii=False, separators=(",", ":")))
    packet = {
        "encrypt": encrypted,
        "msgsignature": envelope.sign(str(timestamp), nonce, encrypted),
        "timestamp": timestamp,
        "nonce": nonce,
    }
    return json.dumps(packet).encode()


def _object(content: bytes) -> Json:
    if len(content) > LARGEST_BODY:
        raise BadEnvelope(Flaw.TOO_LARGE)
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as broken:
        raise BadEnvelope(Flaw.JSON) from broken
    if not isinstance(found, dict):
        raise BadEnvelope(Flaw.JSON)
    return found


def parse(payload: Json, *, bot_name: str = "") -> BotEvent:
    """What a callback tells. Raises BadEnvelope when it does not say who and which. bot_name: how it is mentioned."""
    payload = storable(payload)
    sender = _sender(payload)
    kind = text(payload, "msgtype")
    if kind == "stream":
        return StreamRefresh(sender, text(obj(payload, "stream"), "id"))
    if kind == "event":
        return _event(sender, obj(payload, "event"))
    words = _words(payload, kind)
    if words is None:
        return NotText(sender, kind) if kind in {"image", "file", "video"} else Other(sender, kind or "nothing")
    quote = obj(payload, "quote")
    quoted = _words(quote, text(quote, "msgtype")) or ""
    code = _response_code(text(payload, "response_url"))
    return Mention(sender, _without_mention(words, bot_name), _without_mention(quoted, bot_name), code)


def _sender(payload: Fields) -> From:
    author = obj(payload, "from")
    msgid, userid = text(payload, "msgid"), text(author, "userid")
    chat_id = text(payload, "chatid") if text(payload, "chattype") == "group" else ""
    if not 0 < len(msgid) <= MSGID_CHARS or not 0 < len(userid) <= USERID_CHARS or len(chat_id) > MSGID_CHARS:
        raise BadEnvelope(Flaw.JSON)
    return From(msgid, userid, chat_id, text(author, "corpid"))


def _event(sender: From, event: Fields) -> BotEvent:
    kind = text(event, "eventtype")
    if kind == "enter_chat":
        return ChatEntered(sender)
    if kind != "feedback_event":
        return Other(sender, kind or "nothing")
    told = obj(event, "feedback_event")
    rating = str(number(told, "type"))
    known = Rating(rating) if rating in set(Rating) else None
    reasons = texts(told, "inaccurate_reason_list")
    return Rated(sender, text(told, "id"), known, text(told, "content"), reasons)


def _words(payload: Fields, kind: str) -> str | None:
    """What was written or, as WeCom heard it, said; None for what has no words."""
    if kind in {"text", "voice"}:
        return text(obj(payload, kind), "content")
    if kind == "mixed":
        parts = objs(obj(payload, "mixed"), "msg_item")
        words = [text(obj(part, "text"), "content") for part in parts if text(part, "msgtype") == "text"]
        return "\n".join(words) if words else None
    return None


def _without_mention(words: str, bot_name: str) -> str:
    if bot_name:
        words = words.replace(f"@{bot_name}", " ")
    return _AT.sub(" ", words).strip()


def _response_code(url: str) -> str:
    """The code alone: where it is sent is our setting, not what a message says."""
    try:
        return parse_qs(urlsplit(url).query).get("response_code", [""])[0][:500]
    except ValueError:
        return ""


def stream(stream_id: str, content: str, *, finish: bool, rated_as: str = "") -> Json:
    """A stream reply: the whole text so far. rated_as: the id under which feedback to it comes back, on the first."""
    body: Json = {"id": stream_id, "finish": finish, "content": content}
    if rated_as:
        body["feedback"] = {"id": rated_as}
    return {"msgtype": "stream", "stream": body}


def words_only(content: str) -> Json:
    """The greeting after enter_chat."""
    return {"msgtype": "text", "text": {"content": content}}
