"""Suggestions and surveys for managers: what is bought together, and how likely members are to recommend the shop."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from bot.access.rights import Right
from bot.web.screens import Screens, change, go, looking, render
from campaigns import suggestions, surveys
from campaigns.models.survey import Survey

SCREENS = Screens()
ITEMS, SURVEYS = "/console/suggestions", "/console/surveys"


@SCREENS.get(ITEMS, Right.CONSOLE)
async def items(request: web.Request) -> web.Response:
    """Articles by name, and what one of them is bought with."""
    words, sku = request.query.get("q", "")[:60], request.query.get("sku", "")[:64]
    async with looking(request) as session:
        run = await suggestions.last_run(session)
        found = await suggestions.find_items(session, words)
        chosen = next(iter(await suggestions.find_items(session, sku, limit=1)), None) if sku else None
        mates = await suggestions.mates_of(session, sku) if sku else []
    if chosen is not None and chosen.sku != sku:
        chosen, mates = None, []
    return render(
        request, "console/suggestions.html", run=run, found=found, chosen=chosen, mates=mates, words=words,
        path_here=ITEMS,
    )  # fmt: skip


@SCREENS.get(SURVEYS, Right.CONSOLE)
async def all_surveys(request: web.Request) -> web.Response:
    async with looking(request) as session:
        found = [(one, await surveys.result(session, one.id)) for one in await surveys.everything(session)]
    return render(request, "console/surveys.html", rows=found, path_here=SURVEYS)


@SCREENS.get(SURVEYS + "/{id:\\d+}", Right.CONSOLE)
async def survey(request: web.Request) -> web.Response:
    async with looking(request) as session:
        one = await _get(session, request)
        nps = await surveys.result(session, one.id)
        by = await surveys.by_campaign(session, one.id)
        said = await surveys.comments(session, one.id)
    return render(
        request, "console/survey.html", one=one, nps=nps, by=by, said_=said, told=surveys.told(one), path_here=SURVEYS
    )


@SCREENS.post(SURVEYS + "/{id:\\d+}/close", Right.MANAGE)
async def close(request: web.Request) -> web.Response:
    async with change(request, "survey.closed", about=f"survey:{_number(request)}") as deed:
        one = await _get(deed.session, request)
        one.closed_at = one.closed_at or deed.now
    return go(request, f"{SURVEYS}/{one.id}")


async def _get(session: Any, request: web.Request) -> Survey:
    found: Survey | None = await session.get(Survey, _number(request))
    if found is None:
        raise web.HTTPNotFound
    return found


def _number(request: web.Request) -> int:
    told: Mapping[str, str] = request.match_info
    if len(told["id"]) > 15:
        raise web.HTTPNotFound
    return int(told["id"])
