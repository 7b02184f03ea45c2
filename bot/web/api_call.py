"""What a call of the HTTP API is: its path, its scope, the models it takes and gives, and how a refusal is told."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from typing import Any

from pydantic import BaseModel

from bot.models.api import Scope
from crm.base.errors import Busy, ShopError

PREFIX = "/api/v1"
Handle = Callable[..., Awaitable[BaseModel]]

PARTS: Mapping[str, tuple[str, str, str]] = {  # part of a path: pattern, example, what it is
    "code": (r"[A-HJ-NP-Za-hj-np-z2-9]{8}", "K7M2QX4R", "公开的号，八位，不分大小写"),
    "id": (r"[1-9][0-9]{0,17}", "1", "编号"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of the API. `handle(session, body, *, now, **parts of the path)` does it.

    refuses: the refusals it may end with, beside those of every call. by_caller: handle is told the caller too,
    because what it shows or writes down depends on who asks.
    """

    method: str
    path: str
    summary: str
    takes: type[BaseModel]
    gives: type[BaseModel]
    handle: Handle
    scope: Scope
    refuses: tuple[type[ShopError], ...] = ()
    by_caller: bool = False
    example: Mapping[str, Any] = field(default_factory=dict)  # a body, or a query

    @property
    def area(self) -> str:
        return self.scope.partition(":")[0]

    @property
    def parts(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.path)

    @property
    def route(self) -> str:
        """The path as aiohttp matches it: a part of another shape is another path, and not found."""
        return PREFIX + re.sub(r"{(\w+)}", lambda part: f"{{{part[1]}:{PARTS[part[1]][0]}}}", self.path)

    def is_at(self, path: str) -> bool:
        shape = re.sub(r"{(\w+)}", lambda part: PARTS[part[1]][0], self.path)
        return re.fullmatch(PREFIX + shape, path) is not None


class Problem(BaseModel):
    """Why a call was refused. `error` is stable; `fields` says where the request is wrong; `facts` what stood against.

    A refusal's facts are its own fields, such as expired_at of coupon.expired.
    """

    error: str
    message: str
    fields: dict[str, str] = {}
    facts: dict[str, str | int | bool | None] = {}


def problem_of(refusal: ShopError) -> Problem:
    """A planned refusal as callers read it: the class's first sentence, and its facts."""
    kind: Any = type(refusal)
    told = [one.name for one in fields(kind)] if is_dataclass(kind) and not isinstance(refusal, Busy) else []
    facts = {name: _fact(getattr(refusal, name)) for name in told}
    shown: dict[str, str | int | bool | None] = {
        name: value for name, value in facts.items() if isinstance(value, str | int | bool | None)
    }
    mistakes = getattr(refusal, "mistakes", ())
    where = {one["field"] or "body": one["reason"] for one in mistakes}
    return Problem(error=refusal.code, message=sentence(type(refusal)), fields=where, facts=shown)


def _fact(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple | list) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    return value.isoformat() if isinstance(value, datetime | date) else value


def sentence(kind: type[ShopError]) -> str:
    """What a refusal means, in one sentence."""
    words = (kind.__dict__.get("__doc__") or "").strip()
    if not words or words.startswith(f"{kind.__name__}("):  # a dataclass without words of its own
        return kind.code
    return " ".join(words.split("\n\n")[0].split())
