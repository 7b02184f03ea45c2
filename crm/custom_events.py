"""Events that the shop's other systems tell about members: what somebody looked at, booked or scanned.

They lie beside our own events under names that begin with X, so nobody can pretend that an order was paid; segments
(`did`) and triggers (`on`) use them by that name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from crm import holds
from crm.base import events
from crm.holds import PersonErased

NAME = r"^X[A-Za-z]{1,60}$"
FIELD = r"^[a-z][a-z0-9_]{0,39}$"
OURS = frozenset({"member_id", "added_at", "joined_at", "came_on"})  # fields that readers of events give a meaning
Value = str | int | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomHappened:
    """What reactions see of a custom event, whatever its name."""

    member_id: int


def is_custom(name: str) -> bool:
    return re.match(NAME, name) is not None


def kind_of(name: str) -> str:
    """Under which name reactions to an event are registered."""
    return CustomHappened.__name__ if is_custom(name) else name


async def record(session: AsyncSession, member_id: int, name: str, data: Mapping[str, Value], *, at: datetime) -> None:
    """Something happened to a member at `at`. Raises MemberNotFound, PersonErased; the caller checked the names."""
    held = await holds.hold_one(session, member_id)
    if held.is_erased:
        raise PersonErased
    body = {**data, "member_id": held.member_id}
    await events.append_named(session, name, body, member_id=held.member_id, at=at)
