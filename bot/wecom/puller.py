"""Pulls kf messages page by page: the messages and the cursor behind them commit together.

One process pulls an account at a time (a lease on the account's row), but what makes it right is the cursor: a page
is stored only if the cursor still stands where the page began, so a second puller loses instead of doubling.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.metrics import PULLED
from bot.models.conversation import Conversation
from bot.models.gateway import Handling, InboundMessage, KfAccount
from bot.wecom.api.kf import KfApi
from bot.wecom.errors import PullTokenExpired, WecomError
from bot.wecom.kf_items import EnterSession, KfItem, KfMessage, Origin, parse_kf_item
from crm import identities
from crm.base.clock import Clock
from crm.base.db import Sessions, UTCDateTime, insert_new
from crm.base.peers import Peers
from crm.models.member import MemberSource

log = logging.getLogger(__name__)

PAGE = 1000
LEASE = timedelta(seconds=60)
TOKEN_LIFE = timedelta(minutes=9)  # WeCom keeps it ten; one minute for clocks that differ
AGAIN_SECONDS = 1.0  # after a failure; what a limit forbids meanwhile, the limiter refuses without a call
NEVER = datetime.min.replace(tzinfo=UTC)
EARLY = timedelta(days=1)  # a welcome code lives 20 s: its conversation goes to the front of the queue


class CursorMoved(Exception):
    """Somebody else stored this page: nothing of ours was written."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """One entry of msg_list: read, and as it came."""

    item: KfItem
    body: dict[str, Any]

    @property
    def said_at(self) -> datetime | None:
        """When the customer said this; None for everything that is not a customer's message."""
        item = self.item
        return item.sent_at if isinstance(item, KfMessage) and item.origin is Origin.CUSTOMER else None

    @property
    def is_urgent(self) -> bool:
        return isinstance(self.item, EnterSession) and bool(self.item.welcome_code)


class Puller:
    """Pulls every account of which there is news, and each once in a while without news."""

    def __init__(self, sessions: Sessions, kf: KfApi, peers: Peers, clock: Clock, *, poll: timedelta) -> None:
        self._sessions, self._kf, self._peers, self._clock = sessions, kf, peers, clock
        self._poll = poll
        self._pulling: set[str] = set()

    async def run(self) -> None:
        """Forever: start a pull of each account with news, and wait for a tap. No account waits for another."""
        async with asyncio.TaskGroup() as pulls:
            while True:
                for open_kfid in set(await self._wanted()) - self._pulling:
                    self._pulling.add(open_kfid)
                    pulls.create_task(self._keep_up(open_kfid), name=f"pull:{open_kfid}")
                await self._peers.wait("pull", seconds=1.0)

    async def pull(self, open_kfid: str) -> int:
        """Everything there is to pull of one account; returns how many messages were new.

        Does nothing when another living process is at it. Raises WecomError when WeCom does not answer.
        """
        account = await self._lease(open_kfid)
        if account is None:
            return 0
        news, complete_at = 0, None
        try:
            while True:
                began = self._clock.now()
                page = await self._fetch(account)
                pulled, cursor = read_page(page), page.get("next_cursor") or account.cursor
                news += await self._store(account, pulled, cursor)
                account.cursor = cursor
                if not page.get("has_more"):
                    complete_at = began
                    break
        except CursorMoved:
            log.info("puller.cursor_moved", extra={"open_kfid": open_kfid})
        finally:
            await self._release(account, complete_at)
        return news

    async def _keep_up(self, open_kfid: str) -> None:
        """Pull as long as there is news: a callback that comes during a pull asks for another one."""
        try:
            while open_kfid in await self._wanted():
                try:
                    await self.pull(open_kfid)
                except WecomError as error:
                    log.warning("puller.failed", extra={"open_kfid": open_kfid, "error": str(error)})
                    await self._clock.sleep(AGAIN_SECONDS)
        finally:
            self._pulling.discard(open_kfid)

    async def _wanted(self) -> list[str]:
        now = self._clock.now()
        async with self._sessions.read() as session:
            alive = await self._peers.alive(session)
            rows = await session.scalars(
                sa.select(KfAccount.open_kfid).where(
                    KfAccount.removed_at.is_(None), _is_due(now, self._poll), _free(alive, now)
                )
            )
            return list(rows)

    async def _lease(self, open_kfid: str) -> KfAccount | None:
        now = self._clock.now()
        async with self._sessions.begin() as session:
            alive = [number for number in await self._peers.alive(session) if number != self._peers.number]
            taken: KfAccount | None = await session.scalar(
                sa.update(KfAccount)
                .where(KfAccount.open_kfid == open_kfid, _free(alive, now))
                .values(pulled_by=self._peers.number, pulled_until=now + LEASE)
                .returning(KfAccount)
            )
            if taken is not None:
                session.expunge(taken)
            return taken

    async def _fetch(self, account: KfAccount) -> dict[str, Any]:
        fresh = account.token_at is not None and self._clock.now() - account.token_at < TOKEN_LIFE
        token = account.token if fresh else None
        try:
            return await self._kf.sync_msg(
                account.open_kfid, cursor=account.cursor, token=token, limit=PAGE, app=account.app
            )
        except PullTokenExpired:
            account.token = None
            return await self._kf.sync_msg(
                account.open_kfid, cursor=account.cursor, token=None, limit=PAGE, app=account.app
            )

    async def _store(self, account: KfAccount, pulled: Sequence[Pulled], cursor: str | None) -> int:
        now = self._clock.now()
        async with self._sessions.begin() as session:
            moved = await session.execute(
                sa.update(KfAccount)
                .where(KfAccount.open_kfid == account.open_kfid, KfAccount.cursor.is_not_distinct_from(account.cursor))
                .values(cursor=cursor, pulled_until=now + LEASE)
            )
            if moved.rowcount != 1:  # type: ignore[attr-defined]
                raise CursorMoved
            news = await store_items(session, account.open_kfid, pulled, now=now)
        if news:
            PULLED.labels(account.open_kfid).inc(news)
            self._peers.tap("dialogue")
        return news

    async def _release(self, account: KfAccount, complete_at: datetime | None) -> None:
        """End the lease. Complete is what was said before the last page was asked for: later callbacks stay open."""
        done = {} if complete_at is None else {"pulled_at": complete_at}
        async with self._sessions.begin() as session:
            await session.execute(
                sa.update(KfAccount)
                .where(KfAccount.open_kfid == account.open_kfid, KfAccount.pulled_by == self._peers.number)
                .values(pulled_by=None, pulled_until=None, **done)
            )


def _is_due(now: datetime, poll: timedelta) -> sa.ColumnElement[bool]:
    return sa.or_(
        KfAccount.pulled_at.is_(None), KfAccount.wanted_at >= KfAccount.pulled_at, KfAccount.pulled_at <= now - poll
    )


def _free(others: Sequence[int], now: datetime) -> sa.ColumnElement[bool]:
    return sa.or_(KfAccount.pulled_by.is_(None), KfAccount.pulled_by.not_in(others), KfAccount.pulled_until <= now)


def read_page(page: dict[str, Any]) -> list[Pulled]:
    """The entries of a page that belong to somebody; what names no customer (a servicer's status) is left out."""
    pulled = [Pulled(parse_kf_item(entry), entry) for entry in page.get("msg_list") or [] if isinstance(entry, dict)]
    return [one for one in pulled if one.item.msgid and one.item.external_userid]


async def store_items(session: AsyncSession, open_kfid: str, pulled: Sequence[Pulled], *, now: datetime) -> int:
    """Write a page into the caller's transaction and put its conversations on the queue; returns how many are new.

    Nothing is kept of erased people until they write to us again.
    """
    conversations = await _conversations(session, open_kfid, pulled, now=now)
    pulled = [one for one in pulled if one.item.external_userid in conversations]
    if not pulled:
        return 0
    rows = [_row(one, conversations[one.item.external_userid], now) for one in pulled]
    connection = await session.connection()
    new = set(await insert_new(connection, rows, returning=InboundMessage.msgid))
    fresh: defaultdict[int, list[Pulled]] = defaultdict(list)
    for one in pulled:
        if one.item.msgid in new:
            fresh[conversations[one.item.external_userid]].append(one)
    changes = [{"conversation": number, **_what_changed(own, now)} for number, own in sorted(fresh.items())]
    if changes:  # in the order of their ids: two transactions lock them the same way round
        await connection.execute(_PUT_ON_QUEUE, changes)
    return len(new)


def _row(one: Pulled, conversation_id: int, now: datetime) -> dict[str, Any]:
    item = one.item
    return {
        "msgid": item.msgid[:128],
        "conversation_id": conversation_id,
        "origin": item.origin if isinstance(item, KfMessage) else Origin.SYSTEM,
        "kind": item.msgtype[:64] if isinstance(item, KfMessage) else type(item).__name__,
        "body": one.body,
        "sent_at": item.sent_at,
        "received_at": now,
        "status": Handling.OPEN,
        "attempts": 0,
    }


def _what_changed(own: Sequence[Pulled], now: datetime) -> dict[str, Any]:
    return {
        "due": now - EARLY if any(one.is_urgent for one in own) else now,
        "said": max((one.said_at for one in own if one.said_at is not None), default=None),
    }


_due = sa.bindparam("due", type_=UTCDateTime())
_said = sa.bindparam("said", type_=UTCDateTime())
_PUT_ON_QUEUE = (
    sa.update(Conversation)
    .where(Conversation.id == sa.bindparam("conversation"))
    .values(
        due_at=sa.case((Conversation.due_at < _due, Conversation.due_at), else_=_due),
        last_customer_at=sa.case(
            (sa.or_(_said.is_(None), Conversation.last_customer_at > _said), Conversation.last_customer_at), else_=_said
        ),
    )
)


async def _conversations(
    session: AsyncSession, open_kfid: str, pulled: Sequence[Pulled], *, now: datetime
) -> dict[str, int]:
    names = sorted({one.item.external_userid for one in pulled})
    known = await _known(session, open_kfid, names)
    missing = [name for name in names if name not in known]
    if not missing:
        return known
    wrote_at = {one.item.external_userid: one.said_at for one in sorted(pulled, key=_said_last)}
    people = [identities.wechat_person(name, acted_at=wrote_at[name]) for name in missing]
    members = await identities.enrol_batch(session, people, source=MemberSource.KF, now=now)
    rows = [
        {"open_kfid": open_kfid, "external_userid": name, "member_id": member, "created_at": now}
        for name, member in zip(missing, members, strict=True)
        if member is not None
    ]
    await insert_new(session, rows, returning=Conversation.id)
    return await _known(session, open_kfid, names)


def _said_last(one: Pulled) -> datetime:
    return one.said_at or NEVER


async def _known(session: AsyncSession, open_kfid: str, names: Sequence[str]) -> dict[str, int]:
    rows = await session.execute(
        sa.select(Conversation.external_userid, Conversation.id).where(
            Conversation.open_kfid == open_kfid, Conversation.external_userid.in_(names)
        )
    )
    return {row.external_userid: row.id for row in rows}
