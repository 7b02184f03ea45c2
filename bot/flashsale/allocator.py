"""One writer, many claims per commit, and nobody answered before it.

A batch locks its items in the order of their ids, reads what its members have, decides one request after the other,
and writes claims and counters together. Whatever else touches an item's counters locks the item first (see
payments.py), so on PostgreSQL any number of processes may do this; SQLite has one writer anyway.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from bot.flashsale.terms import (
    MOST,
    ClaimReleased,
    Granted,
    ItemNotFound,
    LimitReached,
    NotInvited,
    NotOpenYet,
    Outcome,
    QuantityInvalid,
    Request,
    SaleOver,
    ShareSoldOut,
    SoldOut,
    TooFewLeft,
    UnpaidClaim,
)
from bot.models.sale import Channel, Claim, ClaimStatus, Sale, SaleItem, SaleShare, SaleStatus
from crm.base import together
from crm.base.clock import Clock
from crm.base.db import Sessions, is_among
from crm.base.errors import ShopError
from crm.base.groupcommit import GroupCommit
from crm.base.together import Among, Prepared, Rows, Selected
from crm.models.member import Member

REMEMBERED_SECONDS = 1.0  # that an item is sold out; then one request looks again
FORGOTTEN_SECONDS = 3.0
HIDDEN = (SaleStatus.DRAFT,)
OVER = (SaleStatus.CLOSED, SaleStatus.SETTLED)


@dataclass(slots=True)
class Stand:
    """How an item stands inside a batch: as read under its lock, then moved by each grant."""

    item_id: int
    status: SaleStatus
    early_at: datetime | None
    opens_at: datetime
    closes_at: datetime
    pay_seconds: int
    price_fen: int
    limit_each: int
    left: int
    due_at: datetime | None = None  # of what this batch grants
    granted: int = 0  # units in this batch
    shares: dict[int, int] = field(default_factory=dict)  # group -> what is left of its share
    shared: dict[int, int] = field(default_factory=dict)  # group -> units granted in this batch

    def room(self, group_id: int | None) -> int:
        """Units that this group may still have: of its share, or with everybody else of what is shared out to none."""
        if group_id in self.shares:
            return min(self.left, self.shares[group_id])
        return self.left - sum(self.shares.values())


@dataclass(slots=True)
class Own:
    """What one member has of one item: their claims by number, and units that count."""

    claims: dict[str, tuple[ClaimStatus, Granted]] = field(default_factory=dict)
    unpaid: Granted | None = None
    units: int = 0

    def add(self, granted: Granted, status: ClaimStatus) -> None:
        self.claims[granted.no] = (status, granted)
        if status is not ClaimStatus.RELEASED:
            self.units += granted.quantity
        if status is ClaimStatus.HELD:
            self.unpaid = granted


Have = dict[tuple[int, int], Own]  # (item, member) -> what they have


def _items(among: Among) -> Selected:
    return (
        sa.select(
            SaleItem.id,
            Sale.status,
            Sale.early_at,
            Sale.opens_at,
            Sale.closes_at,
            Sale.pay_seconds,
            SaleItem.price_fen,
            SaleItem.limit_each,
            (SaleItem.stock - SaleItem.held - SaleItem.sold).label("left"),
        )
        .join(Sale, Sale.id == SaleItem.sale_id)
        .where(among(SaleItem.id, "items"))
        .order_by(SaleItem.id)
        .with_for_update(of=SaleItem)
    )


def _claims(among: Among) -> Selected:
    columns = (Claim.item_id, Claim.member_id, Claim.no, Claim.quantity, Claim.total_fen)
    mine = sa.select(*columns, Claim.status, Claim.pay_due_at)
    return mine.where(among(Claim.member_id, "members"), among(Claim.item_id, "items"))


def _shares(among: Among) -> Selected:
    left = SaleShare.stock - SaleShare.taken
    return sa.select(SaleShare.item_id, SaleShare.group_id, left).where(among(SaleShare.item_id, "items"))


MERGED = sa.select(Member.id, Member.merged_into_id).where(Member.merged_into_id.is_not(None))


def _merged(among: Among) -> sa.CompoundSelect[*tuple[Any, ...]]:
    """Merges of these members, on either side of them."""
    return MERGED.where(among(Member.id, "members")).union_all(MERGED.where(among(Member.merged_into_id, "members")))


ITEMS, SHARES, CLAIMS = Prepared(_items), Prepared(_shares), Prepared(_claims)
LOOKUPS = (
    ITEMS,  # first: it locks
    SHARES,
    Prepared(_merged),
    CLAIMS,
)
UNITS = sa.bindparam("units", type_=sa.BigInteger())
HOLD = Prepared(
    lambda _: sa.update(SaleItem).where(SaleItem.id == sa.bindparam("item")).values(held=SaleItem.held + UNITS)
)
TAKE = Prepared(
    lambda _: (
        sa.update(SaleShare)
        .where(SaleShare.item_id == sa.bindparam("item"), SaleShare.group_id == sa.bindparam("group"))
        .values(taken=SaleShare.taken + UNITS)
    )
)
OWN = ("no", "member_id")  # columns in which the claims of a roll differ
Alike = tuple[int, int, int, Channel, int | None, datetime]  # the arguments of _alike()
Rolls = dict[Alike, list[tuple[str, int]]]  # what a batch grants, in the order of the requests


@dataclass(slots=True)
class Gone:
    """An item that the database said is sold out; members who have some of it are still answered from the database."""

    holders: frozenset[int]
    until: float  # then one request looks again, while the others are still told this
    end: float  # then everybody looks: whoever was to look again may never have come to it
    looks: int | None = None  # the member whose request that is


class Allocator:
    """Claims, many per commit. Started and stopped by bootstrap.py."""

    def __init__(self, sessions: Sessions, clock: Clock, *, max_batch: int = 1_000) -> None:
        self._clock = clock
        self._commit: GroupCommit[Request, Outcome] = GroupCommit(sessions, self._write, max_batch=max_batch)
        self._gone: dict[int, Gone] = {}
        self._learnt: dict[int, Gone] = {}  # in the running batch, not committed yet
        self.start, self.stop = self._commit.start, self._commit.stop

    async def claim(self, request: Request) -> Granted:
        """Units for a member, held until `pay_due_at`. Returns after the commit that holds them.

        Raises a refusal of terms.py, or Busy when too many wait.
        """
        if not 0 < request.quantity <= MOST:
            raise QuantityInvalid(request.quantity)
        if self.is_gone(request.item_id, request.member_id):
            raise SoldOut(request.item_id)
        try:
            outcome = await self._commit.submit(request)
        except SoldOut:  # said after the commit
            if (learnt := self._learnt.pop(request.item_id, None)) is not None:
                self._gone[request.item_id] = learnt
            raise
        if isinstance(outcome, ShopError):
            raise outcome
        return outcome

    def is_gone(self, item_id: int, member_id: int) -> bool:
        """Whether the database said a moment ago that nothing is left for this member, who has none of it either.

        member_id: the living one, or one that was absorbed.
        """
        gone = self._gone.get(item_id)
        if gone is None or member_id in gone.holders:
            return False
        now = self._clock.monotonic()
        if gone.until <= now < gone.end:
            gone.until, gone.looks = now + REMEMBERED_SECONDS, member_id
        return now < gone.until and member_id != gone.looks

    def forget(self, item_ids: Collection[int]) -> None:
        """Something of these items came back."""
        for item_id in item_ids:
            self._gone.pop(item_id, None)

    async def _write(self, connection: AsyncConnection, requests: Sequence[Request]) -> list[Outcome]:
        outcomes, sold_out = await allocate(connection, requests, now=self._clock.now())
        if sold_out:
            now = self._clock.monotonic()
            for item_id, holders in (await _holders(connection, sold_out)).items():
                self._learnt[item_id] = Gone(holders, now + REMEMBERED_SECONDS, now + FORGOTTEN_SECONDS)
        return outcomes


async def allocate(
    connection: AsyncConnection, requests: Sequence[Request], *, now: datetime
) -> tuple[list[Outcome], set[int]]:
    """Decide and write a batch in the caller's transaction: an outcome each, and the items that are sold out."""
    stands, requests, have = await _look(connection, requests)
    granted: Rolls = {}
    outcomes = [_decide(one, stands.get(one.item_id), have, granted, now=now) for one in requests]
    if granted:
        await _store(connection, granted, stands.values(), now=now)
    return outcomes, {one.item_id for one in outcomes if isinstance(one, SoldOut)}


async def _look(
    connection: AsyncConnection, requests: Sequence[Request]
) -> tuple[dict[int, Stand], Sequence[Request], Have]:
    """All that deciding needs, in one go: a merge among those who ask is rare, and only then is it asked after."""
    items, members = sorted({one.item_id for one in requests}), sorted({one.member_id for one in requests})
    locked, shares, merged, claims = await together.fetch(connection, LOOKUPS, items=items, members=members)
    stands = _stands(locked, shares)
    if not merged:
        return stands, requests, _have(claims, {})
    persons = await _persons(connection, members)
    requests = [_by_person(one, persons) for one in requests]
    everybody = {one.member_id for one in requests} | set(persons)
    (claims,) = await together.fetch(connection, [CLAIMS], items=items, members=everybody)
    return stands, requests, _have(claims, persons)


async def _store(connection: AsyncConnection, granted: Rolls, stands: Collection[Stand], *, now: datetime) -> None:
    """The claims, and the counters moved by what was granted; the tables' checks are the last word."""
    told = [
        together.insert_alike(
            connection.dialect, Claim.__table__, OWN, rows, _alike(*alike, now=now), conflict="(no) DO NOTHING"
        )
        for alike, rows in granted.items()
    ]
    for stand in stands:
        if stand.granted:
            told.append(HOLD.told(connection.dialect, {"item": stand.item_id, "units": stand.granted}))
        for group_id, units in stand.shared.items():
            values = {"item": stand.item_id, "group": group_id, "units": units}
            told.append(TAKE.told(connection.dialect, values))
    rolls = list(granted.values())
    if sum((await together.write(connection, told))[: len(rolls)]) < sum(map(len, rolls)):
        raise ClaimReleased(rolls[0][0][0])  # somebody else's by now; each is tried alone, so this names the right one


async def lock_items(connection: AsyncConnection | AsyncSession, item_ids: Collection[int]) -> dict[int, Stand]:
    """These items as they stand; nobody else moves their counters until the transaction ends."""
    if isinstance(connection, AsyncSession):
        connection = await connection.connection()
    return _stands(*await together.fetch(connection, [ITEMS, SHARES], items=sorted(item_ids)))


def _stands(items: Rows, shares: Rows) -> dict[int, Stand]:
    stands = {row[0]: Stand(*row) for row in items}
    for item_id, group_id, left in shares:
        stands[item_id].shares[group_id] = left
    return stands


def refusal(request: Request, stand: Stand | None, own: Own, *, now: datetime) -> ShopError | None:
    """Why this request gets nothing, or None. A rule: what it needs to know is in its arguments."""
    if stand is None or stand.status in HIDDEN:
        return ItemNotFound(str(request.item_id))
    if stand.status in OVER or now >= stand.closes_at:
        return SaleOver()
    is_early = request.is_early and stand.early_at is not None and now >= stand.early_at
    if now < stand.opens_at and not is_early:
        return NotOpenYet(stand.opens_at, stand.early_at)
    if not request.is_invited:
        return NotInvited()
    if own.unpaid is not None:
        return UnpaidClaim(own.unpaid.no, own.unpaid.quantity, own.unpaid.pay_due_at)
    if own.units + request.quantity > stand.limit_each:
        return LimitReached(stand.limit_each, own.units)
    if stand.left < request.quantity:
        return TooFewLeft(stand.left) if stand.left else SoldOut(stand.item_id)
    if stand.shares and (room := stand.room(request.group_id)) < request.quantity:
        return TooFewLeft(room) if room > 0 else ShareSoldOut(stand.item_id)
    return None


def _decide(request: Request, stand: Stand | None, have: Have, rolls: Rolls, *, now: datetime) -> Outcome:
    no, whose = request.no, (request.item_id, request.member_id)
    if (own := have.get(whose)) is None:
        own = have[whose] = Own()
    elif (known := _repeated(request, no, own)) is not None:
        return known
    if (why := refusal(request, stand, own, now=now)) is not None:
        return why
    assert stand is not None  # refusal() says so otherwise
    quantity = request.quantity
    if stand.due_at is None:
        stand.due_at = now + timedelta(seconds=stand.pay_seconds)
    granted = Granted(no, stand.item_id, quantity, quantity * stand.price_fen, stand.due_at)
    stand.left -= quantity
    stand.granted += quantity
    if request.group_id is not None and request.group_id in stand.shares:
        stand.shares[request.group_id] -= quantity
        stand.shared[request.group_id] = stand.shared.get(request.group_id, 0) + quantity
    own.add(granted, ClaimStatus.HELD)
    alike = (stand.item_id, quantity, granted.total_fen, request.channel, request.group_id, stand.due_at)
    rolls.setdefault(alike, []).append((no, request.member_id))
    return granted


def _repeated(request: Request, no: str, own: Own) -> Outcome | None:
    """What the same request came to before. The same wish by another way, while unpaid, is the same claim too."""
    if (known := own.claims.get(no)) is not None:
        status, granted = known
        return ClaimReleased(granted.no) if status is ClaimStatus.RELEASED else _again(granted)
    if own.unpaid is not None and own.unpaid.quantity == request.quantity:
        return _again(own.unpaid)
    return None


def _again(granted: Granted) -> Granted:
    return granted._replace(is_new=False)


def row_of(request: Request, granted: Granted, *, now: datetime) -> dict[str, Any]:
    """The claim as its table takes it."""
    alike = (granted.item_id, granted.quantity, granted.total_fen, request.channel, request.group_id)
    return {
        "no": granted.no,
        "member_id": request.member_id,
        **_alike(*alike, granted.pay_due_at, now=now),
    }


def _alike(
    item_id: int,
    quantity: int,
    total_fen: int,
    channel: Channel,
    group_id: int | None,
    due_at: datetime,
    *,
    now: datetime,
) -> dict[str, Any]:
    """What the claims of one roll have in common."""
    return {
        "item_id": item_id,
        "quantity": quantity,
        "total_fen": total_fen,
        "status": ClaimStatus.HELD,
        "channel": channel,
        "group_id": group_id,
        "claimed_at": now,
        "pay_due_at": due_at,
    }


async def identities_of(session: AsyncSession, member_id: int) -> set[int]:
    """This person's members, the living one and those absorbed: what each of them has counts for all."""
    persons = await _persons(session, [member_id])
    return {member_id, *persons, *persons.values()}


async def _persons(connection: AsyncConnection | AsyncSession, member_ids: Collection[int]) -> dict[int, int]:
    """Who of these, and of those absorbed by them, is whom by now: the limit is a person's.

    A merge shows in `members` at once, and its reaction (merging.py) carries the claims a little later.
    """
    asked = await connection.execute(MERGED.where(is_among(connection, Member.id, sorted(member_ids))))
    persons: dict[int, int] = {row.id: row.merged_into_id for row in asked}
    living = {persons.get(one, one) for one in member_ids}
    absorbed = await connection.execute(MERGED.where(is_among(connection, Member.merged_into_id, sorted(living))))
    return persons | {row.id: row.merged_into_id for row in absorbed}


def _by_person(request: Request, persons: dict[int, int]) -> Request:
    person = persons.get(request.member_id)
    return request if person is None else request._replace(member_id=person)


def _have(claims: Rows, persons: dict[int, int]) -> Have:
    """What the persons have of their items, by whichever identity."""
    found: Have = {}
    for item_id, member_id, no, quantity, total_fen, status, due_at in claims:
        whose: int = member_id
        own = found.setdefault((item_id, persons.get(whose, whose)), Own())
        own.add(Granted(no, item_id, quantity, total_fen, due_at), status)
    return found


async def _holders(connection: AsyncConnection, item_ids: set[int]) -> dict[int, frozenset[int]]:
    found: dict[int, set[int]] = {item_id: set() for item_id in item_ids}
    rows = await connection.execute(
        sa.select(Claim.item_id, Claim.member_id).where(is_among(connection, Claim.item_id, sorted(item_ids)))
    )
    for item_id, member_id in rows:
        found[item_id].add(member_id)
    people = sorted(set().union(*found.values()))
    absorbed = await connection.execute(MERGED.where(is_among(connection, Member.merged_into_id, people)))
    for member_id, living in absorbed.all():
        for members in found.values():
            if living in members:
                members.add(member_id)
    return {item_id: frozenset(members) for item_id, members in found.items()}
