"""API calls about members as a list, and a member's phone: masked unless the key may see people, a look is kept."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import sqlalchemy as sa
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession

from bot.api_keys import Caller
from bot.models.api import Scope
from bot.web import paging
from bot.web.api_call import Call
from bot.web.api_orders import Body, Instant, MemberUnknown, sight_of
from bot.web.paging import BadCursor, PageIn, PageOut
from crm import members, sight
from crm.base.db import is_among
from crm.base.errors import Refused
from crm.base.events import EventRow
from crm.base.secrets import Vault
from crm.models.lifecycle import MemberStage, Stage
from crm.models.loyalty import Level, MemberLevel
from crm.models.member import Identity, IdentityKind, Member, MemberSource
from crm.models.order import MemberOrders
from crm.sight import Role, WhyMissing


class MembersIn(PageIn):
    """changed_since: only members about whom something happened from then on, an order, a tag, a stage."""

    joined_since: Instant | None = None
    changed_since: Instant | None = None
    source: MemberSource | None = None
    stage: Stage | None = None


class PersonOut(BaseModel):
    """One member. Without members:personal the name is its first character and ids are their ends."""

    code: str
    name: str
    joined_at: datetime
    source: MemberSource
    stage: Stage | None
    level: str | None
    orders: int
    spent_fen: int
    external_userids: list[str]


class MembersOut(PageOut):
    members: list[PersonOut]


class RevealIn(Body):
    """because: why somebody has to see the number; it is kept with the key's name and the time."""

    because: Annotated[str, Field(min_length=1, max_length=200)]


class PhonesOut(BaseModel):
    phones: list[str]


class NoPhones(Refused):
    """The shop has no SIYU_DATA_KEY, so no phone number is kept."""

    code = "member.no_phones"


async def list_members(session: AsyncSession, body: MembersIn, *, now: datetime, caller: Caller) -> MembersOut:
    """Living members, by when they joined; who was merged or erased is none."""
    del now
    query = sa.select(Member).where(Member.merged_into_id.is_(None), Member.erased_at.is_(None))
    if body.joined_since is not None:
        query = query.where(Member.joined_at >= body.joined_since)
    if body.source is not None:
        query = query.where(Member.source == body.source)
    if body.stage is not None:
        at_stage = sa.select(MemberStage.member_id).where(MemberStage.stage == body.stage)
        query = query.where(Member.id.in_(at_stage))
    if body.changed_since is not None:
        lately = (EventRow.member_id == Member.id, EventRow.at >= body.changed_since)
        query = query.where(sa.exists(sa.select(EventRow.id).where(*lately)))
    rows, after = await paging.page(session, "members", body, query, Member.id, lambda one: one.id)
    return MembersOut(members=await people_out(session, rows, caller), next=after)


async def people_out(session: AsyncSession, found: Sequence[Member], caller: Caller) -> list[PersonOut]:
    """These members as this key may see them; three queries, however many they are."""
    ids, seen = [one.id for one in found], sight_of(caller)
    rows = await session.execute(
        sa.select(Member.id, MemberStage.stage, Level.name, MemberOrders.orders, _spent.label("spent_fen"))
        .outerjoin(MemberStage, MemberStage.member_id == Member.id)
        .outerjoin(MemberLevel, MemberLevel.member_id == Member.id)
        .outerjoin(Level, Level.id == MemberLevel.level_id)
        .outerjoin(MemberOrders, MemberOrders.member_id == Member.id)
        .where(is_among(session, Member.id, ids))
    )
    stands = {row[0]: row for row in rows}
    names: dict[int, list[str]] = {one: [] for one in ids}
    known = await session.execute(
        sa.select(Identity.member_id, Identity.value)
        .where(is_among(session, Identity.member_id, ids), Identity.kind == IdentityKind.EXTERNAL_USERID)
        .order_by(Identity.id)
    )
    for member_id, value in known:
        names[member_id].append(seen.id(value))
    return [
        PersonOut(
            code=one.code,
            name=seen.name(one.name),
            joined_at=one.joined_at,
            source=one.source,
            stage=stands[one.id][1],
            level=stands[one.id][2],
            orders=stands[one.id][3] or 0,
            spent_fen=int(stands[one.id][4] or 0),
            external_userids=names[one.id],
        )
        for one in found
    ]


_spent = MemberOrders.paid_fen - MemberOrders.refunded_fen


def people_calls(vault: Vault | None) -> Sequence[Call]:
    """vault: opens phones for who says why."""

    async def reveal(session: AsyncSession, body: RevealIn, *, now: datetime, code: str, caller: Caller) -> PhonesOut:
        member = await members.find_by_code(session, code)
        if member is None:
            raise MemberUnknown
        if vault is None:
            raise NoPhones
        shown = await sight.reveal(
            session, vault, member.id, role=Role.MANAGER, userid=_userid(caller), because=body.because, now=now
        )
        return PhonesOut(phones=shown)

    return (
        Call(
            method="GET",
            path="/members/search",
            summary="Members, one page after the other",
            takes=MembersIn,
            gives=MembersOut,
            handle=list_members,
            scope=Scope.MEMBERS_READ,
            refuses=(BadCursor,),
            by_caller=True,
            example={"stage": "at_risk", "limit": 50},
        ),
        Call(
            method="POST",
            path="/members/{code}/phones",
            summary="A member's phone numbers in plain text; who looked and why is kept",
            takes=RevealIn,
            gives=PhonesOut,
            handle=reveal,
            scope=Scope.MEMBERS_PERSONAL,
            refuses=(MemberUnknown, NoPhones, WhyMissing),
            by_caller=True,
            example={"because": "快递打不通电话，工单 T2031"},
        ),
    )


def _userid(caller: Caller) -> str:
    return f"api:{caller.name}"[:64]
