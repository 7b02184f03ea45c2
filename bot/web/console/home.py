"""Today: whether everything moves, and what somebody should look at."""

from aiohttp import web

from bot import reports
from bot.access.rights import Right
from bot.web.screens import Screens, house_of, looking, render
from bot.web.status import problems

SCREENS = Screens()


@SCREENS.get("/console", Right.CONSOLE)
async def today(request: web.Request) -> web.Response:
    now = house_of(request).app.clock.now()
    async with looking(request) as session:
        pulse = await reports.pulse(session, now=now)
    return render(request, "console/home.html", pulse=pulse, problems=problems(pulse, now=now))
