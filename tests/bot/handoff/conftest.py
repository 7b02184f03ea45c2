"""Rows for the tests of handoff."""

from tests.factories import make

__all__ = ["make"]
