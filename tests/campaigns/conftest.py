"""Members and orders in one line, for the decisions about them."""

from tests.factories import make

__all__ = ["make"]
