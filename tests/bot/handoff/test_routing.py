"""Who gets a ticket: room first, then the customer's own servicer, the topic, and turns."""

from collections import Counter
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from bot.handoff.routing import choose
from crm.base.clock import FrozenClock

NOW = FrozenClock().now()
LAST = {"a": NOW, "b": NOW - timedelta(hours=1)}


def chosen(candidates: str = "abc", **known: object) -> str | None:
    usual: dict[str, object] = {"load": {}, "last": LAST, "own": [], "skilled": (), "capacity": 3}
    return choose(list(candidates), **{**usual, **known})  # type: ignore[arg-type]


def test_who_never_had_one_is_next() -> None:
    assert chosen() == "c"


def test_then_who_had_one_longest_ago() -> None:
    assert chosen("ab") == "b"


def test_who_knows_the_topic_goes_before_turns() -> None:
    assert chosen(skilled=("a",)) == "a"


def test_the_customers_own_servicer_goes_before_the_topic() -> None:
    assert chosen(own=["b", "a"], skilled=("c",)) == "b"


def test_who_is_full_is_passed_over_even_by_their_own_customer() -> None:
    assert chosen(own=["b"], load={"b": 3, "c": 3}) == "a"


def test_when_all_are_full_nobody_gets_it() -> None:
    assert chosen(load={"a": 3, "b": 4, "c": 3}) is None
    assert chosen("") is None


@given(st.integers(1, 5), st.integers(1, 6))
def test_strangers_are_dealt_out_evenly_and_never_past_the_room(people: int, capacity: int) -> None:
    names = [f"s{number}" for number in range(people)]
    load: Counter[str] = Counter()
    last = {}
    for turn in range(people * capacity):
        one = choose(names, load=load, last=last, own=[], skilled=(), capacity=capacity)
        assert one is not None
        load[one] += 1
        last[one] = NOW + timedelta(seconds=turn)
        assert max(load.values()) - min(load[name] for name in names) <= 1
    assert choose(names, load=load, last=last, own=[], skilled=(), capacity=capacity) is None
