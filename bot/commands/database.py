"""The shop's database for one command: opened, used, closed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from bot.settings import Settings, read_settings
from crm.base.db import Sessions, open_sessions

Found = TypeVar("Found")


def with_sessions(work: Callable[[Sessions], Awaitable[Found]], settings: Settings | None = None) -> Found:
    """Do it with the database of these settings; without any, of the environment's."""

    async def opened() -> Found:
        sessions = open_sessions((settings or read_settings()).database_url)
        try:
            return await work(sessions)
        finally:
            await sessions.close()

    return asyncio.run(opened())


def with_session(
    work: Callable[[AsyncSession], Awaitable[Found]], *, writes: bool = True, settings: Settings | None = None
) -> Found:
    """Do it in one transaction, which commits when the work is done."""

    async def run(sessions: Sessions) -> Found:
        async with sessions.begin() if writes else sessions.read() as session:
            return await work(session)

    return with_sessions(run, settings)
