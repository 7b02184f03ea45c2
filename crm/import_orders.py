"""Orders out of a file: a row an order or a row a line, with refunds among them."""

from array import array
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from crm import identities, order_batches, orders
from crm.base.clock import SHANGHAI
from crm.base.db import Sessions
from crm.base.errors import Busy, ShopError
from crm.identities import Person
from crm.import_cells import BadCell, Cell, text
from crm.import_files import BadFile, Row, Sheet, open_sheet
from crm.imports import TOGETHER, Progress, Refusals, Report, calm_memory, check_columns
from crm.models.member import MemberSource
from crm.order_batches import ToldRefund
from crm.order_rows import COLUMNS, NEEDED, Draft, Parser
from crm.order_terms import Told

TRIES = 3
MAX_LINES = 2_000  # of one order
MAX_SPLIT_ROWS = 20_000  # rows of orders whose lines do not stand together wait in memory


async def import_orders(
    sessions: Sessions,
    path: Path,
    *,
    source: str,
    now: datetime,
    zone: ZoneInfo = SHANGHAI,
    progress: Progress = lambda _share, _report: None,
) -> Report:
    """Take in a file of orders; a second run changes nothing. Raises BadFile before anything is written.

    source: the shop system whose numbers these are. Rows: order and member number, instants (shop-local without a
    zone), amounts in yuan; lines of one order are rows of the same number.
    """
    sheet = open_sheet(path, COLUMNS)
    check_columns(sheet, NEEDED)
    parser = Parser(source=source, columns=sheet.columns, now=now, zone=zone)
    split = _split_orders(path) if parser.has_lines else frozenset()
    report = Report()
    with Refusals(path, report) as refusals, calm_memory():
        batch: dict[tuple[str, bool], Draft] = {}
        rows = 0
        for draft in _drafts(sheet, parser, split, report, refusals):
            key = (draft.refund_no or draft.order_no, draft.is_refund)
            if key in batch or rows >= TOGETHER:
                await _write(sessions, list(batch.values()), source, report, refusals, now=now, zone=zone)
                batch, rows = {}, 0
                progress(sheet.done, report)
            batch[key] = draft
            rows += len(draft.rows)
        await _write(sessions, list(batch.values()), source, report, refusals, now=now, zone=zone)
        progress(1.0, report)
    return report


def _drafts(sheet: Sheet, parser: Parser, split: frozenset[int], report: Report, refusals: Refusals) -> Iterator[Draft]:
    """Whole orders, in the order in which their rows end. One bad row refuses all of its order."""
    if not parser.has_lines:
        yield from _singles(sheet.rows, parser, report, refusals)
        return
    for rows in _together(sheet.rows, split, report, refusals):
        drafts: list[Draft] = []
        bad = 0
        for row in rows:
            try:
                drafts.append(parser.read(row))
            except BadCell as reason:
                refusals.add(row, str(reason))
                bad = bad or row.number
        try:
            if drafts and not bad:
                yield _joined(drafts)
        except BadCell as reason:
            bad = -1
            for draft in drafts:
                refusals.add(draft.rows[0], str(reason))
        if bad > 0:
            for draft in drafts:
                refusals.add(draft.rows[0], f"同一订单的另一行有错，整单没有导入：第 {bad} 行")


def _singles(rows: Iterator[Row], parser: Parser, report: Report, refusals: Refusals) -> Iterator[Draft]:
    """An order a row."""
    for row in rows:
        report.rows += 1
        if row.broken:
            refusals.add(row, row.broken)
            continue
        try:
            draft = parser.read(row)
            _check(draft)
        except BadCell as reason:
            refusals.add(row, str(reason))
        else:
            yield draft


def _together(rows: Iterator[Row], split: frozenset[int], report: Report, refusals: Refusals) -> Iterator[list[Row]]:
    """Rows of one order at a time; orders whose rows stand apart come last."""
    group: list[Row] = []
    apart: dict[Cell, list[Row]] = {}
    waiting = 0
    for row in rows:
        report.rows += 1
        if row.broken:
            refusals.add(row, row.broken)
            continue
        name = row.cells.get("order_no")
        if split and hash(name) in split:
            apart.setdefault(name, []).append(row)
            if (waiting := waiting + 1) > MAX_SPLIT_ROWS:
                raise BadFile("同一订单的行散在文件各处，请按订单号排序后再导入")
            continue
        if group and group[0].cells.get("order_no") != name:
            yield group
            group = []
        group.append(row)
        if len(group) > MAX_LINES:
            raise BadFile(f"订单 {text(name)[:40]} 超过 {MAX_LINES} 行，请检查订单号这一列")
    if group:
        yield group
    yield from apart.values()


def _split_orders(path: Path) -> frozenset[int]:
    """Hashes of the order numbers whose rows do not stand together; a first look that keeps 8 bytes an order."""
    starts, before = array("q"), None
    for row in open_sheet(path, COLUMNS).rows:
        name = row.cells.get("order_no")
        if name is not None and name != before:
            starts.append(hash(name))
            before = name
    if not starts:
        return frozenset()
    values, counts = np.unique(np.frombuffer(starts, dtype=np.int64), return_counts=True)
    return frozenset(int(value) for value in values[counts > 1])


def _joined(drafts: Sequence[Draft]) -> Draft:
    """One order of its rows. Raises BadCell when they contradict each other."""
    first = drafts[0]
    for other in drafts[1:]:
        if (other.keys, other.is_refund) != (first.keys, first.is_refund):
            raise BadCell(f"同一订单的行说的不是同一个会员或同一种单据：{first.order_no}")
        first.placed_at = min(first.placed_at, other.placed_at)
        if other.paid_at is not None:
            first.paid_at = min(first.paid_at or other.paid_at, other.paid_at)
        first.lines += other.lines
        first.lines_fen += other.lines_fen
        first.rows += other.rows
    _check(first)
    return first


def _check(draft: Draft) -> None:
    if draft.is_refund and draft.fen == 0:
        raise BadCell("退款金额是 0")
    if not draft.is_refund and draft.fen < 0:
        raise BadCell("订单金额是负数")


async def _write(
    sessions: Sessions,
    drafts: Sequence[Draft],
    source: str,
    report: Report,
    refusals: Refusals,
    *,
    now: datetime,
    zone: ZoneInfo,
) -> None:
    """One transaction, tried again when another writer was in the way."""
    if not drafts:
        return
    for attempt in range(TRIES):
        try:
            async with sessions.begin() as session:
                written, refused = await _place(session, drafts, source, now=now, zone=zone)
            break
        except (Busy, DBAPIError) as error:
            if attempt == TRIES - 1 or not (isinstance(error, Busy) or "deadlock" in str(error)):
                raise
    report.added += written.added
    report.changed += written.changed
    report.unchanged += written.unchanged
    for draft, reason in refused:
        for row in draft.rows:
            refusals.add(row, reason)


async def _place(
    session: AsyncSession, drafts: Sequence[Draft], source: str, *, now: datetime, zone: ZoneInfo
) -> tuple[order_batches.Written, list[tuple[Draft, str]]]:
    members = await identities.enrol_batch(
        session, [_as_acting(draft) for draft in drafts], source=MemberSource.IMPORT, now=now
    )
    told, at_large, named, by_number = [], [], [], {}
    refused: list[tuple[Draft, str]] = []
    for draft, known_as in zip(drafts, members, strict=True):
        member_id = known_as or await _erased_owner(session, source, draft)
        if not draft.is_refund and member_id is not None:
            by_number[draft.order_no] = draft
            told.append(_told(draft, source, member_id))
        elif draft.refund_no and draft.order_no:
            named.append(draft)
        elif member_id is None:
            refused.append((draft, "这位会员已要求抹除资料，不再导入"))
        else:
            at_large.append(
                ToldRefund(
                    source=source,
                    external_no=draft.refund_no or draft.order_no,
                    member_id=member_id,
                    amount_fen=draft.fen,
                    refunded_at=draft.paid_at or draft.placed_at,
                )
            )
    written = await order_batches.place_all(session, told, now=now, zone=zone)
    written += await order_batches.refund_all(session, at_large, now=now, zone=zone)
    refused += [(by_number[one.external_no], f"和已有的订单对不上：{error.code}") for one, error in written.refused]
    for draft in named:
        try:
            async with session.begin_nested():
                known = await orders.find_refund(session, source, draft.refund_no)
                await orders.refund(
                    session,
                    source,
                    draft.refund_no,
                    order_no=draft.order_no,
                    amount_fen=draft.fen,
                    refunded_at=draft.paid_at or draft.placed_at,
                    now=now,
                    zone=zone,
                )
            written += order_batches.Written(added=known is None, unchanged=known is not None)
        except ShopError as error:
            refused.append((draft, f"退款和订单对不上：{error.code}"))
    return written, refused


def _as_acting(draft: Draft) -> Person:
    """Who ordered, with when they did: an erased person who orders again is a new member."""
    return Person(keys=draft.keys, acted_at=None if draft.is_refund else draft.placed_at)


async def _erased_owner(session: AsyncSession, source: str, draft: Draft) -> int | None:
    """Whose this order is kept as, though the person was erased; None: we never had it."""
    order = await orders.find(session, source, draft.order_no)
    return order.member_id if order is not None else None


def _told(draft: Draft, source: str, member_id: int) -> Told:
    refunded_fen = draft.refunded_fen
    if draft.is_refunded:
        refunded_fen = draft.fen if draft.paid_fen is None else draft.paid_fen
    return Told(
        source,
        draft.order_no,
        member_id,
        draft.placed_at,
        draft.fen,
        tuple(draft.lines) if draft.lines else None,
        draft.told_at,
        draft.paid_at,
        draft.paid_fen,
        draft.cancelled_at,
        refunded_fen,
    )
