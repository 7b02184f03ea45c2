"""API calls about events: read forward what happened, and tell what happened elsewhere to a member."""

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field, StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession

from bot import outward
from bot.models.api import Scope
from bot.outward import EventOut
from bot.web import paging
from bot.web.api_call import Call
from bot.web.api_coupons import STRANGERS, Source, known_member
from bot.web.api_orders import Body, Instant, WhoIn
from bot.web.paging import BadCursor, PageIn, PageOut
from crm import custom_events
from crm.base import events
from crm.base.errors import Invalid
from crm.base.events import EventRow
from crm.custom_events import Value
from crm.holds import PersonErased

OLDEST = timedelta(days=30)
LATEST = timedelta(minutes=5)  # of a clock that is ahead of ours
MOST = 200
FieldName = Annotated[str, StringConstraints(pattern=custom_events.FIELD)]
FieldValue = Annotated[str, Field(max_length=200)] | Annotated[int, Field(ge=-(2**53), le=2**53)] | bool


class EventsIn(PageIn):
    """since: only what happened from then on. name: only events of this name."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z]{1,80}$")] | None = None
    since: Instant | None = None


class EventsOut(PageOut):
    """next: where to go on, also when nothing more is there now. more: whether something is."""

    events: list[EventOut]
    more: bool


class EventIn(Body):
    """name: begins with X, as XViewedProduct. data: flat, what triggers and people may ask for."""

    name: Annotated[str, Field(pattern=custom_events.NAME)]
    member: WhoIn
    source: Source = "api"
    happened_at: Instant | None = None
    data: Annotated[dict[FieldName, FieldValue], Field(max_length=20)] = Field(default_factory=dict)


class EventsToldIn(Body):
    events: Annotated[list[EventIn], Field(min_length=1, max_length=MOST)]


class EventsToldOut(Body):
    recorded: int


class NoSuchTime(Invalid):
    """An event of a member lies at most 30 days back, and not ahead."""

    code = "event.no_such_time"


class FieldReserved(Invalid):
    """member_id, added_at, joined_at and came_on are ours."""

    code = "event.field_reserved"


async def read_events(session: AsyncSession, body: EventsIn, *, now: datetime) -> EventsOut:
    """From the oldest that is kept; whoever stands at `next` misses nothing, and reads nothing twice."""
    del now
    after = paging.read("events", body, numbers=2)
    top = await events.newest(session)
    where = [outward.told()]
    if body.name is not None:
        where.append(EventRow.name == body.name)
    if body.since is not None:
        where.append(EventRow.at >= body.since)
    found = await events.between(session, (after[0], after[1]), top, *where, limit=body.limit + 1)
    shown = found[: body.limit]
    more = len(found) > len(shown)
    place = [shown[-1].xid, shown[-1].id] if more else [*max(top, (after[0], after[1]))]
    told = await outward.tell(session, shown)
    return EventsOut(events=told, next=paging.written("events", body, place), more=more)


async def tell_events(session: AsyncSession, body: EventsToldIn, *, now: datetime) -> EventsToldOut:
    """All of them or none. Repeated under the same Idempotency-Key they are recorded once."""
    found = []
    for one in body.events:
        at = one.happened_at or now
        if not now - OLDEST <= at <= now + LATEST:
            raise NoSuchTime
        if one.data.keys() & custom_events.OURS:
            raise FieldReserved
        found.append((await known_member(session, one.member, one.source), one, min(at, now)))
    for member_id, one, at in sorted(found, key=lambda each: each[0]):  # in one order: nobody locks crosswise
        data: dict[str, Value] = dict(one.data)
        await custom_events.record(session, member_id, one.name, data, at=at)
    return EventsToldOut(recorded=len(found))


CALLS = (
    Call(
        method="GET",
        path="/events",
        summary="What happened, read forward",
        takes=EventsIn,
        gives=EventsOut,
        handle=read_events,
        scope=Scope.EVENTS_READ,
        refuses=(BadCursor,),
        example={"name": "OrderPaid", "limit": 50},
    ),
    Call(
        method="POST",
        path="/events",
        summary="Tell events of members, for segments and triggers",
        takes=EventsToldIn,
        gives=EventsToldOut,
        handle=tell_events,
        scope=Scope.EVENTS_WRITE,
        refuses=(*STRANGERS, PersonErased, NoSuchTime, FieldReserved),
        example={
            "events": [
                {
                    "name": "XViewedProduct",
                    "member": {"external_userid": "wmAAAABBBBCCCC"},
                    "data": {"sku": "CF-2KG", "seconds": 42},
                }
            ]
        },
    ),
)
