"""Bad input of campaigns as files: an explanation with its place, by validate, plan and apply, and nothing is kept."""

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
import yaml

from campaigns import files
from campaigns.engine import NobodySelected
from campaigns.files import Step
from campaigns.guard_rules import Gate
from campaigns.models.campaign import Campaign
from campaigns.models.offer import Offer
from crm.base.clock import FrozenClock, is_skipped
from crm.base.db import Sessions
from crm.base.errors import ShopError
from tests.campaigns.bad_input import CAUTIONED, NOBODY, REFUSED, written
from tests.campaigns.fixtures import ANY_SIZE, people, scheduled
from tests.factories import Make


def say(folder: Path, text: str) -> list[files.File]:
    (folder / "活动.yaml").write_text(text, encoding="utf-8")
    return files.read_folder(folder)


async def planned(sessions: Sessions, clock: FrozenClock, found: list[files.File]) -> Step:
    async with sessions.read() as session:
        (step,) = await files.plan(session, found, gate=Gate(), now=clock.now())
    return step


async def count(sessions: Sessions, table: type[Campaign] | type[Offer] = Campaign) -> int:
    async with sessions.read() as session:
        return await session.scalar(sa.select(sa.func.count()).select_from(table)) or 0


@pytest.mark.parametrize(("text", "place", "words"), REFUSED.values(), ids=REFUSED)
async def test_what_cannot_be_meant_is_explained_and_not_kept(
    sessions: Sessions, make: Make, clock: FrozenClock, tmp_path: Path, text: str, place: str, words: str
) -> None:
    await people(make, 2)
    (one,) = found = say(tmp_path, text)
    if one.told is None:
        assert [(place, True)] == [(wrong["field"], words in wrong["reason"]) for wrong in one.mistakes][:1]
        return
    step = await planned(sessions, clock, found)
    assert step.wrong.startswith(place) and words in step.wrong
    with pytest.raises(ShopError):
        async with sessions.begin() as session:
            await files.apply(session, found, gate=Gate(), review=ANY_SIZE, now=clock.now())
    assert await count(sessions) == 0


@pytest.mark.parametrize(("text", "words"), CAUTIONED.values(), ids=CAUTIONED)
async def test_what_may_not_be_meant_is_said_by_the_plan(
    sessions: Sessions, make: Make, clock: FrozenClock, tmp_path: Path, text: str, words: str
) -> None:
    await people(make, 2)
    await scheduled(sessions, clock, "周三秒杀", starts_at="2026-03-10T18:00:00")
    step = await planned(sessions, clock, say(tmp_path, text))
    assert not step.wrong and step.reach is not None
    odd = {"nobody": "一个人也没有", "everybody": "选中了全部会员", "": ""}[step.reach.oddity]
    assert words in "\n".join((odd, *step.cautions, *(f"与『{one.name}』" for one in step.overlaps)))


async def test_once_to_nobody_is_refused_and_nothing_of_the_folder_is_kept(
    sessions: Sessions, make: Make, clock: FrozenClock, tmp_path: Path
) -> None:
    await people(make, 2)
    (tmp_path / "a.yaml").write_text(written(name="好的"), encoding="utf-8")
    (tmp_path / "b.yaml").write_text(written(name="没人的", audience=NOBODY), encoding="utf-8")
    with pytest.raises(NobodySelected):
        async with sessions.begin() as session:
            found = files.read_folder(tmp_path)
            await files.apply(session, found, gate=Gate(), review=ANY_SIZE, now=clock.now())
    assert await count(sessions) == 0


OFFER = {"name": "新人礼", "offer": "amount", "amount_fen": 2000, "starts_at": "2026-03-01", "valid_days": 7,
         "claimable": True}  # fmt: skip


@pytest.mark.parametrize(
    ("more", "place", "words"),
    [
        ({"budget_fen": -1}, "budget_fen", "要不小于 0"),
        ({"stock": -5}, "stock", "要不小于 0"),
        ({"amount_fen": 0}, "", "amount 要写 amount_fen"),
        ({"threshold_fen": 500}, "", "减的比门槛还多"),
        ({"valid_days": None}, "", "券要有个到期的时候"),
        ({"ends_at": "2026-02-01"}, "", "ends_at 不在 starts_at 之后"),
        ({"offer": "cash"}, "offer", "只能是 amount、percent、gift、shipping"),
        ({"title": "全网最低价"}, "title", "不能用"),
    ],
    ids=lambda one: next(iter(one)) if isinstance(one, dict) else None,
)
def test_an_offer_that_cannot_be_meant_says_where(
    tmp_path: Path, more: dict[str, object], place: str, words: str
) -> None:
    told = {name: value for name, value in {**OFFER, **more}.items() if value is not None}
    (one,) = say(tmp_path, yaml.safe_dump(told, allow_unicode=True))
    assert [(wrong["field"], words in wrong["reason"]) for wrong in one.mistakes] == [(place, True)]


async def test_an_offer_comes_with_the_campaign_that_promises_it_and_its_terms_stay(
    sessions: Sessions, make: Make, clock: FrozenClock, tmp_path: Path
) -> None:
    await people(make, 2)
    (tmp_path / "礼.yaml").write_text(yaml.safe_dump(OFFER, allow_unicode=True), encoding="utf-8")
    found = say(tmp_path, written(messages=[{"text": "回复「领券 新人礼」"}]))

    async def applied() -> list[str]:
        async with sessions.begin() as session:
            steps = await files.apply(session, found, gate=Gate(), review=ANY_SIZE, now=clock.now())
        return [f"{step.change} {step.name} {step.cautions}" for step in steps]

    assert await applied() == ["new 周末满减 ()", "new 新人礼 ()"]
    assert await applied() == ["same 周末满减 ()", "same 新人礼 ()"]
    async with sessions.begin() as session:
        await session.execute(sa.update(Offer).values(issued=3))
    (tmp_path / "礼.yaml").write_text(
        yaml.safe_dump({**OFFER, "amount_fen": 3000, "stock": 2}, allow_unicode=True), encoding="utf-8"
    )
    async with sessions.read() as session:
        steps = await files.plan(session, files.read_folder(tmp_path), gate=Gate(), now=clock.now())
    assert "amount_fen：已经发出过券" in steps[-1].wrong and "stock：" in steps[-1].wrong


def test_an_hour_is_skipped_where_the_clocks_are_set_forward() -> None:
    berlin, wall = ZoneInfo("Europe/Berlin"), datetime.fromisoformat
    assert is_skipped(wall("2026-03-29T02:30"), berlin)
    assert not is_skipped(wall("2026-03-29T03:30"), berlin)
    assert not is_skipped(wall("2026-10-25T02:30"), berlin), "it comes twice"
    assert not is_skipped(wall("2026-03-29T02:30"))
