"""What a request of the API says, read strictly: one spelling for each value, nothing unknown, nothing twice."""

import json
import re
from collections.abc import Sequence
from typing import Any, TypeVar, get_args

from aiohttp import web
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

LARGEST_BODY = 2 * 1024 * 1024
WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,18})")
BOOLEANS = {"true": True, "false": False}
Model = TypeVar("Model", bound=BaseModel)


class Unreadable(Exception):
    """The body is no JSON, or holds a text that no database takes (400)."""


class BodyTooLarge(Exception):
    """More bytes than a call takes (413)."""


class WrongRequest(Exception):
    """The request does not fit its model; `fields` says where and why (422)."""

    def __init__(self, fields: dict[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {why}" for name, why in fields.items()))
        self.fields = fields


def query_of(request: web.Request, takes: type[Model]) -> Model:
    """The query string as its model. A number is written as a number, a yes as true, and nothing twice."""
    told: dict[str, Any] = {}
    twice = {name: "given more than once" for name in request.query if len(request.query.getall(name)) > 1}
    if twice:
        raise WrongRequest(twice)
    for name, value in request.query.items():
        field = takes.model_fields.get(name)
        told[name] = value if field is None else _typed(value, field)
    if _holds_nul(told):
        raise WrongRequest({"query": "a text holds a NUL character, which no database takes"})
    return _fitting(told, takes)


async def body_of(request: web.Request, takes: type[Model]) -> tuple[bytes, Model]:
    """The body's bytes, and what they say. Raises BodyTooLarge, Unreadable, WrongRequest."""
    if request.query:
        raise WrongRequest(dict.fromkeys(request.query, "this call takes no query"))
    raw = await _read(request)
    try:
        told = json.loads(raw or b"{}", parse_float=_number, parse_constant=_no_number)
        if b"u0000" in raw and _holds_nul(told):
            raise WrongRequest({"body": "a text holds a NUL character, which no database takes"})
        return raw, _fitting(told, takes)
    except (RecursionError, ValueError):
        raise Unreadable("the body is not JSON in UTF-8") from None


def _number(written: str) -> int | float:
    """12800.0 is a whole number to JSON, so it is one here."""
    number = float(written)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _no_number(written: str) -> None:
    raise ValueError(f"{written} is no JSON")


async def _read(request: web.Request) -> bytes:
    large = BodyTooLarge(f"a body has at most {LARGEST_BODY} bytes")
    if (request.content_length or 0) > LARGEST_BODY:
        raise large
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise large
    return bytes(body)


def _fitting(told: Any, takes: type[Model]) -> Model:
    """Strictly: "5" is no number and 1 no yes, so what the description says is all that is taken."""
    try:
        return takes.model_validate_json(json.dumps(told), strict=True)
    except ValidationError as error:
        if any(one["type"] == "json_invalid" for one in error.errors(include_url=False)):  # half a surrogate pair
            raise Unreadable("the body is not JSON in UTF-8") from None
        raise WrongRequest(_fields(error, takes)) from None


def _holds_nul(told: Any) -> bool:
    if isinstance(told, dict):
        return any(_holds_nul(one) for pair in told.items() for one in pair)
    if isinstance(told, list):
        return any(map(_holds_nul, told))
    return isinstance(told, str) and "\0" in told


def _typed(value: str, field: FieldInfo) -> Any:
    kinds = _kinds(field.annotation)
    if bool in kinds:
        return BOOLEANS.get(value, value)
    if int in kinds and WHOLE.fullmatch(value):
        return int(value)
    return value


def _kinds(annotation: Any) -> set[Any]:
    inner: Sequence[Any] = get_args(annotation)
    return {annotation} if not inner else {kind for one in inner for kind in _kinds(one)}


def _fields(error: ValidationError, takes: type[BaseModel]) -> dict[str, str]:
    told: dict[str, str] = {}
    for one in error.errors(include_url=False):
        where = ".".join(str(part) for part in one["loc"]) or "body"
        told[where] = _words(one["type"], str(one["msg"]), takes, at_top=len(one["loc"]) == 1)
    return told


def _words(kind: str, message: str, takes: type[BaseModel], *, at_top: bool) -> str:
    if kind == "extra_forbidden":
        known = ", ".join(takes.model_fields)
        return f"there is no such field; this call takes {known or 'none'}" if at_top else "there is no such field"
    return message.removeprefix("Value error, ")
