"""Reads JSON that others wrote: a missing field, null, or a value of the wrong type is empty, and nothing raises."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]
Fields: TypeAlias = Mapping[str, Any]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LARGEST = 2**53  # a number above it is no count, time or code of the vendor's
LATEST = 100_000_000_000


def text(fields: Fields, name: str) -> str:
    found = fields.get(name)
    if isinstance(found, int) and not isinstance(found, bool) and abs(found) < LARGEST:
        return str(found)
    return found if isinstance(found, str) else ""


def number(fields: Fields, name: str) -> int:
    """Some numbers come as strings (`created_at` of media)."""
    found = fields.get(name)
    if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) < 16:
        return int(found)
    if isinstance(found, int) and not isinstance(found, bool) and abs(found) < LARGEST:
        return found
    return 0


def instant(fields: Fields, name: str) -> datetime:
    """Unix seconds; 1970 when there is none."""
    seconds = number(fields, name)
    return EPOCH + timedelta(seconds=seconds) if 0 < seconds < LATEST else EPOCH


def obj(fields: Fields, name: str) -> Json:
    found = fields.get(name)
    return found if isinstance(found, dict) else {}


def objs(fields: Fields, name: str) -> list[Json]:
    found = fields.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def texts(fields: Fields, name: str) -> tuple[str, ...]:
    found = fields.get(name)
    return tuple(one for one in found if isinstance(one, str) and one) if isinstance(found, list) else ()


def storable(value: Any) -> Any:
    """The same JSON without what a database or an encoder refuses: NUL, lone surrogates, NaN."""
    if isinstance(value, str):
        return value.replace("\x00", "").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {storable(name): storable(one) for name, one in value.items()}
    if isinstance(value, list):
        return [storable(one) for one in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def given(**fields: Any) -> Json:
    """The body of a call: what was left at None does not go out."""
    return {name: value for name, value in fields.items() if value is not None}
