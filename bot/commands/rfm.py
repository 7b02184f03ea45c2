"""`siyu rfm`: score everybody as of a day, or a file of orders that has nothing to do with the database."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncSession

from bot.commands.database import with_session
from bot.settings import read_settings, rfm_rule
from crm import members, rfm, rfm_history
from crm.base.clock import SystemClock, local_day
from crm.models.rfm import Segment, Tier
from crm.rfm import DayNotOver
from crm.rfm_history import CellResult, Matrix, SnapshotNotFound
from crm.rfm_rules import TIERS, WINDOW_DAYS, Rule
from crm.rfm_scratch import ColumnsMissing, NotATable, OrderFile, Scored, read_orders, score, scored_rows, write_scores
from crm.rfm_totals import population

out = Console()
REFUSALS_SHOWN = 8
TIER_NAMES = {Tier.HIGH_VALUE: "高价值", Tier.POTENTIAL: "潜力", Tier.DORMANT: "沉睡"}

Found = TypeVar("Found")
AsOf = Annotated[
    datetime | None, typer.Option("--as-of", formats=["%Y-%m-%d"], help="按这一天零点（店铺当地）打分，不写就是今天")
]
Orders = Annotated[
    Path | None,
    typer.Option(
        help="不动数据库，给这份 CSV 打分：order_id, member_id, paid_at, kind, amount", exists=True, dir_okay=False
    ),
]
Window = Annotated[int, typer.Option(help="给文件打分时看最近多少天", min=1, max=3650)]
Compare = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="和这一天的快照比：谁从哪一类到了哪一类")]
BackTest = Annotated[int, typer.Option(help="回测：当天各类会员在之后这么多天里花了多少", min=0, max=3650)]
Why = Annotated[str, typer.Option(help="这位会员（会员号）为什么是这个分")]


def rfm_command(
    as_of: AsOf = None,
    orders: Orders = None,
    out_file: Annotated[Path | None, typer.Option("--out", help="把每个人的分写进这份 CSV")] = None,
    window: Window = WINDOW_DAYS,
    compare: Compare = None,
    back_test: BackTest = 0,
    why: Why = "",
) -> None:
    """RFM scores as of a day: of the shop's members, or of a file of orders."""
    day = as_of.date() if as_of else local_day(SystemClock().now())
    try:
        if orders is not None:
            _score_file(orders, out_file, day, Rule(window_days=window))
        elif why:
            _explain(why)
        elif back_test:
            _show_back_test(with_session(_tested(day, back_test), writes=False), day, back_test)
        elif compare is not None:
            earlier = compare.date()
            moves = with_session(lambda session: rfm_history.matrix(session, earlier, day), writes=False)
            _show_matrix(moves, earlier, day)
        else:
            _refresh(day, out_file)
    except ColumnsMissing as refused:
        _fail(f"文件缺少这些列：{'、'.join(refused.missing)}。现有的列：{'、'.join(refused.found) or '没有'}")
    except NotATable as refused:
        _fail(f"这不是一份能读的 CSV：{refused.problem}")
    except SnapshotNotFound as refused:
        _fail(f"{refused.taken_on} 没有快照，先运行 siyu rfm --as-of {refused.taken_on}")
    except OSError as wrong:
        _fail(f"读写文件出错：{wrong.filename or ''} {wrong.strerror or wrong}")
    except DayNotOver as refused:
        _fail(f"{refused.as_of} 还没到，打不了分")


def _score_file(path: Path, out_file: Path | None, day: date, rule: Rule) -> None:
    read = read_orders(path)
    rows = asyncio.run(score(read, as_of=day, rule=rule))
    if out_file is not None:
        write_scores(out_file, rows)
    out.print(
        f"{path.name}：{len(read.sales):,} 笔销售，{len(read.refunds):,} 笔退款；"
        f"截至 {day} 零点、最近 {rule.window_days} 天有 {len(rows):,} 位会员得分。",
        highlight=False,
        soft_wrap=True,
    )
    _show_segments(rows)
    _show_refusals(read)


def _refresh(day: date, out_file: Path | None) -> None:
    rule = rfm_rule(read_settings())

    async def refresh(session: AsyncSession) -> tuple[int, int, list[Scored]]:
        snapshot = await rfm.refresh(session, as_of=day, rule=rule, now=SystemClock().now(), from_scratch=True)
        return snapshot.members, snapshot.moved, scored_rows(await population(session, day, rule), rule)

    scored, moved, rows = with_session(refresh)
    if out_file is not None:
        write_scores(out_file, rows)
    out.print(f"{day}：{scored:,} 位会员得分，其中 {moved:,} 位和上一次快照不同。", highlight=False, soft_wrap=True)
    _show_segments(rows)


def _explain(code: str) -> None:
    async def explain(session: AsyncSession) -> list[str] | None:
        member = await members.find_by_code(session, code)
        if member is None:
            return None
        standing = await rfm.explain(session, member.id, now=SystemClock().now())
        if standing is None:
            return [f"{member.name or member.code}：没有分。最近没有算数的订单，或者还没有打过分。"]
        return [f"{member.name or member.code}：{standing.score}", *standing.reasons]

    lines = with_session(explain, writes=False)
    if lines is None:
        _fail(f"没有会员号是 {code} 的会员")
    for line in lines or ():
        out.print(line, highlight=False, soft_wrap=True)


def _tested(day: date, days: int) -> Callable[[AsyncSession], Awaitable[list[CellResult]]]:
    rule = rfm_rule(read_settings())
    return lambda session: rfm_history.back_test(session, day, rule, days=days)


def _show_segments(rows: list[Scored]) -> None:
    table = Table("分类", "层级", "人数", "净消费（元）")
    for segment in Segment:
        mine = [row for row in rows if row.segment is segment]
        tier = TIER_NAMES[TIERS[segment]]
        table.add_row(segment.value, tier, f"{len(mine):,}", _yuan(sum(row.monetary_fen for row in mine)))
    out.print(table)


def _show_refusals(read: OrderFile) -> None:
    if not read.refused:
        return
    out.print(f"拒绝了 {len(read.refused):,} 行：", style="yellow")
    for row in read.refused[:REFUSALS_SHOWN]:
        out.print(f"  第 {row.row_number} 行：{row.reason}", highlight=False)
    raise typer.Exit(1)


def _show_back_test(cells: list[CellResult], day: date, days: int) -> None:
    table = Table("R-F-M", "分类", "人数", "买过的人", "单数", "人均（元）", title=f"{day} 的会员在之后 {days} 天")
    for cell in cells:
        table.add_row(
            str(cell.score),
            cell.score.segment.value,
            f"{cell.members:,}",
            f"{cell.buyers:,}",
            f"{cell.orders:,}",
            _yuan(cell.spent_each_fen),
        )
    out.print(table)


def _show_matrix(moves: Matrix, earlier: date, later: date) -> None:
    places = [*Segment, None]
    table = Table(title=f"行是 {earlier}，列是 {later}", box=SIMPLE)
    table.add_column("", no_wrap=True)
    for place in places:
        table.add_column(_in_two_lines(place), justify="right", no_wrap=True)
    for one in places:
        counts = (moves.get((one, other), 0) for other in places)
        table.add_row(one.value if one else "无分", *(f"{count:,}" if count else "·" for count in counts))
    out.print(table)


def _in_two_lines(place: Segment | None) -> str:
    """Ten columns fit a terminal of 80 only when their heads are narrow: 重要 over 价值."""
    return f"{place.value[:2]}\n{place.value[2:]}" if place else "无分"


def _yuan(fen: int) -> str:
    return f"{fen / 100:,.2f}"


def _fail(sentence: str) -> Any:
    Console(stderr=True).print(sentence, style="red", highlight=False, soft_wrap=True)
    raise typer.Exit(2)
