"""Personal suggestions: what goes with what a member bought, and what is new in the categories they buy.

Never what they bought lately, what waits for its payment, or what they returned. From the nightly count of item_counts.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import zip_longest

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.models.suggestion import Item, ItemPair, ItemRun
from crm.base.clock import local_day
from crm.base.db import is_among
from crm.models.member import Member
from crm.models.order import Order, OrderLine, OrderStatus

LOOKS_BACK = timedelta(days=365)  # what they ordered since then speaks for them, and is not shown again
NEW_DAYS = 45  # since an article was first sold
SOLD_DAYS = 90  # an article that nobody bought for so long is perhaps not there any more
SEEDS = 10  # of what a member bought, the newest
MOST_NEW = 300


class Why(StrEnum):
    TOGETHER = "together"  # often bought with something they bought
    NEW = "new"  # new in a category they buy


@dataclass(frozen=True, slots=True)
class Suggestion:
    """An article for a member. because: the article it goes with, or the category it is new in."""

    sku: str
    name: str
    category: str
    why: Why
    because: str


@dataclass(frozen=True, slots=True)
class Mate:
    """An article that another is often bought with."""

    sku: str
    name: str
    together: int
    score: float


@dataclass(frozen=True, slots=True)
class _Had:
    item_id: int
    name: str
    category: str
    is_kept: bool  # bought and not given back
    is_refused: bool  # was among what was refunded, or waits for its payment


# Reads


async def for_member(session: AsyncSession, member_id: int, *, now: datetime, limit: int = 6) -> list[Suggestion]:
    """What this member may like, the surest first."""
    return (await for_members(session, [member_id], now=now, limit=limit))[member_id]


async def for_members(
    session: AsyncSession, member_ids: Collection[int], *, now: datetime, limit: int = 6
) -> dict[int, list[Suggestion]]:
    """The same for many, with the same few queries."""
    had = await _had(session, member_ids, now=now)
    seeds = {member_id: _seeds(rows) for member_id, rows in had.items()}
    mates = await _mates(session, {one.item_id for some in seeds.values() for one in some}, now=now)
    categories = {one.category for rows in had.values() for one in rows if one.is_kept and one.category}
    fresh = await _new_in(session, categories, now=now)
    return {
        member_id: _chosen(had.get(member_id, []), seeds.get(member_id, []), mates, fresh, limit=limit)
        for member_id in member_ids
    }


async def mates_of(session: AsyncSession, sku: str, *, limit: int = 20) -> list[Mate]:
    """What an article is bought with, the surest first: what the shop's own people look at."""
    one, other = sa.orm.aliased(Item), sa.orm.aliased(Item)
    rows = await session.execute(
        sa.select(other.sku, other.name, ItemPair.together, ItemPair.score)
        .join(one, one.id == ItemPair.item_id)
        .join(other, other.id == ItemPair.other_id)
        .where(one.sku == sku)
        .order_by(ItemPair.score.desc(), ItemPair.together.desc(), other.sku)
        .limit(limit)
    )
    return [Mate(*row) for row in rows]


async def find_items(session: AsyncSession, words: str, *, limit: int = 30) -> list[Item]:
    """Articles by sku or name, those that sell best first; without words the best sellers."""
    said = words.strip()
    fits = () if not said else (sa.or_(Item.sku == said, Item.name.contains(said, autoescape=True)),)
    rows = await session.scalars(sa.select(Item).where(*fits).order_by(Item.orders.desc(), Item.sku).limit(limit))
    return list(rows)


async def last_run(session: AsyncSession) -> ItemRun | None:
    found: ItemRun | None = await session.scalar(sa.select(ItemRun).order_by(ItemRun.counted_on.desc()).limit(1))
    return found


# Pieces


async def _had(session: AsyncSession, member_ids: Collection[int], *, now: datetime) -> dict[int, list[_Had]]:
    """What each of these people ordered lately, the newest first."""
    person = sa.func.coalesce(Member.merged_into_id, Member.id)
    own = sa.select(Member.id).where(
        sa.or_(is_among(session, Member.id, member_ids), is_among(session, Member.merged_into_id, member_ids)),
        Member.erased_at.is_(None),
    )
    is_kept = sa.and_(Order.paid_at.is_not(None), Order.refunded_fen == 0)
    last = sa.func.max(Order.placed_at)
    rows = await session.execute(
        sa.select(
            person.label("person"), Item.id, Item.name, Item.category, last.label("last"),
            sa.func.max(sa.case((is_kept, 1), else_=0)).label("kept"),
            sa.func.max(sa.case((is_kept, 0), else_=1)).label("refused"),
        )
        .join(Member, Member.id == Order.member_id)
        .join(OrderLine, OrderLine.order_id == Order.id)
        .join(Item, Item.sku == OrderLine.sku)
        .where(
            Order.member_id.in_(own), Order.placed_at > now - LOOKS_BACK, Order.status != OrderStatus.CANCELLED
        )
        .group_by(person, Item.id, Item.name, Item.category)
        .order_by(last.desc(), Item.id)
    )  # fmt: skip
    found: defaultdict[int, list[_Had]] = defaultdict(list)
    for row in rows:
        found[row.person].append(_Had(row.id, row.name, row.category, bool(row.kept), bool(row.refused)))
    return found


def _seeds(rows: Sequence[_Had]) -> list[_Had]:
    return [one for one in rows if one.is_kept and not one.is_refused][:SEEDS]


_Scored = tuple[Item, float]


async def _mates(session: AsyncSession, item_ids: Collection[int], *, now: datetime) -> dict[int, list[_Scored]]:
    """The others of each of these articles that are still sold."""
    rows = await session.execute(
        sa.select(ItemPair.item_id, ItemPair.score, Item)
        .join(Item, Item.id == ItemPair.other_id)
        .where(is_among(session, ItemPair.item_id, item_ids), *_is_sold(now))
    )
    found: defaultdict[int, list[_Scored]] = defaultdict(list)
    for item_id, score, item in rows:
        found[item_id].append((item, score))
    return found


async def _new_in(session: AsyncSession, categories: Collection[str], *, now: datetime) -> dict[str, list[Item]]:
    """What was first sold lately in these categories, the best sellers first.

    In a shop whose first orders are as young, everything would be new: there nothing is.
    """
    run = await last_run(session)
    if run is None or run.since_on is None or not categories:
        return {}
    since = max(local_day(now), run.since_on + timedelta(days=2 * NEW_DAYS)) - timedelta(days=NEW_DAYS)
    rows = await session.scalars(
        sa.select(Item)
        .where(is_among(session, Item.category, categories), Item.first_on >= since, *_is_sold(now))
        .order_by(Item.orders.desc(), Item.id)
        .limit(MOST_NEW)
    )
    found: defaultdict[str, list[Item]] = defaultdict(list)
    for item in rows:
        found[item.category].append(item)
    return found


def _is_sold(now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    long_ago: date = local_day(now) - timedelta(days=SOLD_DAYS)
    return Item.last_on >= long_ago, Item.orders > 0


def _chosen(
    had: Sequence[_Had],
    seeds: Sequence[_Had],
    mates: Mapping[int, Sequence[_Scored]],
    fresh: Mapping[str, Sequence[Item]],
    *,
    limit: int,
) -> list[Suggestion]:
    not_now = {one.item_id for one in had}
    together = [one for one in _together(seeds, mates) if one[0].id not in not_now]
    new = [item for item in _new(had, fresh) if item.id not in not_now]
    picked: dict[int, Suggestion] = {}
    for pair, item in zip_longest(together, new):
        if pair is not None:
            mate, because = pair
            picked.setdefault(mate.id, Suggestion(mate.sku, mate.name, mate.category, Why.TOGETHER, because))
        if item is not None:
            picked.setdefault(item.id, Suggestion(item.sku, item.name, item.category, Why.NEW, item.category))
    return list(picked.values())[:limit]


def _together(seeds: Sequence[_Had], mates: Mapping[int, Sequence[_Scored]]) -> Iterator[tuple[Item, str]]:
    """What goes with what they bought, and with which of it most; what goes with several of them counts for each."""
    total: defaultdict[int, float] = defaultdict(float)
    strongest: dict[int, tuple[float, Item, str]] = {}
    for seed in seeds:
        for item, score in mates.get(seed.item_id, ()):
            total[item.id] += score
            if item.id not in strongest or score > strongest[item.id][0]:
                strongest[item.id] = score, item, seed.name
    for item_id in sorted(total, key=lambda one: (-total[one], one)):
        _, item, because = strongest[item_id]
        yield item, because


def _new(had: Sequence[_Had], fresh: Mapping[str, Sequence[Item]]) -> Iterator[Item]:
    """What is new, the category they bought last first."""
    seen: set[str] = set()
    for one in had:
        if one.is_kept and one.category not in seen:
            seen.add(one.category)
            yield from fresh.get(one.category, ())
