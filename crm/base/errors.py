"""Refusals we planned for: facts here, words at the edge.

ShopError
├── Refused    a rule says no                 409
├── NotFound   there is no such thing         404
├── Invalid    the input cannot be meant      422
└── Busy       try again after retry_after    503
"""

from dataclasses import dataclass
from typing import ClassVar


class ShopError(Exception):
    """A refusal we planned for. It carries facts; the edge that catches it chooses the words."""

    code: ClassVar[str] = "shop.error"  # stable key for texts, metrics and HTTP bodies
    status: ClassVar[int] = 400


class Refused(ShopError):
    """A rule says no."""

    code = "shop.refused"
    status = 409


class NotFound(ShopError):
    """There is no such thing."""

    code = "shop.not_found"
    status = 404


class Invalid(ShopError):
    """The input cannot be meant."""

    code = "shop.invalid"
    status = 422


@dataclass(eq=False)  # not frozen: raising must be able to set __traceback__
class Busy(ShopError):
    """Not now: try again after `retry_after` seconds."""

    code = "shop.busy"
    status = 503
    retry_after: float = 1.0
