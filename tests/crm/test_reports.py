"""The numbers on the first screen."""

from datetime import timedelta

from crm import contacts, reports
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.models.member import ContactEnd
from tests.factories import Make


async def test_the_counts_of_the_first_screen(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    lin = await make.staff("lin")
    began = clock.now()
    kept, gone = await make.contact(lin), await make.contact(lin)
    await make.group(lin, kept.external_userid, "wm-only-here")
    clock.advance(hours=1)
    async with sessions.begin() as session:
        await contacts.lost(
            session,
            userid="lin",
            external_userid=gone.external_userid,
            at=clock.now(),
            by=ContactEnd.STAFF,
            now=clock.now(),
        )
    async with sessions.read() as session:
        assert await reports.headcount(session) == reports.Headcount(
            members=3, contacts=1, groups=1, grouped=2, orders=0
        )
        day = await reports.movement(session, since=began, until=clock.now() + timedelta(seconds=1))
        assert day == reports.Movement(enrolled=3, contacts_added=2, contacts_lost=1, group_joined=2, group_left=0)
        before = await reports.movement(session, since=began - timedelta(days=1), until=began)
        assert before == reports.Movement(enrolled=0, contacts_added=0, contacts_lost=0, group_joined=0, group_left=0)
