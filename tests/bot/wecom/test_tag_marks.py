"""Our tags as staff see them in WeCom: put on and taken off everywhere, whoever changes them, over HTTP."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.wecom import lanes
from crm import identities, member_tags, rule_tags, tag_mirror
from crm.base.outbox import OutboxRow, Status
from crm.models.audience import Tag, TagSource
from crm.models.member import Contact, IdentityKind
from tests.town import AGENT_ID, SERVICER, Town, town

OTHER = "liqiang"
OPEN = (Status.WAITING, Status.CLAIMED)
SETTLED = 20.0  # seconds at most for a callback, a reaction and a message


@dataclass
class Shop:
    """A customer of two of the staff, and the tags 金卡 and 银卡 that are shown to them."""

    town: Town
    customer: str
    member_id: int
    gold: int
    silver: int

    async def tag(self, tag_id: int) -> None:
        now = self.town.clock.now()
        async with self.town.service.app.sessions.begin() as session:
            await member_tags.tag(session, [self.member_id], tag_id, source=TagSource.MANUAL, now=now)

    async def borne(self) -> dict[str, TagSource]:
        async with self.town.service.app.sessions.read() as session:
            found = await member_tags.borne_by(session, self.member_id, now=self.town.clock.now())
        return {one.name: one.source for one in found}

    def seen_by(self, userid: str) -> set[str]:
        """Names of the corp tags this member of staff sees on the customer."""
        world = self.town.simulator.world
        marks = world.contacts.get(userid, self.customer).tags
        return {found[1].name for mark in marks if (found := world.tags.find(mark))}

    def corp_tag(self, name: str) -> str:
        groups = self.town.simulator.world.tags.groups.values()
        return next(tag.id for group in groups for tag in group.tags.values() if tag.name == name)

    async def both_see(self, *names: str) -> None:
        await self.town.until(lambda: self.seen_by(SERVICER) == self.seen_by(OTHER) == set(names), seconds=SETTLED)

    async def until_borne(self, wanted: dict[str, TagSource]) -> None:
        for _ in range(int(SETTLED * 10)):
            if await self.borne() == wanted:
                return
            await self.town.quiet(0.1)
        assert await self.borne() == wanted

    async def until_settled(self) -> None:
        """No message about tags is on its way any more."""
        for _ in range(int(SETTLED * 10)):
            async with self.town.service.app.sessions.read() as session:
                open_ = sa.select(OutboxRow.id).where(OutboxRow.lane == lanes.TAG, OutboxRow.status.in_(OPEN))
                if await session.scalar(open_.limit(1)) is None:
                    return
            await self.town.quiet(0.1)
        raise AssertionError("messages do not settle")


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    async with town(database_url, tmp_path) as opened:
        customer, app = opened.customer(), opened.service.app
        for userid in (SERVICER, OTHER):
            opened.simulator.world.contacts.add(userid, customer)
        member_id = await _member(opened, customer)
        now = opened.clock.now()
        async with app.sessions.begin() as session:
            group = await member_tags.add_group(session, "会员等级", exclusive=True)
            gold, silver = [
                await member_tags.add(session, group.id, name, mirrored=True, now=now) for name in ("金卡", "银卡")
            ]
        yield Shop(opened, customer, member_id, gold.id, silver.id)


async def _member(opened: Town, customer: str) -> int:
    """Waits until both relations have reached us."""
    for _ in range(100):
        async with opened.service.app.sessions.read() as session:
            known = await session.scalar(sa.select(sa.func.count()).where(Contact.external_userid == customer))
            member = await identities.find_by(session, IdentityKind.EXTERNAL_USERID, customer)
        if known == 2 and member is not None:
            return member.id
        await opened.quiet(0.1)
    raise AssertionError("the relations did not reach us")


async def test_a_tag_shows_to_all_who_know_the_customer_and_its_successor_replaces_it(shop: Shop) -> None:
    await shop.tag(shop.silver)
    await shop.both_see("银卡")
    await shop.tag(shop.gold)
    await shop.both_see("金卡")
    await shop.until_settled()
    assert shop.town.calls("/cgi-bin/externalcontact/mark_tag", 45035) == 0


async def test_a_mark_by_hand_becomes_a_tag_and_shows_to_the_colleague(shop: Shop) -> None:
    await shop.tag(shop.gold)
    await shop.both_see("金卡")
    await shop.until_settled()
    contacts = shop.town.simulator.world.contacts
    contacts.edit(SERVICER, shop.customer, remark=None, add=[], remove=[shop.corp_tag("金卡")])
    await shop.until_borne({})
    await shop.both_see()
    await shop.until_settled()
    contacts.edit(OTHER, shop.customer, remark=None, add=[shop.corp_tag("金卡")], remove=[])
    await shop.until_borne({"金卡": TagSource.WECOM})
    await shop.both_see("金卡")


async def test_a_rules_tag_comes_back_when_staff_take_it_off(shop: Shop) -> None:
    async with shop.town.service.app.sessions.begin() as session:
        everybody = {"is": "joined", "when": {}}
        await rule_tags.set_rule(session, shop.gold, everybody, now=shop.town.clock.now())
    await shop.both_see("金卡")
    await shop.until_settled()
    marked = shop.town.calls("/cgi-bin/externalcontact/mark_tag")
    shop.town.simulator.world.contacts.edit(
        SERVICER, shop.customer, remark=None, add=[], remove=[shop.corp_tag("金卡")]
    )
    await shop.town.until(lambda: shop.town.calls("/cgi-bin/externalcontact/mark_tag") > marked, seconds=SETTLED)
    await shop.both_see("金卡")
    assert await shop.borne() == {"金卡": TagSource.RULE}


async def test_a_tag_of_this_name_that_is_there_is_taken(shop: Shop) -> None:
    _, [mine] = shop.town.simulator.world.tags.add("", "会员等级", [("金卡", 0)], by=None)
    await shop.tag(shop.gold)
    await shop.both_see("金卡")
    assert shop.corp_tag("金卡") == mine.id


async def test_a_tag_that_stops_being_shown_disappears_and_stays_ours(shop: Shop) -> None:
    await shop.tag(shop.gold)
    await shop.both_see("金卡")
    await shop.until_settled()
    async with shop.town.service.app.sessions.begin() as session:
        await tag_mirror.set_mirrored(session, shop.gold, False, now=shop.town.clock.now())
    await shop.both_see()
    assert await shop.borne() == {"金卡": TagSource.MANUAL}


async def test_who_gets_the_customer_later_sees_the_tags_too(shop: Shop) -> None:
    world = shop.town.simulator.world
    await shop.tag(shop.gold)
    await shop.both_see("金卡")
    world.add_staff("zhaomin", "赵敏")
    world.contacts.add("zhaomin", shop.customer)
    await shop.town.until(lambda: shop.seen_by("zhaomin") == {"金卡"}, seconds=SETTLED)


@pytest.mark.parametrize("told", [True, False], ids=["and we are told", "and the callback is lost"])
async def test_a_corp_tag_deleted_in_the_console_is_not_made_again(shop: Shop, told: bool) -> None:
    await shop.tag(shop.gold)
    await shop.both_see("金卡")
    await shop.until_settled()
    world = shop.town.simulator.world
    gone = [shop.corp_tag("金卡")]
    by = None if told else world.corp.apps[AGENT_ID]  # what an app does is not told
    world.contacts.forget_tags(world.tags.delete(gone, [], by=by))
    if told:
        await until_unlinked(shop)
    await shop.tag(shop.silver)
    await shop.both_see("银卡")
    await until_unlinked(shop)
    await shop.tag(shop.gold)
    await shop.both_see()
    async with shop.town.service.app.sessions.read() as session:
        dead = sa.select(OutboxRow.error).where(OutboxRow.lane == lanes.TAG, OutboxRow.status == Status.DEAD)
        assert (await session.scalars(dead)).all() == []


async def until_unlinked(shop: Shop) -> None:
    for _ in range(int(SETTLED * 10)):
        async with shop.town.service.app.sessions.read() as session:
            gold = await session.get_one(Tag, shop.gold)
            if gold.corp_tag_id is None and not gold.mirrored:
                return
        await shop.town.quiet(0.1)
    raise AssertionError("the tag is still shown")
