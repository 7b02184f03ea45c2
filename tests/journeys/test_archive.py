"""What customers say in their group reaches the archive's reader in batches, and by it the people who can act."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from pydantic import SecretStr

from bot.bootstrap import running
from bot.faq import learning
from bot.faq.learning import Learning
from bot.models.archive import ArchiveCount, ArchivedLine
from bot.models.faq import FaqQuestion
from bot.settings import ArchiveSettings
from bot.simulator.simulator import Simulator
from crm.base.clock import MovableClock
from crm.base.db import Sessions, open_sessions
from crm.base.outbox import OutboxRow
from crm.models.group import Group
from tests.bot.archive.test_records import KEY
from tests.journeys.processes import crew
from tests.town import AGENT_ID, SERVICER, WORKING_TIME, Town, connect, listening, new_simulator, settings

ROOM, SECRET = "wr-archived", "bridge-secret"


def _licensed(simulator: Simulator, folder: Path) -> None:
    """A group with two customers, whose owner holds a licence for the archive; the key is in archive.pem."""
    world = simulator.world
    for name, known in (("安安", "wm-ann"), ("波波", "wm-bob")):
        world.add_customer(name, known)
        world.add_contact(SERVICER, known)
    world.add_group("猫咪福利群", SERVICER, ["wm-ann", "wm-bob"], ROOM)
    public = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "archive.pem").write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    world.archive.set_up(SECRET, public.decode(), 1, AGENT_ID, [SERVICER])


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    simulator = new_simulator(MovableClock(WORKING_TIME))
    _licensed(simulator, tmp_path)
    async with listening(simulator) as origin:
        keys = {1: tmp_path / "archive.pem"}
        chosen = ArchiveSettings(
            url=f"{origin}/archive", secret=SecretStr(SECRET), private_keys=keys, poll=timedelta(seconds=1)
        )
        run_by = settings(database_url, origin, tmp_path / "faq.csv", archive=chosen)
        async with running(run_by, clock=simulator.clock, chance=random.Random(7)) as service:
            await connect(origin, service.port)
            opened = Town(simulator, origin, service, simulator.clock)
            await until(opened, Group, Group.owner_id.is_not(None))
            yield opened


async def until(shop: Town, model: Any, *where: Any, count: int = 1) -> list[Any]:
    return await until_rows(shop.service.app.sessions, model, *where, count=count)


async def until_rows(sessions: Sessions, model: Any, *where: Any, count: int = 1) -> list[Any]:
    for _ in range(1000):
        async with sessions.read() as session:
            rows = list(await session.scalars(sa.select(model).where(*where)))
        if len(rows) >= count:
            return rows
        await asyncio.sleep(0.02)
    raise AssertionError(f"not {count} but {len(rows)} of {model.__name__} in time")


def says(shop: Town, who: str, words: str) -> None:
    shop.simulator.world.groups.say(ROOM, who, "text", {"content": words})


def told(shop: Town, userid: str) -> list[str]:
    return _told(shop.simulator, userid)


def _told(simulator: Simulator, userid: str = SERVICER) -> list[str]:
    return [str(one.payload.get("content")) for one in simulator.world.notices.of_member(userid)]


async def test_a_complaint_in_the_group_reaches_its_owner_and_the_group_hears_nothing(shop: Town) -> None:
    says(shop, "wm-ann", "我要投诉，猫粮都发霉了")
    await shop.until(lambda: told(shop, SERVICER))
    assert "安安" in told(shop, SERVICER)[0]
    assert "发霉" in told(shop, SERVICER)[0]
    group = shop.simulator.world.chats.group(ROOM)
    assert [one.sender_kind for one in group.messages if one.sender_kind == "bot"] == []
    assert not [call for call in shop.simulator.log.calls if "groupmsg" in call.path or "msg_template" in call.path]


async def test_a_question_left_alone_becomes_an_article_to_write(shop: Town) -> None:
    says(shop, "wm-bob", "斑马住在哪里呀")
    await until(shop, ArchivedLine)
    shop.simulator.advance(60)
    says(shop, SERVICER, "斑马住草原～")
    await until(shop, ArchivedLine, count=2)
    shop.simulator.advance(60)
    says(shop, "wm-ann", "大象可以喂香蕉吗")
    await until(shop, ArchivedLine, count=3)
    shop.simulator.advance(40 * 60)
    says(shop, "wm-bob", "好的")  # its notice wakes the reader
    await until(shop, FaqQuestion)
    app = shop.service.app
    await Learning(app, kept=timedelta(days=180)).round()
    async with app.sessions.read() as session:
        (wanted,) = await learning.wanted(session)
    assert (wanted.label, wanted.customers) == ("大象可以喂香蕉吗", 1)


async def test_who_disagrees_is_not_read(shop: Town) -> None:
    shop.simulator.world.archive.agree(ROOM, "wm-bob", agrees=False)
    says(shop, "wm-bob", "不要读我")
    says(shop, "wm-ann", "我是可以的")
    (line,) = await until(shop, ArchivedLine)
    assert line.text == "我是可以的"
    await until(shop, ArchiveCount, ArchiveCount.kind == "disagree")


@pytest.mark.xdist_group("kills")
async def test_killed_between_batches_it_keeps_every_line_once_and_tells_once(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chance: random.Random
) -> None:
    simulator = new_simulator()
    _licensed(simulator, tmp_path)
    commands = ["web", "worker", "worker"] if database_url.startswith("postgresql") else ["serve"]
    async with listening(simulator) as origin:
        variables = {"URL": f"{origin}/archive", "SECRET": SECRET, "POLL": "PT0.2S"}
        variables["PRIVATE_KEYS"] = json.dumps({"1": str(tmp_path / "archive.pem")})
        for name, value in variables.items():
            monkeypatch.setenv(f"SIYU_ARCHIVE__{name}", value)
        async with crew(database_url, simulator, tmp_path, commands) as running_ones:
            sessions = open_sessions(database_url)
            try:
                await until_rows(sessions, Group, Group.owner_id.is_not(None))
                for number in range(60):
                    simulator.world.groups.say(ROOM, "wm-ann", "text", {"content": f"第{number}句闲话"})
                    if number % 20 == 10:
                        who = ("wm-ann", "wm-bob", "wm-ann")[number // 20]
                        simulator.world.groups.say(ROOM, who, "text", {"content": f"我要投诉第{number}件事"})
                        simulator.advance(700)
                    await asyncio.sleep(0.03)
                    if number % 12 == 7:
                        running_ones.replace(chance)
                await until_rows(sessions, ArchivedLine, count=63)
                await until_rows(sessions, OutboxRow, OutboxRow.lane == "staff", OutboxRow.status == "sent", count=3)
                await asyncio.sleep(0.5)
                async with sessions.read() as session:
                    counted = await session.scalar(sa.select(sa.func.sum(ArchiveCount.records)))
                assert (running_ones.kills, counted) == (5, 63)
                assert len(_told(simulator)) == 3, _told(simulator)
            finally:
                await sessions.close()
