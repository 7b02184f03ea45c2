"""Today: whether everything moves, what still fires, what waits for somebody; and the emergency brake."""

from aiohttp import web

from bot import reports
from bot.access.rights import Right
from bot.web.language import N_
from bot.web.screens import Screens, change, go, house_of, looking, render, say, who
from bot.web.status import problems
from campaigns import brakes, engine, today_reports

SCREENS = Screens()
REASON_AT_MOST = 200
NO_REASON = N_("没有写原因")


@SCREENS.get("/console", Right.CONSOLE)
async def today(request: web.Request) -> web.Response:
    now = house_of(request).app.clock.now()
    async with looking(request) as session:
        pulse = await reports.pulse(session, now=now)
        plans = await today_reports.today(session, now=now)
    return render(request, "console/home.html", pulse=pulse, problems=problems(pulse, now=now), plans=plans)


@SCREENS.post("/console/stop", Right.STOP)
async def stop(request: web.Request) -> web.Response:
    """Pull the brake: from its commit on no marketing message leaves, and tasks that staff hold are taken back."""
    form = await request.post()
    reason = str(form.get("reason", "")).strip()[:REASON_AT_MOST] or say(request, NO_REASON)
    async with change(request, "sending.stopped", reason=reason) as deed:
        await brakes.stop(deed.session, by=who(request).account.name, reason=reason, now=deed.now)
    return go(request, "/console")


@SCREENS.post("/console/resume", Right.STOP)
async def resume(request: web.Request) -> web.Response:
    async with change(request, "sending.resumed") as deed:
        await brakes.resume(deed.session, by=who(request).account.name, now=deed.now)
    return go(request, "/console")


@SCREENS.post(r"/console/runs/{id:\d+}/{answer:fire|skip}", Right.MANAGE)
async def answer(request: web.Request) -> web.Response:
    """What a late run asks: whether it still fires."""
    run_id, fires = int(request.match_info["id"]), request.match_info["answer"] == "fire"
    async with change(request, "run.fired" if fires else "run.skipped", about=f"run:{run_id}") as deed:
        await engine.answer(deed.session, run_id, fires=fires, now=deed.now)
    return go(request, "/console")
