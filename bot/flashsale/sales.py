"""Sales: planned, announced, opened, closed and settled; who may come early, and whom a sale is for."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.flashsale.terms import ItemNotFound, SaleInvalid, SaleNotFound
from bot.models.sale import Claim, ClaimStatus, Sale, SaleGroup, SaleItem, SaleShare, SaleStatus, Waiter, WaiterStatus
from crm import levels, member_tags
from crm.base.db import insert
from crm.base.ids import code as new_code
from crm.models.group import GroupMember

PAY_WINDOW = timedelta(minutes=15)
AHEAD = timedelta(hours=2)
AHEAD_AT_MOST = timedelta(days=3)
WEEK = timedelta(days=7)
RUNNING = (SaleStatus.ANNOUNCED, SaleStatus.OPEN)
SEEN = (*RUNNING, SaleStatus.SOLD_OUT, SaleStatus.CLOSED, SaleStatus.SETTLED)
REMEMBERED = timedelta(days=7)  # a sale that is over for longer is nothing a member means
WAITED_FOR = 2  # pay windows after closing in which units that come back are still offered


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemPlan:
    """One article of a plan. shares: units by group id; none means that all groups share the stock."""

    code: str
    sku: str
    name: str
    price_fen: int
    list_price_fen: int
    stock: int
    limit_each: int = 1
    picture: str = ""
    shares: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A sale as its manager means it. series: a weekly sale; the next session is made when this one closes."""

    name: str
    opens_at: datetime
    closes_at: datetime
    items: Sequence[ItemPlan]
    early_at: datetime | None = None
    early_levels: Sequence[str] = ()
    early_tags: Sequence[str] = ()
    group_ids: Sequence[int] = ()
    pay_window: timedelta = PAY_WINDOW
    honours_late: bool = True
    series: str | None = None
    announce_ahead: timedelta = AHEAD
    groups_only: bool = True
    recaps: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """What a sale makes of a member before any claim."""

    is_early: bool
    is_invited: bool


# Reads


async def get(session: AsyncSession, code: str) -> Sale:
    """Raises SaleNotFound."""
    sale: Sale | None = await session.scalar(sa.select(Sale).where(Sale.code == code.upper()))
    if sale is None:
        raise SaleNotFound(code)
    return sale


async def items_of(session: AsyncSession, sale_id: int) -> list[SaleItem]:
    rows = await session.scalars(sa.select(SaleItem).where(SaleItem.sale_id == sale_id).order_by(SaleItem.id))
    return list(rows)


async def on_now(session: AsyncSession, *, now: datetime, limit: int = 5) -> list[Sale]:
    """Sales that members may see: announced or open and not over, the next first."""
    rows = await session.scalars(
        sa.select(Sale).where(Sale.status.in_(RUNNING), Sale.closes_at > now).order_by(Sale.opens_at).limit(limit)
    )
    return list(rows)


async def find_item(session: AsyncSession, code: str, *, now: datetime) -> SaleItem:
    """The item a member means by A1: of the sale that is on, is next, or was the last. Raises ItemNotFound."""
    found: SaleItem | None = await session.scalar(
        sa.select(SaleItem)
        .join(Sale, Sale.id == SaleItem.sale_id)
        .where(sa.func.upper(SaleItem.code) == code.upper(), Sale.status.in_(SEEN))
        .where(Sale.closes_at > now - REMEMBERED)
        .order_by(
            sa.case((sa.and_(Sale.closes_at > now, Sale.status.in_(RUNNING)), 0), else_=1),
            sa.case((Sale.status.in_(RUNNING), Sale.opens_at)),
            Sale.closes_at.desc(),
        )
        .limit(1)
    )
    if found is None:
        raise ItemNotFound(code)
    return found


async def standing(session: AsyncSession, sale: Sale, member_id: int, *, now: datetime) -> Standing:
    """Whether a member may come early, and whether the sale is for them: two facts that no race turns on."""
    invited = sa.select(SaleGroup.group_id).where(SaleGroup.sale_id == sale.id)
    groups = set(await session.scalars(invited))
    is_invited = not (groups and sale.groups_only) or await _is_in_one_of(session, groups, member_id)
    if sale.early_at is None or now >= sale.opens_at:
        return Standing(False, is_invited)
    level = await levels.name_of(session, member_id)
    if level is not None and level in sale.early.get("levels", ()):
        return Standing(True, is_invited)
    wanted = set(sale.early.get("tags", ()))
    borne = {one.name for one in await member_tags.borne_by(session, member_id, now=now)} if wanted else set()
    return Standing(bool(wanted & borne), is_invited)


async def _is_in_one_of(session: AsyncSession, group_ids: set[int], member_id: int) -> bool:
    mine = sa.select(GroupMember.id).where(
        GroupMember.group_id.in_(group_ids), GroupMember.member_id == member_id, GroupMember.left_at.is_(None)
    )
    return await session.scalar(mine.limit(1)) is not None


async def group_by_link(session: AsyncSession, sale: Sale, link_code: str, member_id: int) -> int | None:
    """The group whose link a member came by, if they are in it: another group's link brings nobody its share."""
    found: int | None = await session.scalar(
        sa.select(SaleGroup.group_id)
        .join(GroupMember, GroupMember.group_id == SaleGroup.group_id)
        .where(
            SaleGroup.sale_id == sale.id,
            SaleGroup.code == link_code.upper(),
            GroupMember.member_id == member_id,
            GroupMember.left_at.is_(None),
        )
        .limit(1)
    )
    return found


# Verbs


async def plan(session: AsyncSession, wanted: Plan, *, now: datetime, chance: random.Random) -> Sale:
    """A draft. Raises SaleInvalid with the first thing that cannot be meant."""
    if why := problem(wanted, now=now):
        raise SaleInvalid(why)
    sale = Sale(code=new_code(chance), status=SaleStatus.DRAFT, created_at=now, **_columns(wanted))
    session.add(sale)
    await session.flush()
    await _fill(session, sale.id, wanted, chance=chance)
    return sale


async def change(session: AsyncSession, sale_id: int, wanted: Plan, *, now: datetime, chance: random.Random) -> bool:
    """Another plan for a draft; its groups get new links. Whether it was one. Raises SaleInvalid."""
    if why := problem(wanted, now=now):
        raise SaleInvalid(why)
    if not await _move(session, Sale.id == sale_id, Sale.status == SaleStatus.DRAFT, **_columns(wanted)):
        return False
    items = sa.select(SaleItem.id).where(SaleItem.sale_id == sale_id)
    for old in (
        sa.delete(SaleShare).where(SaleShare.item_id.in_(items)),
        sa.delete(SaleItem).where(SaleItem.sale_id == sale_id),
        sa.delete(SaleGroup).where(SaleGroup.sale_id == sale_id),
    ):
        await session.execute(old.execution_options(synchronize_session=False))
    session.expire_all()
    await _fill(session, sale_id, wanted, chance=chance)
    return True


def _columns(wanted: Plan) -> dict[str, Any]:
    return {
        "name": wanted.name.strip(),
        "early_at": wanted.early_at,
        "early": {"levels": list(wanted.early_levels), "tags": list(wanted.early_tags)},
        "opens_at": wanted.opens_at,
        "closes_at": wanted.closes_at,
        "pay_seconds": int(wanted.pay_window.total_seconds()),
        "honours_late": wanted.honours_late,
        "series": wanted.series,
        "ahead_seconds": int(wanted.announce_ahead.total_seconds()),
        "groups_only": wanted.groups_only,
        "recaps": wanted.recaps,
    }


async def _fill(session: AsyncSession, sale_id: int, wanted: Plan, *, chance: random.Random) -> None:
    for each in wanted.items:
        item = SaleItem(
            sale_id=sale_id,
            code=each.code.upper(),
            sku=each.sku,
            name=each.name,
            picture=each.picture,
            price_fen=each.price_fen,
            list_price_fen=each.list_price_fen,
            stock=each.stock,
            limit_each=each.limit_each,
        )
        session.add(item)
        await session.flush()
        shares = sorted(each.shares.items())
        session.add_all(SaleShare(item_id=item.id, group_id=group_id, stock=units) for group_id, units in shares)
    groups = sorted(set(wanted.group_ids))
    session.add_all(SaleGroup(sale_id=sale_id, group_id=one, code=new_code(chance)) for one in groups)
    await session.flush()


def problem(wanted: Plan, *, now: datetime) -> str:
    """The first thing about a plan that cannot be meant; empty when it can. Pure."""
    codes = [each.code.upper() for each in wanted.items]
    checks = (
        (not wanted.name.strip(), "没有名称"),
        (not wanted.items, "没有商品"),
        (wanted.closes_at <= wanted.opens_at, "结束时间要晚于开始时间"),
        (wanted.closes_at <= now, "结束时间已经过了"),
        (wanted.early_at is not None and wanted.early_at > wanted.opens_at, "提前购的时间要早于开始时间"),
        (wanted.early_at is not None and not (wanted.early_levels or wanted.early_tags), "提前购没有说给谁"),
        (not timedelta(minutes=1) <= wanted.pay_window <= timedelta(days=1), "付款时限要在 1 分钟到 1 天之间"),
        (len(set(codes)) < len(codes), "商品代号重复"),
        (not timedelta(0) <= wanted.announce_ahead <= AHEAD_AT_MOST, "公告最多提前 3 天"),
        (wanted.recaps and not wanted.group_ids, "没有写群，小结没有地方发"),
        (wanted.series is not None and wanted.closes_at - wanted.opens_at > WEEK, "每周一次的秒杀不能超过一周"),
    )
    if found := next((words for wrong, words in checks if wrong), ""):
        return found
    return next((words for each in wanted.items if (words := _item_problem(each, wanted.group_ids))), "")


def _item_problem(each: ItemPlan, group_ids: Sequence[int]) -> str:
    checks = (
        (not (each.code.isascii() and each.code.isalnum() and len(each.code) <= 8), "代号要用 1 到 8 位字母或数字"),
        (not each.name.strip(), "没有名称"),
        (each.stock <= 0, "库存要大于 0"),
        (each.limit_each <= 0, "每人限购要大于 0"),
        (each.price_fen < 0 or each.list_price_fen < each.price_fen, "秒杀价要在 0 和原价之间"),
        (any(units <= 0 for units in each.shares.values()), "每个群的库存要大于 0"),
        (sum(each.shares.values()) > each.stock, "各群的库存加起来超过了总库存"),
        (not set(each.shares) <= set(group_ids), "有库存的群不在这场秒杀里"),
    )
    return next((f"商品 {each.code or '?'}：{words}" for wrong, words in checks if wrong), "")


async def announce(session: AsyncSession, sale_id: int) -> bool:
    """Members may see it from now on; whether this call did it."""
    return await _move(session, Sale.id == sale_id, Sale.status == SaleStatus.DRAFT, to=SaleStatus.ANNOUNCED) > 0


async def close(session: AsyncSession, sale_id: int, *, now: datetime) -> bool:
    """End a sale by hand: no more claims and no more offers; who holds one may still pay. Whether this call did it."""
    open_ones = Sale.status.in_((SaleStatus.DRAFT, *RUNNING))
    if not await _move(session, Sale.id == sale_id, open_ones, to=SaleStatus.CLOSED):
        return False
    await _send_away(session, sale_id, now=now)
    return True


async def end_series(session: AsyncSession, series: str) -> int:
    """A weekly sale has no next session any more; those that are announced go on. Returns how many sessions it had."""
    ended = sa.update(Sale).where(Sale.series == series).values(series=None).returning(Sale.id)
    return len((await session.execute(ended.execution_options(synchronize_session=False))).all())


async def follow_clock(session: AsyncSession, *, now: datetime) -> int:
    """Open, close, mark as sold out and settle what is due; returns how many sales moved."""
    unsold = sa.exists().where(SaleItem.sale_id == Sale.id, SaleItem.sold < SaleItem.stock)
    items = sa.select(SaleItem.id).where(SaleItem.sale_id == Sale.id)
    owed = sa.exists().where(Claim.item_id.in_(items), Claim.status == ClaimStatus.HELD)
    is_due = Sale.opens_at <= now
    moved = await _move(session, Sale.status == SaleStatus.ANNOUNCED, is_due, to=SaleStatus.OPEN)
    moved += await _move(session, Sale.status == SaleStatus.OPEN, Sale.closes_at <= now, to=SaleStatus.CLOSED)
    moved += await _move(session, Sale.status == SaleStatus.OPEN, ~unsold, to=SaleStatus.SOLD_OUT)
    for sale in await session.scalars(
        sa.select(Sale).where(Sale.status.in_((SaleStatus.CLOSED, SaleStatus.SOLD_OUT)), ~owed)
    ):
        if sale.status is SaleStatus.SOLD_OUT or now >= offers_until(sale):
            moved += await _settle(session, sale, now=now)
    return moved


def offers_until(sale: Sale) -> datetime:
    """Units that come back later stay unsold."""
    return sale.closes_at + WAITED_FOR * timedelta(seconds=sale.pay_seconds)


async def _settle(session: AsyncSession, sale: Sale, *, now: datetime) -> int:
    which = (Sale.id == sale.id, Sale.status == sale.status)
    if not await _move(session, *which, to=SaleStatus.SETTLED, settled_at=now):
        return 0
    await _send_away(session, sale.id, now=now)
    return 1


async def _send_away(session: AsyncSession, sale_id: int, *, now: datetime) -> None:
    """Nobody waits for this sale's items any more."""
    items = sa.select(SaleItem.id).where(SaleItem.sale_id == sale_id)
    waiting = (Waiter.item_id.in_(items), Waiter.status == WaiterStatus.WAITING)
    ended = sa.update(Waiter).where(*waiting).values(status=WaiterStatus.GONE, ended_at=now)
    await session.execute(ended.execution_options(synchronize_session=False))


async def _move(
    session: AsyncSession, *where: sa.ColumnElement[bool], to: SaleStatus | None = None, **also: object
) -> int:
    moved = await session.execute(
        sa.update(Sale)
        .where(*where)
        .values(**({} if to is None else {"status": to}), **also)
        .returning(Sale.id)
        .execution_options(synchronize_session=False)
    )
    return len(moved.all())


async def next_sessions(session: AsyncSession, *, now: datetime, chance: random.Random) -> int:
    """Make the next session of each weekly sale whose last one has closed; the unique key makes it once.

    One that nobody announced has none: the next would be seen without anybody having said yes to it.
    """
    last = (
        sa.select(Sale.series, sa.func.max(Sale.opens_at).label("opens_at"))
        .where(Sale.series.is_not(None))
        .group_by(Sale.series)
        .subquery()
    )
    over = await session.scalars(
        sa.select(Sale)
        .join(last, sa.and_(Sale.series == last.c.series, Sale.opens_at == last.c.opens_at))
        .where(Sale.closes_at <= now, Sale.status != SaleStatus.DRAFT)
    )
    made = 0
    for sale in over.all():
        made += await _repeat(session, sale, now=now, chance=chance)
    return made


async def _repeat(session: AsyncSession, sale: Sale, *, now: datetime, chance: random.Random) -> int:
    weeks = (now - sale.opens_at) // WEEK + 1  # what was missed while nobody looked is not held afterwards
    later = weeks * WEEK
    values = {
        "code": new_code(chance),
        "name": sale.name,
        "status": SaleStatus.ANNOUNCED,
        "early_at": sale.early_at and sale.early_at + later,
        "early": sale.early,
        "opens_at": sale.opens_at + later,
        "closes_at": sale.closes_at + later,
        "pay_seconds": sale.pay_seconds,
        "honours_late": sale.honours_late,
        "series": sale.series,
        "ahead_seconds": sale.ahead_seconds,
        "groups_only": sale.groups_only,
        "recaps": sale.recaps,
        "created_at": now,
    }
    made = insert(session, Sale).values(values).on_conflict_do_nothing().returning(Sale.id)
    new_id = await session.scalar(made)
    if new_id is None:
        return 0
    for item in await items_of(session, sale.id):
        twin = SaleItem(
            sale_id=new_id,
            **{
                name: getattr(item, name)
                for name in ("code", "sku", "name", "picture", "price_fen", "list_price_fen", "stock", "limit_each")
            },
        )
        session.add(twin)
        await session.flush()
        shares = await session.scalars(sa.select(SaleShare).where(SaleShare.item_id == item.id))
        session.add_all(
            SaleShare(item_id=twin.id, group_id=share.group_id, stock=share.stock) for share in shares.all()
        )
    groups = await session.scalars(sa.select(SaleGroup.group_id).where(SaleGroup.sale_id == sale.id))
    session.add_all(SaleGroup(sale_id=new_id, group_id=one, code=new_code(chance)) for one in groups.all())
    await session.flush()
    return 1
