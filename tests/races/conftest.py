"""Members and orders in one line, and a flash sale, for the races."""

from tests.bot.flashsale.stall import stall
from tests.factories import make

__all__ = ["make", "stall"]
