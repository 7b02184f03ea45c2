"""A campaign's form says what its definition says: there and back nothing is lost."""

import json
from datetime import time, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import MultiDict

from bot.web import form_tree
from bot.web.console import campaign_form
from campaigns import definition, playbooks
from campaigns.definition import CampaignWrong, Definition
from tests.campaigns.fixtures import told

OLD = {"is": "lifetime", "orders": {"least": 3}}
SAVED = {"老客": OLD}

words = st.text("甲乙丙ab “”&<{}", min_size=1, max_size=8).map(str.strip).filter(bool)
lengths = st.sampled_from([timedelta(hours=2), timedelta(days=3), timedelta(minutes=90), timedelta(seconds=61)])
conditions_ = st.sampled_from([OLD, {"is": "stage", "among": ["loyal"]}])
wheres = st.dictionaries(
    st.sampled_from(["to_stage", "tag_id"]), st.sampled_from(["at_risk", "5", "null", "a b", 5, True, None, [1, "x"]])
)
happenings = st.fixed_dictionaries({"event": st.sampled_from(["OrderPaid", "Odd"])}, optional={"where": wheres})
messages_ = st.lists(
    st.fixed_dictionaries(
        {"name": words, "text": words},
        optional={
            "share": st.integers(1, 9), "survey": words,
            "link": st.just({"title": "看", "url": "https://x.test/1", "desc": "一句"}),
        },
    ),
    min_size=1,
    max_size=3,
)  # fmt: skip
tiers_ = st.lists(st.fixed_dictionaries({"name": words, "audience": conditions_, "messages": messages_}), max_size=2)
usual = {
    "holdout_percent": st.integers(0, 50), "late": st.sampled_from(["ask", "skip"]), "grace": lengths,
    "remind_after": st.lists(lengths, max_size=3), "worth_fen": st.integers(0, 10**6), "words_confirmed": st.booleans(),
    "channels": st.sampled_from([["kf"], ["broadcast"], ["kf", "broadcast"]]), "confirm_within": lengths,
    "ends_at": st.sampled_from(["2027-01-01T10:00", "2027-01-01T10:00:30+08:00", "2027-01-01T02:00:00Z"]),
}  # fmt: skip
whom = st.one_of(
    st.just({"segment": "老客"}), conditions_.map(lambda one: {"audience": one}),
    st.just({"audience": definition.ANYBODY}),
)  # fmt: skip
at = st.sampled_from([time(9, 30), time(20)])
triggers = st.one_of(
    st.builds(lambda one, delay: {**one, "delay": delay}, happenings, lengths),
    st.fixed_dictionaries({"date": st.sampled_from(["birthday", "pet_birthday"]), "days_before": st.integers(0, 60)}),
    st.fixed_dictionaries({"silent_days": st.integers(1, 1000)}, optional={"at": at}),
)
crons = st.sampled_from(["0 10 * * *", "30 20 * * 1,4", "0 9 5 * *", "0 9 1 10 *", "*/20 10-12 * * 1-5", "0 8 * * 4,1"])
when = st.one_of(
    st.just({"kind": "one_off", "starts_at": "2026-12-01T10:00:00"}),
    st.builds(lambda every: {"kind": "recurring", "every": every}, crons),
    st.builds(lambda on: {"kind": "triggered", "on": on}, triggers),
)
timing = st.one_of(
    st.just({"day": 3}), lengths.map(lambda one: {"after": one}),
    st.builds(lambda one, within: {"wait": {**one, "within": within, "otherwise": "skip"}}, happenings, lengths),
)  # fmt: skip
step = st.builds(
    lambda timing, rest: {**timing, **rest},
    timing,
    st.fixed_dictionaries(
        {"messages": messages_, "tiers": tiers_}, optional={"at": at, "only": conditions_, "channels": st.just(["kf"])}
    ),
)


def _join(*parts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for one in parts for name, value in one.items()}


def _sequence(on: Any, rest: Any, steps: list[Any]) -> dict[str, Any]:
    named = [{**one, "name": f"第 {place} 步"} for place, one in enumerate(steps)]
    return {"kind": "steps", "on": on, **rest, "steps": named}


told_once = st.builds(
    _join, whom, when, st.fixed_dictionaries({"messages": messages_, "tiers": tiers_}),
    st.fixed_dictionaries({}, optional=usual),
)  # fmt: skip
told_in_steps = st.builds(
    _join,
    whom,
    st.builds(
        _sequence,
        triggers,
        st.fixed_dictionaries(
            {}, optional={"goal": st.lists(happenings, max_size=2), "stays": conditions_, "patience": lengths}
        ),
        st.lists(step, min_size=1, max_size=3),
    ),
    st.fixed_dictionaries({}, optional=usual),
)


def posted(tree: Any, at: str = "") -> list[tuple[str, str]]:
    """What a browser posts of the fields that this tree fills."""
    if isinstance(tree, str):
        return [(at, tree)]
    if isinstance(tree, list):
        if all(isinstance(one, str) for one in tree):
            return [(at, one) for one in tree]
        return [pair for place, one in enumerate(tree) for pair in posted(one, f"{at}.{place}")]
    return [pair for name, one in tree.items() for pair in posted(one, f"{at}.{name}" if at else name)]


def there_and_back(plain: Definition) -> Definition | None:
    tree = campaign_form.shown(plain, SAVED)
    if tree is None:
        return None
    tree = campaign_form.blank_rows(tree)
    again = form_tree.read(MultiDict(posted(tree)), campaign_form.SEVERAL)
    return campaign_form.understood(again, SAVED)


@settings(max_examples=60, deadline=None)
@given(st.one_of(told_once, told_in_steps))
def test_there_and_back_nothing_is_lost(written: dict[str, Any]) -> None:
    try:
        plain = definition.read(written)
    except CampaignWrong:  # such as two steps whose days run backwards
        return
    again = there_and_back(plain)
    assert again is not None, "the form shows everything of these"
    assert _same(again) == _same(plain)


def _same(plain: Definition | None) -> Any:
    assert plain is not None
    instants = {"starts_at": plain.starts, "ends_at": plain.ends}
    return plain.model_copy(update={name: at and at.timestamp() for name, at in instants.items()})


def test_every_playbook_is_shown_as_a_form() -> None:
    for book in playbooks.everything():
        for one in book.files():
            if one.kind is None:
                expected = None if one.told.is_of_groups_steps else one.told  # the steps of groups stay a file
                assert there_and_back(one.told) == expected, one.path


@pytest.mark.parametrize(
    "odd",
    [
        {"channels": ["broadcast", "kf"]},
        {"grace": "PT1.5S"},
        {"messages": [{"text": "好", "link": {"title": "看", "url": "https://x.test", "desc": "两\n行"}}]},
        {"starts_at": "2026-03-09T10:01:00.000001"},
    ],
)
def test_what_the_form_cannot_show_it_says_so(odd: dict[str, Any]) -> None:
    got = there_and_back(told(**odd))
    assert got is None or _same(got) == _same(told(**odd))


def test_groups_and_their_parts() -> None:
    some = told(audience=None, groups={"names": ["宝妈群*", "老客群"], "tags": ["上海"], "owners": ["amy"]})
    assert _same(there_and_back(some)) == _same(some)
    everywhere = told(audience=None, groups={"all": True})
    assert _same(there_and_back(everywhere)) == _same(everywhere)


def test_rows_come_go_and_move() -> None:
    tree: form_tree.Tree = {"steps": [{"name": "甲"}, {"name": "乙"}]}
    for do, names in (("up steps.1", "乙甲"), ("down steps.0", "甲乙"), ("drop steps.0", "乙"), ("up steps.0", "乙")):
        form_tree.act(tree, do)
        assert "".join(one["name"] for one in tree["steps"]) == names
    form_tree.act(tree, "add steps.0.tiers")
    form_tree.act(tree, "add goal")
    assert tree == {"steps": [{"name": "乙", "tiers": [{}]}], "goal": [{}]}
    for odd in (
        "add",
        "add steps.9.tiers",
        "drop steps.9",
        "up name.x",
        "drop goal",
        "boil steps.0",
        "add steps.0.name.0",
    ):
        form_tree.act(tree, odd)
    assert len(tree["steps"]) == 1 and len(tree["goal"]) == 1


@pytest.mark.parametrize(
    ("field", "typed"),
    [
        ("starts_at", {"when": "once"}),
        ("segment", {"who": "segment"}),
        ("on.event", {"when": "event"}),
        ("on.silent_days", {"when": "silent"}),
        ("on.days_before", {"when": "date", "on.date": "birthday", "on.days_before": "上"}),
        ("every", {"when": "every", "every.rhythm": "weekly", "every.at": "10:00"}),
        ("messages.0.text", {"messages.0.text": " "}),
        ("tiers.0.audience", {"tiers.0.name": "高", "tiers.0.messages.0.text": "您好"}),
        ("worth_fen", {"worth_fen": "1.234"}),
        ("worth_fen", {"worth_fen": "NaN"}),
        ("grace", {"grace.n": "很久", "grace.u": "h"}),
    ],
)
def test_each_mistake_stands_beside_its_field_in_chinese(field: str, typed: dict[str, str]) -> None:
    usual = {"when": "once", "starts_at": "2026-12-01T10:00", "messages.0.text": "您好"}
    form = MultiDict({**usual, **({"starts_at": ""} if typed == {"when": "once"} else {}), **typed})
    with pytest.raises(CampaignWrong) as wrong:
        campaign_form.understood(form_tree.read(form, campaign_form.SEVERAL), SAVED)
    (mine, *_) = [one for one in wrong.value.mistakes if one["field"] == field]
    assert not mine["reason"].isascii()


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            ["messages", "messages.0", "messages.0.text", "steps.0.wait.where.0.field", "who", "what", "own", "when",
             "on", "every", "every.at", "groups.names", "grace.n", "stays.pick", "stays.own",
             "a..b", "tiers.x.y", "worth_fen"]
        ),
        st.sampled_from(["", "steps", "own", "groups", "every", "event", "{", "[]",
                         "1e999", "٣:00", "\x00", "9" * 400]),
    )
)  # fmt: skip
def test_whatever_is_posted_gets_an_answer(form: dict[str, str]) -> None:
    tree = form_tree.read(MultiDict(form), campaign_form.SEVERAL)
    json.dumps(campaign_form.blank_rows(tree))
    try:
        campaign_form.understood(tree, SAVED)
    except CampaignWrong as wrong:
        assert wrong.mistakes
