"""Segments: saved, counted, shown, explained; and who enters and leaves is told once."""

import asyncio
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crm import conditions, merges, segments
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.events import EventRow
from crm.conditions import AllOf, DefinitionWrong, Ordered, Span
from crm.models.audience import SegmentMember
from crm.models.member import Member
from crm.segment_leaves import bucket_of
from crm.segment_words import in_words
from crm.segments import Moved, SegmentNameTaken, SegmentNotFound
from tests.crm.small_worlds import NOW, lay_ground, some_condition, somebody, write
from tests.crm.world_meanings import satisfies
from tests.factories import Make

BUYERS = {"is": "ordered", "when": {"last_days": 30}}
WOMEN = {"is": "gender", "among": ["female"]}


async def save(sessions: Sessions, clock: FrozenClock, definition: Any, **more: Any) -> int:
    async with sessions.begin() as session:
        return (await segments.save(session, "近期买家", definition, now=clock.now(), **more)).id


async def refresh(sessions: Sessions, clock: FrozenClock, segment_id: int) -> Moved:
    async with sessions.begin() as session:
        return await segments.refresh(session, segment_id, now=clock.now())


async def told(sessions: Sessions) -> list[tuple[str, int]]:
    async with sessions.read() as session:
        rows = await session.scalars(
            sa.select(EventRow).where(EventRow.name.in_(["SegmentEntered", "SegmentLeft"])).order_by(EventRow.id)
        )
        return [(row.name, row.body["member_id"]) for row in rows]


async def test_a_preview_counts_everybody_and_shows_ten(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    people = [await make.member(name=f"会员{number}") for number in range(12)]
    for member in people[1:]:
        await make.order(member)
    async with sessions.read() as session:
        shown = await segments.preview(session, conditions.read(BUYERS), now=clock.now())
        assert shown.count == 11 and len(shown.people) == 10
        assert {one.name for one in shown.people} <= {f"会员{number}" for number in range(1, 12)}
        nobody = await segments.preview(session, conditions.read(WOMEN), now=clock.now())
        assert (nobody.count, nobody.people) == (0, [])


async def test_a_funnel_says_how_many_each_condition_costs(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    people = [await make.member() for _ in range(4)]
    for member in people[:3]:
        await make.order(member, total_fen=5000)
    await make.order(people[0], total_fen=20_000)
    both = {"is": "all", "of": [BUYERS, {"is": "lifetime", "spent_fen": {"least": 20_000}}]}
    async with sessions.read() as session:
        steps = await segments.funnel(session, conditions.read(both), now=clock.now())
    assert [(step.words, step.left) for step in steps] == [
        ("全部会员", 4),
        ("近 30 天下过单", 3),
        ("累计消费不少于 200.00 元", 1),
    ]


async def test_who_is_out_hears_every_reason_with_the_fact(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    lin = await make.member()
    await make.order(lin, days_ago=40)
    asked = {
        "is": "all",
        "of": [
            BUYERS,
            {"is": "any", "of": [WOMEN, {"is": "stage", "among": ["loyal"]}]},
            {"is": "not", "of": {"is": "source", "among": ["kf"]}},
            {"is": "lifetime", "orders": {"least": 1}},
        ],
    }
    async with sessions.read() as session:
        verdict = await segments.explain(session, conditions.read(asked), lin.id, now=clock.now())
    assert not verdict.inside
    said = {(reason.words, reason.fact) for reason in verdict.reasons}
    assert ("近 30 天下过单", "近 30 天符合的订单 0 笔，0.00 元") in said
    assert ("性别是女", "性别是未知") in said
    assert ("不满足（来源是微信客服）", "来源是微信客服") in said
    assert {words for words, _ in said} == {"近 30 天下过单", "性别是女", "处于忠诚阶段", "不满足（来源是微信客服）"}


async def test_who_is_in_has_no_reasons(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    lin = await make.member()
    await make.order(lin)
    async with sessions.read() as session:
        verdict = await segments.explain(session, conditions.read(BUYERS), lin.id, now=clock.now())
    assert verdict.inside and verdict.reasons == []


class Seen(Exception):
    """Rolls a world back."""


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(chance=st.randoms(use_true_random=False))
async def test_reasons_are_given_to_exactly_those_who_are_out(sessions: Sessions, chance: Random) -> None:
    people = [somebody(chance, number) for number in range(1, 4)]
    asked = [some_condition(chance) for _ in range(4)]
    with pytest.raises(Seen):
        async with sessions.begin() as session:
            await lay_ground(session)
            await write(session, people)
            for condition in asked:
                assert in_words(condition)
                for one in people:
                    verdict = await segments.explain(session, condition, one.id, now=NOW)
                    assert verdict.inside == (not one.gone and satisfies(one, condition))
                    assert verdict.inside == (verdict.reasons == [])
            raise Seen


async def test_the_first_filling_is_silent_and_changes_are_told_once(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    lin, chen = await make.member(), await make.member()
    await make.order(lin)
    segment_id = await save(sessions, clock, BUYERS, watched=True)
    assert await refresh(sessions, clock, segment_id) == Moved(0, 0)
    assert await told(sessions) == []
    await make.order(chen)
    async with sessions.begin() as session:
        assert await segments.follow(session, [lin.id, chen.id], now=clock.now()) == Moved(1, 0)
    assert await refresh(sessions, clock, segment_id) == Moved(0, 0)
    clock.advance(days=31)
    async with sessions.begin() as session:
        assert await segments.refresh_all(session, now=clock.now()) == Moved(0, 2)
    assert await told(sessions) == [
        ("SegmentEntered", chen.id),
        ("SegmentLeft", lin.id),
        ("SegmentLeft", chen.id),
    ]


async def test_two_refreshes_at_once_tell_once(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    segment_id = await save(sessions, clock, BUYERS, watched=True)
    await refresh(sessions, clock, segment_id)
    lin = await make.member()
    await make.order(lin)
    await asyncio.gather(*(refresh(sessions, clock, segment_id) for _ in range(4)))
    assert await told(sessions) == [("SegmentEntered", lin.id)]


async def test_a_merged_member_leaves_and_the_kept_one_is_judged(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    kept, absorbed = await make.member(), await make.member()
    await make.order(absorbed)
    segment_id = await save(sessions, clock, BUYERS, watched=True)
    await refresh(sessions, clock, segment_id)
    async with sessions.begin() as session:
        await merges.merge(session, kept.id, absorbed.id, because="manual", now=clock.now())
    assert await refresh(sessions, clock, segment_id) == Moved(1, 1)
    async with sessions.read() as session:
        assert list(await session.scalars(sa.select(SegmentMember.member_id))) == [kept.id]
        assert [one.id for one in await segments.holding(session, kept.id)] == [segment_id]


async def test_a_new_condition_fills_anew_and_in_silence(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    lin = await make.member()
    segment_id = await save(sessions, clock, BUYERS, watched=True)
    await refresh(sessions, clock, segment_id)
    await save(sessions, clock, {"is": "not", "of": BUYERS}, watched=True, segment_id=segment_id)
    await refresh(sessions, clock, segment_id)
    async with sessions.read() as session:
        assert list(await session.scalars(sa.select(SegmentMember.member_id))) == [lin.id]
    assert await told(sessions) == []


async def test_an_erased_member_is_in_no_segment(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    lin = await make.member()
    async with sessions.begin() as session:
        await session.execute(sa.update(Member).where(Member.id == lin.id).values(erased_at=clock.now()))
    everybody = conditions.read({"is": "joined", "when": {}})
    async with sessions.read() as session:
        assert await segments.count(session, everybody, now=clock.now()) == 0
        verdict = await segments.explain(session, everybody, lin.id, now=clock.now())
    assert [reason.fact for reason in verdict.reasons] == ["已注销，资料已删除"]


async def test_names_are_unique_and_unknown_ids_are_refused(sessions: Sessions, clock: FrozenClock) -> None:
    await save(sessions, clock, BUYERS)
    with pytest.raises(SegmentNameTaken):
        await save(sessions, clock, WOMEN)
    with pytest.raises(SegmentNotFound):
        await refresh(sessions, clock, 999)


def nested(depth: int) -> Any:
    definition: Any = WOMEN
    for _ in range(depth):
        definition = {"is": "not", "of": definition}
    return definition


@pytest.mark.parametrize(
    ("definition", "field"),
    [
        pytest.param(None, "", id="nothing"),
        pytest.param([], "", id="a list"),
        pytest.param({"is": "rich"}, "", id="a condition that does not exist"),
        pytest.param({"is": "gender", "among": []}, "among", id="nobody's gender"),
        pytest.param({"is": "gender", "among": ["女"]}, "among.0", id="a gender in Chinese"),
        pytest.param({"is": "all", "of": [WOMEN, {"is": "tagged", "any_of": [0]}]}, "of.1.any_of.0", id="tag 0"),
        pytest.param({"is": "ordered", "wen": {}}, "wen", id="a misspelt field"),
        pytest.param({"is": "joined", "when": {"last_days": 3, "from_on": "2026-01-01"}}, "when", id="two periods"),
        pytest.param({"is": "lifetime"}, "", id="asks nothing"),
        pytest.param({"is": "bucket", "salt": "a", "first": 5, "end": 5}, "", id="an empty share"),
        pytest.param({"is": "did", "event": "x'; DROP TABLE members"}, "event", id="SQL"),
        pytest.param(nested(50), "", id="nested too deep"),
        pytest.param(nested(100_000), "", id="nested without end"),
        pytest.param({"is": "any", "of": [WOMEN] * 101}, "", id="too many"),
    ],
)
def test_a_definition_that_cannot_be_meant_is_refused_with_its_place(definition: Any, field: str) -> None:
    with pytest.raises(DefinitionWrong) as refused:
        conditions.read(definition)
    assert field in {mistake["field"] for mistake in refused.value.mistakes}


def test_a_tree_as_deep_and_as_wide_as_allowed_is_read() -> None:
    assert conditions.read(nested(10))
    assert conditions.read({"is": "all", "of": [WOMEN] * 100})


def test_the_schema_names_every_condition() -> None:
    kinds = {
        part["properties"]["is"]["const"]
        for part in conditions.schema()["$defs"].values()
        if "is" in part.get("properties", {})
    }
    assert kinds == conditions.KINDS


def test_buckets_share_out_evenly_and_each_salt_anew() -> None:
    count = 20_000
    first = [bucket_of(number, "春季") for number in range(1, count + 1)]
    other = [bucket_of(number, "夏季") for number in range(1, count + 1)]
    for place in range(10):
        assert abs(sum(place * 1000 <= bucket < place * 1000 + 1000 for bucket in first) - count / 10) < count / 50
    both = sum(one < 5000 and two < 5000 for one, two in zip(first, other, strict=True))
    assert abs(both - count / 4) < count / 40


def test_words_read_like_a_sentence() -> None:
    asked = AllOf(
        of=(
            Ordered(categories=("猫粮",), count=Span(least=2), when={"last_days": 90}),
            conditions.read({"is": "not", "of": {"is": "consent", "answer": "no"}}),
        )
    )
    assert in_words(asked) == "近 90 天买过“猫粮”类商品，次数不少于 2 ，且不满足（对“marketing”（渠道 any）拒绝）"
