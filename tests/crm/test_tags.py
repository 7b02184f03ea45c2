"""Corp tags: the mirror of WeCom's list, and who bears what since when."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from crm import tags
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.models.tag import ContactTag, CorpTag, CorpTagGroup
from crm.tags import TagGroupListing, TagListing
from tests.factories import Make

NOW = FrozenClock().now()
LATER = NOW + timedelta(hours=1)
LEVELS = TagGroupListing(
    wecom_id="egLevel",
    name="会员等级",
    tags=(TagListing(wecom_id="etGold", name="金卡", rank=2), TagListing(wecom_id="etSilver", name="银卡", rank=1)),
)
PETS = TagGroupListing(wecom_id="egPet", name="宠物", tags=(TagListing(wecom_id="etCat", name="养猫"),))


async def take(sessions: Sessions, listing: Sequence[TagGroupListing], *, now: datetime = NOW) -> None:
    async with sessions.begin() as session:
        await tags.take_listing(session, listing, now=now)


async def living(sessions: Sessions) -> set[str]:
    async with sessions.read() as session:
        groups = await session.scalars(sa.select(CorpTagGroup.name).where(CorpTagGroup.deleted_at.is_(None)))
        alone = await session.scalars(sa.select(CorpTag.name).where(CorpTag.deleted_at.is_(None)))
        return {*groups, *alone}


async def test_the_list_is_mirrored_and_what_it_no_longer_names_is_deleted(sessions: Sessions) -> None:
    await take(sessions, [LEVELS, PETS])
    assert await living(sessions) == {"会员等级", "金卡", "银卡", "宠物", "养猫"}
    renamed = TagGroupListing(wecom_id="egLevel", name="等级", tags=(TagListing(wecom_id="etGold", name="黄金会员"),))
    await take(sessions, [renamed], now=LATER)
    assert await living(sessions) == {"等级", "黄金会员"}
    await take(sessions, [LEVELS], now=LATER)
    assert await living(sessions) == {"会员等级", "金卡", "银卡"}, "what is listed again lives again"
    await take(sessions, [])
    assert await living(sessions) == set()


async def test_one_tag_is_refreshed_and_the_others_are_left_alone(sessions: Sessions) -> None:
    await take(sessions, [LEVELS, PETS])
    async with sessions.begin() as session:
        one = TagListing(wecom_id="etGold", name="黄金卡")
        await tags.take_groups(session, [TagGroupListing(wecom_id="egLevel", name="等级", tags=(one,))])
    assert await living(sessions) == {"等级", "黄金卡", "银卡", "宠物", "养猫"}


async def test_a_deleted_group_takes_its_tags_along(sessions: Sessions) -> None:
    await take(sessions, [LEVELS, PETS])
    async with sessions.begin() as session:
        await tags.deleted(session, wecom_id="egLevel", now=LATER)
        await tags.deleted(session, wecom_id="etCat", now=LATER)
        await tags.deleted(session, wecom_id="etNeverHeardOf", now=LATER)
    assert await living(sessions) == {"宠物"}


async def test_who_bears_what_is_kept_with_its_dates(sessions: Sessions, make: Make) -> None:
    contact = await make.contact()
    await take(sessions, [LEVELS, PETS])
    for borne, now in ((["etSilver", "etCat"], NOW), (["etCat", "etGold"], LATER), (["etGold", "etCat"], LATER)):
        async with sessions.begin() as session:
            await tags.bear(session, {contact.id: borne}, now=now)
    async with sessions.read() as session:
        assert await tags.names_of(session, contact.id) == ["金卡", "养猫"]
        past = (await session.scalars(sa.select(ContactTag).where(ContactTag.unmarked_at.is_not(None)))).one()
        assert (past.marked_at, past.unmarked_at) == (NOW, LATER)


async def test_a_tag_seen_before_the_list_gets_its_name_from_the_list(sessions: Sessions, make: Make) -> None:
    contact = await make.contact()
    async with sessions.begin() as session:
        await tags.bear(session, {contact.id: ["etGold"]}, now=NOW)
    await take(sessions, [LEVELS])
    async with sessions.read() as session:
        assert await tags.names_of(session, contact.id) == ["金卡"]
