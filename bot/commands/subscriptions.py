"""`siyu subscriptions …`: plans from files, what is due and which way its reminders went, stock ahead, parcels."""

import csv
import getpass
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncSession

from bot.commands.database import with_session
from bot.settings import read_settings
from bot.subscribing import shipping, ways, words
from bot.subscribing.shipping import Parcel
from campaigns import subscription_plans, subscription_reports, subscriptions
from campaigns.models.subscription import CycleUnit, OnHoliday, Reminder, ReminderStatus, SubscriptionStatus
from campaigns.subscription_plans import Item, PlanDraft
from campaigns.subscription_reports import DueLine, Week
from campaigns.subscription_terms import PlanFixed, PlanNotFound
from crm.base.clock import SystemClock, local_day
from crm.base.secrets import Vault

cli = typer.Typer(help="订阅：套餐、到期和提醒、备货预测、发货单", no_args_is_help=True)
out = Console(highlight=False, soft_wrap=True)
Found = TypeVar("Found")
Yuan = Annotated[Decimal, Field(ge=0, le=10_000_000, decimal_places=2)]
MISTAKES = {"missing": "没有写", "extra_forbidden": "没有这个字段", "decimal_max_places": "最多写到分"}
STATUS = {
    ReminderStatus.DUE: "待发", ReminderStatus.QUEUED: "在路上", ReminderStatus.SENT: "已送到",
    ReminderStatus.FAILED: "没送到", ReminderStatus.DROPPED: "不用提醒了",
}  # fmt: skip


class ItemFile(BaseModel):
    """An article as a file tells it: money in yuan."""

    model_config = ConfigDict(extra="forbid")
    sku: str
    name: str
    price: Yuan
    category: str = ""
    quantity: int = 1


class PlanFile(BaseModel):
    """A plan as a file tells it; without a price it costs what its articles cost."""

    model_config = ConfigDict(extra="forbid")
    key: str
    title: str
    items: list[ItemFile]
    price: Yuan | None = None
    every: int = 1
    unit: CycleUnit = CycleUnit.MONTHS
    gift_every: int = 4
    locks_price: bool = True
    on_holiday: OnHoliday = OnHoliday.BEFORE


@cli.command("apply")
def apply_(file: Annotated[Path, typer.Argument(help="YAML 或 JSON", exists=True, dir_okay=False)]) -> None:
    """Make a plan of what a file says, or give the known one other terms; the same file again changes nothing."""
    draft = _read(file)
    view = _with_session(lambda session, now: subscription_plans.put(session, draft, now=now))
    out.print(f"{words.offered(view)}\n第 {view.terms.version} 版条款", markup=False)


@cli.command("list")
def list_() -> None:
    """Every plan, and how many have it."""

    async def work(session: AsyncSession, now: datetime) -> Any:
        del now
        return await subscription_plans.views(session), await subscription_plans.headcount(session)

    plans, heads = _with_session(work, writes=False)
    if not plans:
        out.print("还没有套餐。写一个 YAML，用 siyu subscriptions apply 建。")
        return
    table = Table("名字", "套餐", "周期", "每期（元）", "买送", "在订（人）", "暂停（人）", "状态")
    for one in plans:
        active, paused = (
            heads.get((one.plan.id, each), 0) for each in (SubscriptionStatus.ACTIVE, SubscriptionStatus.PAUSED)
        )
        table.add_row(
            one.plan.key, one.plan.title, words.cycle(one.plan), words.yuan(one.terms.price_fen),
            words.gift(one.terms) or "—", f"{active:,}", f"{paused:,}",
            "已停止接受订阅" if one.plan.closed_at else "可订",
        )  # fmt: skip
    out.print(table)


@cli.command()
def close(
    key: Annotated[str, typer.Argument(help="套餐的名字")],
    end: Annotated[bool, typer.Option("--end", help="同时结束所有在订的")] = False,
) -> None:
    """Nobody can sign up any more; with --end those who have it are ended, paid deliveries still come."""
    _with_session(lambda session, now: subscription_plans.close(session, key, now=now))
    ended = 0
    while end and (some := _with_session(lambda session, now: subscriptions.end_plan(session, key, now=now))):
        ended += len(some)
    out.print(f"“{key}”不再接受新的订阅。" + (f"结束了 {ended:,} 个订阅。" if end else "在订的照旧，直到本人取消。"))


@cli.command()
def due(
    days: Annotated[int, typer.Option(min=1, max=92, help="从今天起多少天")] = 7,
    most: Annotated[int, typer.Option(min=1, max=5000, help="最多列出多少期")] = 100,
) -> None:
    """Deliveries that are due, how each stands, and the way each reminder went."""

    async def work(session: AsyncSession, now: datetime) -> Any:
        today = local_day(now)
        last = today + timedelta(days=days - 1)
        found = await subscription_reports.due_between(session, today, last, limit=most)
        return found, await subscription_reports.ways_of(session, today - timedelta(days=days - 1), today)

    lines, counts = _with_session(work, writes=False)
    table = Table("日子", "会员", "套餐", "第几期", "金额（元）", "状态", "提醒")
    for one in lines:
        table.add_row(*_due_row(one))
    out.print(table if lines else f"{days} 天内没有要发的。")
    for (way, status), count in sorted(counts.items()):
        out.print(f"{ways.NAMES.get(way, '还没有选')} · {STATUS[ReminderStatus(status)]}：{count:,} 条")


@cli.command()
def forecast(weeks: Annotated[int, typer.Option(min=1, max=53, help="多少周")] = 8) -> None:
    """Pieces of each article that the subscriptions of now will take, week by week."""
    found: list[Week] = _with_session(
        lambda session, now: subscription_reports.forecast(session, weeks=weeks, now=now), writes=False
    )
    table = Table("周（从周一）", "期数", "货号", "商品", "最多（件）", "大概（件）", "已下单（件）")
    for week in found:
        for need in sorted(week.needs.values(), key=lambda each: each.sku):
            table.add_row(
                f"{week.begins_on:%m-%d}", f"{week.deliveries:,}", need.sku, need.name, f"{need.most:,}",
                f"{need.likely:,.0f}", f"{need.ordered:,}",
            )  # fmt: skip
    out.print(table)


@cli.command()
def ship(
    day: Annotated[datetime, typer.Argument(help="发货的日子", formats=["%Y-%m-%d"])],
    file: Annotated[Path, typer.Option("--out", help="写到哪个 CSV")],
    because: Annotated[str, typer.Option(help="为什么看地址，会留底")] = "发货",
) -> None:
    """The paid deliveries of a day as a CSV for the parcels; who read the addresses and why is written down."""
    key = read_settings().data_key
    if key is None:
        _fail("没有 SIYU_DATA_KEY，地址打不开。")
    vault = Vault(key.get_secret_value())
    found: Sequence[Parcel] = _with_session(
        lambda session, now: shipping.parcels(
            session, vault, day.date(), userid=getpass.getuser(), because=because, now=now
        )
    )
    with file.open("w", encoding="utf-8-sig", newline="") as sheet:
        rows = csv.writer(sheet)
        rows.writerow(["订单号", "收件人", "地址", "货号", "商品", "数量"])
        for one in found:
            rows.writerows([one.order_no, one.name, one.address, *line] for line in one.lines)
    missing = sum(not one.address for one in found)
    out.print(f"{len(found):,} 个包裹写到 {file}" + (f"，其中 {missing:,} 个没有地址" if missing else ""))


def _due_row(one: DueLine) -> list[str]:
    cycle = one.cycle
    price = "送" if cycle.is_gift else words.yuan(cycle.price_fen)
    said = "；".join(map(_reminded, one.reminders)) or "—"
    name = one.member_name or f"会员 {cycle.member_id}"
    return [f"{cycle.due_on:%m-%d}", name, one.plan, str(cycle.number), price, words.CYCLE[cycle.status], said]


def _reminded(one: Reminder) -> str:
    tried = "".join(f"{ways.NAMES[line['way']]}没成（{ways.why(line['why'])}），" for line in one.trail)
    way = ways.NAMES[one.way.value] if one.way else ""
    return f"{words.STEPS[one.step]}：{tried}{way}{STATUS[one.status]}"


def _read(file: Path) -> PlanDraft:
    try:
        text = file.read_text(encoding="utf-8-sig")
        told = PlanFile.model_validate(json.loads(text) if file.suffix == ".json" else yaml.safe_load(text))
        items = tuple(Item(price_fen=int(one.price * 100), **one.model_dump(exclude={"price"})) for one in told.items)
        price = None if told.price is None else int(told.price * 100)
        return PlanDraft(items=items, price_fen=price, **told.model_dump(exclude={"items", "price"}))
    except (yaml.YAMLError, UnicodeDecodeError, json.JSONDecodeError) as wrong:
        _fail(f"{file.name} 读不懂：{wrong}")
    except ValidationError as wrong:
        lines = (
            (".".join(str(part) for part in each["loc"]) or "整份", MISTAKES.get(each["type"], each["msg"]))
            for each in wrong.errors()
        )
        _fail("\n".join(f"{field}：{why.removeprefix('Value error, ')}" for field, why in lines))


def _with_session(work: Callable[[AsyncSession, datetime], Awaitable[Found]], *, writes: bool = True) -> Found:
    try:
        return with_session(lambda session: work(session, SystemClock().now()), writes=writes)
    except PlanNotFound as no:
        _fail(f"没有叫“{no.key}”的套餐")
    except PlanFixed as no:
        _fail(f"“{no.key}”有 {no.subscribers:,} 人在订，周期不能改；换一个名字建新套餐")


def _fail(sentence: str) -> NoReturn:
    Console(stderr=True).print(sentence, style="red", highlight=False, soft_wrap=True, markup=False)
    raise typer.Exit(2)
