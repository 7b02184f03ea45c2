"""API calls about campaigns: which there are, how far one is, and pausing, going on or ending it."""

from datetime import datetime
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession

from bot.api_keys import Caller
from bot.models.api import Scope
from bot.web import paging
from bot.web.api_call import Call
from bot.web.api_orders import Body, Instant
from bot.web.api_segments import NothingIn
from bot.web.paging import BadCursor, PageIn, PageOut
from campaigns import engine, reports
from campaigns.engine import CampaignNotFound, WrongStatus
from campaigns.models.campaign import Campaign, CampaignStatus, Kind, RunStatus


class CampaignsIn(PageIn):
    status: CampaignStatus | None = None
    changed_since: Instant | None = None


class CampaignOut(BaseModel):
    """next_fire_at: null when it does not fire by time, or is over."""

    id: int
    name: str
    kind: Kind
    status: CampaignStatus
    version: int
    created_by: str
    paused_because: str
    next_fire_at: datetime | None
    created_at: datetime
    changed_at: datetime


class CampaignsOut(PageOut):
    campaigns: list[CampaignOut]


class RunOut(BaseModel):
    id: int
    status: RunStatus
    due_at: datetime
    asks_because: str
    sent: int
    failed: int
    finished_at: datetime | None


class ProgressOut(CampaignOut):
    """deliveries: members by how their delivery stands. reasons: of those who did not get it. runs: the newest."""

    definition: dict[str, Any]
    members: int
    deliveries: dict[str, int]
    reasons: dict[str, int]
    runs: list[RunOut]


class PauseIn(Body):
    because: Annotated[str, Field(min_length=1, max_length=200)]


async def list_campaigns(session: AsyncSession, body: CampaignsIn, *, now: datetime) -> CampaignsOut:
    del now
    query = sa.select(Campaign)
    if body.status is not None:
        query = query.where(Campaign.status == body.status)
    if body.changed_since is not None:
        query = query.where(Campaign.changed_at >= body.changed_since)
    rows, after = await paging.page(session, "campaigns", body, query, Campaign.id, lambda one: one.id)
    return CampaignsOut(campaigns=[_campaign(one) for one in rows], next=after)


async def show_campaign(session: AsyncSession, body: NothingIn, *, now: datetime, id: str) -> ProgressOut:
    del body, now
    campaign = await engine.get(session, int(id))
    figures = await reports.figures(session, campaign.id)
    runs = await engine.runs_of(session, campaign.id)
    return ProgressOut(
        **_campaign(campaign).model_dump(),
        definition=campaign.definition,
        members=figures["total"],
        deliveries=figures["by_status"],
        reasons=figures["reasons"],
        runs=[RunOut(**{name: getattr(one, name) for name in RunOut.model_fields}) for one in runs],
    )


async def pause(session: AsyncSession, body: PauseIn, *, now: datetime, id: str, caller: Caller) -> CampaignOut:
    by = f"api:{caller.name}"
    return _campaign(await engine.pause(session, int(id), because=body.because, by=by, now=now))


async def resume(session: AsyncSession, body: NothingIn, *, now: datetime, id: str) -> CampaignOut:
    del body
    return _campaign(await engine.resume(session, int(id), now=now))


async def stop(session: AsyncSession, body: NothingIn, *, now: datetime, id: str) -> CampaignOut:
    del body
    return _campaign(await engine.cancel(session, int(id), now=now))


def _campaign(one: Campaign) -> CampaignOut:
    return CampaignOut(**{name: getattr(one, name) for name in CampaignOut.model_fields})


_MOVES = (CampaignNotFound, WrongStatus)
CALLS = (
    Call(
        method="GET",
        path="/campaigns",
        summary="The campaigns",
        takes=CampaignsIn,
        gives=CampaignsOut,
        handle=list_campaigns,
        scope=Scope.CAMPAIGNS_READ,
        refuses=(BadCursor,),
        example={"status": "running"},
    ),
    Call(
        method="GET",
        path="/campaigns/{id}",
        summary="One campaign and how far it is",
        takes=NothingIn,
        gives=ProgressOut,
        handle=show_campaign,
        scope=Scope.CAMPAIGNS_READ,
        refuses=(CampaignNotFound,),
    ),
    Call(
        method="POST",
        path="/campaigns/{id}/pause",
        summary="Nothing more leaves of a campaign",
        takes=PauseIn,
        gives=CampaignOut,
        handle=pause,
        scope=Scope.CAMPAIGNS_WRITE,
        refuses=_MOVES,
        by_caller=True,
        example={"because": "仓库断货"},
    ),
    Call(
        method="POST",
        path="/campaigns/{id}/resume",
        summary="A paused campaign goes on",
        takes=NothingIn,
        gives=CampaignOut,
        handle=resume,
        scope=Scope.CAMPAIGNS_WRITE,
        refuses=_MOVES,
    ),
    Call(
        method="POST",
        path="/campaigns/{id}/stop",
        summary="A campaign ends for good, and takes back what staff have not confirmed",
        takes=NothingIn,
        gives=CampaignOut,
        handle=stop,
        scope=Scope.CAMPAIGNS_WRITE,
        refuses=_MOVES,
    ),
)
