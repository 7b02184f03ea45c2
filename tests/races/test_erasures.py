"""A person is erased while a message, an order and a listing of theirs arrive: nobody is brought back by the race."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from bot import privacy as everything
from bot.models.conversation import Conversation
from bot.web.api_orders import OrdersIn, tell_orders
from bot.wecom.kf_items import parse_kf_item
from bot.wecom.puller import Pulled, store_items
from crm import contacts, identities, privacy
from crm.base import events
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.identities import wechat_person
from crm.models.member import Contact, Identity, IdentityKind, MemberSource
from crm.privacy import Reason
from tests.bot.whole_person import told_of

CUSTOMER, NAME = "wm-racing", "印记姓名"
MARKS = (CUSTOMER, NAME, "acc-racing")
TRIES = 5
Arrive = Callable[[int], Awaitable[object]]


async def retried(act: Callable[[], Awaitable[object]]) -> object:
    """What the service does when the database ends a deadlock by choosing a victim: once more."""
    for _ in range(TRIES):
        try:
            return await act()
        except DBAPIError as error:
            if "deadlock" not in str(error):
                raise
    raise AssertionError("never came to rest")


async def known(sessions: Sessions, clock: FrozenClock) -> int:
    keys = ((IdentityKind.EXTERNAL_USERID, CUSTOMER), identities.shop_account("shop", "acc-racing"))
    person = identities.Person(keys=keys, profile=identities.Profile(name=NAME))
    async with sessions.begin() as session:
        member = await identities.enrol(session, person, source=MemberSource.KF, now=clock.now())
        return member.id


@pytest.mark.parametrize("round_no", range(3))
async def test_what_arrives_during_an_erasure_is_erased_or_refused(
    sessions: Sessions, clock: FrozenClock, round_no: int
) -> None:
    member_id = await known(sessions, clock)
    before = clock.now() - timedelta(minutes=1)  # all of it was done before they asked to be forgotten

    async def order(number: int) -> None:
        told = {"external_no": f"T{number}", "member": {"shop_account": "acc-racing"}, "placed_at": before}
        body = OrdersIn.model_validate({"orders": [{"source": "shop", "total_fen": 100, **told}]})
        async with sessions.begin() as session:
            await tell_orders(session, body, now=clock.now())

    async def message(number: int) -> None:
        body = {"msgid": f"m{number}", "external_userid": CUSTOMER, "origin": 3, "msgtype": "text"}
        body |= {"send_time": int(before.timestamp()), "text": {"content": NAME}}
        async with sessions.begin() as session:
            await store_items(session, f"wk{number}", [Pulled(parse_kf_item(body), body)], now=clock.now())

    async def listing(number: int) -> None:
        person = wechat_person(CUSTOMER, profile=identities.Profile(name=NAME))
        shown = contacts.Relation(userid=f"staff{number}", person=person, added_at=before, remark=NAME)
        async with sessions.begin() as session:
            await contacts.take_batch(session, [shown], read_at=clock.now(), now=clock.now())

    async def erase() -> None:
        await asyncio.sleep(0.002 * round_no)
        await everything.erase(sessions, member_id, by="wang", reason=Reason.ASKED, now=clock.now())

    arriving: list[Callable[[], Awaitable[object]]] = [
        lambda arrive=arrive, number=number: arrive(number)  # type: ignore[misc]
        for number in range(4)
        for arrive in (order, message, listing)
    ]
    await asyncio.gather(*map(retried, arriving[:6]), retried(erase), *map(retried, arriving[6:]))
    async with sessions.begin() as session:
        while await events.take(session, "campaigns"):
            pass
        await privacy.sweep(session, everything.EVERYTHING, now=clock.now())
    assert await told_of(sessions, MARKS) == {}
    async with sessions.read() as session:
        assert await session.scalar(sa.select(Identity.id)) is None
        assert await session.scalar(sa.select(Conversation.id)) is None


async def test_the_race_is_real_without_the_guard(sessions: Sessions, clock: FrozenClock) -> None:
    """Look who it is, let the erasure pass, then write what was listed: the person is back."""
    member_id = await known(sessions, clock)
    looked, erased = asyncio.Event(), asyncio.Event()

    async def listing() -> None:
        async with sessions.read() as session:
            member = await identities.find_by(session, IdentityKind.EXTERNAL_USERID, CUSTOMER)
        assert member is not None
        looked.set()
        await erased.wait()
        now = clock.now()
        async with sessions.begin() as session:
            staff_ids = await contacts.staff.know(session, ["wang"])
            row = {"staff_id": staff_ids["wang"], "member_id": member.id, "external_userid": CUSTOMER, "remark": NAME}
            instants = {"added_at": now, "told_at": now, "seen_at": now}
            await session.execute(sa.insert(Contact).values(**row, **instants, state="", description=""))

    async def erase() -> None:
        await looked.wait()
        await everything.erase(sessions, member_id, by="wang", reason=Reason.ASKED, now=clock.now())
        erased.set()

    await asyncio.gather(listing(), erase())
    assert await told_of(sessions, MARKS) == {"contacts": {CUSTOMER, NAME}}
