"""Several quick lines of one customer, over HTTP through the simulator: one question, one answer, no command lost."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.dialogue import state
from bot.models.conversation import Conversation
from bot.models.faq import FaqQuestion
from tests.town import Town, town

SHIP = "【发货】付款后 48 小时内发出。"


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with town(database_url, tmp_path, line_gap=timedelta(seconds=3)) as opened:
        yield opened


@pytest.fixture
async def patient(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    """A shop that waits longer for the next line than any test: what comes now was not put off."""
    async with town(database_url, tmp_path, line_gap=timedelta(minutes=2)) as opened:
        yield opened


async def questions(shop: Town) -> list[FaqQuestion]:
    async with shop.service.app.sessions.read() as session:
        return list(await session.scalars(sa.select(FaqQuestion).order_by(FaqQuestion.id)))


async def misses(shop: Town) -> int:
    async with shop.service.app.sessions.read() as session:
        conversation = (await session.scalars(sa.select(Conversation))).one()
    return state.misses_in_a_row(conversation, now=shop.clock.now())


async def test_a_question_in_two_lines_gets_its_one_answer(patient: Town) -> None:
    customer = patient.customer()
    patient.says(customer, "多久")
    await patient.quiet(0.5)
    patient.says(customer, "发货")
    await patient.until(lambda: patient.heard(customer))
    await patient.quiet()
    assert patient.heard(customer) == [SHIP]
    assert [(one.text, one.decision) for one in await questions(patient)] == [("多久 发货", "answer")]
    assert await misses(patient) == 0


async def test_an_answer_is_never_put_off(patient: Town) -> None:
    customer = patient.customer()
    patient.says(customer, "多久发货")
    await patient.until(lambda: patient.heard(customer))


async def test_lines_that_mean_nothing_together_are_one_miss(shop: Town) -> None:
    customer = shop.customer()
    for line in ("昨天路过", "那个红色的", "嗯挺好看"):
        shop.says(customer, line)
    await shop.until(lambda: shop.heard(customer))
    await shop.quiet(3.5)
    assert len(shop.heard(customer)) == 1
    assert await misses(shop) == 1
    assert [one.decision for one in await questions(shop)] == ["miss"]


async def test_a_command_among_the_lines_is_heard(shop: Town) -> None:
    customer = shop.customer()
    shop.says(customer, "那个红色的")
    await shop.quiet(0.3)
    shop.says(customer, "退订")
    await shop.until(lambda: any("关闭活动和优惠推送" in words for words in shop.heard(customer)))
    await shop.quiet(0.5)
    everything = "\n".join(shop.heard(customer))
    assert everything.count("关闭活动和优惠推送") == 1
    assert everything.count("还没学会") == 1, "the line before it was a question too"


async def test_whoever_asks_for_a_person_gets_one_at_once(patient: Town) -> None:
    customer = patient.customer()
    patient.says(customer, "那个红色的")
    await patient.quiet(0.3)
    patient.says(customer, "人工")
    await patient.until(lambda: any("人工" in words for words in patient.heard(customer)))
    assert not any("还没学会" in words for words in patient.heard(customer))


async def test_slow_lines_are_questions_of_their_own(shop: Town) -> None:
    customer = shop.customer()
    shop.says(customer, "那个红色的")
    await shop.until(lambda: len(shop.heard(customer)) == 1)
    shop.says(customer, "多久发货")
    await shop.until(lambda: len(shop.heard(customer)) == 2)
    assert shop.heard(customer)[1] == SHIP
    assert [one.decision for one in await questions(shop)] == ["miss", "answer"]
