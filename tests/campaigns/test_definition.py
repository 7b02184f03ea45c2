"""Definitions: what is refused, with the place and a reason, and when a campaign fires."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from campaigns import definition
from campaigns.cron import Cron, CronWrong
from campaigns.definition import CampaignWrong
from crm.base.clock import SHANGHAI

NOW = datetime(2026, 3, 9, 2, tzinfo=UTC)  # Monday 10:00 in the shop
EVERYBODY = {"is": "lifetime", "orders": {"least": 0}}


def told(**more: Any) -> dict[str, Any]:
    return {
        "kind": "one_off",
        "audience": EVERYBODY,
        "starts_at": "2026-03-09T12:00:00",
        "messages": [{"text": "周末满减，满 199 减 30"}],
        **more,
    }


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"audience": None}, ""),
        ({"segment": "老客"}, ""),
        ({"audience": {"is": "gender", "among": ["cat"]}}, "audience.among.0"),
        ({"messages": []}, ""),
        ({"messages": [{"text": "喵" * 1400}]}, "messages.0"),
        ({"starts_at": None}, ""),
        ({"every": "0 10 * * 6"}, ""),
        ({"kind": "recurring", "every": "0 0 30 2 *", "starts_at": None}, "every"),
        ({"kind": "recurring", "every": "often", "starts_at": None}, "every"),
        ({"holdout_percent": 80}, "holdout_percent"),
        ({"channels": ["staff"]}, "channels.0"),
        ({"ends_at": "2026-03-01T00:00:00"}, ""),
        ({"misspelt": 1}, "misspelt"),
        ({"tiers": [{"name": "金", "audience": {"is": "moon"}, "messages": [{"text": "嗨"}]}]}, "tiers.0.audience"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(CampaignWrong) as refused:
        definition.read({name: value for name, value in told(**wrong).items() if value is not None})
    assert field in [one["field"] for one in refused.value.mistakes]
    assert all(one["reason"] for one in refused.value.mistakes)


def test_a_definition_survives_its_json() -> None:
    one = definition.read(told(grace="3h", holdout_percent=10, tiers=[
        {"name": "金", "audience": EVERYBODY, "messages": [{"text": "嗨"}]}
    ]))  # fmt: skip
    assert definition.read(definition.write(one)) == one
    assert one.grace == timedelta(hours=3)


def test_an_instant_without_a_zone_is_the_shops() -> None:
    one = definition.read(told())
    assert one.starts == datetime(2026, 3, 9, 12, tzinfo=SHANGHAI)


def test_a_schedule_in_the_past_is_told() -> None:
    late = definition.read(told(starts_at="2026-03-09T09:59:00"))
    assert [one["field"] for one in definition.late_schedule(late, now=NOW)] == ["starts_at"]
    assert definition.late_schedule(definition.read(told()), now=NOW) == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("0 10 * * 6", datetime(2026, 3, 14, 2, tzinfo=UTC)),
        ("0 10 * * 0", datetime(2026, 3, 15, 2, tzinfo=UTC)),
        ("0 10 * * 7", datetime(2026, 3, 15, 2, tzinfo=UTC)),
        ("30 22 * * 1-5", datetime(2026, 3, 9, 14, 30, tzinfo=UTC)),
        ("0 10 * * *", datetime(2026, 3, 10, 2, tzinfo=UTC)),  # later than now, not now
        ("0 8 29 2 *", datetime(2028, 2, 29, 0, tzinfo=UTC)),
    ],
)
def test_cron_is_the_shops_time_and_weeks_begin_on_sunday(line: str, expected: datetime) -> None:
    assert Cron(line).next(NOW) == expected


@pytest.mark.parametrize("line", ["* * * *", "0 0 30 2 *", "61 * * * *", "0 10 * * 5-2", "", "@daily"])
def test_a_line_that_means_nothing_says_why(line: str) -> None:
    with pytest.raises(CronWrong) as wrong:
        Cron(line)
    assert wrong.value.reason
