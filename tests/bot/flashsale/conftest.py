"""A shop with a flash sale."""

from tests.bot.flashsale.stall import stall
from tests.factories import make

__all__ = ["make", "stall"]
