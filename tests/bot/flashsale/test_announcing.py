"""A sale told in its groups: when, with which links, which groups cannot have it, and what is taken back or follows."""

import random
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bot.flashsale import announce_words, announcing, board, sales
from bot.flashsale.sales import Plan
from bot.flashsale.terms import SaleInvalid
from bot.models.sale import Sale, SaleStatus
from campaigns import group_posts, words
from campaigns.guard_rules import Gate, PlatformQuota, QuietHours
from campaigns.models.campaign import DeliveryStatus
from campaigns.models.gate import PassState, QuotaUse
from campaigns.models.group_post import GroupPost, PostStatus
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.models.group import Group
from tests.bot.flashsale.stall import Stall, item
from tests.campaigns.fixtures import OPEN_GATE
from tests.campaigns.test_group_posts import ONE_A_DAY, Wecom
from tests.factories import Make

URL = "https://shop.example"
NIGHT = replace(OPEN_GATE, quiet=QuietHours(time(22), time(8)))
LISTS = words.read()


@pytest.fixture
def wecom(sessions: Sessions, clock: FrozenClock) -> Wecom:
    return Wecom(sessions, clock)


async def groups_of(make: Make, owners: int = 2, each: int = 2) -> list[Group]:
    return [await make.group(owner) for owner in [await make.staff() for _ in range(owners)] for _ in range(each)]


async def planned(
    wecom: Wecom, groups: list[Group], *, opens_in: timedelta = timedelta(hours=3), announce: bool = True, **more: Any
) -> Sale:
    now, chance = wecom.clock.now(), random.Random(more.pop("seed", 5))
    plan = Plan(
        name="周四秒杀", opens_at=now + opens_in, closes_at=now + opens_in + timedelta(hours=1),
        items=[more.pop("item", item())], group_ids=[one.id for one in groups], **more,
    )  # fmt: skip
    async with wecom.sessions.begin() as session:
        sale = await sales.plan(session, plan, now=now, chance=chance)
        if announce:
            await announcing.announce(session, sale, gate=wecom.gate, words=LISTS, public_url=URL, now=now)
    return sale


async def tick(wecom: Wecom, **passes: float) -> None:
    """The sale's clock, then the platform's work."""
    wecom.clock.advance(**passes)
    now = wecom.clock.now()
    async with wecom.sessions.begin() as session:
        await sales.follow_clock(session, now=now)
        await announcing.follow(session, gate=wecom.gate, public_url=URL, now=now)
    await wecom.round()


def sale_at(opens_at: datetime, ahead: timedelta = timedelta(hours=2)) -> Sale:
    return Sale(opens_at=opens_at, early_at=None, ahead_seconds=int(ahead.total_seconds()))


def local(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC) - timedelta(hours=8)


@pytest.mark.parametrize(
    ("opens", "now", "asked"),
    [
        (local(12, 20), local(12, 9), local(12, 18)),
        (local(12, 20), local(12, 19), local(12, 19)),
        (local(13, 0, 30), local(12, 9), local(12, 21)),
        (local(12, 23, 30), local(12, 9), local(12, 21, 30)),
        (local(13, 7), local(12, 9), local(12, 21)),
        (local(12, 23), local(12, 22, 30), local(12, 22, 30)),
    ],
    ids=["the evening", "late", "after midnight", "just before midnight", "before breakfast", "in quiet hours already"],
)  # fmt: skip
def test_owners_are_asked_ahead_of_time_but_before_quiet_hours(opens: datetime, now: datetime, asked: datetime) -> None:
    assert announcing.announce_at(sale_at(opens), NIGHT, now=now) == asked


@pytest.mark.parametrize("ahead", [timedelta(days=2), timedelta(hours=2), timedelta(minutes=20), timedelta(seconds=-5)])
def test_reminders_come_before_the_opening_and_are_at_most_three(ahead: timedelta) -> None:
    found = announcing.reminders(ahead)
    assert 1 <= len(found) <= 3 and list(found) == sorted(found)
    assert all(one <= max(ahead, timedelta(minutes=5)) for one in found)


async def test_each_group_gets_its_own_link_and_an_owner_one_card(wecom: Wecom, make: Make) -> None:
    groups = await groups_of(make)
    sale = await planned(wecom, groups)
    await tick(wecom)
    assert not wecom.tasks, "it is not time yet"
    await tick(wecom, minutes=61)
    async with wecom.sessions.read() as session:
        links = {one.group_id: one.link_code for one in await board.groups(session, sale.id)}
    of_chat = {one.chat_id: f"{URL}/h5/sales/{sale.code}?g={links[one.id]}" for one in groups}
    assert {task.recipients[0]: task.message.link and task.message.link.url for task in wecom.tasks.values()} == of_chat
    assert len({task.noted_once for task in wecom.tasks.values()}) == 2, "one card for the two tasks of an owner"
    assert all("A1" in task.message.text and "19.9" not in task.message.link.title for task in wecom.tasks.values())  # type: ignore[union-attr]
    wecom.tap(*list(wecom.tasks)[:3])
    await tick(wecom, minutes=2)
    async with wecom.sessions.read() as session:
        known = await announcing.progress(session, sale.id)
    assert known is not None
    assert announce_words.headline(known) == "3/4 个群已发"
    assert announce_words.stand(known.waiting[0]).startswith("等群主点发送，")


async def test_groups_that_had_todays_are_said_when_announcing(wecom: Wecom, make: Make) -> None:
    wecom.gate = ONE_A_DAY
    groups = await groups_of(make, owners=1, each=3)
    now = wecom.clock.now()
    async with wecom.sessions.begin() as session:
        session.add(QuotaUse(group_id=groups[0].id, ref="by hand", state=PassState.SENT, at=now))
        await session.execute(sa.update(Group).where(Group.id == groups[2].id).values(owner_id=None))
    sale = await planned(wecom, groups, opens_in=timedelta(hours=1))
    async with wecom.sessions.read() as session:
        seen = await announcing.outlook(session, sale, wecom.gate, now=now)
    told = "\n".join(announce_words.outlook(seen, has_page=True, is_asked=True))
    assert "3 个群" in told and "1/3 个群今天的群发已经用掉了" in told and "1 个群的群主不是我们的同事" in told
    await tick(wecom)
    assert len(wecom.tasks) == 1
    async with wecom.sessions.read() as session:
        stands = {one.group_id: one for one in (await announcing.progress(session, sale.id)).groups}  # type: ignore[union-attr]
    assert stands[groups[0].id].reason == "gate.quota", "tomorrow the sale is over"
    assert "群发的次数用完了" in announce_words.stand(stands[groups[0].id])
    assert stands[groups[2].id].reason == "no_owner"


async def test_what_is_not_confirmed_is_taken_back_when_the_sale_is_over(wecom: Wecom, make: Make) -> None:
    sale = await planned(wecom, await groups_of(make), opens_in=timedelta(hours=1))
    await tick(wecom)
    assert len(wecom.tasks) == 4
    async with wecom.sessions.begin() as session:
        await sales.close(session, sale.id, now=wecom.clock.now())
    await tick(wecom, minutes=1)
    assert wecom.taken_back == set(wecom.tasks)
    async with wecom.sessions.read() as session:
        known = await announcing.progress(session, sale.id)
    assert known is not None and known.status is PostStatus.CANCELLED
    assert {one.reason for one in known.groups} == {"cancelled"}


async def test_a_weekly_sale_is_announced_by_the_clock_alone(wecom: Wecom, make: Make) -> None:
    groups = await groups_of(make, owners=1, each=1)
    await planned(wecom, groups, opens_in=timedelta(hours=1), series="周四")
    await tick(wecom)
    wecom.tap()
    await tick(wecom, hours=3)
    async with wecom.sessions.begin() as session:
        assert await sales.next_sessions(session, now=wecom.clock.now(), chance=random.Random(9)) == 1
    async with wecom.sessions.begin() as session:  # a week of the worker's heartbeats
        await session.execute(sa.update(GroupPost).values(ticked_at=wecom.clock.now() + timedelta(days=7)))
    await tick(wecom, days=6, hours=19)
    assert len(wecom.tasks) == 1
    await tick(wecom, hours=1)
    assert len(wecom.tasks) == 2


async def test_a_recap_goes_where_it_was_read_and_only_if_somebody_bought(
    wecom: Wecom, make: Make, stall: Stall
) -> None:
    groups = await groups_of(make, owners=2, each=1)
    sale = await planned(wecom, groups, opens_in=timedelta(minutes=5), recaps=True, item=item(stock=1))
    await tick(wecom)
    wecom.tap(next(iter(wecom.tasks)))
    await tick(wecom, minutes=6)
    (cake,), (who,) = await stall.items(sale), await stall.members(1)
    held = await stall.claim(cake, who)
    await stall.pay(held.no, held.total_fen)
    await tick(wecom)
    await tick(wecom)
    async with wecom.sessions.read() as session:
        assert (await session.get_one(Sale, sale.id)).status is SaleStatus.SETTLED
    recaps = [task for task in wecom.tasks.values() if task.campaign.endswith("（小结）")]
    assert [task.recipients for task in recaps] == [next(iter(wecom.tasks.values())).recipients]
    assert "1 位朋友抢到 1 件，全部抢光" in recaps[0].message.text


async def test_an_announcement_that_slept_goes_on_when_it_is_announced_again(wecom: Wecom, make: Make) -> None:
    sale = await planned(wecom, await groups_of(make, owners=1, each=1), opens_in=timedelta(hours=9),
                         announce_ahead=timedelta(hours=9))  # fmt: skip
    async with wecom.sessions.begin() as session:
        wecom.clock.advance(hours=5)
        await group_posts.watch(session, now=wecom.clock.now())
    await tick(wecom)
    assert not wecom.tasks
    async with wecom.sessions.begin() as session:
        again = await sales.get(session, sale.code)
        asked = {"gate": wecom.gate, "words": LISTS, "public_url": URL, "now": wecom.clock.now()}
        assert await announcing.announce(session, again, **asked)  # type: ignore[arg-type]
        assert not await announcing.announce(session, again, **asked)  # type: ignore[arg-type]
    await tick(wecom)
    assert len(wecom.tasks) == 1


async def test_words_no_text_may_carry_are_refused_when_announcing(wecom: Wecom, make: Make) -> None:
    sale = await planned(
        wecom, await groups_of(make, 1, 1), announce=False, item=replace(item(), name="全网最低价的 {{ 猫粮 }}")
    )
    async with wecom.sessions.begin() as session:
        sale = await sales.get(session, sale.code)
        with pytest.raises(SaleInvalid, match="不能用"):
            await announcing.announce(
                session, sale, gate=wecom.gate, words=LISTS, public_url=URL, now=wecom.clock.now()
            )


async def test_a_name_is_no_template_and_without_pages_there_is_no_link(wecom: Wecom, make: Make) -> None:
    odd = replace(item(), name="{{ 猫粮 }}{% for x in y %}")
    sale = await planned(wecom, await groups_of(make, 1, 1), opens_in=timedelta(hours=1), announce=False, item=odd)
    now = wecom.clock.now()
    async with wecom.sessions.begin() as session:
        sale = await sales.get(session, sale.code)
        await announcing.announce(session, sale, gate=Gate(quiet=None, caps=(), quota=PlatformQuota(None)),
                                  words=LISTS, public_url="", now=now)  # fmt: skip
    await wecom.round()
    (task,) = wecom.tasks.values()
    assert task.message.link is None and "猫粮" in task.message.text and "发「秒杀」" in task.message.text


async def test_two_clocks_make_one_announcement(wecom: Wecom, make: Make) -> None:
    sale = await planned(wecom, await groups_of(make, 1, 1))
    wecom.clock.advance(hours=2)
    now = wecom.clock.now()
    for _ in range(2):
        async with wecom.sessions.begin() as session:
            await announcing._post_if_due(session, await sales.get(session, sale.code), OPEN_GATE, URL, now=now)
    async with wecom.sessions.read() as session:
        assert await session.scalar(sa.select(sa.func.count()).select_from(GroupPost)) == 1


async def test_who_is_in_no_group_may_claim_when_the_sale_is_not_for_groups_only(
    wecom: Wecom, make: Make, stall: Stall
) -> None:
    groups = await groups_of(make, 1, 1)
    (who,) = await stall.members(1)
    for only in (True, False):
        sale = await planned(wecom, groups, opens_in=timedelta(0), groups_only=only, seed=only)
        async with wecom.sessions.read() as session:
            standing = await sales.standing(session, sale, who, now=wecom.clock.now())
        assert standing.is_invited is not only


async def test_the_board_says_who_has_not_sent_when_it_opens(wecom: Wecom, make: Make) -> None:
    sale = await planned(wecom, await groups_of(make, 1, 1), opens_in=timedelta(hours=1))
    await tick(wecom)
    await tick(wecom, minutes=60)
    async with wecom.sessions.read() as session:
        ((found, known),) = await announcing.unsent(session, now=wecom.clock.now())
    assert found.id == sale.id and known.waiting[0].status is DeliveryStatus.ASKED
    assert "提醒过" in announce_words.stand(known.waiting[0])
