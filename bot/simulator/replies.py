"""Passive replies: the encrypted XML that a service may answer to a callback, opened and read into plain fields."""

import re
from xml.etree import ElementTree

from bot.simulator.envelope import BadEnvelope, Sealed

MAX_REPLY = 64 * 1024
MAX_TEXT_BYTES = 2048
REPLIABLE_EVENTS = {
    "subscribe",
    "enter_agent",
    "LOCATION",
    "click",
    "view",
    "view_miniprogram",
    "scancode_waitmsg",
    "template_card_event",
    "template_card_menu_event",
}
REPLY_TYPES = {"text", "image", "voice", "video", "news", "update_button", "update_template_card"}
_DOCTYPE = re.compile(rb"<!\s*(DOCTYPE|ENTITY)", re.IGNORECASE)


def reply_parts(body: bytes) -> Sealed:
    """The signed parts of a reply packet."""
    root = parse(body)
    parts = {name: root.findtext(name) or "" for name in ("Encrypt", "MsgSignature", "TimeStamp", "Nonce")}
    if not all(parts.values()):
        raise BadEnvelope("reply lacks Encrypt, MsgSignature, TimeStamp or Nonce")
    return Sealed(parts["Encrypt"], parts["MsgSignature"], parts["TimeStamp"], parts["Nonce"])


def parse(body: bytes) -> ElementTree.Element:
    if len(body) > MAX_REPLY or _DOCTYPE.search(body):
        raise BadEnvelope("not a reply packet")
    try:
        return ElementTree.fromstring(body)
    except ElementTree.ParseError as broken:
        raise BadEnvelope("not XML") from broken


def read(inner_xml: str, *, corpid: str, userid: str) -> tuple[str, ElementTree.Element]:
    """(msgtype, XML) of an opened reply; sender and receiver must be swapped."""
    root = parse(inner_xml.encode())
    if root.findtext("ToUserName") != userid or root.findtext("FromUserName") != corpid:
        raise BadEnvelope("ToUserName must be the member, FromUserName the corp")
    msgtype = root.findtext("MsgType") or ""
    if msgtype not in REPLY_TYPES:
        raise BadEnvelope(f"reply type {msgtype!r} is not allowed")
    if msgtype == "text" and len((root.findtext("Content") or "").encode()) > MAX_TEXT_BYTES:
        raise BadEnvelope("text exceeds 2048 bytes")
    return msgtype, root
