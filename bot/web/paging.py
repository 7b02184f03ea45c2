"""Lists in pages: a cursor that callers hand back unread, so that what comes and goes meanwhile shifts nothing.

A page goes on behind the last row that was shown, by id: no row is shown twice or left out, however long a caller
takes. A cursor belongs to its list and its filters; with others it is refused.
"""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession

from bot.web.api_orders import Body
from crm.base.errors import Invalid
from crm.base.ids import dedupe_key

Cursor = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[A-Za-z0-9_-]+$")]
LARGEST_ID = 2**62
Row = TypeVar("Row")


class PageIn(Body):
    """limit: rows at most. after: `next` of the page before."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    after: Cursor | None = None


class PageOut(BaseModel):
    """next: hand it back as `after`; null when this was the last page."""

    next: str | None


class BadCursor(Invalid):
    """The cursor is none of ours, or belongs to another list or other filters."""

    code = "api.bad_cursor"


def written(name: str, body: PageIn, place: Sequence[int]) -> str:
    """A cursor that stands behind `place` in the list `name`, as these filters cut it."""
    told = json.dumps([_stands_for(name, body), *place], separators=(",", ":"))
    return base64.urlsafe_b64encode(told.encode()).decode().rstrip("=")


def read(name: str, body: PageIn, *, numbers: int = 1) -> list[int]:
    """Where the caller stands; zeros at the beginning. Raises BadCursor."""
    if body.after is None:
        return [0] * numbers
    try:
        told = json.loads(base64.urlsafe_b64decode(body.after + "=" * (-len(body.after) % 4)))
    except (binascii.Error, ValueError):
        raise BadCursor from None
    if not isinstance(told, list) or len(told) != numbers + 1 or told[0] != _stands_for(name, body):
        raise BadCursor
    place = told[1:]
    if not all(type(one) is int and 0 <= one <= LARGEST_ID for one in place):
        raise BadCursor
    return place


def _stands_for(name: str, body: PageIn) -> str:
    filters = body.model_dump(mode="json", exclude={"limit", "after"})
    return dedupe_key(name, json.dumps(filters, sort_keys=True))[:12]


async def page(
    session: AsyncSession,
    name: str,
    body: PageIn,
    query: sa.Select[Row],
    key: Any,
    id_of: Callable[[Row], int],
) -> tuple[list[Row], str | None]:
    """The next rows of `query` by `key`, their id; and the cursor behind them if there are more."""
    (after,) = read(name, body)
    found = list(await session.scalars(query.where(key > after).order_by(key).limit(body.limit + 1)))
    rows = found[: body.limit]
    return rows, written(name, body, [id_of(rows[-1])]) if len(found) > len(rows) else None
