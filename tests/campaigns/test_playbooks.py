"""Every playbook is read, may be said, is planned on a real database, and runs until its messages are sent."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from campaigns import engine, files, playbooks
from campaigns.definition import ANYBODY, Definition
from campaigns.models.campaign import Kind
from campaigns.playbooks import Playbook, PlaybookNotFound, WouldOverwrite
from campaigns.words import read as read_words
from crm import loyalty_rules, segments
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.models.member import Member
from crm.point_rules import PointRules
from tests.campaigns.fixtures import ANY_SIZE, OPEN_GATE, people
from tests.campaigns.sequence_world import Shop
from tests.factories import Make

ALL = playbooks.everything()
NAMES = {
    *("新人七天", "高价值关怀", "潜力满减", "沉睡唤醒", "生日", "孩子和宠物生日", "每周秒杀", "按标签的日常内容"),
    *("节日贺卡", "深夜福利券", "晒单返现", "共创投票", "答题打卡月", "新群七天"),
}
BEFORE_ALL = datetime(2026, 11, 26, 2, 0, tzinfo=UTC)  # of the dates in the files, so that none is past


def test_they_are_all_there() -> None:
    assert {one.name for one in ALL} == NAMES


@pytest.mark.parametrize("book", ALL, ids=lambda one: one.name)
def test_one_can_be_read_and_said(book: Playbook) -> None:
    found = files.read_folder(book.folder, read_words())
    assert found
    assert [one.mistakes for one in found if one.mistakes] == []
    assert "员工" in book.about, "it says what staff do by hand"
    assert not any(one.is_draft for one in found)


@pytest.mark.parametrize("book", ALL, ids=lambda one: one.name)
async def test_one_is_planned(sessions: Sessions, make: Make, book: Playbook) -> None:
    clock = FrozenClock(BEFORE_ALL)
    make.clock = clock
    await people(make, 2)
    async with sessions.begin() as session:
        for name in ("宝妈", "职场人"):
            await segments.save(session, name, ANYBODY, now=clock.now())
        await loyalty_rules.set_points(session, PointRules(), now=clock.now())
    async with sessions.read() as session:
        steps = await files.plan(session, book.files(), gate=OPEN_GATE, now=clock.now())
    assert [step.wrong for step in steps if step.wrong] == []
    assert len(steps) == len(book.files())


CAMPAIGNS = [
    pytest.param(one.name, one.told, id=one.name)
    for book in ALL
    for one in book.files()
    if one.kind is None and one.told.groups is None
]


@pytest.mark.parametrize(("name", "told"), CAMPAIGNS)
async def test_each_of_its_campaigns_reaches_somebody(
    sessions: Sessions, make: Make, name: str, told: Definition
) -> None:
    """Whoever it is for: here it is for anybody, on the next day that it fires, in its own words."""
    on = (
        told.on.model_copy(update={"date": None, "days_before": 0, "silent_days": 1})
        if told.on and told.on.date
        else told.on
    )
    tiers = tuple(one.model_copy(update={"audience": ANYBODY}) for one in told.tiers)
    told = told.model_copy(
        update={"audience": ANYBODY, "segment": None, "on": on, "tiers": tiers, "holdout_percent": 0}
    )
    clock = FrozenClock(BEFORE_ALL)
    make.clock = clock
    if told.kind is not Kind.STEPS:
        await people(make, 2)
    async with sessions.begin() as session:
        made = await engine.create(session, name, told, by="amy", now=clock.now())
        made = await engine.submit(session, made.id, review=ANY_SIZE, now=clock.now())
    shop = Shop(sessions, clock)
    if told.kind is not Kind.STEPS and made.next_fire_at is not None:
        if on is None:
            clock.advance(made.next_fire_at - clock.now() - timedelta(hours=2))
        await shop.live(50 if on is not None else 4)
    else:
        await shop.settle()
        contact = await make.contact()
        if told.on is not None and told.on.event == "OrderPaid":
            async with sessions.read() as session:
                member = await session.get_one(Member, contact.member_id)
            await make.order(member)
        await shop.live(11 * 24)
    read = [text for _, text in shop.read()]
    said = {message.text for part in (told, *told.tiers, *told.steps) for message in part.messages}
    assert read
    assert set(read) <= said
    if told.kind is Kind.STEPS:
        assert len(read) == len(told.steps)


def test_copying_overwrites_nothing(tmp_path: Path) -> None:
    written = playbooks.copy("生日", tmp_path)
    assert {one.name for one in written} == {"生日.md", "生日前.yaml", "生日当天.yaml"}
    assert files.read_folder(tmp_path)[0].mistakes == []
    with pytest.raises(WouldOverwrite):
        playbooks.copy("生日", tmp_path)
    with pytest.raises(PlaybookNotFound):
        playbooks.copy("没有的", tmp_path)
