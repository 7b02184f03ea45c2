"""Our own tags: whose word counts, what expires, one of a group, a history, and what a rule does by itself."""

import asyncio
from collections.abc import Collection
from datetime import timedelta
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa

from campaigns.reactions import Reader, reactions
from crm import member_tags, merges, rule_tags
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.events import EventRow
from crm.base.peers import Peers
from crm.conditions import DefinitionWrong
from crm.member_tags import TagNameTaken, TagNameWrong
from crm.models.audience import MemberTag, Tag, TagEnd, TagSource
from crm.models.member import Member
from crm.rule_tags import RuleLoops
from tests.factories import Make

MANUAL, RULE = TagSource.MANUAL, TagSource.RULE
WOMEN = {"is": "gender", "among": ["female"]}


class Shop:
    """Tags by name, and who bears them."""

    def __init__(self, sessions: Sessions, clock: FrozenClock) -> None:
        self.sessions, self.clock = sessions, clock

    async def add(self, group: str, *names: str, exclusive: bool = False, **more: Any) -> list[int]:
        async with self.sessions.begin() as session:
            made = await member_tags.add_group(session, group, exclusive=exclusive)
            return [(await member_tags.add(session, made.id, name, now=self.clock.now(), **more)).id for name in names]

    async def tag(self, members: Collection[int], tag_id: int, source: TagSource = MANUAL, **more: Any) -> list[int]:
        async with self.sessions.begin() as session:
            return await member_tags.tag(session, members, tag_id, source=source, now=self.clock.now(), **more)

    async def untag(self, members: Collection[int], tag_id: int, because: TagEnd = TagEnd.UNTAGGED) -> list[int]:
        async with self.sessions.begin() as session:
            return await member_tags.untag(session, members, tag_id, because=because, now=self.clock.now())

    async def borne(self, member: Member) -> dict[str, TagSource]:
        async with self.sessions.read() as session:
            found = await member_tags.borne_by(session, member.id, now=self.clock.now())
        return {one.name: one.source for one in found}

    async def rule(self, tag_id: int, definition: Any) -> rule_tags.Retagged:
        async with self.sessions.begin() as session:
            return await rule_tags.set_rule(session, tag_id, definition, now=self.clock.now())

    async def told(self) -> list[tuple[str, int]]:
        async with self.sessions.read() as session:
            rows = await session.scalars(
                sa.select(EventRow).where(EventRow.name.in_(["MemberTagged", "MemberUntagged"])).order_by(EventRow.id)
            )
            return [(row.name, row.body["tag_id"]) for row in rows]

    async def woman(self, make: Make) -> Member:
        member = await make.member()
        async with self.sessions.begin() as session:
            await session.execute(sa.update(Member).where(Member.id == member.id).values(gender="female"))
        return member


@pytest.fixture
def shop(sessions: Sessions, clock: FrozenClock) -> Shop:
    return Shop(sessions, clock)


async def test_a_tag_goes_on_once_and_its_history_stays(shop: Shop, make: Make) -> None:
    lin, [cat] = await make.member(), await shop.add("兴趣", "养猫")
    assert await shop.tag([lin.id], cat, by="Lin") == [lin.id]
    assert await shop.tag([lin.id], cat) == []
    shop.clock.advance(days=1)
    assert await shop.untag([lin.id], cat) == [lin.id]
    assert await shop.untag([lin.id], cat) == []
    assert await shop.tag([lin.id], cat, TagSource.IMPORT) == [lin.id]
    async with shop.sessions.read() as session:
        spells = await member_tags.history_of(session, lin.id)
    assert [(one.source, one.ended_because) for one in spells] == [(MANUAL, TagEnd.UNTAGGED), (TagSource.IMPORT, None)]
    assert await shop.told() == [("MemberTagged", cat), ("MemberUntagged", cat), ("MemberTagged", cat)]


async def test_a_tag_is_off_at_its_expiry_instant_and_the_sweep_writes_that_down(shop: Shop, make: Make) -> None:
    lin, [trial] = await make.member(), await shop.add("活动", "试用中", lasts_days=3)
    await shop.tag([lin.id], trial)
    shop.clock.advance(days=3)
    assert await shop.borne(lin) == {}
    due = shop.clock.now()
    shop.clock.advance(hours=5)
    async with shop.sessions.begin() as session:
        assert await member_tags.expire(session, now=shop.clock.now()) == 1
        assert await member_tags.expire(session, now=shop.clock.now()) == 0
    async with shop.sessions.read() as session:
        [spell] = await member_tags.history_of(session, lin.id)
    assert (spell.ended_at, spell.ended_because) == (due, TagEnd.EXPIRED)


async def test_an_expired_tag_can_go_on_again_before_the_sweep(shop: Shop, make: Make) -> None:
    lin, [trial] = await make.member(), await shop.add("活动", "试用中", lasts_days=3)
    await shop.tag([lin.id], trial)
    shop.clock.advance(days=4)
    assert await shop.tag([lin.id], trial) == [lin.id]
    assert await shop.borne(lin) == {"试用中": MANUAL}


async def test_of_an_exclusive_group_the_newest_counts_but_no_rule_overrules_a_person(shop: Shop, make: Make) -> None:
    lin, [small, big] = await make.member(), await shop.add("犬型", "小型犬", "大型犬", exclusive=True)
    await shop.tag([lin.id], small, RULE)
    await shop.tag([lin.id], big)
    assert await shop.borne(lin) == {"大型犬": MANUAL}
    assert await shop.tag([lin.id], small, RULE) == []
    assert await shop.borne(lin) == {"大型犬": MANUAL}


async def test_two_tags_of_an_exclusive_group_race_and_one_stands(shop: Shop, make: Make) -> None:
    lin, tags = await make.member(), await shop.add("犬型", "小", "中", "大", exclusive=True)
    await asyncio.gather(*(shop.tag([lin.id], tag_id) for tag_id in tags * 3))
    assert len(await shop.borne(lin)) == 1


async def test_the_race_is_lost_without_the_members_lock(shop: Shop, make: Make, sessions: Sessions) -> None:
    """Both look, find nobody's tag in the way, and write: the index lets one through and refuses the other."""
    lin, [small, big] = await make.member(), await shop.add("犬型", "小型犬", "大型犬", exclusive=True)
    async with sessions.read() as session:
        group_id = await session.scalar(sa.select(Tag.group_id).where(Tag.id == small))

    async def write(tag_id: int) -> None:
        async with sessions.begin() as session:
            session.add(
                MemberTag(
                    member_id=lin.id,
                    tag_id=tag_id,
                    exclusive_group_id=group_id,
                    source=MANUAL,
                    tagged_at=shop.clock.now(),
                )
            )

    ended = await asyncio.gather(write(small), write(big), return_exceptions=True)
    assert sum(isinstance(one, sa.exc.IntegrityError) for one in ended) == 1


async def test_merged_members_bear_each_tag_once_and_get_theirs_back_when_parted(
    shop: Shop, make: Make, sessions: Sessions
) -> None:
    kept, absorbed = await make.member(), await make.member()
    [cat] = await shop.add("兴趣", "养猫")
    small, big = await shop.add("犬型", "小型犬", "大型犬", exclusive=True)
    for member, tag_id in ((kept, cat), (absorbed, cat), (kept, small), (absorbed, big)):
        await shop.tag([member.id], tag_id)
    async with sessions.begin() as session:
        await merges.merge(session, kept.id, absorbed.id, because="manual", now=shop.clock.now())
    assert set(await shop.borne(kept)) == {"养猫", "小型犬"}
    assert await shop.borne(absorbed) == {}
    async with sessions.begin() as session:
        await merges.undo(session, absorbed.id, now=shop.clock.now())
    assert set(await shop.borne(kept)) == {"养猫", "小型犬"}
    assert set(await shop.borne(absorbed)) == {"养猫", "大型犬"}


async def test_a_rule_tags_at_once_whom_it_fits_and_follows_when_facts_change(shop: Shop, make: Make) -> None:
    lin, chen = await shop.woman(make), await make.member()
    [tag_id] = await shop.add("人群", "女性顾客")
    assert await shop.rule(tag_id, WOMEN) == rule_tags.Retagged(1, 0)
    assert (await shop.borne(lin), await shop.borne(chen)) == ({"女性顾客": RULE}, {})
    async with shop.sessions.begin() as session:
        await session.execute(sa.update(Member).where(Member.id == chen.id).values(gender="female"))
        await session.execute(sa.update(Member).where(Member.id == lin.id).values(gender="male"))
        both = [lin.id, chen.id]
        assert await rule_tags.follow(session, both, now=shop.clock.now()) == rule_tags.Retagged(1, 1)
        assert await rule_tags.follow(session, both, now=shop.clock.now()) == rule_tags.Retagged(0, 0)
        assert await rule_tags.refresh(session, now=shop.clock.now()) == rule_tags.Retagged(0, 0)
    assert (await shop.borne(lin), await shop.borne(chen)) == ({}, {"女性顾客": RULE})


async def test_what_a_person_said_outlives_the_rule(shop: Shop, make: Make) -> None:
    lin, [tag_id] = await shop.woman(make), await shop.add("人群", "女性顾客")
    await shop.rule(tag_id, WOMEN)
    await shop.tag([lin.id], tag_id, by="Lin")
    assert await shop.rule(tag_id, {"is": "not", "of": WOMEN}) == rule_tags.Retagged(0, 0)
    assert await shop.borne(lin) == {"女性顾客": MANUAL}


async def test_in_an_exclusive_group_the_first_rule_that_holds_wins(shop: Shop, make: Make) -> None:
    lin, chen = await shop.woman(make), await make.member()
    first, second = await shop.add("称呼", "女士", "顾客", exclusive=True)
    await shop.rule(first, WOMEN)
    await shop.rule(second, {"is": "joined", "when": {}})
    assert (await shop.borne(lin), await shop.borne(chen)) == ({"女士": RULE}, {"顾客": RULE})


async def test_rules_do_not_ask_for_tags_of_rules(shop: Shop) -> None:
    one, other, plain = await shop.add("组", "甲", "乙", "丙")
    await shop.rule(one, {"is": "tagged", "any_of": [plain]})
    for tag_id, asks_for in ((other, one), (plain, other), (one, one)):
        with pytest.raises(RuleLoops):
            await shop.rule(tag_id, {"is": "tagged", "any_of": [asks_for]})


async def test_names_are_checked(shop: Shop) -> None:
    await shop.add("兴趣", "养猫")
    with pytest.raises(TagNameTaken):
        await shop.add("兴趣", "养猫")
    for wrong in ("", " ", "长" * 31):
        with pytest.raises(TagNameWrong):
            await shop.add("兴趣", wrong)


async def test_a_rule_that_cannot_be_meant_is_refused_with_its_place(shop: Shop) -> None:
    [tag_id] = await shop.add("组", "甲")
    with pytest.raises(DefinitionWrong) as refused:
        await shop.rule(tag_id, {"is": "all", "of": [WOMEN, {"is": "ordered", "count": {"least": 3, "most": 1}}]})
    assert refused.value.mistakes == [{"field": "of.1.count", "reason": "least 比 most 大"}]


async def test_an_order_retags_its_member_through_the_event(shop: Shop, make: Make) -> None:
    lin, [tag_id] = await make.member(), await shop.add("人群", "买过")
    await shop.rule(tag_id, {"is": "ordered", "when": {"last_days": 30}})
    await make.order(lin)
    await react(shop)
    assert await shop.borne(lin) == {"买过": RULE}


async def react(shop: Shop) -> None:
    """Everything that follows from what happened."""
    peers = Peers(shop.sessions, chance=Random(7))
    reader = Reader(shop.sessions, peers, shop.clock, cursor="campaigns", table=reactions.table)
    for _ in range(10):
        done, failed = await reader.round()
        assert not failed
        if not done:
            return


async def test_a_day_passes_and_the_nightly_look_takes_the_tag_off(shop: Shop, make: Make) -> None:
    lin, [tag_id] = await make.member(), await shop.add("人群", "新朋友")
    await shop.rule(tag_id, {"is": "joined", "when": {"last_days": 7}})
    assert await shop.borne(lin) == {"新朋友": RULE}
    shop.clock.advance(timedelta(days=8))
    async with shop.sessions.begin() as session:
        assert await rule_tags.refresh(session, now=shop.clock.now()) == rule_tags.Retagged(0, 1)
    assert await shop.borne(lin) == {}
