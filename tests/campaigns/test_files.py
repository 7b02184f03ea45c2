"""Campaigns as YAML: mistakes with their place, a plan that tells what changes, and an apply that can be repeated."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from campaigns import engine, files
from campaigns.engine import WrongStatus
from campaigns.files import Change
from campaigns.models.campaign import Campaign, CampaignStatus
from crm import consents
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from tests.campaigns.fixtures import ANY_SIZE, OPEN_GATE, people
from tests.factories import Make

WEEKLY = """
name: 周末满减
kind: recurring
audience: {is: lifetime, orders: {least: 0}}
every: "0 10 * * 6"
grace: 3h
channels: [broadcast]
messages:
  - {name: A, text: 满 199 减 30, share: 2}
  - {name: B, text: 满 199 送猫条}
"""


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("kind: [", ""),
        ("- a\n- b", ""),
        ("a: &a [1]\nb: *a", ""),
        (WEEKLY + "misspelt: 1", "misspelt"),
        (WEEKLY.replace("0 10 * * 6", "0 0 30 2 *"), "every"),
        (WEEKLY.replace("3h", "soon"), "grace"),
        ("kind: !!python/object/apply:os.system [ls]", ""),
    ],
    ids=["cut off", "a list", "an alias", "misspelt", "never fires", "no duration", "code"],
)
def test_a_file_that_cannot_be_meant_says_where(tmp_path: Path, text: str, place: str) -> None:
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    (one,) = files.read_folder(tmp_path)
    assert one.told is None
    assert place in [mistake["field"] for mistake in one.mistakes]


def test_two_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yml"):
        (tmp_path / name).write_text(WEEKLY, encoding="utf-8")
    assert all(one.mistakes for one in files.read_folder(tmp_path))


async def test_applying_twice_is_applying_once(
    sessions: Sessions, make: Make, clock: FrozenClock, tmp_path: Path
) -> None:
    first, *_ = await people(make, 4)
    async with sessions.begin() as session:
        await consents.opt_out(session, first, source="test", wording_version="1", now=clock.now())
    file = tmp_path / "weekly.yaml"
    file.write_text(WEEKLY, encoding="utf-8")

    async def applied() -> Change:
        async with sessions.begin() as session:
            found = files.read_folder(tmp_path)
            (step,) = await files.apply(session, found, gate=OPEN_GATE, review=ANY_SIZE, now=clock.now())
        return step.change

    async with sessions.read() as session:
        (step,) = await files.plan(session, files.read_folder(tmp_path), gate=OPEN_GATE, now=clock.now())
    assert step.reach is not None
    assert (step.reach.selected, step.reach.reached, step.reach.refused) == (4, 3, {"gate.opted_out": 1})
    assert [await applied(), await applied()] == [Change.NEW, Change.SAME]
    file.write_text(WEEKLY.replace("减 30", "减 40"), encoding="utf-8")
    assert [await applied(), await applied()] == [Change.CHANGED, Change.SAME]
    async with sessions.read() as session:
        (campaign,) = (await session.scalars(sa.select(Campaign))).all()
    assert (campaign.status, campaign.version) == (CampaignStatus.SCHEDULED, 2)


async def test_what_is_over_is_not_changed_by_a_file(
    sessions: Sessions, make: Make, clock: FrozenClock, tmp_path: Path
) -> None:
    await people(make, 1)
    (tmp_path / "weekly.yaml").write_text(WEEKLY, encoding="utf-8")
    async with sessions.begin() as session:
        await files.apply(session, files.read_folder(tmp_path), gate=OPEN_GATE, review=ANY_SIZE, now=clock.now())
        await engine.cancel(session, (await engine.get(session, "周末满减")).id, now=clock.now())
    (tmp_path / "weekly.yaml").write_text(WEEKLY.replace("减 30", "减 40"), encoding="utf-8")
    with pytest.raises(WrongStatus):
        async with sessions.begin() as session:
            await files.apply(session, files.read_folder(tmp_path), gate=OPEN_GATE, review=ANY_SIZE, now=clock.now())
