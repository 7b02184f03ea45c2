"""Fixtures of the pages."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from tests.bot.web.staffroom import Staffroom, open_staffroom


@pytest.fixture
async def staffroom(sessions: Sessions, clock: FrozenClock, tmp_path: Path) -> AsyncIterator[Staffroom]:
    async with open_staffroom(sessions, clock, tmp_path) as room:
        yield room
