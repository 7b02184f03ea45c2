"""Contact ways of inviters: made once for each link that is asked for, deleted when its member is erased.

add_contact_way has no protection against doubles, and a corp has 500,000 ways: a try is written down before the call,
and when its answer is lost the way is looked for by its `state` before another one is made.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.app import App
from bot.models.referral import InviterWay
from bot.wecom.api.ways import WaysApi
from bot.wecom.errors import OutcomeUnknown, RateLimited, WecomError
from campaigns import referral_rules
from campaigns.models.referral import ReferralLink
from crm.base.db import insert
from crm.models.member import Member

log = logging.getLogger(__name__)

TOPIC = "inviter-ways"
LOOK_EVERY = 3.0  # seconds: a tap may come before the commit it tells of
TOGETHER = 20
AGAIN = timedelta(minutes=10)
LISTED_AFTER = timedelta(minutes=2)  # a new way takes a moment to be listed; a guess, the vendor does not say
NO_SYNC = {"synchronize_session": False}


async def want(
    session: AsyncSession, link: ReferralLink, userids: Sequence[str], *, most: int, now: datetime
) -> InviterWay | None:
    """Have a way made for this link, if there is none. None: nobody to lead to, or the shop has as many as it wants."""
    known = await session.get(InviterWay, link.id)
    if known is not None or not userids:
        return known
    if (await session.scalar(sa.select(sa.func.count()).select_from(InviterWay)) or 0) >= most:
        return None
    row = insert(session, InviterWay).values(link_id=link.id, userids=list(userids), try_at=now, qr_code="", error="")
    await session.execute(row.on_conflict_do_nothing())
    return await session.get(InviterWay, link.id)


class InviterWays:
    """Makes what is wanted and deletes what is over."""

    def __init__(self, app: App, api: WaysApi) -> None:
        self._app, self._api = app, api

    async def run(self) -> None:
        """Forever: what is due, then wait a moment for more."""
        while True:
            await self.round()
            await self._app.peers.wait(TOPIC, seconds=LOOK_EVERY)

    async def round(self) -> int:
        """Make and delete some; returns how many were tried."""
        due = await self._take()
        for way, link in due:
            await self._settle(way, link)
        return len(due)

    async def _take(self) -> Sequence[tuple[InviterWay, ReferralLink]]:
        """Lease some: each is left alone for a while by everybody else."""
        now = self._app.clock.now()
        missing = sa.and_(InviterWay.config_id.is_(None), ReferralLink.closed_at.is_(None))
        over = sa.and_(InviterWay.config_id.is_not(None), ReferralLink.closed_at.is_not(None))
        mine = (InviterWay.ended_at.is_(None), InviterWay.try_at <= now, sa.or_(missing, over))
        async with self._app.sessions.begin() as session:
            rows = await session.execute(
                sa.select(InviterWay, ReferralLink)
                .join(ReferralLink, ReferralLink.id == InviterWay.link_id)
                .where(*mine)
                .order_by(InviterWay.try_at)
                .limit(TOGETHER)
                .with_for_update(of=InviterWay, skip_locked=True)
            )
            found = [(way, link) for way, link in rows]
            for way, _ in found:
                way.try_at = now + AGAIN
        return found

    async def _settle(self, way: InviterWay, link: ReferralLink) -> None:
        try:
            if link.closed_at is not None:
                await self._delete(way)
            elif way.asked_at is None:
                await self._make(way, link)
            elif (found := await self._look_for(way, link)) is not None:
                await self._write(way, config_id=found[0], qr_code=found[1], asked_at=None, error="")
            elif self._app.clock.now() > way.asked_at + LISTED_AFTER:
                await self._write(way, asked_at=None, try_at=self._app.clock.now())  # it was never made
        except RateLimited as limit:
            await self._write(way, try_at=self._app.clock.now() + timedelta(seconds=limit.retry_after))
        except WecomError as error:
            log.warning("referral.way_failed", extra={"link_id": way.link_id, "error": str(error)})
            await self._write(way, error=str(error)[:500])

    async def _make(self, way: InviterWay, link: ReferralLink) -> None:
        await self._write(way, asked_at=self._app.clock.now())
        async with self._app.sessions.read() as session:
            name = await session.scalar(sa.select(Member.name).where(Member.id == link.member_id)) or ""
        state = referral_rules.state_of(link.code)
        try:
            made = await self._api.add_contact_way(way.userids, state=state, remark=f"邀请 {name}"[:30])
        except OutcomeUnknown as unknown:
            await self._write(way, error=str(unknown)[:500], try_at=self._app.clock.now() + LISTED_AFTER)
        except WecomError:
            await self._write(way, asked_at=None)
            raise
        else:
            await self._write(way, config_id=made.config_id, qr_code=made.qr_code, asked_at=None, error="")

    async def _look_for(self, way: InviterWay, link: ReferralLink) -> tuple[str, str] | None:
        """The way that an earlier try made after all."""
        assert way.asked_at is not None
        since, state = way.asked_at - LISTED_AFTER, referral_rules.state_of(link.code)
        async for page in self._api.lists(start_at=since, end_at=self._app.clock.now()):
            for config_id in page.items:
                found = await self._api.get_contact_way(config_id)
                if found.state == state:
                    return found.config_id, found.qr_code
        return None

    async def _delete(self, way: InviterWay) -> None:
        assert way.config_id is not None
        await self._api.del_contact_way(way.config_id)
        await self._write(way, ended_at=self._app.clock.now(), qr_code="")

    async def _write(self, way: InviterWay, **values: object) -> None:
        async with self._app.sessions.begin() as session:
            mine = sa.update(InviterWay).where(InviterWay.link_id == way.link_id).values(**values)
            await session.execute(mine, execution_options=NO_SYNC)
