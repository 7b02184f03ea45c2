"""Variants and holdout are stable and even; intervals agree with published examples; a winner is not chance."""

from collections import Counter

import pytest

from campaigns import experiments
from campaigns.experiments import Arm


def arm(members: int, buyers: int, *, name: str = "A", each: int = 10_000) -> Arm:
    return Arm(name, members, buyers, buyers * each, float(buyers * each * each))


def test_shares_are_kept_and_nobody_changes_group() -> None:
    first = [experiments.variant_of(7, (1, 1, 2), member) for member in range(20_000)]
    assert first == [experiments.variant_of(7, (1, 1, 2), member) for member in range(20_000)]
    counts = Counter(first)
    assert [round(counts[place] / 20_000, 2) for place in range(3)] == [0.25, 0.25, 0.5]


def test_holdout_and_variants_are_independent_and_campaigns_too() -> None:
    held = [member for member in range(20_000) if experiments.in_holdout(7, 10, member)]
    assert len(held) == pytest.approx(2_000, rel=0.07)
    assert sum(experiments.variant_of(7, (1, 1), one) for one in held) / len(held) == pytest.approx(0.5, abs=0.05)
    both = sum(experiments.in_holdout(8, 10, one) for one in held)
    assert both / len(held) == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize(
    ("buyers", "members", "low", "high"),
    [  # Newcombe (1998), two-sided confidence intervals for the single proportion, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_as_published(buyers: int, members: int, low: float, high: float) -> None:
    found = experiments.wilson(buyers, members)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


@pytest.mark.parametrize(
    ("one", "other", "low", "high"),
    [  # Newcombe (1998), interval estimation for the difference, method 10
        (arm(70, 56), arm(80, 48), 0.0524, 0.3339),
        (arm(10, 9), arm(10, 3), 0.1705, 0.8090),
        (arm(10, 10), arm(10, 0), 0.6075, 1.0),
    ],
)
def test_the_difference_as_published(one: Arm, other: Arm, low: float, high: float) -> None:
    found = experiments.difference(one, other)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_welch_on_two_small_samples() -> None:
    first = [27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4]
    second = [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 20.5, 24.4]
    arms = [
        Arm(name, 15, 15, round(sum(values) * 10), sum((value * 10) ** 2 for value in values))
        for name, values in (("A", first), ("B", second))
    ]
    found = experiments.revenue_difference(*arms)
    assert found is not None
    # means differ by -21.667, standard error 8.8242, 24.99 degrees of freedom, t(0.975) = 2.0596 from the table
    assert (found.low, found.high) == (pytest.approx(-39.841, abs=0.01), pytest.approx(-3.492, abs=0.01))


@pytest.mark.parametrize(
    ("arms", "expected"),
    [
        ((arm(1000, 100), arm(1000, 50, name="B")), "A"),
        ((arm(1000, 55), arm(1000, 50, name="B")), None),
        ((arm(1000, 100), arm(1000, 50, name="B"), arm(1000, 95, name="C")), None),
        ((arm(1000, 100),), None),
        ((arm(0, 0), arm(0, 0, name="B")), None),
        ((arm(3, 3), arm(3, 0, name="B")), None),
    ],
    ids=["clear", "chance", "two alike lead", "alone", "nobody", "too few to say"],
)
def test_a_winner_only_when_the_interval_allows(arms: tuple[Arm, ...], expected: str | None) -> None:
    assert experiments.winner(arms) == expected
