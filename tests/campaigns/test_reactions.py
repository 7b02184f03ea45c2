"""Reactions: once with their cursor, in order, and a bad one does not block the rest for ever."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.reactions import TRIES, Reactions, Reader, reactions
from crm import consents, identities
from crm.base import events, outbox
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.events import EventFailure
from crm.base.outbox import MarketingMessage, Message, OutboxRow, Status
from crm.base.peers import Peers
from crm.models.member import MemberSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Rang:
    n: int


def reader(sessions: Sessions, clock: FrozenClock, table: Reactions) -> Reader:
    return Reader(sessions, Peers(sessions, chance=random.Random(7)), clock, cursor="test", table=table.table)


async def ring(sessions: Sessions, clock: FrozenClock, *numbers: int) -> None:
    async with sessions.begin() as session:
        await events.append_all(session, [Rang(n=n) for n in numbers], now=clock.now())


async def test_each_event_is_reacted_to_once_in_order(sessions: Sessions, clock: FrozenClock) -> None:
    heard: list[int] = []
    table = Reactions()

    @table.to(Rang)
    async def hear(session: AsyncSession, event: Rang, *, now: datetime) -> None:
        heard.append(event.n)

    await ring(sessions, clock, 1, 2, 3)
    assert await reader(sessions, clock, table).round() == (3, False)
    assert await reader(sessions, clock, table).round() == (0, False)
    assert heard == [1, 2, 3]


async def test_a_bad_event_is_tried_again_then_left_out_and_kept(sessions: Sessions, clock: FrozenClock) -> None:
    heard: list[int] = []
    table = Reactions()

    @table.to(Rang)
    async def hear(session: AsyncSession, event: Rang, *, now: datetime) -> None:
        if event.n == 2:
            raise ValueError("cannot hear two")
        heard.append(event.n)

    await ring(sessions, clock, 1, 2, 3)
    rounds = [await reader(sessions, clock, table).round() for _ in range(TRIES)]
    assert rounds == [(1, True), *[(0, True)] * (TRIES - 2), (2, False)]
    assert heard == [1, 3]
    async with sessions.read() as session:
        kept = (await session.scalars(sa.select(EventFailure))).one()
    assert (kept.tries, kept.error) == (TRIES, "ValueError: cannot hear two")


@pytest.mark.parametrize(
    ("kind", "ends"), [(partial(MarketingMessage, gate_ref="offer"), Status.CANCELLED), (Message, Status.WAITING)]
)
async def test_opting_out_takes_back_marketing_that_waits_and_nothing_else(
    sessions: Sessions, clock: FrozenClock, kind: Callable[..., Message], ends: Status
) -> None:
    async with sessions.begin() as session:
        person = identities.wechat_person("wm1")
        member = await identities.enrol(session, person, source=MemberSource.KF, now=clock.now())
        offer = kind(lane="kf", dedupe_key="offer", body={}, member_id=member.id)
        await outbox.put(session, [offer], now=clock.now())
        await consents.opt_out(session, member.id, source="test", wording_version="1", now=clock.now())
    await reader(sessions, clock, reactions).round()
    async with sessions.read() as session:
        assert (await session.scalars(sa.select(OutboxRow.status))).one() is ends
