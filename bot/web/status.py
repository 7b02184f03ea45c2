"""The front page for whoever runs the service: is it moving, is anything stuck."""

from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader

from bot import reports
from bot.app import App
from crm.base.clock import SHANGHAI

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, enable_async=False
)


async def page(app: App) -> str:
    now = app.clock.now()
    async with app.sessions.read() as session:
        pulse = await reports.pulse(session, now=now)
    return TEMPLATES.get_template("status.html").render(
        shop=app.shop, pulse=pulse, articles=len(app.faq.articles), problems=problems(pulse, now=now), now=_local(now)
    )


def problems(pulse: reports.Pulse, *, now: datetime) -> list[str]:
    """What somebody should look at, in words; empty when all is well."""
    found = []
    if pulse.stuck_messages:
        found.append(f"{pulse.stuck_messages} 条客户消息近 7 天多次处理失败，已转人工")
    if pulse.stuck_callbacks:
        found.append(f"{pulse.stuck_callbacks} 个回调近 7 天多次处理失败")
    if pulse.unknown:
        found.append(f"{pulse.unknown} 条消息近 7 天发送结果不明，需要人工核对")
    if pulse.dead:
        found.append(f"最近 24 小时有 {pulse.dead} 条消息没能发出，原因见 siyu doctor")
    if pulse.oldest_waiting_at is not None and (minutes := (now - pulse.oldest_waiting_at).total_seconds() / 60) > 5:
        found.append(f"最早一条待发消息已等待 {minutes:.0f} 分钟")
    return found


def _local(instant: datetime) -> str:
    return f"{instant.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}"
