"""Scores a file of orders without touching the shop's data: its rows in a database in memory, the same SELECT."""

import codecs
import csv
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TextIO
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from crm.base.clock import SHANGHAI, local_day
from crm.base.db import Base, open_sessions
from crm.base.errors import Invalid
from crm.models.member import Member, MemberSource
from crm.models.order import Order, OrderStatus, Refund
from crm.models.rfm import Segment
from crm.rfm_rules import Population, Rule, cutoffs_of, score_all
from crm.rfm_totals import population

COLUMNS = ("order_id", "member_id", "paid_at", "kind", "amount")
OUT_COLUMNS = ("member_id", "recency_days", "frequency", "monetary_fen", "r", "f", "m", "segment")
SOURCE = "file"
MOST_FEN = 10**13  # a hundred billion yuan: more is a slip of the keyboard
_JOINED = datetime(1970, 1, 1, tzinfo=UTC)
_SEGMENTS = tuple(Segment)


@dataclass(eq=False)
class ColumnsMissing(Invalid):
    """The file lacks columns that are needed."""

    code = "rfm.columns_missing"
    missing: tuple[str, ...]
    found: tuple[str, ...]


@dataclass(eq=False)
class NotATable(Invalid):
    """The file cannot be read as CSV."""

    code = "rfm.not_a_table"
    problem: str


@dataclass(frozen=True, slots=True)
class RowRefused:
    """A row that was left out, and why in words."""

    row_number: int  # of the file, the header being 1
    reason: str


@dataclass(frozen=True, slots=True)
class Sale:
    """A sale, or a refund when it stands among the refunds."""

    order_id: str
    member_id: str
    at: datetime
    fen: int


@dataclass(slots=True)
class OrderFile:
    """What a file says: sales by order number, the last telling counts; refunds; rows that were refused."""

    sales: dict[str, Sale] = field(default_factory=dict)
    refunds: list[Sale] = field(default_factory=list)
    refused: list[RowRefused] = field(default_factory=list)


def read_orders(path: Path, zone: ZoneInfo = SHANGHAI) -> OrderFile:
    """Read a CSV of order_id, member_id, paid_at, kind (sale or refund), amount in yuan; UTF-8, or GBK as Excel saves.

    Raises ColumnsMissing, or NotATable when it is no CSV at all.
    """
    try:
        with path.open(encoding=_encoding(path), newline="") as lines:
            return _read(lines, zone)
    except (csv.Error, UnicodeDecodeError) as wrong:
        raise NotATable(str(wrong)) from None


def _encoding(path: Path) -> str:
    with path.open("rb") as start:
        head = start.read(1 << 16)
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "gb18030"
    return "utf-8-sig"


def _read(lines: TextIO, zone: ZoneInfo) -> OrderFile:
    rows = csv.DictReader(lines)
    found = tuple(rows.fieldnames or ())
    if missing := tuple(name for name in COLUMNS if name not in found):
        raise ColumnsMissing(missing, found)
    read = OrderFile()
    for number, row in enumerate(rows, 2):
        try:
            _take(read, row, zone)
        except ValueError as wrong:
            read.refused.append(RowRefused(number, str(wrong)))
    return read


def _take(read: OrderFile, row: Mapping[str, str | None], zone: ZoneInfo) -> None:
    order_id, member_id, paid_at, kind, amount = ((row.get(name) or "").strip() for name in COLUMNS)
    if not order_id or not member_id:
        raise ValueError("缺少 order_id 或 member_id")
    if kind not in {"sale", "refund"}:
        raise ValueError(f"kind 应为 sale 或 refund，这里是“{kind}”")
    fen = _fen(amount)
    told = Sale(order_id, member_id, _instant(paid_at, zone), abs(fen))
    if kind == "refund":
        if fen:  # written with a minus or without; nothing refunded is nothing
            read.refunds.append(told)
    elif fen < 0:
        raise ValueError(f"销售金额不能为负：{amount}")
    else:
        read.sales[order_id] = told


def _fen(amount: str) -> int:
    try:
        fen = (Decimal(amount.replace(",", "").lstrip("¥￥")) * 100).to_integral_value(ROUND_HALF_UP)
        if abs(fen) <= MOST_FEN:
            return int(fen)
    except InvalidOperation:
        pass
    raise ValueError(f"金额读不懂：“{amount}”")


def _instant(text: str, zone: ZoneInfo) -> datetime:
    try:
        told = datetime.fromisoformat(text.replace("/", "-"))
    except ValueError:
        raise ValueError(f"时间读不懂：“{text}”") from None
    if not 1970 < told.year < 9999:
        raise ValueError(f"时间太离谱：“{text}”")
    return told if told.tzinfo is not None else told.replace(tzinfo=zone)


@dataclass(frozen=True, slots=True)
class Scored:
    """One member of the file."""

    member_id: str
    recency_days: int
    frequency: int
    monetary_fen: int
    r: int
    f: int
    m: int
    segment: Segment


async def score(read: OrderFile, *, as_of: date, rule: Rule, zone: ZoneInfo = SHANGHAI) -> list[Scored]:
    """Score the members of a file as of a shop-local day, in the order of their ids."""
    names = sorted({told.member_id for told in (*read.sales.values(), *read.refunds)})
    async with scratch() as session:
        await _load(await session.connection(), read, {name: place for place, name in enumerate(names, 1)}, zone)
        people = await population(session, as_of, rule)
    return scored_rows(people, rule, lambda place: names[place - 1])


def scored_rows(people: Population, rule: Rule, name: Callable[[int], str] = str) -> list[Scored]:
    """Everybody with scores, by member id; `name` is what the file calls a member."""
    cutoffs = cutoffs_of(people, rule)
    if cutoffs is None:
        return []
    scores = score_all(people, cutoffs)
    columns = (
        people.member_id, people.recency_days, people.frequency, people.monetary_fen,
        scores.r, scores.f, scores.m, scores.segment,
    )  # fmt: skip
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [
        Scored(name(place), days, frequency, fen, r, f, m, _SEGMENTS[segment])
        for place, days, frequency, fen, r, f, m, segment in sorted(rows)
    ]


def write_scores(path: Path, rows: Iterable[Scored]) -> None:
    """CSV with one line a member; a reader sees the whole file or none of it."""
    unfinished = path.with_name(f"{path.name}.part")
    with unfinished.open("w", encoding="utf-8", newline="") as lines:
        out = csv.writer(lines, lineterminator="\n")
        out.writerow(OUT_COLUMNS)
        out.writerows([getattr(row, name) for name in OUT_COLUMNS] for row in rows)
    unfinished.replace(path)


@asynccontextmanager
async def scratch() -> AsyncIterator[AsyncSession]:
    """A database in memory with members, orders and refunds, gone at the end of the block."""
    sessions = open_sessions("sqlite+aiosqlite:///:memory:")
    tables: list[Any] = [Member.__table__, Order.__table__, Refund.__table__]
    try:
        async with sessions.begin() as session:
            connection = await session.connection()
            await connection.run_sync(lambda bare: Base.metadata.create_all(bare, tables=tables))
            yield session
    finally:
        await sessions.close()


async def _load(connection: AsyncConnection, read: OrderFile, numbers: Mapping[str, int], zone: ZoneInfo) -> None:
    order_ids = {order_id: number for number, order_id in enumerate(read.sales, 1)}
    refunds = list(_shared_out(read))
    refunded: defaultdict[str, int] = defaultdict(int)
    for order_id, _, fen in refunds:
        if order_id is not None:
            refunded[order_id] += fen
    people = [
        {"id": number, "code": f"{number:08d}", "source": MemberSource.IMPORT, "joined_at": _JOINED}
        for number in numbers.values()
    ]
    sales = [
        {
            "id": order_ids[sale.order_id],
            "member_id": numbers[sale.member_id],
            "source": SOURCE,
            "external_no": sale.order_id,
            "status": OrderStatus.PAID,
            "total_fen": sale.fen,
            "paid_fen": sale.fen,
            "refunded_fen": refunded[sale.order_id],
            "placed_at": sale.at,
            "told_at": sale.at,
            "paid_at": sale.at,
            "paid_on": local_day(sale.at, zone),
        }
        for sale in read.sales.values()
    ]
    back = [
        {
            "member_id": numbers[told.member_id],
            "order_id": None if order_id is None else order_ids[order_id],
            "source": SOURCE,
            "external_no": str(number),
            "amount_fen": fen,
            "refunded_at": told.at,
            "refunded_on": local_day(told.at, zone),
        }
        for number, (order_id, told, fen) in enumerate(refunds)
    ]
    for table, rows in ((Member, people), (Order, sales), (Refund, back)):
        if rows:
            await connection.execute(sa.insert(table), rows)


def _shared_out(read: OrderFile) -> Iterator[tuple[str | None, Sale, int]]:
    """Refunds by the order they name, if it is that member's. More than was paid for it goes off the money alone."""
    left = {order_id: sale.fen for order_id, sale in read.sales.items()}
    for told in sorted(read.refunds, key=lambda refund: refund.at):
        sale = read.sales.get(told.order_id)
        named = min(told.fen, left[told.order_id]) if sale is not None and sale.member_id == told.member_id else 0
        if named:
            left[told.order_id] -= named
            yield told.order_id, told, named
        if told.fen > named:
            yield None, told, told.fen - named
