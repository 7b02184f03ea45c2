"""The compiled SELECT finds whom plain Python finds, over random small worlds, on both databases."""

from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crm import conditions, segment_compiler
from crm.base.db import Sessions
from tests.crm.small_worlds import (
    LEAVES,
    NOW,
    Somebody,
    lay_ground,
    some_condition,
    somebody,
    write,
)
from tests.crm.world_meanings import satisfies

WORLDS = settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


class Seen(Exception):
    """Rolls a world back."""


async def wrong(sessions: Sessions, people: list[Somebody], asked: list[conditions.Condition]) -> list[str]:
    """The conditions for which compiler and definition disagree, as SELECT and as judgement of each."""
    found: list[str] = []
    try:
        async with sessions.begin() as session:
            await lay_ground(session)
            await write(session, people)
            living = {one.id for one in people if not one.gone}
            judged = await segment_compiler.judge(session, asked, [one.id for one in people], now=NOW)
            assert set(judged) == living
            for place, condition in enumerate(asked):
                wanted = sorted(one.id for one in people if one.id in living and satisfies(one, condition))
                rows = (await session.scalars(segment_compiler.member_ids(condition, now=NOW))).all()
                single = sorted(member_id for member_id, holds in judged.items() if holds[place])
                if not wanted == sorted(rows) == single:
                    found.append(f"{conditions.write(condition)}: {wanted}, SELECT {rows}, judged {single}")
            raise Seen
    except Seen:
        return found


@WORLDS
@given(chance=st.randoms(use_true_random=False))
async def test_the_compiled_select_finds_whom_plain_python_finds(sessions: Sessions, chance: Random) -> None:
    people = [somebody(chance, number) for number in range(1, chance.randint(2, 9))]
    asked = [some_condition(chance) for _ in range(12)]
    assert await wrong(sessions, people, asked) == []


async def test_every_kind_of_condition_is_compiled_alone_and_refused(sessions: Sessions) -> None:
    chance = Random(7)
    people = [somebody(chance, number) for number in range(1, 40)]
    leaves = [kind(chance) for kind in LEAVES for _ in range(12)]
    assert await wrong(sessions, people, leaves) == []
    assert await wrong(sessions, people, [conditions.Not(of=leaf) for leaf in leaves]) == []


@WORLDS
@given(chance=st.randoms(use_true_random=False))
def test_a_condition_survives_its_json(chance: Random) -> None:
    condition = some_condition(chance)
    assert conditions.read(conditions.write(condition)) == condition
