"""RFM and lifecycle: who stands where, who moved between two dates, and what the scores were worth."""

from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa
from aiohttp import web

from bot.access.rights import Right
from bot.settings import rfm_rule
from bot.web.kept import KEPT
from bot.web.names import STAGES
from bot.web.screens import Screens, house_of, looking, render, say
from crm import reports, rfm_history
from crm.base.clock import day_start, local_day
from crm.models.lifecycle import Stage
from crm.models.rfm import RfmSnapshot, Segment

SCREENS = Screens()
PATH = "/console/rfm"
FLOW_DAYS = 30
TESTED_DAYS = 90


@SCREENS.get(PATH, Right.CONSOLE)
async def grid(request: web.Request) -> web.Response:
    """The 5×5 grid, the eight segments, the migration between two snapshots, and a back-test when it is asked for."""
    house, query = house_of(request), request.query
    today = local_day(house.app.clock.now())
    cells, eight = await request.app[KEPT].get("rfm", lambda: _now(request))
    async with looking(request) as session:
        days = list(
            await session.scalars(sa.select(RfmSnapshot.taken_on).order_by(RfmSnapshot.taken_on.desc()).limit(400))
        )
        earlier, later = _day(query.get("from", "")), _day(query.get("to", ""))
        if days:
            later = later if later in days else days[0]
            month_ago = later - timedelta(days=30)
            earlier = earlier if earlier in days else min(days, key=lambda day: abs(day - month_ago))
        moves = await rfm_history.matrix(session, earlier, later) if earlier and later and earlier < later else None
        tested = None
        if query.get("test"):
            as_of = today - timedelta(days=TESTED_DAYS)
            tested = await rfm_history.back_test(session, as_of, rfm_rule(house.settings), days=TESTED_DAYS)
    most = max((one.members for one in cells.values()), default=0)
    return render(
        request,
        "console/rfm.html",
        cells=cells,
        most=most,
        eight=eight,
        total=sum(count for count, _ in eight.values()),
        segments=list(Segment),
        days=days,
        earlier=earlier,
        later=later,
        moves=moves,
        tested=tested,
        tested_days=TESTED_DAYS,
    )


@SCREENS.get("/console/lifecycle", Right.CONSOLE)
async def lifecycle(request: web.Request) -> web.Response:
    """How many stand where now, and who moved in the last so many days."""
    now = house_of(request).app.clock.now()
    text = request.query.get("days", "")
    days = int(text) if text in {"7", "30", "90"} else FLOW_DAYS
    since = day_start(local_day(now) - timedelta(days=days))
    standing = await request.app[KEPT].get("stages", lambda: _stages(request))
    async with looking(request) as session:
        flow = await reports.stage_flow(session, since=since, until=now)
    return render(
        request,
        "console/lifecycle.html",
        standing=standing,
        flow=flow,
        days=days,
        order=list(Stage),
        option=_bars(request, standing),
    )


async def _now(request: web.Request) -> tuple[dict[tuple[int, int], reports.Cell], dict[Segment, tuple[int, int]]]:
    async with looking(request) as session:
        cells = await reports.rfm_grid(session)
        return {(one.r, one.f): one for one in cells}, await reports.rfm_segments(session)


async def _stages(request: web.Request) -> dict[Stage, int]:
    async with looking(request) as session:
        return await reports.stages(session)


def _bars(request: web.Request, standing: dict[Stage, int]) -> dict[str, Any]:
    names = [say(request, STAGES[stage]) for stage in Stage]
    return {
        "xAxis": {"type": "category", "data": names},
        "yAxis": {"type": "value"},
        "tooltip": {},
        "series": [{"type": "bar", "data": [standing.get(stage, 0) for stage in Stage], "label": {"show": True}}],
    }


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
