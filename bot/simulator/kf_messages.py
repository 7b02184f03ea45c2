"""The message types of kf/send_msg: what each must carry and how long it may be (bytes are UTF-8)."""

from collections.abc import Callable
from typing import Any

from bot.simulator import checks
from bot.simulator.checks import Body
from bot.simulator.media import Media
from bot.simulator.refusals import Refusal

Payload = dict[str, Any]
MENU_ITEMS = 10


def checked(body: Body, media: Media) -> tuple[str, Payload]:
    """(msgtype, payload) of a send request, or the refusal the vendor gives."""
    msgtype = checks.text(body, "msgtype", missing=40008)
    check = _TYPES.get(msgtype)
    if check is None:
        raise Refusal(40008, msgtype)
    payload = checks.node(body, msgtype)
    check(payload, media)
    return msgtype, payload


def _text(payload: Payload, media: Media) -> None:
    checks.text(payload, "content", max_bytes=2048, missing=44004)


def _medium(payload: Payload, media: Media) -> None:
    media.get(payload.get("media_id"))


def _link(payload: Payload, media: Media) -> None:
    checks.text(payload, "title", max_bytes=128)
    checks.optional_text(payload, "desc", max_bytes=512)
    checks.url(payload, "url")
    media.get(payload.get("thumb_media_id"))


def _miniprogram(payload: Payload, media: Media) -> None:
    checks.text(payload, "appid")
    checks.optional_text(payload, "title", max_bytes=64)
    checks.text(payload, "pagepath")
    media.get(payload.get("thumb_media_id"))


def _msgmenu(payload: Payload, media: Media) -> None:
    checks.optional_text(payload, "head_content", max_bytes=1024)
    checks.optional_text(payload, "tail_content", max_bytes=1024)
    for item in checks.nodes(payload, "list", most=MENU_ITEMS, errcode=95008):
        kind = item.get("type")
        check = _MENU_ITEMS.get(kind) if isinstance(kind, str) else None
        if check is None:
            raise Refusal(95009, str(kind))
        check(checks.node(item, str(kind)))


def _menu_click(item: Body) -> None:
    checks.optional_text(item, "id", max_bytes=128)
    checks.text(item, "content", max_bytes=128)


def _menu_view(item: Body) -> None:
    checks.url(item, "url")
    checks.text(item, "content", max_bytes=1024)


def _menu_miniprogram(item: Body) -> None:
    for key in ("appid", "pagepath", "content"):
        checks.text(item, key, max_bytes=1024)


def _menu_text(item: Body) -> None:
    checks.text(item, "content", max_bytes=256)
    checks.flag(item, "no_newline")


def _location(payload: Payload, media: Media) -> None:
    for key in ("latitude", "longitude"):
        if isinstance(payload.get(key), bool) or not isinstance(payload.get(key), int | float):
            raise Refusal(95022, key)


def _business_card(payload: Payload, media: Media) -> None:
    checks.text(payload, "userid")


def _ca_link(payload: Payload, media: Media) -> None:
    checks.url(payload, "link_url")


_TYPES: dict[str, Callable[[Payload, Media], None]] = {
    "text": _text,
    "image": _medium,
    "voice": _medium,
    "video": _medium,
    "file": _medium,
    "link": _link,
    "miniprogram": _miniprogram,
    "msgmenu": _msgmenu,
    "location": _location,
    "business_card": _business_card,
    "ca_link": _ca_link,
}
_MENU_ITEMS: dict[str, Callable[[Body], None]] = {
    "click": _menu_click,
    "view": _menu_view,
    "miniprogram": _menu_miniprogram,
    "text": _menu_text,
}
