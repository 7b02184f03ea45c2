"""The weekly digest: on Monday morning, once, in words and with a picture the robot takes."""

import base64
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from pydantic import SecretStr

from bot.digest import Digest, draw
from crm.base.clock import MovableClock
from tests.town import Town, new_simulator, town

KEY = "robot-key-for-tests"
MONDAY = datetime(2026, 3, 9, 0, 59, tzinfo=UTC)  # 08:59 in the shop


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    simulator = new_simulator(MovableClock(MONDAY))
    simulator.world.webhooks.add("店长群", KEY)
    async with town(database_url, tmp_path, simulator=simulator, digest_robot=SecretStr(KEY)) as opened:
        yield opened


async def test_it_comes_on_monday_at_nine_once_and_can_be_opened(shop: Town) -> None:
    posts = shop.simulator.world.webhooks.robots[KEY].posts
    app = shop.service.app
    assert not await Digest(app, hour=9).round() and posts == []
    shop.simulator.advance(120)
    loops = [Digest(app, hour=9), Digest(app, hour=9)]  # two workers
    assert [await one.round() for one in loops].count(True) <= 1  # the service's own loop may have been first
    await shop.until(lambda: len(posts) == 2)
    words, picture = posts[0]["markdown"]["content"], posts[1]["image"]
    assert words.startswith("**上周小结 03-02 – 03-08**") and "净额" in words
    png = base64.b64decode(picture["base64"])
    assert hashlib.md5(png).hexdigest() == picture["md5"] and Image.open(BytesIO(png)).size == (900, 420)
    assert not await loops[0].round()


async def test_who_was_down_for_days_does_not_tell_an_old_week(shop: Town) -> None:
    shop.simulator.advance(3 * 86_400)
    assert not await Digest(shop.service.app, hour=9).round()


def test_a_week_without_a_sale_has_a_picture_too() -> None:
    days = [(date(2026, 3, 2) + timedelta(days=n), 0) for n in range(7)]
    assert Image.open(BytesIO(draw(days, "没有订单"))).format == "PNG"
