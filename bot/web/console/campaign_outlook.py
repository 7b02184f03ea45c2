"""What a campaign would do now: whom it reaches, when it fires, what it overlaps, and what one member would read."""

from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncSession

from bot.web.language import N_
from bot.web.screens import house_of, say
from campaigns import audience, cautions, definition, messages, overlaps
from campaigns.content import FieldMissing, TemplateWrong
from campaigns.definition import Definition, Message
from campaigns.words import Finding, Words
from crm import lookup, segment_compiler
from crm.models.member import Member

SHOWN = 12  # bubbles of a phone
TESTED = 4  # that go to oneself
FIRINGS = 5


@dataclass(frozen=True, slots=True)
class Asked:
    """Which campaign it is (0: none yet), and as whom its messages are read; empty: anybody of the audience."""

    name: str = ""
    campaign_id: int = 0
    as_member: str = ""


@dataclass(frozen=True, slots=True)
class Bubble:
    """One message on the phone. pieces: its text, cut where a word should not stand. missing: why there is none."""

    title: str
    text: str = ""
    missing: str = ""
    pieces: tuple[tuple[str, Finding | None], ...] = ()
    link: definition.Link | None = None


async def look(request: web.Request, session: AsyncSession, told: Definition, asked: Asked) -> dict[str, Any]:
    """What the page shows of it."""
    house = house_of(request)
    now: datetime = house.app.clock.now()
    reach = await audience.preview(session, told, campaign_id=asked.campaign_id, gate=house.app.gate, now=now)
    close = await overlaps.find(session, told, name=asked.name, now=now)
    careful = await cautions.find(session, told, gate=house.app.gate, now=now)
    member, bubbles = await read(request, session, told, asked.as_member, most=SHOWN)
    return {
        "reach": reach, "close": close, "cautions": careful, "bubbles": bubbles, "member": member,
        "more": len(_said(told)) - SHOWN, "firings": list(islice(definition.firings(told, after=now), FIRINGS)),
    }  # fmt: skip


async def read(
    request: web.Request, session: AsyncSession, told: Definition, as_member: str, *, most: int
) -> tuple[Member | None, list[Bubble]]:
    """Its first messages as this member reads them, or anybody of its audience."""
    app = house_of(request).app
    member = await _as_whom(request, session, told, as_member)
    said = _said(told)[:most]
    return member, [
        await _bubble(request, session, title, one, member, app.words, app.clock.now()) for title, one in said
    ]


def _said(told: Definition) -> list[tuple[str, Message]]:
    found = [(one.name, one) for one in told.messages]
    found += [(f"{tier.name} · {one.name}", one) for tier in told.tiers for one in tier.messages]
    for step in told.steps:
        found += [(f"{step.name} · {one.name}", one) for one in step.messages]
        found += [(f"{step.name} · {tier.name} · {one.name}", one) for tier in step.tiers for one in tier.messages]
    return found


async def _bubble(
    request: web.Request, session: AsyncSession, title: str, one: Message, member: Member | None, words: Words,
    now: datetime,
) -> Bubble:  # fmt: skip
    try:
        filled = (await messages.fill(session, {member.id: one}, now=now))[member.id] if member else one
    except TemplateWrong:
        filled = one
    if isinstance(filled, FieldMissing):
        lacks = "、".join(filled.names)
        return Bubble(title, missing=say(request, N_("这位会员没有“%(lacks)s”，不会发给他。"), lacks=lacks))
    if not isinstance(filled, Message):
        return Bubble(title, missing=say(request, N_("对这位会员来说太长了，不会发给他。")))
    return Bubble(title, filled.text, "", _cut(filled.text, words), filled.link)


def _cut(text: str, words: Words) -> tuple[tuple[str, Finding | None], ...]:
    pieces: list[tuple[str, Finding | None]] = []
    at = 0
    for one in words.check(text):
        pieces += [(text[at : one.start], None), (text[one.start : one.end], one)]
        at = one.end
    return (*((piece, found) for piece, found in pieces if piece), (text[at:], None))


async def _as_whom(request: web.Request, session: AsyncSession, told: Definition, typed: str) -> Member | None:
    """The member who was named, or anybody of the audience."""
    if typed:
        named = await lookup.find(session, typed, house_of(request).vault)
        return await session.get(Member, named.id) if named is not None else None
    if told.groups is not None:
        return None
    whole = await audience.look_up(session, told)
    some = segment_compiler.member_ids(whole.condition, now=house_of(request).app.clock.now()).limit(1)
    member_id = await session.scalar(some)
    return await session.get(Member, member_id) if member_id is not None else None
