"""A customer asks to be forgotten: a full sync leaves them out, and their next words begin from nothing."""

from pathlib import Path

import sqlalchemy as sa

from bot import privacy
from bot.models.gateway import InboundMessage
from bot.wecom.sync import Sync
from crm import consents, identities
from crm.models.member import Contact, IdentityKind, Member
from crm.privacy import Reason
from tests.bot.whole_person import told_of
from tests.town import SERVICER, Town, town


async def member_of(place: Town, customer: str) -> Member | None:
    async with place.service.app.sessions.read() as session:
        return await identities.find_by(session, IdentityKind.EXTERNAL_USERID, customer)


async def test_a_sync_does_not_bring_them_back_and_their_own_words_do(database_url: str, tmp_path: Path) -> None:
    async with town(database_url, tmp_path) as place:
        sessions = place.service.app.sessions
        customer = place.customer("陈晓")
        place.simulator.world.add_contact(SERVICER, customer)
        sync = Sync(sessions, place.service.client, place.clock)
        await sync.run()
        place.says(customer, "多久发货")
        await place.until(lambda: place.answers(customer))
        known = await member_of(place, customer)
        assert known is not None

        place.clock.advance(minutes=5)
        await privacy.erase(sessions, known.id, by="wang", reason=Reason.ASKED, now=place.clock.now())
        place.clock.advance(minutes=5)
        await sync.run()
        assert await member_of(place, customer) is None
        async with sessions.read() as session:
            assert await session.scalar(sa.select(Contact.id)) is None
            assert await session.scalar(sa.select(InboundMessage.id)) is None
        assert {"members", "contacts", "inbound_messages", "outbox"} & (
            await told_of(sessions, (customer, "陈晓"))
        ).keys() == set()

        place.says(customer, "满多少包邮")
        await place.until(lambda: len(place.answers(customer)) == 2)
        assert place.answers(customer) == ["【发货】", "【包邮】"]
        back = await member_of(place, customer)
        assert back is not None
        assert back.id != known.id
        async with sessions.read() as session:
            said = await consents.current(session, back.id)
        assert said is not None
        assert not said.granted
