"""Members and orders in one line, for the races."""

from tests.factories import make

__all__ = ["make"]
