"""Definitions of community tasks: everything that is wrong with one is said, with its place."""

from typing import Any

import pytest

from campaigns.definition import CampaignWrong
from campaigns.tasks import definition
from tests.campaigns.test_tasks import QUIZ, VOTE


@pytest.mark.parametrize(
    ("told", "field"),
    [
        ({"task": "poll"}, ""),
        ({**VOTE, "options": ["一样", "一样"]}, ""),
        ({**VOTE, "options": ["只有一个"]}, "options"),
        ({**VOTE, "typo": 1}, "typo"),
        ({**VOTE, "reward": {"points": 5}}, ""),
        ({**QUIZ, "budget_points": None}, ""),
        ({**QUIZ, "pass_at": 3}, ""),
        ({**QUIZ, "questions": [{"ask": "?", "options": ["a", "b"], "answer": 3}]}, "questions.0"),
        ({**QUIZ, "ends_at": "2020-01-01T00:00:00"}, ""),
        ({"task": "monthly", "title": "x", "goals": [{"orders": 1, "votes": 1}]}, "goals.0"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_says_where(told: dict[str, Any], field: str) -> None:
    with pytest.raises(CampaignWrong) as refused:
        definition.read({"title": "x", "starts_at": "2026-03-01T00:00:00", **told})
    mistake, *_ = refused.value.mistakes
    assert mistake["field"] == field
    assert mistake["reason"]
