"""回访: whom to ask, by when, what came of it, and who of the staff did theirs."""

from collections.abc import Mapping
from datetime import timedelta

from aiohttp import web

from bot.access.rights import Right
from bot.web.language import N_
from bot.web.screens import Screens, change, go, house_of, looking, render, who
from campaigns import follow_ups
from campaigns.models.follow_up import FollowUpResult
from crm import staff
from crm.base.clock import local_day

SCREENS = Screens()
PATH = "/console/follow-ups"
DAYS = 90  # of the report
RESULTS: Mapping[FollowUpResult, str] = {
    FollowUpResult.FINE: N_("一切都好"),
    FollowUpResult.NEEDS: N_("有事要办"),
    FollowUpResult.UNHAPPY: N_("不满意"),
    FollowUpResult.NOT_REACHED: N_("没联系上"),
    FollowUpResult.DROPPED: N_("不用再访"),
}


@SCREENS.get(PATH, Right.DESK)
async def overview(request: web.Request) -> web.Response:
    async with looking(request) as session:
        now = house_of(request).app.clock.now()
        rules = await follow_ups.everything(session)
        rows = await follow_ups.open_ones(session)
        report = await follow_ups.by_staff(session, since=local_day(now) - timedelta(days=DAYS), now=now)
        userids = {one.userid for one in report} | {one.userid for one, _, _ in rows}
        names = {one: await staff.name_of(session, one) or one for one in sorted(userids)}
    return render(
        request, "console/follow_ups.html", rules=rules, rows=rows, report=report, names=names, results=RESULTS,
        path_here=PATH, today=local_day(now), told=follow_ups.told, days=DAYS,
    )  # fmt: skip


@SCREENS.post(PATH + "/{id:\\d+}", Right.CHAT)
async def done(request: web.Request) -> web.Response:
    form, number = await request.post(), request.match_info["id"]
    try:
        result = FollowUpResult(str(form.get("result", "")))
    except ValueError:
        raise web.HTTPNotFound from None
    if len(number) > 15:
        raise web.HTTPNotFound
    async with change(request, "follow_up.done", about=f"follow_up:{number}") as deed:
        by = who(request).account.name
        note = str(form.get("note", ""))
        await follow_ups.done(deed.session, int(number), result, note=note, by=by, now=deed.now)
        deed.facts |= {"result": result.value}
    return go(request, PATH)
