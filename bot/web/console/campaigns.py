"""Campaigns: all of them and what comes, one with its progress and what it brought, and what a person decides."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncSession

from bot.access.rights import Right
from bot.web import campaign_names
from bot.web.language import N_
from bot.web.screens import Deed, Screens, change, go, house_of, looking, render, say, who
from campaigns import attribution, definition, engine, experiments, playbooks, reports
from campaigns.models.campaign import Campaign, CampaignStatus, RunStatus
from crm.base.clock import local_day

SCREENS = Screens()
PATH = "/console/campaigns"
CALENDAR_DAYS = 14
LIVE = (CampaignStatus.SCHEDULED, CampaignStatus.RUNNING, CampaignStatus.PAUSED)
Verb = Callable[[Deed, Campaign, web.Request], Awaitable[object]]


@SCREENS.get(PATH, Right.CONSOLE)
async def everything(request: web.Request) -> web.Response:
    """What waits for a person first, then all of them; beside it what fires in the next two weeks."""
    now = house_of(request).app.clock.now()
    async with looking(request) as session:
        found = await engine.everything(session)
        coming = await engine.calendar(session, since=now, until=now + timedelta(days=CALENDAR_DAYS))
    days: dict[Any, list[engine.Coming]] = {}
    for one in coming:
        days.setdefault(local_day(one.at), []).append(one)
    return render(
        request,
        "console/campaigns.html",
        campaigns=found,
        waiting=[one for one in found if one.status is CampaignStatus.IN_REVIEW],
        days=days,
        books=playbooks.everything(),
        **_names(),
    )


@SCREENS.get(PATH + "/{id:\\d{1,18}}", Right.CONSOLE)
async def one(request: web.Request) -> web.Response:
    async with looking(request) as session:
        return render(request, "console/campaign.html", **await _looked(request, session), **_names())


@SCREENS.get(PATH + "/{id:\\d{1,18}}/live", Right.CONSOLE)
async def live(request: web.Request) -> web.Response:
    """The part that moves while it runs."""
    async with looking(request) as session:
        return render(request, "console/_campaign_live.html", **await _looked(request, session), **_names())


async def _looked(request: web.Request, session: AsyncSession) -> dict[str, Any]:
    campaign = await engine.get(session, int(request.match_info["id"]))
    outcome = await attribution.outcome(session, campaign.id)
    arms = [*outcome.arms, *((outcome.holdout,) if outcome.holdout.members else ())]
    figures, in_groups = await reports.figures(session, campaign.id), "groups" in campaign.definition
    return {
        "campaign": campaign,
        "told": definition.read(campaign.definition),
        "runs": await engine.runs_of(session, campaign.id, limit=10),
        "figures": figures,
        "reasons": sorted(figures["reasons"].items(), key=lambda one: -one[1]),
        "staff": await (reports.by_owner if in_groups else reports.by_staff)(session, campaign.id),
        "outcome": outcome,
        "arms": [(arm, experiments.wilson(arm.buyers, arm.members)) for arm in arms],
        "way": await reports.way(session, campaign.id, of_groups=in_groups),
        "in_groups": in_groups,
        "moves": campaign.status is CampaignStatus.RUNNING,
        "mine": campaign.created_by == who(request).account.name,
    }


def _names() -> dict[str, Any]:
    names = campaign_names
    return {
        "status_names": names.STATUS, "tones": names.TONES, "run_names": names.RUN_STATUS,
        "delivery_names": names.DELIVERY, "enrolment_names": names.ENROLMENT, "kind_names": names.KINDS,
        "reason": names.reason,
        "S": CampaignStatus, "R": RunStatus, "errors": engine.ERRORS,
    }  # fmt: skip


# What a person decides


async def _submit(deed: Deed, campaign: Campaign, request: web.Request) -> None:
    await engine.submit(deed.session, campaign.id, review=house_of(request).app.review, now=deed.now)


async def _approve(deed: Deed, campaign: Campaign, request: web.Request) -> None:
    await engine.approve(deed.session, campaign.id, by=who(request).account.name, now=deed.now)


async def _reject(deed: Deed, campaign: Campaign, request: web.Request) -> None:
    await engine.reject(deed.session, campaign.id, by=who(request).account.name, now=deed.now)


async def _pause(deed: Deed, campaign: Campaign, request: web.Request) -> None:
    because = str((await request.post()).get("because", "")).strip()[:200] or say(request, N_("手动暂停"))
    await engine.pause(deed.session, campaign.id, because=because, by=who(request).account.name, now=deed.now)


async def _resume(deed: Deed, campaign: Campaign, request: web.Request) -> None:
    await engine.resume(deed.session, campaign.id, now=deed.now)


async def _cancel(deed: Deed, campaign: Campaign, request: web.Request) -> None:
    await engine.cancel(deed.session, campaign.id, now=deed.now)


VERBS: dict[str, Verb] = {
    "submit": _submit, "approve": _approve, "reject": _reject, "pause": _pause, "resume": _resume, "cancel": _cancel,
}  # fmt: skip


@SCREENS.post(PATH + "/{id:\\d{1,18}}/{verb:submit|approve|reject|pause|resume|cancel}", Right.MANAGE)
async def decide(request: web.Request) -> web.Response:
    campaign_id, verb = int(request.match_info["id"]), request.match_info["verb"]
    async with change(request, f"campaign.{verb}", about=f"campaign:{campaign_id}") as deed:
        campaign = await engine.get(deed.session, campaign_id)
        deed.facts["name"] = campaign.name
        await VERBS[verb](deed, campaign, request)
    return go(request, f"{PATH}/{campaign_id}")


@SCREENS.post(PATH + "/runs/{id:\\d{1,18}}", Right.MANAGE)
async def answer(request: web.Request) -> web.Response:
    """What a person says to a run that is late."""
    run_id, fires = int(request.match_info["id"]), (await request.post()).get("fires") == "yes"
    async with change(request, "campaign.answered", about=f"run:{run_id}", fires=fires) as deed:
        run = await engine.answer(deed.session, run_id, fires=fires, now=deed.now)
    return go(request, f"{PATH}/{run.campaign_id}")
