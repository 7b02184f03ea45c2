"""Text and attachments of welcome and mass messages: what each must carry, and the chat messages they become."""

from collections.abc import Callable
from typing import Any

from bot.simulator import checks
from bot.simulator.checks import Body
from bot.simulator.media import Media
from bot.simulator.refusals import Refusal

MOST = 9
MAX_TEXT_BYTES = 4000
Part = tuple[str, dict[str, Any]]  # (msgtype, payload)


def checked(body: Body, media: Media) -> tuple[str, list[Part]]:
    """(text, attachments) of a request; at least one of the two must be there."""
    words = checks.node(body, "text") if body.get("text") else {}
    text = checks.optional_text(words, "content", max_bytes=MAX_TEXT_BYTES)
    given = checks.nodes(body, "attachments", most=MOST, errcode=41064)
    if not text and not given:
        raise Refusal(40063, "text or attachments needed")
    return text, [_part(each, media) for each in given]


def _part(attachment: dict[str, Any], media: Media) -> Part:
    msgtype = attachment.get("msgtype")
    check = _TYPES.get(msgtype) if isinstance(msgtype, str) else None
    if check is None:
        raise Refusal(41065, str(msgtype))
    payload = checks.node(attachment, str(msgtype))
    check(payload, media)
    return str(msgtype), payload


def _image(payload: Body, media: Media) -> None:
    if payload.get("media_id"):
        media.get(payload["media_id"])
    else:
        checks.url(payload, "pic_url")


def _link(payload: Body, media: Media) -> None:
    checks.text(payload, "title", max_bytes=128)
    checks.optional_text(payload, "desc", max_bytes=512)
    checks.url(payload, "url")
    checks.url(payload, "picurl", required=False)


def _miniprogram(payload: Body, media: Media) -> None:
    checks.text(payload, "title", max_bytes=64)
    checks.text(payload, "appid")
    checks.text(payload, "page")
    media.get(payload.get("pic_media_id"))


def _medium(payload: Body, media: Media) -> None:
    media.get(payload.get("media_id"))


_TYPES: dict[str, Callable[[Body, Media], None]] = {
    "image": _image,
    "link": _link,
    "miniprogram": _miniprogram,
    "video": _medium,
    "file": _medium,
}
