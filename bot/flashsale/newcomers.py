"""New faces at a sale: bursts of them are flagged with the evidence, and wait until a person admits or refuses them.

A newcomer joined shortly before the sale opened and never bought anything. Everybody else passes without a question to
the database. Of newcomers each is written down once a sale, many in a commit, under the sale's own lock: whoever
arrives in the same moment is counted too, in whichever process they ask.
"""

import hmac
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from bot.flashsale import payments
from bot.flashsale.terms import TurnedAway, UnderReview
from bot.flashsale.waiting import SaleOffered
from bot.metrics import ALERTS
from bot.models.newcomer import Newcomer, Standing
from bot.models.sale import Claim, Sale, SaleItem, Waiter, WaiterStatus
from crm.base.clock import Clock
from crm.base.db import Sessions, hold, insert_all
from crm.base.groupcommit import GroupCommit
from crm.models.member import Member
from crm.models.order import MemberOrders

log = logging.getLogger(__name__)

TAKEN = (Newcomer.sale_id, Newcomer.member_id, Newcomer.address, Newcomer.standing)


@dataclass(frozen=True, slots=True)
class Rule:
    """When new faces are a burst. same_address, together: so many in any `window`; None: never for that reason."""

    new_for: timedelta = timedelta(days=1)  # before the sale opens: who joined since is new
    window: timedelta = timedelta(minutes=10)
    same_address: int | None = 5
    together: int | None = 100


@dataclass(frozen=True, slots=True)
class Face:
    """One newcomer in the window. address: keyed hash, empty when not known."""

    member_id: int
    address: str


@dataclass(frozen=True, slots=True)
class Ask:
    sale_id: int
    member_id: int
    address: str


def bursts(faces: Sequence[Face], rule: Rule) -> dict[int, dict[str, object]]:
    """Who of the newcomers of one window belongs to a burst, and the evidence: the narrower reason first."""
    minutes = int(rule.window.total_seconds() // 60)
    found: dict[int, dict[str, object]] = {}
    if rule.together is not None and len(faces) >= rule.together:
        found |= {one.member_id: {"rule": "together", "count": len(faces), "minutes": minutes} for one in faces}
    by_address: defaultdict[str, list[int]] = defaultdict(list)
    for one in faces:
        by_address[one.address].append(one.member_id)
    for address, people in by_address.items():
        if address and rule.same_address is not None and len(people) >= rule.same_address:
            found |= {one: {"rule": "address", "count": len(people), "minutes": minutes} for one in people}
    return found


class Newcomers:
    """The question before a claim. Started and stopped by bootstrap.py. key: what addresses are hashed with."""

    def __init__(self, sessions: Sessions, clock: Clock, rule: Rule | None, *, key: bytes) -> None:
        self._clock, self._rule = clock, rule
        self._key = hmac.digest(key, b"siyu newcomers", sha256)
        self._commit: GroupCommit[Ask, Standing] = GroupCommit(sessions, self._write)
        self.start, self.stop = self._commit.start, self._commit.stop

    async def check(self, sale: Sale, member_id: int, joined_at: datetime, *, address: str | None = None) -> None:
        """Raises UnderReview for who waits to be looked at, and TurnedAway for whom a person refused."""
        if self._rule is None or joined_at <= sale.opens_at - self._rule.new_for:
            return
        ask = Ask(sale.id, member_id, self._hashed(sale.id, address))
        standing = await self._commit.submit(ask)
        if standing is Standing.WAITING:
            raise UnderReview
        if standing is Standing.REFUSED:
            raise TurnedAway

    def _hashed(self, sale_id: int, address: str | None) -> str:
        if address is None:
            return ""
        return hmac.digest(self._key, f"{sale_id} {address}".encode(), sha256).hex()[:16]

    async def _write(self, connection: AsyncConnection, asks: Sequence[Ask]) -> list[Standing]:
        assert self._rule is not None  # check() asks nothing otherwise
        return await take(connection, asks, self._rule, now=self._clock.now())


async def take(connection: AsyncConnection, asks: Sequence[Ask], rule: Rule, *, now: datetime) -> list[Standing]:
    """Write newcomers down and flag the bursts among them, in the caller's transaction; a standing each."""
    for sale_id in sorted({one.sale_id for one in asks}):
        await hold(connection, f"newcomers of sale {sale_id}")
    known = await _regulars(connection, {one.member_id for one in asks})
    rows = [
        {
            "sale_id": one.sale_id,
            "member_id": one.member_id,
            "address": one.address,
            "asked_at": now,
            "standing": Standing.CLEAR,
            "evidence": {},
            "decided_by": "",
        }
        for one in asks
        if one.member_id not in known
    ]
    await insert_all(connection, Newcomer.__table__, rows)
    sales = {one.sale_id for one in asks}
    for sale_id in sales:
        await _flag(connection, sale_id, rule, now=now)
    return await _standings(connection, asks, sales)


async def _regulars(connection: AsyncConnection, member_ids: set[int]) -> set[int]:
    """Who of these has bought something before."""
    bought = sa.select(MemberOrders.member_id).where(MemberOrders.member_id.in_(member_ids), MemberOrders.orders > 0)
    return set((await connection.scalars(bought)).all())


async def _flag(connection: AsyncConnection, sale_id: int, rule: Rule, *, now: datetime) -> None:
    lately = (Newcomer.sale_id == sale_id, Newcomer.asked_at > now - rule.window)
    rows = (await connection.execute(sa.select(*TAKEN).where(*lately))).all()
    found = bursts([Face(row.member_id, row.address) for row in rows], rule)
    fresh = {row.member_id for row in rows if row.standing == Standing.CLEAR} & set(found)
    for evidence in {tuple(sorted(found[one].items(), key=str)) for one in fresh}:
        people = [one for one in fresh if found[one] == dict(evidence)]
        flagged = sa.update(Newcomer).where(Newcomer.sale_id == sale_id, Newcomer.member_id.in_(people))
        values = {"standing": Standing.WAITING, "evidence": dict(evidence), "flagged_at": now}
        await connection.execute(flagged.where(Newcomer.standing == Standing.CLEAR).values(values))
    if fresh:
        ALERTS.labels("sale_newcomers").inc(len(fresh))
        log.warning("sale.newcomers", extra={"sale_id": sale_id, "flagged": len(fresh)})


async def _standings(connection: AsyncConnection, asks: Sequence[Ask], sales: set[int]) -> list[Standing]:
    mine = sa.select(Newcomer.sale_id, Newcomer.member_id, Newcomer.standing).where(
        Newcomer.sale_id.in_(sales), Newcomer.member_id.in_({one.member_id for one in asks})
    )
    found = {(row[0], row[1]): row[2] for row in await connection.execute(mine)}
    return [found.get((one.sale_id, one.member_id), Standing.CLEAR) for one in asks]


# For people


@dataclass(frozen=True, slots=True, kw_only=True)
class Flagged:
    """A newcomer who waits to be looked at, with what they have already. evidence: as bursts() gives it."""

    member_id: int
    code: str
    name: str
    joined_at: datetime
    asked_at: datetime
    address: str
    evidence: dict[str, object]
    claims: int


async def flagged(session: AsyncSession, sale_id: int, *, limit: int = 200) -> list[Flagged]:
    """Who waits, those of one burst together."""
    items = sa.select(SaleItem.id).where(SaleItem.sale_id == sale_id)
    claims = (
        sa.select(sa.func.count())
        .where(Claim.member_id == Newcomer.member_id, Claim.item_id.in_(items))
        .correlate(Newcomer)
        .scalar_subquery()
    )
    rows = await session.execute(
        sa.select(
            Newcomer.member_id,
            Member.code,
            Member.name,
            Member.joined_at,
            Newcomer.asked_at,
            Newcomer.address,
            Newcomer.evidence,
            claims.label("claims"),
        )
        .join(Member, Member.id == Newcomer.member_id)
        .where(Newcomer.sale_id == sale_id, Newcomer.standing == Standing.WAITING)
        .order_by(Newcomer.flagged_at, Newcomer.address, Newcomer.id)
        .limit(limit)
    )
    return [Flagged(**row._mapping) for row in rows]


async def waiting_counts(session: AsyncSession) -> list[tuple[Sale, int]]:
    """Sales with newcomers that nobody has looked at yet."""
    rows = await session.execute(
        sa.select(Sale, sa.func.count())
        .join(Newcomer, Newcomer.sale_id == Sale.id)
        .where(Newcomer.standing == Standing.WAITING)
        .group_by(Sale.id)
        .order_by(Sale.id)
    )
    return [(row[0], row[1]) for row in rows]


async def is_held_back(session: AsyncSession, member_id: int, item_id: int) -> bool:
    """Whether this member may not pay for this item before somebody has looked."""
    sale_id = sa.select(SaleItem.sale_id).where(SaleItem.id == item_id).scalar_subquery()
    mine = (Newcomer.sale_id == sale_id, Newcomer.member_id == member_id, Newcomer.standing == Standing.WAITING)
    return await session.scalar(sa.select(Newcomer.id).where(*mine)) is not None


async def admit(
    session: AsyncSession, sale_id: int, *, by: str, now: datetime, only: Collection[int] | None = None
) -> list[int]:
    """They may claim from now on; only: these members, else all who wait. Returns whom this call admitted."""
    return await _decide(session, sale_id, Standing.ADMITTED, by=by, now=now, only=only)


async def refuse(
    session: AsyncSession, sale_id: int, *, by: str, now: datetime, only: Collection[int] | None = None
) -> tuple[list[int], list[SaleOffered]]:
    """They get nothing of this sale: unpaid claims and places in queues are gone, and what that frees is handed on.

    What is paid stays paid: a person may refund it. Returns whom this call refused, and the offers to others.
    """
    people = await _decide(session, sale_id, Standing.REFUSED, by=by, now=now, only=only)
    items = list(await session.scalars(sa.select(SaleItem.id).where(SaleItem.sale_id == sale_id)))
    waits = (Waiter.item_id.in_(items), Waiter.member_id.in_(people), Waiter.status == WaiterStatus.WAITING)
    ended = sa.update(Waiter).where(*waits).values(status=WaiterStatus.GONE, ended_at=now)
    await session.execute(ended.execution_options(synchronize_session=False))
    return people, await payments.take_back(session, people, items, now=now)


async def _decide(
    session: AsyncSession, sale_id: int, standing: Standing, *, by: str, now: datetime, only: Iterable[int] | None
) -> list[int]:
    which = [Newcomer.sale_id == sale_id, Newcomer.standing == Standing.WAITING]
    if only is not None:
        which.append(Newcomer.member_id.in_(list(only)))
    decided = sa.update(Newcomer).where(*which).values(standing=standing, decided_at=now, decided_by=by)
    return sorted(await session.scalars(decided.returning(Newcomer.member_id)))
