"""`siyu stop` and `siyu resume`: the emergency brake over all marketing, from a terminal."""

import getpass
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console
from sqlalchemy.ext.asyncio import AsyncSession

from bot.access import audit
from bot.commands.database import with_session
from campaigns import brakes
from crm.base.clock import SHANGHAI, SystemClock

out = Console(highlight=False)


def stop_command(reason: Annotated[str, typer.Argument(help="为什么停，给同事看")] = "") -> None:
    """Stop all marketing messages at once; service messages go on."""

    async def stop(session: AsyncSession) -> str:
        by, now = getpass.getuser(), SystemClock().now()
        if await brakes.stop(session, by=by, reason=reason, now=now):
            await _note(session, "sending.stopped", by, now, reason=reason)
            return "营销发送已全部停止；客服消息照常。恢复：siyu resume"
        found = await brakes.standing(session)
        if found is None:
            return "刚刚有人恢复了发送，请再试一次。"
        since = found.stopped_at.astimezone(SHANGHAI)
        return f"已经停着了：{since:%m-%d %H:%M} 由 {found.stopped_by} 停止。{found.reason}"

    out.print(with_session(stop), markup=False)


def resume_command() -> None:
    """Let marketing messages leave again."""

    async def resume(session: AsyncSession) -> str:
        by, now = getpass.getuser(), SystemClock().now()
        if not await brakes.resume(session, by=by, now=now):
            return "没有停着，不用恢复。"
        await _note(session, "sending.resumed", by, now)
        return "营销发送已恢复。每条消息发出前仍会再过一次闸门。"

    out.print(with_session(resume), markup=False)


async def _note(session: AsyncSession, action: str, by: str, now: datetime, **facts: object) -> None:
    """In the staff's log under the names the console's button writes; only who changed something is in it."""
    await audit.append(session, action, by=f"{audit.COMMAND_LINE}:{by}"[:40], facts=facts, now=now)
