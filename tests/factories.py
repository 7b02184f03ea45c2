"""Rows for tests in one line: `make.member()`, `make.staff()`, `make.contact()`, `make.group()`, committed at once."""

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest

from crm import contacts, groups, identities, orders, staff
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.identities import wechat_person
from crm.members import Profile
from crm.models.group import Group
from crm.models.member import Contact, Member, MemberSource, Staff
from crm.models.order import Order
from crm.order_terms import Told


@dataclass
class Make:
    """Writes rows through the verbs the product uses, with names and ids of their own unless told otherwise."""

    sessions: Sessions
    clock: FrozenClock
    chance: random.Random

    def __post_init__(self) -> None:
        numbers = itertools.count(1)
        self._next: Callable[[], int] = lambda: next(numbers)

    async def member(
        self, *, external_userid: str | None = None, unionid: str | None = None, name: str = "小林"
    ) -> Member:
        person = wechat_person(
            external_userid or f"wm-test-{self._next()}", unionid=unionid, profile=Profile(name=name)
        )
        async with self.sessions.begin() as session:
            return await identities.enrol(
                session, person, source=MemberSource.KF, now=self.clock.now(), chance=self.chance
            )

    async def staff(self, userid: str | None = None, *, name: str = "小王") -> Staff:
        async with self.sessions.begin() as session:
            ids = await staff.know(session, [userid or f"staff{self._next()}"])
            one = await session.get_one(Staff, next(iter(ids.values())))
            one.name, one.follows = name, True
            return one

    async def contact(
        self, of: Staff | None = None, *, external_userid: str | None = None, state: str | None = None
    ) -> Contact:
        """A customer whom `of` has in their contacts since now."""
        of, now = of or await self.staff(), self.clock.now()
        async with self.sessions.begin() as session:
            contact = await contacts.added(
                session,
                userid=of.userid,
                external_userid=external_userid or f"wm-test-{self._next()}",
                at=now,
                state=state,
                now=now,
            )
        assert contact is not None, "this relation is over already"
        return contact

    async def group(self, owner: Staff | None = None, *people: str, chat_id: str | None = None) -> Group:
        """A group of `owner` and of these external_userids, who all joined now."""
        owner, now = owner or await self.staff(), self.clock.now()
        seats = [groups.Seat(userid=owner.userid, joined_at=now)]
        seats += [groups.Seat(person=wechat_person(each), joined_at=now, join_scene=3) for each in people]
        snapshot = groups.Snapshot(
            chat_id=chat_id or f"wr-test-{self._next()}",
            name="毛孩子福利群",
            owner=owner.userid,
            created_at=now,
            notice="",
            member_version=f"v{self._next()}",
            seats=tuple(seats),
            read_at=now,
        )
        async with self.sessions.begin() as session:
            await groups.take_snapshot(session, snapshot, now=now)
            group = await groups.find(session, snapshot.chat_id)
        assert group is not None
        return group

    async def order(
        self, member: Member, *, total_fen: int = 8800, days_ago: int = 0, external_no: str | None = None
    ) -> Order:
        """A paid order."""
        at = self.clock.now() - timedelta(days=days_ago)
        async with self.sessions.begin() as session:
            told = Told(
                source="test",
                external_no=external_no or f"T{self._next()}",
                member_id=member.id,
                placed_at=at,
                total_fen=total_fen,
                paid_at=at,
            )
            return await orders.place(session, told, now=self.clock.now())


@pytest.fixture
def make(sessions: Sessions, clock: FrozenClock, chance: random.Random) -> Make:
    return Make(sessions, clock, chance)
