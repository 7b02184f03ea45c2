"""The monthly summary in words: suggestions as sentences, figures as sheets, the whole as Markdown or a workbook."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.web.campaign_names import reason
from campaigns import experiments
from campaigns.month_reports import Month
from campaigns.month_rules import CampaignMonth, Suggestion

SUGGESTIONS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "loses_money": lambda one: (
        f"投入 {money(one['cost_fen'])} 元，比对照组{_more_or_less(one['more_fen'])}，回报 {one['roi']:+.0%}："
        "减小让利，或者只发给更可能买的人群"
    ),
    "does_harm": lambda one: f"收到的人比对照组买得少（{_points(one)}）：先停下来，换内容再试",
    "no_effect": lambda one: f"看不出比对照组多买（{_points(one)}）：换人群、内容或优惠，别照原样再发",
    "winner": lambda one: f"写法“{one['winner']}”胜出：以后用它，停掉“{one['worst']}”",
    "unconfirmed": lambda one: (
        f"{one['asked']:,} 份里有 {one['unconfirmed']:,} 份员工没有确认：换个他们有空的时间，或者把提醒提前"
    ),
    "capped": lambda one: (
        f"{one['planned']:,} 人里有 {one['capped']:,} 人因为触达次数满了没收到：和别的活动错开，或者合并"
    ),
    "failed": lambda one: f"{one['ended']:,} 份里有 {one['failed']:,} 份没送到：清理已不是好友的人",
    "no_holdout": lambda one: (
        f"发了 {one['sent']:,} 份，没有对照组：留 5%–10% 不发（holdout_percent），才知道多卖了多少"
    ),
    "opt_outs": lambda one: (
        f"触达 {one['reached']:,} 份，{one['opted_out']:,} 人退订（超过 0.5%）：发得太多或太不相关，收紧频控"
    ),
    "best_hour": lambda one: (
        f"{one['hour']} 点送到的，下单的比例最高（{one['rate']:.1%}），其余时段都低于它：排在这个时间"
    ),
}


_CAMPAIGN_HEADS = (
    *("活动", "轮次", "计划", "送达", "没送到", "没确认", "订单", "收入（元）"),
    *("投入（元）", "增量（元）", "回报", "比对照组（95%）"),
)


@dataclass(frozen=True, slots=True)
class Sheet:
    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Any]]
    empty: str


def money(fen: int) -> str:
    return f"{fen / 100:,.2f}"


def _more_or_less(fen: int) -> str:
    return f"多卖 {money(fen)} 元" if fen >= 0 else f"少卖 {money(-fen)} 元"


def _points(one: Mapping[str, Any]) -> str:
    """An interval of a difference of shares, in points of a hundred."""
    return f"95% 区间 {one['low'] * 100:+.1f} 到 {one['high'] * 100:+.1f} 个百分点"


def sentence(one: Suggestion) -> str:
    said = SUGGESTIONS[one.code](one.facts)
    return f"“{one.campaign}”：{said}" if one.campaign else said


def sheets(month: Month) -> list[Sheet]:
    """Everything a month has to tell, as tables."""
    whole = [
        ("活动", len(month.campaigns)), ("送达（份）", month.sent), ("触达（人）", month.people_reached),
        ("最后触达带来（元）", month.revenue_fen / 100), ("投入（元）", month.cost_fen / 100),
        ("退订（人）", month.opted_out),
    ]  # fmt: skip
    return [
        Sheet("建议", ("建议", "规则"), [(sentence(one), one.code) for one in month.suggestions], "没有规则要说话"),
        Sheet("全月", ("项目", "数"), whole, ""),
        Sheet(
            "活动",
            _CAMPAIGN_HEADS,
            [_campaign(one) for one in month.campaigns],
            "这个月没有活动",
        ),
        Sheet(
            "写法",
            ("活动", "写法", "人数", "买了的", "转化", "95% 区间", "人均（元）", "结论"),
            [row for one in month.campaigns for row in _arms(one)],
            "没有送达",
        ),
        Sheet(
            "时段", ("几点", "送达", "下单的", "比例"),
            [(f"{one.hour} 点", one.sent, one.converted, f"{one.rate:.1%}") for one in month.hours], "没有送达",
        ),
        Sheet(
            "没收到的原因", ("原因", "人次"),
            [(reason(code), many) for code, many in month.reasons.items()], "没有谁因为什么没收到",
        ),
    ]  # fmt: skip


def _campaign(one: CampaignMonth) -> Sequence[Any]:
    told = one.outcome
    more = "" if told.incremental_fen is None else told.incremental_fen / 100
    roi = "" if told.return_on_cost is None else f"{told.return_on_cost:+.0%}"
    lift = "" if told.lift is None else f"{told.lift.low * 100:+.1f} 到 {told.lift.high * 100:+.1f} 个百分点"
    return (one.name, one.runs, one.planned, one.sent, one.failed, one.unconfirmed, told.credit.orders,
            told.credit.revenue_fen / 100, told.cost_fen / 100, more, roi, lift)  # fmt: skip


def _arms(one: CampaignMonth) -> list[Sequence[Any]]:
    """Best first; the winner only where chance does not explain it."""
    told = one.outcome
    arms = sorted(told.arms, key=lambda arm: -arm.rate)
    rows: list[Sequence[Any]] = []
    for arm in [*arms, *([told.holdout] if told.holdout.members else [])]:
        span = experiments.wilson(arm.buyers, arm.members)
        said = "胜出" if arm.name == told.winner else ""
        rows.append((one.name, arm.name, arm.members, arm.buyers, f"{arm.rate:.1%}", f"{span.low:.1%}–{span.high:.1%}",
                     round(arm.revenue_each / 100, 2), said))  # fmt: skip
    return rows


def as_markdown(month: Month) -> str:
    lines = [f"# {month.first_day:%Y 年 %-m 月}活动总结", ""]
    for sheet in sheets(month):
        lines += [f"## {sheet.title}", ""]
        if not sheet.rows:
            lines += [sheet.empty, ""]
            continue
        lines += [_row(sheet.heads), _row(["---"] * len(sheet.heads)), *map(_row, sheet.rows), ""]
    lines.append("每个数怎么算：docs/month.md。")
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[Any]) -> str:
    return f"| {' | '.join(shown(cell).replace('|', '｜') for cell in cells)} |"


def shown(cell: Any) -> str:
    """A cell for people: thousands apart, money with two decimals."""
    if isinstance(cell, float):
        return f"{cell:,.2f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def as_workbook(month: Month) -> bytes:
    from openpyxl import Workbook  # here: it costs every start 0.2 s

    book = Workbook(write_only=True)
    for sheet in sheets(month):
        page = book.create_sheet(sheet.title)
        for row in (sheet.heads, *sheet.rows):
            page.append([_harmless(cell) for cell in row])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _harmless(cell: Any) -> Any:
    """A name that begins like a formula stays a name; our own signed figures begin so too, and are texts."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in {"=", "+", "-", "@", "\t"} else cell
