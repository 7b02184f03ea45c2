"""The rules in force: working hours with the holidays to come, the gate's caps, who reviews, and words to avoid."""

from datetime import timedelta
from typing import Any

from aiohttp import web

from bot.access.rights import Right
from bot.settings import campaign_review
from bot.web.screens import Screens, house_of, render
from crm.base.clock import local_day

SCREENS = Screens()
PATH = "/console/rules"
AHEAD = 21  # days of the hours that are shown: over the next holiday and its 调休
LONGEST_TEXT = 4000


@SCREENS.get(PATH, Right.SETTINGS)
async def show(request: web.Request) -> web.Response:
    """What holds now. It is set in the environment, so that every process has the same: the page says where."""
    house = house_of(request)
    today, hours = local_day(house.app.clock.now()), house.app.handoff.hours
    days = [(day, hours.blocks_on(day)) for day in (today + timedelta(days=n) for n in range(AHEAD))]
    return render(
        request,
        "console/rules.html",
        hours=hours.words,
        days=days,
        gate=house.app.gate,
        handoff=house.app.handoff,
        review=campaign_review(house.settings),
        night_hour=house.settings.night_hour,
        **_checked(request, request.query.get("text", "")),
    )


@SCREENS.post(PATH + "/preview", Right.SETTINGS)
async def check(request: web.Request) -> web.Response:
    """A text against the lists, the product's and the shop's own."""
    text = str((await request.post()).get("text", ""))
    return render(request, "console/_rules_words.html", **_checked(request, text))


def _checked(request: web.Request, text: str) -> dict[str, Any]:
    written = text[:LONGEST_TEXT]
    return {"text": written, "findings": house_of(request).app.words.check(written) if written.strip() else None}
