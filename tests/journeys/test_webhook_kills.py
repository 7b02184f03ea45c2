"""Killed hard while it tells another system: every event is heard, each body is always the same, nothing is left."""

import asyncio
import random
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.models.webhook import DeliveryState, WebhookDelivery
from bot.webhooks import endpoints, signing
from crm import identities
from crm.base.clock import SystemClock
from crm.base.db import Sessions
from crm.base.events import EventRow
from crm.base.secrets import Vault
from crm.identities import wechat_person
from crm.models.member import MemberSource
from tests.bot.webhooks.ear import Ear, listening_ear
from tests.journeys.processes import Crew, crew
from tests.town import listening, new_simulator

DATA_KEY = "a" * 43 + "="
MEMBERS, KILLS = 150, 5


async def enrol(sessions: Sessions, number: int) -> None:
    person = wechat_person(f"wm-told-{number}")
    async with sessions.begin() as session:
        await identities.enrol(session, person, source=MemberSource.KF, now=SystemClock().now())


async def until_settled(sessions: Sessions, opened: Crew) -> None:
    """Wait; what a dead process had in hand does not have to wait for the end of its lease."""
    end = asyncio.get_running_loop().time() + 60
    while True:
        async with sessions.begin() as session:
            states = list(await session.scalars(sa.select(WebhookDelivery.state)))
            if len(states) == MEMBERS and set(states) == {DeliveryState.DELIVERED}:
                return
            waiting = WebhookDelivery.state == DeliveryState.WAITING
            await session.execute(sa.update(WebhookDelivery).where(waiting).values(due_at=SystemClock().now()))
        assert asyncio.get_running_loop().time() < end, f"{len(states)} {set(states)}\n{opened.said()}"
        await asyncio.sleep(0.5)


async def test_kills_at_any_moment_lose_no_event(
    database_url: str, sessions: Sessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIYU_DATA_KEY", DATA_KEY)
    monkeypatch.setenv("SIYU_WEBHOOKS__PRIVATE", "true")
    simulator, chance, vault = new_simulator(), random.Random(5), Vault(DATA_KEY)
    async with listening_ear() as ear, listening(simulator):
        ear.answers = [200, 500, 200, 503]
        now = SystemClock().now()
        async with sessions.begin() as session:
            made = await endpoints.add(
                session, vault, "erp", ear.url, ["MemberEnrolled"], private=True, by="boss", now=now, chance=chance
            )
        processes = ["web", "worker", "worker"] if sessions.dialect == "postgresql" else ["serve"]
        async with crew(database_url, simulator, tmp_path, processes) as opened:
            for number in range(MEMBERS):
                await enrol(sessions, number)
                if number % (MEMBERS // KILLS) == MEMBERS // KILLS - 1:
                    await asyncio.sleep(chance.random() * 0.6)
                    opened.replace(chance)
            await until_settled(sessions, opened)
            assert opened.kills == KILLS
        await heard_all(sessions, ear, made.secret)


async def heard_all(sessions: Sessions, ear: Ear, secret: str) -> None:
    async with sessions.read() as session:
        happened = set(await session.scalars(sa.select(EventRow.id).where(EventRow.name == "MemberEnrolled")))
    assert set(ear.ids) == happened and len(happened) == MEMBERS
    bodies = {}
    for number, raw, headers in zip(ear.ids, ear.bodies, ear.headers, strict=True):
        assert bodies.setdefault(number, raw) == raw
        at = int(headers["Siyu-Signature"].split(",")[0].removeprefix("t="))
        assert signing.is_ours(secret, raw, headers["Siyu-Signature"], now=at)
