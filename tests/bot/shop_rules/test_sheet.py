"""The sheet of rules: what each text comes to, what cannot be meant, and days of the shop's own."""

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.handoff.hours import Block, WorkingHours
from bot.handoff.triggers import Reason
from bot.settings import Settings
from bot.shop_rules import sheet
from bot.shop_rules.kinds import OwnDays, Unfit, Wrong
from bot.shop_rules.sheet import RulesWrong
from campaigns.guard_rules import FrequencyCap, Gate, QuietHours
from tests import town


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return town.settings("sqlite+aiosqlite://", "http://127.0.0.1:9", tmp_path_factory.mktemp("faq") / "faq.csv")


def test_without_a_change_everything_goes_by_the_servers_settings(shop: Settings) -> None:
    held = sheet.read(shop, {})
    assert held.gate == shop.gate.policy()
    assert (held.shop.service_hours, held.handoff.enabled) == (shop.service_hours, shop.handoff.triggers)
    assert held.handoff.promises.usual == shop.handoff.policy(held.handoff.hours).promises.usual
    assert (held.review.above_members, held.review.above_fen) == (2_000, 500_000)
    assert sheet.own(shop, sheet.usual(shop)) == {}
    assert sheet.read(shop, sheet.usual(shop)).gate == held.gate


def test_every_rule_that_is_written_comes_to_what_the_house_goes_by(shop: Settings) -> None:
    held = sheet.read(
        shop,
        {
            "service_hours": "工作日 9:00–12:00、13:30–18:00\n周六 10:00–16:00",
            "triggers": "asked_for complaint",
            "first_response": "5",
            "complaint_resolution": "1.5",
            "complaint_first_response": "60",
            "asks_rating": "no",
            "quiet_from": "21:30",
            "quiet_to": "9:00",
            "per_day": "",
            "per_week": "2",
            "review_members": "10",
            "review_yuan": "99.50",
            "banned": "小样\n小样",
        },
    )
    assert len(held.handoff.hours.blocks_on(date(2026, 3, 9))) == 2
    assert held.shop.service_hours == "工作日 9:00–12:00、13:30–18:00；周六 10:00–16:00"
    assert held.handoff.enabled == {Reason.ASKED_FOR, Reason.COMPLAINT} and not held.handoff.asks_rating
    assert held.handoff.promises.usual.first_response.within == timedelta(minutes=5)
    assert held.handoff.promises.complaints.resolution.within == timedelta(minutes=90)
    assert held.gate.quiet == QuietHours(time(21, 30), time(9)) and held.gate.caps == (
        FrequencyCap(2, timedelta(days=7)),
    )
    assert (held.review.above_members, held.review.above_fen) == (10, 9_950)
    assert [one.text for one in held.words.check("送小 样")] == ["小 样"] and held.review.words is held.words


@pytest.mark.parametrize(
    ("name", "text", "wrong"),
    [
        ("first_response", "soon", Wrong.NOT_A_NUMBER),
        ("first_response", "0", Wrong.OUT_OF_RANGE),
        ("first_response", "nan", Wrong.NOT_A_NUMBER),
        ("resolution", "0.001", Wrong.OUT_OF_RANGE),
        ("capacity", "", Wrong.NOT_A_NUMBER),
        ("capacity", "999", Wrong.OUT_OF_RANGE),
        ("quiet_from", "25:00", Wrong.NOT_A_TIME),
        ("quiet_to", "", Wrong.NOT_A_TIME),
        ("quiet_to", "22:00", Wrong.SAME),
        ("per_week", "0", Wrong.ORDER),
        ("service_hours", "有空就在", Wrong.HOURS),
        ("service_hours", "", Wrong.HOURS),
        ("own_days", "明天 放假", Wrong.DAY),
        ("own_days", "2027-02-30 放假", Wrong.DAY),
        ("own_days", "2027-02-11 至 2027-02-05 放假", Wrong.DAY),
        ("own_days", "2027-02-04 18:00–9:00", Wrong.DAY),
        ("triggers", "moon", Wrong.UNKNOWN),
        ("review_yuan", "1.005", Wrong.NOT_A_NUMBER),
        ("banned", "不", Wrong.TOO_SHORT),
    ],
)
def test_what_cannot_be_meant_is_told_beside_its_rule(shop: Settings, name: str, text: str, wrong: Wrong) -> None:
    with pytest.raises(RulesWrong) as refused:
        sheet.read(shop, {name: text})
    assert {rule: one.wrong for rule, one in refused.value.by_rule.items()} == {name: wrong}


def test_every_mistake_is_told_at_once(shop: Settings) -> None:
    with pytest.raises(RulesWrong) as refused:
        sheet.read(shop, {"capacity": "x", "quiet_to": "x", "own_days": "x"})
    assert set(refused.value.by_rule) == {"capacity", "quiet_to", "own_days"}


def test_days_of_the_shop_go_before_the_countrys_calendar() -> None:
    days = OwnDays().read("2027-02-15 至 2027-02-16 放假\n2027/2/20,上班,补班\n2027年2月17日 9:00–12:00、14:00–15:00\n")
    hours = WorkingHours.read("工作日 9:00–18:00；节假日 10:00–11:00", own=days)
    assert hours.blocks_on(date(2027, 2, 15)) == hours.blocks_on(date(2027, 2, 16)) == (Block(600, 660),)
    assert hours.blocks_on(date(2027, 2, 20)) == (Block(540, 1080),)  # a Saturday
    assert hours.blocks_on(date(2027, 2, 17)) == (Block(540, 720), Block(840, 900))
    assert not hours.is_open(datetime(2027, 2, 15, 6, tzinfo=UTC))


def test_an_exception_spares_what_a_list_would_stop_at(shop: Settings) -> None:
    assert sheet.read(shop, {}).words.check("全网最低价")
    assert sheet.read(shop, {"spared": "全网最低价"}).words.check("全网最低价") == []
    assert sheet.read(shop, {"banned": "(a+)+$"}).words.check("aaaa") == []  # signs are signs, no expressions


@given(st.sampled_from(sorted(sheet.BY_NAME)), st.text(max_size=40))
@settings(max_examples=120, deadline=None)
def test_no_text_does_more_than_be_refused(name: str, text: str) -> None:
    try:
        sheet.BY_NAME[name].kind.read(text)
    except Unfit as unfit:
        assert unfit.wrong in Wrong


def test_the_gate_of_a_rule_is_a_gate(shop: Settings) -> None:
    assert isinstance(sheet.read(shop, {"needs_opt_in": "yes"}).gate, Gate)
    assert sheet.read(shop, {"needs_opt_in": "yes"}).gate.needs_opt_in
