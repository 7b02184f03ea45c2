"""The weekly digest: last week's figures with a picture, said by a WeCom group robot where the managers read it."""

import base64
import hashlib
import io
from collections.abc import Sequence
from datetime import date, datetime, timedelta

from PIL import Image, ImageDraw
from sqlalchemy.ext.asyncio import AsyncSession

from bot import reports as edge
from bot import sale_reports, texts
from bot.app import App
from bot.referral.poster import find_font, typeface
from bot.wecom import lanes
from crm import reports
from crm.base import outbox
from crm.base.clock import SHANGHAI, day_start, local_day

LOOK_EVERY = 60.0  # seconds
LATE = timedelta(days=2)  # after that nobody wants last week's any more
WIDTH, HEIGHT, EDGE = 900, 420, 60
GREEN, PALE, INK = "#07a35a", "#d9dee4", "#1d2b36"
WEEKDAYS = "一二三四五六日"


class Digest:
    """The loop. hour: shop-local, on Mondays. Each week's is one message, whoever looks and however often."""

    def __init__(self, app: App, *, hour: int) -> None:
        self._app, self._hour = app, hour
        self._told: date | None = None

    async def run(self) -> None:
        while True:
            await self.round()
            await self._app.peers.wait("digest", seconds=LOOK_EVERY)

    async def round(self) -> bool:
        """Tell last week if it is time and nobody has; whether it was told now."""
        now = self._app.clock.now()
        monday = local_day(now) - timedelta(days=now.astimezone(SHANGHAI).weekday())
        due = day_start(monday) + timedelta(hours=self._hour)
        if not due <= now < due + LATE or self._told == monday:
            return False
        async with self._app.sessions.begin() as session:
            words, by_day = await _read(session, monday, now=now)
            week = f"{monday - timedelta(days=7):%m-%d} – {monday - timedelta(days=1):%m-%d}"
            messages = [
                lanes.robot_message({"msgtype": "markdown", "markdown": {"content": words}}, because=(monday, "words")),
                lanes.robot_message(_as_image(draw(by_day, f"{week} 每天净额（元）")), because=(monday, "picture")),
            ]
            told = await outbox.put(session, messages, now=now)
        self._told = monday
        self._app.peers.tap("send")
        return told > 0


async def _read(session: AsyncSession, monday: date, *, now: datetime) -> tuple[str, list[tuple[date, int]]]:
    """The week before `monday` in words, and its days with their net fen."""
    since, before = monday - timedelta(days=7), monday - timedelta(days=14)
    trade = await reports.trade(session, since_on=since, until_on=monday)
    was = await reports.trade(session, since_on=before, until_on=since)
    handoff = await edge.handoff(session, since=day_start(since), until=day_start(monday), now=now)
    funnel = await sale_reports.funnel(session, since=day_start(since), until=day_start(monday))
    known = {day: fen for day, _, fen in await reports.trade_by_day(session, since_on=since, until_on=monday)}
    words = texts.DIGEST.format(
        since=f"{since:%m-%d}",
        until=f"{monday - timedelta(days=1):%m-%d}",
        net=texts.yuan(trade.net_fen),
        net_change=_change(trade.net_fen, was.net_fen),
        orders=trade.orders,
        average=texts.yuan(trade.average_fen or 0),
        repeat=_percent(trade.repeat),
        newcomers=trade.newcomers,
        deflection=_percent(handoff.deflection),
        rating=f"{handoff.rating:.2f}" if handoff.rating is not None else "—",
        misses=handoff.misses,
        claimed=funnel.claimed,
        paid=funnel.paid,
    )
    days = [since + timedelta(days=number) for number in range(7)]
    return words, [(day, known.get(day, 0)) for day in days]


def draw(by_day: Sequence[tuple[date, int]], title: str) -> bytes:
    """A PNG with a column a day; the amounts stand on the columns. Without a Chinese font the title is left out."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    brush, file = ImageDraw.Draw(picture), find_font()
    small, large = typeface(file, 18), typeface(file, 24)
    if file is not None:
        brush.text((EDGE, 18), title, INK, large)
    most = max([fen for _, fen in by_day] + [1])
    step = (WIDTH - 2 * EDGE) / max(1, len(by_day))
    floor, room = HEIGHT - EDGE, HEIGHT - EDGE - 90
    brush.line((EDGE, floor, WIDTH - EDGE, floor), PALE, 2)
    for place, (day, fen) in enumerate(by_day):
        left, tall = EDGE + place * step + step * 0.2, room * max(fen, 0) / most
        brush.rectangle((left, floor - tall, left + step * 0.6, floor), GREEN)
        middle = left + step * 0.3
        brush.text((middle, floor - tall - 8), f"{fen / 100:,.0f}", INK, small, anchor="ms")
        label = f"周{WEEKDAYS[day.weekday()]}" if file is not None else f"{day:%m-%d}"
        brush.text((middle, floor + 28), label, INK, small, anchor="ms")
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()


def _as_image(png: bytes) -> dict[str, object]:
    """As a robot takes pictures: base64 and md5, which is the vendor's choice."""
    md5 = hashlib.md5(png, usedforsecurity=False).hexdigest()
    return {"msgtype": "image", "image": {"base64": base64.b64encode(png).decode(), "md5": md5}}


def _percent(share: float | None) -> str:
    return "—" if share is None else f"{share:.1%}"


def _change(now: int, was: int) -> str:
    return f"，比前一周 {(now - was) / was:+.0%}" if was else ""
