"""A month of campaigns: its figures are those of the rows, suggestions follow their rules, files say the same."""

import io
from datetime import UTC, date, datetime, timedelta

import pytest
from openpyxl import load_workbook

from bot import month_words
from campaigns import attribution, month_reports, month_rules
from campaigns.attribution import Credit, Outcome
from campaigns.experiments import Arm, difference, revenue_difference
from campaigns.models.campaign import Delivery, DeliveryStatus, Run, RunStatus
from campaigns.month_rules import CampaignMonth, HourOfDay
from crm import consents
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.models.member import Member
from tests.campaigns.fixtures import people, scheduled
from tests.factories import Make

NOBODY = Arm("对照组", 0, 0, 0, 0.0)


def outcome(*arms: Arm, holdout: Arm = NOBODY, cost_fen: int = 0, winner: str | None = None) -> Outcome:
    told = Outcome(arms, holdout, Credit(), cost_fen, None, None, winner)
    lift = difference(told.reached, holdout) if holdout.members else None
    return Outcome(arms, holdout, Credit(), cost_fen, lift, revenue_difference(told.reached, holdout), winner)


def month(told: Outcome, *, sent: int = 0, failed: int = 0, **reasons: int) -> CampaignMonth:
    return CampaignMonth(1, "周末满减", 1, 200, {"sent": sent, "failed": failed}, reasons, told)


GOOD, FEW, NONE = Arm("A", 400, 120, 400_000, 1e9), Arm("B", 400, 40, 100_000, 1e9), Arm("对照组", 400, 40, 9_000, 1e8)
CASES = {
    "nothing to say": (month(outcome(GOOD, holdout=NONE)), []),
    "no holdout": (month(outcome(GOOD), sent=200), ["no_holdout"]),
    "few are no reason": (month(outcome(Arm("A", 9, 0, 0, 0.0)), sent=49, failed=49), []),
    "no difference": (month(outcome(FEW, holdout=NONE)), ["no_effect"]),
    "less than without": (month(outcome(Arm("A", 400, 2, 9, 9.0), holdout=NONE)), ["does_harm"]),
    "costs more than it brings": (month(outcome(GOOD, holdout=NONE, cost_fen=10**9)), ["loses_money"]),
    "one text wins": (month(outcome(GOOD, FEW, holdout=NONE, winner="A")), ["winner"]),
    "staff do not confirm": (month(outcome(GOOD, holdout=NONE), sent=70, failed=30, not_confirmed=30), ["unconfirmed"]),
    "many are capped": (month(outcome(GOOD, holdout=NONE), **{"gate.frequency": 41}), ["capped"]),
    "many do not arrive": (month(outcome(GOOD, holdout=NONE), sent=85, failed=15), ["failed"]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_rule_speaks_when_its_figures_say_so_and_has_words(case: str) -> None:
    told, expected = CASES[case]
    found = month_rules.suggestions([told], [], 0)
    assert [one.code for one in found] == expected
    assert all("周末满减" in month_words.sentence(one) for one in found)


def test_the_best_hour_stands_apart_from_all_others_or_there_is_none() -> None:
    hours = [HourOfDay(9, 1_000, 20), HourOfDay(20, 1_000, 90), HourOfDay(3, 5, 5)]
    best = month_rules.best_hour(hours)
    assert best is not None and best.hour == 20
    assert month_rules.best_hour([HourOfDay(9, 1_000, 80), HourOfDay(20, 1_000, 90)]) is None
    assert month_rules.best_hour([HourOfDay(20, 1_000, 90)]) is None and month_rules.best_hour([]) is None
    (said,) = month_rules.suggestions([], hours, 0)
    assert month_words.sentence(said).startswith("20 点送到的")
    (out,) = month_rules.suggestions([month(outcome(GOOD, holdout=NONE), sent=1_000)], [], 6)
    assert "6 人退订" in month_words.sentence(out)


async def test_a_month_has_the_runs_that_were_due_in_it_and_nothing_else(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    ids = await people(make, 6)
    campaign = await scheduled(sessions, clock, holdout_percent=10, cost_fen=1_000)
    due = datetime(2026, 2, 28, 16, tzinfo=UTC)  # the first instant of March in the shop
    async with sessions.begin() as session:
        for number, at in enumerate((due - timedelta(seconds=1), due, datetime(2026, 3, 31, 16, tzinfo=UTC)), 1):
            session.add(
                Run(
                    id=number, campaign_id=campaign.id, occurrence=f"{number}", status=RunStatus.FINISHED,
                    definition=campaign.definition, due_at=at, ticked_at=at, finished_at=at,
                )
            )  # fmt: skip
        sent_at = due + timedelta(hours=12)  # noon
        for one in ids[:3]:
            got = {"status": DeliveryStatus.SENT, "sent_at": sent_at}
            session.add(Delivery(run_id=2, member_id=one, variant=0, **got))
        session.add(
            Delivery(run_id=2, member_id=ids[3], variant=0, status=DeliveryStatus.SKIPPED, reason="gate.opted_out")
        )
        session.add(Delivery(run_id=2, member_id=ids[4], variant=0, status=DeliveryStatus.HOLDOUT))
        session.add(Delivery(run_id=1, member_id=ids[5], variant=0, status=DeliveryStatus.SENT, sent_at=due))
    async with sessions.read() as session:
        buyer = await session.get_one(Member, ids[0])
    await make.order(buyer, days_ago=3)
    async with sessions.begin() as session:
        assert await attribution.credit_recent(session, now=clock.now() - timedelta(days=1)) == 1
        await consents.opt_out(session, ids[3], source="chat", wording_version="1", now=due + timedelta(days=3))
    async with sessions.read() as session:
        found = await month_reports.summary(session, date(2026, 3, 1))
        empty = await month_reports.summary(session, date(2025, 1, 1))
    (one,) = found.campaigns
    assert (one.runs, one.planned, one.sent, found.people_reached, found.opted_out) == (1, 5, 3, 3, 1)
    assert found.reasons == {"gate.opted_out": 1} and found.cost_fen == 1_000
    assert [(hour.hour, hour.sent, hour.converted) for hour in found.hours] == [(12, 3, 1)]
    assert (one.outcome.credit.orders, found.revenue_fen) == (1, 8_800)
    said = month_words.as_markdown(found)
    assert "| 周末满减 | 1 | 5 | 3 |" in said and "会员退订了" in said and "| 12 点 | 3 |" in said
    book = load_workbook(io.BytesIO(month_words.as_workbook(found)))
    assert book.sheetnames == [sheet.title for sheet in month_words.sheets(found)]
    assert [row[0].value for row in book["活动"].iter_rows()] == ["活动", "周末满减"]
    assert "这个月没有活动" in month_words.as_markdown(empty) and not empty.suggestions
