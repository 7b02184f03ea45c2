"""The audit log: who did what, and whether the chain is whole."""

from aiohttp import web

from bot.access import audit
from bot.access.rights import Right
from bot.web.screens import Screens, looking, render

SCREENS = Screens()
PATH = "/console/audit"
SIZE = 50


@SCREENS.get(PATH, Right.AUDIT)
async def log(request: web.Request) -> web.Response:
    query = request.query
    before = int(query["before"]) if query.get("before", "").isdigit() else None
    wanted = {name: query.get(name, "").strip() for name in ("by", "action", "about")}
    async with looking(request) as session:
        entries = await audit.page(session, before_id=before, size=SIZE + 1, **wanted)
        verdict = await audit.verify(session) if "verify" in query else None
    more = entries[SIZE - 1].id if len(entries) > SIZE else None
    return render(
        request, "console/audit.html", entries=entries[:SIZE], more=more, wanted=wanted, verdict=verdict, before=before
    )
