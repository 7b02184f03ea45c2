"""Segments: a condition put together by hand, counted as one types, with examples and who falls out."""

import json
from typing import Any

import sqlalchemy as sa
from aiohttp import web

from bot.access.rights import Right
from bot.web.console.segment_kinds import offered
from bot.web.language import N_, translations
from bot.web.screens import Screens, change, go, house_of, language_of, looking, render, say
from crm import conditions, lookup, segment_words, segments
from crm.base.errors import Invalid, ShopError
from crm.conditions import DefinitionWrong
from crm.models.audience import Segment

SCREENS = Screens()
PATH = "/console/segments"
EVERYBODY: dict[str, Any] = {"is": "all", "of": [{"is": "lifetime", "orders": {"least": 0}}]}


class NotJson(Invalid):
    """What came is no JSON."""

    code = "segment.definition_wrong"


@SCREENS.get(PATH, Right.CONSOLE)
async def everything(request: web.Request) -> web.Response:
    """All segments, each in words. They are counted when one is opened: counting twenty would take a while."""
    async with looking(request) as session:
        found = (await session.scalars(sa.select(Segment).order_by(Segment.name))).all()
        lines = []
        for one in found:
            condition = conditions.read(one.condition)
            lines.append((one, segment_words.in_words(condition, await segment_words.names_in(session, condition))))
    return render(request, "console/segments.html", lines=lines)


@SCREENS.get(PATH + "/new", Right.CONSOLE)
async def new(request: web.Request) -> web.Response:
    return await _editor(request, None)


@SCREENS.get(PATH + "/{id:\\d+}", Right.CONSOLE)
async def one(request: web.Request) -> web.Response:
    return await _editor(request, int(request.match_info["id"]))


@SCREENS.post(PATH + "/preview", Right.CONSOLE)
async def preview(request: web.Request) -> web.Response:
    """How many, who for example, what each condition costs; and why the one named member is out."""
    form, now = await request.post(), house_of(request).app.clock.now()
    typed = str(form.get("why", "")).strip()
    try:
        condition = conditions.read(_json(str(form.get("definition", ""))))
    except DefinitionWrong as wrong:
        return render(request, "console/_segment_preview.html", mistakes=wrong.mistakes)
    except NotJson:
        return render(request, "console/_segment_preview.html", mistakes=[{"field": "", "reason": "JSON"}])
    async with looking(request) as session:
        names = await segment_words.names_in(session, condition)
        found = await segments.preview(session, condition, now=now)
        steps = await segments.funnel(session, condition, now=now)
        member = await lookup.find(session, typed, house_of(request).vault) if typed else None
        verdict = await segments.explain(session, condition, member.id, now=now) if member is not None else None
    return render(
        request,
        "console/_segment_preview.html",
        mistakes=[],
        words=segment_words.in_words(condition, names),
        found=found,
        steps=steps,
        typed=typed,
        member=member,
        verdict=verdict,
    )


@SCREENS.post(PATH, Right.MANAGE)
async def save(request: web.Request) -> web.Response:
    form = {name: str(value) for name, value in (await request.post()).items()}
    segment_id = int(form["id"]) if form.get("id", "").isdigit() else None
    try:
        async with change(request, "segment.saved", name=form.get("name", "")) as deed:
            saved = await segments.save(
                deed.session,
                form.get("name", "").strip()[:60] or say(request, N_("未命名人群")),
                _json(form.get("definition", "")),
                watched=form.get("watched") == "1",
                segment_id=segment_id,
                now=deed.now,
            )
            deed.about = f"segment:{saved.id}"
    except ShopError as refusal:
        return await _editor(request, segment_id, refusal=refusal, form=form)
    return go(request, f"{PATH}/{saved.id}")


async def _editor(
    request: web.Request,
    segment_id: int | None,
    *,
    refusal: ShopError | None = None,
    form: dict[str, str] | None = None,
) -> web.Response:
    async with looking(request) as session:
        segment = await segments.get(session, segment_id) if segment_id is not None else None
        kinds = await offered(session, translations(language_of(request)).gettext)
    definition = form["definition"] if form else json.dumps(segment.condition if segment else EVERYBODY)
    return render(
        request,
        "console/segment.html",
        status=refusal.status if refusal is not None else 200,
        refusal=refusal,
        segment=segment,
        name=form["name"] if form else segment.name if segment else "",
        watched=segment.watched if segment else False,
        definition=definition,
        kinds=kinds,
    )


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise NotJson from None
