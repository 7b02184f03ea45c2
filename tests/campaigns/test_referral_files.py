"""Referral programmes in the folder of campaigns: planned, applied, and applied again without effect."""

from pathlib import Path

import pytest

from campaigns import files, referral_programmes
from campaigns.files import Change
from campaigns.models.referral import ProgrammeStatus
from crm import loyalty_rules
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.point_rules import PointRules
from tests.campaigns.fixtures import ANY_SIZE, OPEN_GATE

PROGRAMME = """
kind: referral
name: 老带新
title: 邀请好友一起养猫
starts_at: 2026-03-01 00:00:00
inviter:
  each: {points: 500}
  steps: [{at: 3, points: 1500}]
invitee:
  back: {percent_bp: 1000, most_fen: 1000}
budget_fen: 100000
acquisition_cost_fen: 5000
"""


async def test_applied_once_changed_and_taken_out_of_draft(
    sessions: Sessions, clock: FrozenClock, tmp_path: Path
) -> None:
    async def apply(text: str) -> tuple[Change, tuple[str, ...]]:
        (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
        found = files.read_folder(tmp_path)
        assert [one.mistakes for one in found] == [[]]
        async with sessions.begin() as session:
            (step,) = await files.apply(session, found, gate=OPEN_GATE, review=ANY_SIZE, now=clock.now())
        return step.change, step.fields

    async with sessions.begin() as session:
        await loyalty_rules.set_points(session, PointRules(), now=clock.now())
    assert await apply(PROGRAMME + "draft: true") == (Change.NEW, ())
    async with sessions.read() as session:
        assert await referral_programmes.find(session, "老带新") is None
    assert await apply(PROGRAMME) == (Change.NEW, ())
    assert await apply(PROGRAMME) == (Change.SAME, ())
    assert await apply(PROGRAMME.replace("100000", "200000")) == (Change.CHANGED, ("budget_fen",))
    async with sessions.read() as session:
        one = await referral_programmes.get(session, "老带新")
    assert (one.status, one.budget_fen) == (ProgrammeStatus.RUNNING, 200_000)


async def test_a_plan_says_that_it_costs_too_much(sessions: Sessions, clock: FrozenClock, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(PROGRAMME.replace("5000", "3000"), encoding="utf-8")
    async with sessions.read() as session:
        (step,) = await files.plan(session, files.read_folder(tmp_path), gate=OPEN_GATE, now=clock.now())
    assert "拉新一位要 20 元，超过上限 15 元" in step.wrong and "没有积分规则" in step.wrong


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (PROGRAMME.replace("邀请好友一起养猫", "全网最低价"), "title"),
        (PROGRAMME.replace("each", "evry"), "inviter.evry"),
        (PROGRAMME.replace("points: 500", "points: 0"), "inviter.each.points"),
    ],
    ids=["words that are not allowed", "misspelt", "nothing"],
)
def test_a_file_that_cannot_be_meant_says_where(tmp_path: Path, text: str, place: str) -> None:
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    (one,) = files.read_folder(tmp_path)
    assert one.kind is None or one.mistakes
    assert place in [mistake["field"] for mistake in one.mistakes]
