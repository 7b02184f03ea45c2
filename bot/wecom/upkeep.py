"""What is done now and then: the list of kf accounts, a full sync a day, names of new customers."""

import logging
from collections import deque
from collections.abc import Collection
from datetime import timedelta

import sqlalchemy as sa

from bot.app import App
from bot.models.conversation import Conversation
from bot.models.gateway import KfAccount
from bot.models.sync import SyncKind, SyncRun
from bot.wecom.api.call import pages
from bot.wecom.client import WecomClient
from bot.wecom.events import KfAccountAuthChanged
from bot.wecom.sync import Sync
from crm import identities, members
from crm.base.db import insert
from crm.members import Profile
from crm.models.member import Member, MemberSource

log = logging.getLogger(__name__)

ACCOUNTS_EVERY = 600.0  # seconds
NAMES_EVERY = 2.0
LOOK_EVERY = 60.0
SYNC_EVERY = timedelta(hours=24)
NAMES_REMEMBERED = 5_000
NAMES_TOGETHER = 100  # as many as kf/customer/batchget takes
CONSULTED = timedelta(hours=47)  # WeCom names customers who wrote within 48 hours


class Upkeep:
    """Loops that keep what we know of WeCom fresh."""

    def __init__(self, app: App, client: WecomClient, sync: Sync, *, main_app: str) -> None:
        self._app, self._client, self._sync, self._main_app = app, client, sync, main_app

    async def keep_accounts(self) -> None:
        """Forever: know which kf accounts we may pull; callbacks tell, and now and then we ask."""
        while True:
            await self.refresh_accounts()
            await self._app.peers.wait("accounts", seconds=ACCOUNTS_EVERY)

    async def take_accounts_event(self, _event: KfAccountAuthChanged) -> None:
        await self.refresh_accounts()

    async def refresh_accounts(self) -> None:
        """Bring kf_accounts up to the listing: new ones are pulled from now on, missing ones no more."""
        found = {
            account.open_kfid: account.name
            async for page in pages(self._client.kf.account_list)
            for account in page.items
        }
        now = self._app.clock.now()
        async with self._app.sessions.begin() as session:
            for open_kfid, name in sorted(found.items()):
                row = insert(session, KfAccount).values(open_kfid=open_kfid, name=name, app=self._main_app)
                await session.execute(
                    row.on_conflict_do_update(index_elements=["open_kfid"], set_={"name": name, "removed_at": None})
                )
            await session.execute(
                sa.update(KfAccount)
                .where(KfAccount.open_kfid.not_in(found), KfAccount.removed_at.is_(None))
                .values(removed_at=now)
            )
        self._app.peers.tap("pull")

    async def keep_synced(self) -> None:
        """Forever: a full reading of contacts, groups and tags when the last one is a day old."""
        while True:
            if await self._sync_is_due():
                await self._sync.run()
            await self._app.peers.wait("sync", seconds=LOOK_EVERY)

    async def _sync_is_due(self) -> bool:
        async with self._app.sessions.read() as session:
            finished = await session.execute(
                sa.select(SyncRun.kind, sa.func.max(SyncRun.started_at))
                .where(SyncRun.finished_at.is_not(None), SyncRun.error.is_(None))
                .group_by(SyncRun.kind)
            )
        began = {row[0]: row[1] for row in finished}
        since = self._app.clock.now() - SYNC_EVERY
        return any(kind not in began or began[kind] <= since for kind in SyncKind)

    async def keep_names(self) -> None:
        """Forever: ask WeCom for the names of customers who wrote to us before we knew them."""
        asked: deque[str] = deque(maxlen=NAMES_REMEMBERED)  # each once: whom WeCom did not name it will not name now
        while True:
            nameless = await self._nameless(without=asked)
            if nameless:
                asked.extend(nameless)
                await self._name(nameless)
            await self._app.peers.wait("names", seconds=NAMES_EVERY)

    async def _nameless(self, *, without: Collection[str]) -> list[str]:
        since = self._app.clock.now() - CONSULTED
        async with self._app.sessions.read() as session:
            rows = await session.scalars(
                sa.select(Conversation.external_userid)
                .join(Member, Member.id == Conversation.member_id)
                .where(
                    Member.name == "",
                    Member.erased_at.is_(None),
                    Conversation.last_customer_at >= since,
                    Conversation.external_userid.not_in(without),
                )
                .limit(NAMES_TOGETHER)
            )
            return list(rows)

    async def _name(self, external_userids: list[str]) -> None:
        """Write down the names WeCom gives."""
        customers = await self._client.kf.customer_batchget(external_userids)
        people = [identities.wechat_person(one.external_userid, unionid=one.unionid) for one in customers.found]
        async with self._app.sessions.begin() as session:
            ids = await identities.enrol_batch(session, people, source=MemberSource.KF, now=self._app.clock.now())
            for member_id, one in zip(ids, customers.found, strict=True):
                if member_id is None:
                    continue
                member = await session.get_one(Member, member_id)
                members.describe(member, Profile(name=one.nickname or None, avatar=one.avatar or None))
