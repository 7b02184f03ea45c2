"""Waiting for the first sync: the demo goes on when the service has read its shop from the simulated WeCom."""

import asyncio
from typing import Any

import sqlalchemy as sa

from crm.base.db import Sessions

LOOKS_A_SECOND = 10


async def read(sessions: Sessions, ids: sa.Select[Any], least: int, *, seconds: int) -> list[int]:
    """These ids, once there are so many of them; after so many seconds whatever there is."""
    found: list[int] = []
    for _ in range(LOOKS_A_SECOND * seconds):
        async with sessions.read() as session:
            found = list(await session.scalars(ids))
        if len(found) >= least:
            break
        await asyncio.sleep(1 / LOOKS_A_SECOND)
    return found
