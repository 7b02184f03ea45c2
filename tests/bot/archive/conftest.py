"""Rows in one line, as for crm."""

from tests.factories import make

__all__ = ["make"]
