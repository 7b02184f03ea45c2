"""Rows in one line."""

from tests.factories import make

__all__ = ["make"]
