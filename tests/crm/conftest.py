"""Members, contacts and groups in one line, for the tests of the facts."""

from tests.factories import make

__all__ = ["make"]
