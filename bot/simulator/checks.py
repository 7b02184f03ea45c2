"""Reading API parameters the way the vendor does: presence, type, length in UTF-8 bytes or characters, lists."""

import re
from collections.abc import Mapping
from typing import Any

from bot.simulator.refusals import Refusal

Body = Mapping[str, Any]
MSGID = re.compile(r"[0-9A-Za-z_-]{1,32}")
TASK_ID = re.compile(r"[0-9A-Za-z_@-]{1,128}")


def text(
    body: Body, key: str, *, max_bytes: int | None = None, max_chars: int | None = None, missing: int = 40058
) -> str:
    """A required, non-empty text; lengths over the limit are 40058."""
    value = optional_text(body, key, max_bytes=max_bytes, max_chars=max_chars)
    if not value:
        raise Refusal(missing, f"{key} is missing")
    return value


def optional_text(body: Body, key: str, *, max_bytes: int | None = None, max_chars: int | None = None) -> str:
    value = body.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Refusal(40058, f"{key} must be a string")
    if max_bytes is not None and len(value) * 3 > max_bytes and len(value.encode()) > max_bytes:
        raise Refusal(40058, f"{key} exceeds {max_bytes} bytes")
    if max_chars is not None and len(value) > max_chars:
        raise Refusal(40058, f"{key} exceeds {max_chars} characters")
    return value


def integer(body: Body, key: str, default: int, *, low: int, high: int, errcode: int = 40058) -> int:
    value = body.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Refusal(errcode, f"{key} must be an integer from {low} to {high}")
    return value


def strings(body: Body, key: str, *, most: int, least: int = 0, errcode: int = 40035) -> list[str]:
    """A list of texts; a bare string, too many or too few are refused."""
    value = body.get(key)
    if value is None:
        value = []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise Refusal(errcode, f"{key} must be a list of strings")
    if not least <= len(value) <= most:
        raise Refusal(errcode, f"{key} must have {least} to {most} elements")
    return value


def integers(body: Body, key: str, *, most: int, errcode: int = 40035) -> list[int]:
    value = body.get(key) or []
    if not isinstance(value, list) or len(value) > most or not all(type(each) is int for each in value):
        raise Refusal(errcode, f"{key} must be a list of at most {most} integers")
    return value


def node(body: Body, key: str, *, errcode: int = 40058) -> dict[str, Any]:
    """A required JSON object."""
    value = body.get(key)
    if not isinstance(value, dict):
        raise Refusal(errcode, f"{key} is missing")
    return value


def nodes(body: Body, key: str, *, most: int, errcode: int = 40058) -> list[dict[str, Any]]:
    value = body.get(key) or []
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise Refusal(40058, f"{key} must be a list of objects")
    if len(value) > most:
        raise Refusal(errcode, f"{key} has more than {most} elements")
    return value


def url(body: Body, key: str, *, max_bytes: int = 2048, required: bool = True) -> str:
    value = text(body, key, max_bytes=max_bytes) if required else optional_text(body, key, max_bytes=max_bytes)
    if value and not value.startswith(("http://", "https://")):
        raise Refusal(45034, key)
    return value


def msgid(body: Body) -> str:
    """The caller's own message id; empty when it gives none."""
    value = optional_text(body, "msgid")
    if value and not MSGID.fullmatch(value):
        raise Refusal(40058, "msgid must be 1-32 of [0-9a-zA-Z_-]")
    return value


def flag(body: Body, key: str, default: bool = False) -> bool:
    value = body.get(key, default)
    if isinstance(value, bool) or value in (0, 1):
        return bool(value)
    raise Refusal(40058, f"{key} must be true or false")
