"""Bad input of campaigns in the browser: the editor says what is wrong before anything is kept or sent."""

from html import unescape

import pytest
import sqlalchemy as sa

from campaigns.models.campaign import Campaign, CampaignStatus
from campaigns.models.offer import Offer
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.outbox import OutboxRow
from crm.sight import Role
from tests.bot.web.staffroom import Browser, Staffroom
from tests.campaigns.bad_input import CAUTIONED, NOBODY, REFUSED, written
from tests.campaigns.fixtures import people, scheduled
from tests.factories import Make, make

__all__ = ["make"]

PATH = "/console/campaigns"


FILE = {"name": "周末满减", "as": "file"}


async def said(browser: Browser, path: str, fields: dict[str, str]) -> str:
    return unescape(await (await browser.post(path, fields)).text())


async def test_what_cannot_be_meant_is_explained_while_one_writes_and_when_one_submits(
    staffroom: Staffroom, sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    await people(make, 2)
    manager = await staffroom.enter(Role.MANAGER)
    silent = []
    for what, (text, place, words) in REFUSED.items():
        form = {**FILE, "text": text, "then": "submit"}
        for path in (f"{PATH}/check", PATH):
            html = await said(manager, path, form)
            if words not in html or (place and path != PATH and "<strong>" not in html):
                silent.append((what, path))
    assert not silent
    async with sessions.read() as session:
        assert await session.scalar(sa.select(sa.func.count()).select_from(Campaign)) == 0
        assert await session.scalar(sa.select(sa.func.count()).select_from(OutboxRow)) == 0


async def test_what_may_not_be_meant_is_said_while_one_writes(
    staffroom: Staffroom, sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    await people(make, 2)
    await scheduled(sessions, clock, "周三秒杀", starts_at="2026-03-10T18:00:00")
    manager = await staffroom.enter(Role.MANAGER)
    silent = [what for what, (text, words) in CAUTIONED.items()
              if words not in await said(manager, f"{PATH}/check", {**FILE, "text": text})]  # fmt: skip
    assert not silent


async def test_once_to_nobody_is_refused_in_words_and_stays_a_draft(
    staffroom: Staffroom, sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    await people(make, 2)
    manager = await staffroom.enter(Role.MANAGER)
    form = {**FILE, "text": written(audience=NOBODY)}
    assert "一个人也没有" in await said(manager, PATH, {**form, "then": "submit"})
    page = (await manager.post(PATH, form)).headers["Location"]
    answer = await manager.post(f"{page}/submit")
    assert answer.status == 409 and "一个人也没有" in unescape(await answer.text())
    async with sessions.read() as session:
        assert await session.scalar(sa.select(Campaign.status)) is CampaignStatus.DRAFT


@pytest.mark.parametrize("field", ["budget_fen", "amount_fen", "stock", "threshold_fen"])
async def test_an_offer_below_zero_is_refused_beside_its_field(
    staffroom: Staffroom, sessions: Sessions, field: str
) -> None:
    manager = await staffroom.enter(Role.MANAGER)
    form = {"key": "新人礼", "title": "新人礼", "kind": "amount", "amount_fen": "20", "valid_days": "7",
            "starts_at": "2026-03-09T10:00", "claimable": "1"}  # fmt: skip
    html = await said(manager, "/console/coupons/offer", {**form, field: "-1"})
    assert "太小了" in html
    async with sessions.read() as session:
        assert await session.scalar(sa.select(sa.func.count()).select_from(Offer)) == 0
