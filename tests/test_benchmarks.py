"""The benchmarks run and say what scripts rely on; how fast this machine is, is not a matter for tests."""

import json
from typing import Any

import pytest

from benchmarks import (
    callbacks,
    campaigns,
    crm_card,
    crm_segments,
    flashsale,
    flashsale_http,
    growth,
    memory,
    pages,
    roundtrip,
)
from benchmarks.report import Report, Row, percentile, show

ONE = ("SQLite",)


def read(report: Report, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The report as a script reads it."""
    capsys.readouterr()
    show(report, as_json=True)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert set(found) == {"benchmark", "machine", "rows"}
    for row in found["rows"]:
        assert set(row) == {"what", "unit", "ours", "limit", "ratio", "peers"}
        assert row["ours"] > 0
        assert row["limit"] > 0
        assert row["ratio"] == pytest.approx(row["ours"] / row["limit"], rel=0.01)
    return found


def test_callbacks_are_counted_against_a_server_that_forgets_them(capsys: pytest.CaptureFixture[str]) -> None:
    size = callbacks.Size(connections=(4,), rounds=1, callbacks=200, databases=ONE)
    found = read(callbacks.measure(True, size), capsys)
    assert found["benchmark"] == "callbacks"
    assert [row["unit"] for row in found["rows"]] == ["1/s", "ms", "ms", "µs"]


def test_a_round_trip_ends_on_the_phone(capsys: pytest.CaptureFixture[str]) -> None:
    size = roundtrip.Size(rounds=1, alone=2, rates=(10,), seconds=1, backlog=120, databases=ONE)
    found = read(roundtrip.measure(True, size), capsys)
    assert {row["unit"] for row in found["rows"]} == {"ms", "messages/s"}


def test_memory_is_read_again_and_again_while_messages_come(capsys: pytest.CaptureFixture[str]) -> None:
    found = read(memory.measure(True, memory.Size(messages=40, every=20, crowd=20, databases=ONE)), capsys)
    assert [row["what"] for row in found["rows"]] == [
        "SQLite, at rest",
        "SQLite, after 20 messages",
        "SQLite, after 40 messages",
    ]


def test_cards_are_read_beside_their_own_statements(capsys: pytest.CaptureFixture[str]) -> None:
    found = read(Report("card", crm_card.measure(True, crm_segments.Size(200, 400, 10))), capsys)
    assert [row["unit"] for row in found["rows"]] == ["ms", "ms"]


def test_the_staffs_pages_are_timed_beside_an_empty_answer(capsys: pytest.CaptureFixture[str]) -> None:
    found = read(pages.measure(True, crm_segments.Size(200, 400, 2)), capsys)
    assert any(row["what"].startswith("/console/members/77") for row in found["rows"])


def test_a_campaign_is_planned_judged_and_put_on_its_way(capsys: pytest.CaptureFixture[str]) -> None:
    found = read(campaigns.measure(True, campaigns.Size(members=500, rounds=1, databases=ONE)), capsys)
    assert {row["unit"] for row in found["rows"]} == {"rows/s", "deliveries/s", "coupons/s"}


def test_claims_are_counted_beside_raw_batches_and_other_ways(capsys: pytest.CaptureFixture[str]) -> None:
    size = flashsale.Size(rounds=1, claims=200, alone=20, refusals=50, clients=20, databases=ONE)
    found = read(flashsale.measure(True, size), capsys)
    ours = [row for row in found["rows"] if not row["what"].startswith("Redis")]  # measured where it is installed
    assert [row["unit"] for row in ours] == ["1/s", "ms", "ms", "1/s", "ms"]
    assert set(found["rows"][0]["peers"]) == {"conditional UPDATE, one claim each"}


def test_a_day_of_subscriptions_and_the_habits_of_a_shop(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("polars", reason="what habits are measured beside")
    found = read(growth.measure(True, growth.Size(600, 50, 4_000, databases=ONE)), capsys)
    assert [row["unit"] for row in found["rows"]] == ["s"] * 5 + ["order lines/s"] * 2


def test_the_machine_is_described_without_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    found = read(Report("nothing", [Row("one", "ms", 1.0, 2.0)]), capsys)
    assert set(found["machine"]) == {"system", "cpu", "cores", "memory_gb", "python", "load_1min"}


@pytest.mark.parametrize(("percent", "expected"), [(0, 1), (50, 2), (75, 3), (99, 4), (100, 4)])
def test_a_percentile_is_one_of_the_values(percent: float, expected: float) -> None:
    assert percentile([4, 1, 3, 2], percent) == expected


def test_a_percentile_of_nothing_is_nothing() -> None:
    assert percentile([], 50) == 0


def test_claims_over_http_beside_the_same_pages_that_keep_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    size = flashsale_http.Size(rounds=1, claims=60, refusals=80, connections=8, databases=ONE)
    found = read(flashsale_http.measure(True, size), capsys)
    assert [row["unit"] for row in found["rows"]] == ["1/s", "ms"] * 2
