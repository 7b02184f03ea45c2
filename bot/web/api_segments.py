"""API calls about segments: which there are, how many are in one now, and who."""

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
from bot.web.api_people import PersonOut, people_out
from bot.web.paging import BadCursor, PageIn, PageOut
from crm import conditions, segment_compiler, segment_words, segments
from crm.conditions import DefinitionWrong
from crm.models.audience import Segment
from crm.models.member import Member
from crm.segments import SegmentNotFound


class SegmentsIn(PageIn):
    """saved_since: only those whose condition was written from then on."""

    saved_since: Instant | None = None
    name: Annotated[str, Field(min_length=1, max_length=60)] | None = None


class SegmentOut(BaseModel):
    """words: the condition in a sentence. watched: who comes and goes is told as events."""

    id: int
    name: str
    words: str
    condition: dict[str, Any]
    watched: bool
    saved_at: datetime


class SegmentsOut(PageOut):
    segments: list[SegmentOut]


class NothingIn(Body):
    """No parameters."""


class CountOut(BaseModel):
    """members: how many satisfy the condition at this instant."""

    id: int
    name: str
    members: int
    counted_at: datetime


class PreviewIn(Body):
    """A condition, as a segment keeps it: see docs/segments.md."""

    condition: dict[str, Any]


class StepOut(BaseModel):
    """left: how many satisfy this condition and those before it; fell: how many this one put out."""

    words: str
    left: int
    fell: int


class PreviewOut(BaseModel):
    """members: how many satisfy the condition at this instant. steps: everybody, then condition by condition."""

    words: str
    members: int
    steps: list[StepOut]
    counted_at: datetime


class PeopleOut(PageOut):
    members: list[PersonOut]


async def list_segments(session: AsyncSession, body: SegmentsIn, *, now: datetime) -> SegmentsOut:
    del now
    query = sa.select(Segment)
    if body.saved_since is not None:
        query = query.where(Segment.saved_at >= body.saved_since)
    if body.name is not None:
        query = query.where(Segment.name == body.name)
    rows, after = await paging.page(session, "segments", body, query, Segment.id, lambda one: one.id)
    return SegmentsOut(segments=[await _segment(session, one) for one in rows], next=after)


async def show_segment(session: AsyncSession, body: NothingIn, *, now: datetime, id: str) -> SegmentOut:
    del body, now
    return await _segment(session, await segments.get(session, int(id)))


async def count_segment(session: AsyncSession, body: NothingIn, *, now: datetime, id: str) -> CountOut:
    del body
    segment = await segments.get(session, int(id))
    members = await segments.count(session, conditions.read(segment.condition), now=now)
    return CountOut(id=segment.id, name=segment.name, members=members, counted_at=now)


async def preview(session: AsyncSession, body: PreviewIn, *, now: datetime) -> PreviewOut:
    """Nothing is kept. Raises DefinitionWrong, with each mistake's place in the body."""
    try:
        condition = conditions.read(body.condition)
    except DefinitionWrong as wrong:
        raise DefinitionWrong([{**one, "field": _place(one["field"])} for one in wrong.mistakes]) from None
    words = segment_words.in_words(condition, await segment_words.names_in(session, condition))
    steps = await segments.funnel(session, condition, now=now)
    before = [steps[0].left, *(step.left for step in steps[:-1])]
    told = [
        StepOut(words=step.words, left=step.left, fell=was - step.left) for was, step in zip(before, steps, strict=True)
    ]
    return PreviewOut(words=words, members=steps[-1].left, steps=told, counted_at=now)


def _place(field: str) -> str:
    return f"condition.{field}" if field else "condition"


async def members_of(session: AsyncSession, body: PageIn, *, now: datetime, id: str, caller: Caller) -> PeopleOut:
    """Who satisfies the condition at this instant. Between two pages somebody may come or go."""
    segment = await segments.get(session, int(id))
    fits = segment_compiler.member_ids(conditions.read(segment.condition), now=now)
    query = sa.select(Member).where(Member.id.in_(fits))
    name = f"segment:{segment.id}"
    rows, after = await paging.page(session, name, body, query, Member.id, lambda one: one.id)
    return PeopleOut(members=await people_out(session, rows, caller), next=after)


async def _segment(session: AsyncSession, one: Segment) -> SegmentOut:
    condition = conditions.read(one.condition)
    words = segment_words.in_words(condition, await segment_words.names_in(session, condition))
    shown = {name: getattr(one, name) for name in SegmentOut.model_fields if name != "words"}
    return SegmentOut(**shown, words=words)


CALLS = (
    Call(
        method="GET",
        path="/segments",
        summary="The segments",
        takes=SegmentsIn,
        gives=SegmentsOut,
        handle=list_segments,
        scope=Scope.SEGMENTS_READ,
        refuses=(BadCursor,),
        example={"limit": 50},
    ),
    Call(
        method="POST",
        path="/segments/preview",
        summary="How many a condition finds now, and who falls out at each step; nothing is kept",
        takes=PreviewIn,
        gives=PreviewOut,
        handle=preview,
        scope=Scope.SEGMENTS_READ,
        refuses=(DefinitionWrong,),
        example={"condition": {"is": "did", "event": "XViewedProduct"}},
    ),
    Call(
        method="GET",
        path="/segments/{id}",
        summary="One segment",
        takes=NothingIn,
        gives=SegmentOut,
        handle=show_segment,
        scope=Scope.SEGMENTS_READ,
        refuses=(SegmentNotFound,),
    ),
    Call(
        method="GET",
        path="/segments/{id}/count",
        summary="How many are in a segment now",
        takes=NothingIn,
        gives=CountOut,
        handle=count_segment,
        scope=Scope.SEGMENTS_READ,
        refuses=(SegmentNotFound,),
    ),
    Call(
        method="GET",
        path="/segments/{id}/members",
        summary="Who is in a segment now",
        takes=PageIn,
        gives=PeopleOut,
        handle=members_of,
        scope=Scope.SEGMENTS_READ,
        refuses=(SegmentNotFound, BadCursor),
        by_caller=True,
        example={"limit": 50},
    ),
)
