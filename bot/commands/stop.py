"""`siyu stop` and `siyu resume`: the emergency brake over all marketing, from a terminal."""

import getpass
from typing import Annotated

import typer
from rich.console import Console
from sqlalchemy.ext.asyncio import AsyncSession

from bot.commands.database import with_session
from campaigns import brakes
from crm.base.clock import SHANGHAI, SystemClock

out = Console(highlight=False)


def stop_command(reason: Annotated[str, typer.Argument(help="为什么停，给同事看")] = "") -> None:
    """Stop all marketing messages at once; service messages go on."""

    async def stop(session: AsyncSession) -> str:
        if await brakes.stop(session, by=getpass.getuser(), reason=reason, now=SystemClock().now()):
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
        was_on = await brakes.resume(session, by=getpass.getuser(), now=SystemClock().now())
        return "营销发送已恢复。每条消息发出前仍会再过一次闸门。" if was_on else "没有停着，不用恢复。"

    out.print(with_session(resume), markup=False)
