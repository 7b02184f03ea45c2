"""What else than campaigns a folder of files may tell: each kind is known by the field that says which it is."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from campaigns.words import Words


@dataclass(frozen=True, slots=True)
class FileKind:
    """How files of one kind are read, compared with what the shop has, and put in force."""

    field: str  # a file that has it is of this kind
    read: Callable[[str, dict[str, Any]], Any]  # (name, told); raises CampaignWrong
    write: Callable[[Any], dict[str, Any]]  # as the shop keeps it
    mistakes: Callable[[Any, Words], list[dict[str, str]]]  # in its words
    stored: Callable[..., Awaitable[dict[str, Any] | None]]  # (session, name): what the shop has
    check: Callable[..., Awaitable[None]]  # (session, name, told, *, now): raises ShopError where put() would
    put: Callable[..., Awaitable[object]]  # (session, name, told, *, now)
