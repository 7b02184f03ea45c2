"""NPS: one answer a person, counted as its definition says, with an interval that few answers do not narrow."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from bot.privacy import EVERYTHING
from campaigns import surveys
from campaigns.definition import CampaignWrong
from campaigns.models.survey import Survey, SurveyAnswer
from campaigns.surveys import SURVEYS, Nps, ScoreWrong, SurveyAnsweredAlready, SurveyNotOpen
from crm import merges, privacy
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.models.member import Member
from tests.factories import Make


async def put(sessions: Sessions, clock: FrozenClock, **more: Any) -> Survey:
    told = SURVEYS.read("三月", {"survey": "nps", "starts_at": clock.now().isoformat(), **more})
    async with sessions.begin() as session:
        return await surveys.put(session, "三月", told, now=clock.now())


async def answer(sessions: Sessions, clock: FrozenClock, survey: Survey, member: Member, score: int) -> SurveyAnswer:
    async with sessions.begin() as session:
        return await surveys.answer(session, survey.id, member.id, score, channel="h5", now=clock.now())


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
def test_the_interval_holds_the_score_and_stays_on_the_scale(up: int, middle: int, down: int) -> None:
    found = Nps(up + middle + down, up, middle, down)
    if not found.answers:
        assert found.score is None and found.interval is None
        return
    assert found.interval is not None and found.score is not None
    low, high = found.interval
    assert -100 <= low < high <= 100
    if found.answers >= 30:
        assert low <= found.score <= high
    more = Nps(found.answers * 100, up * 100, middle * 100, down * 100).interval
    assert more is not None and more[1] - more[0] < high - low


async def test_one_answer_a_person_also_when_two_become_one(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    survey = await put(sessions, clock, ends_at=(clock.now() + timedelta(days=3)).isoformat())
    people = [await make.member() for _ in range(5)]
    for member, score in zip(people, (10, 9, 8, 6, 0), strict=True):
        await answer(sessions, clock, survey, member, score)
    with pytest.raises(SurveyAnsweredAlready):
        await answer(sessions, clock, survey, people[0], 0)
    for score in (-1, 11):
        with pytest.raises(ScoreWrong):
            await answer(sessions, clock, survey, await make.member(), score)

    async def result() -> tuple[Nps, float | None]:
        async with sessions.read() as session:
            found = await surveys.result(session, survey.id)
        return found, found.score

    assert await result() == (Nps(5, 2, 1, 2), 0)
    async with sessions.begin() as session:
        await merges.merge(session, people[0].id, people[4].id, because="manual", now=clock.now())
    assert await result() == (Nps(4, 2, 1, 1), 25)
    async with sessions.begin() as session:
        await surveys.add_comment(session, 1, people[0].id, " 很 好\n")
        assert [one.comment for one in await surveys.comments(session, survey.id)] == ["很 好"]
        await privacy.erase(session, people[0].id, EVERYTHING, by="amy", now=clock.now())
    assert (await result())[0].answers == 3
    clock.advance(days=3)
    with pytest.raises(SurveyNotOpen):
        await answer(sessions, clock, survey, await make.member(), 10)
    async with sessions.read() as session:
        assert len((await session.scalars(sa.select(SurveyAnswer.id))).all()) == 3


@pytest.mark.parametrize("wrong", [{"survey": "csat"}, {"ends_at": "2020-01-01T00:00:00"}, {"typo": 1}])
def test_what_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(CampaignWrong):
        SURVEYS.read("三月", {"survey": "nps", "starts_at": "2026-03-01T00:00:00", **wrong})
    with pytest.raises(CampaignWrong):
        SURVEYS.read("三 月", {"survey": "nps", "starts_at": "2026-03-01T00:00:00"})
