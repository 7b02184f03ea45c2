"""Subscriptions for the shop: plans, who has them, what is due and the way each reminder went, the stock ahead."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from aiohttp import web
from pydantic import ValidationError

from bot.access.rights import Right
from bot.subscribing import words
from bot.web.language import N_
from bot.web.screens import Screens, change, go, house_of, looking, render, say
from campaigns import subscription_plans, subscription_reports, subscriptions
from campaigns.models.subscription import (
    CycleStatus,
    CycleUnit,
    OnHoliday,
    ReminderStatus,
    Subscription,
    SubscriptionPlan,
    SubscriptionStatus,
    Way,
)
from campaigns.subscription_plans import PlanDraft
from campaigns.subscription_reports import DueLine, Week
from campaigns.subscription_terms import PlanNotFound
from crm.base.clock import local_day
from crm.base.errors import Invalid, ShopError

SCREENS = Screens()
PATH = "/console/subscriptions"
PAGE = 50
SPANS = (1, 7, 30)  # days of the due list
WEEKS = (4, 8, 12, 26)
UNITS = {CycleUnit.MONTHS: N_("个月"), CycleUnit.DAYS: N_("天")}
HOLIDAYS = {OnHoliday.BEFORE: N_("提前到假前"), OnHoliday.AFTER: N_("顺延到假后"), OnHoliday.SAME: N_("不动")}
STATUS = {
    SubscriptionStatus.ACTIVE: N_("进行中"), SubscriptionStatus.PAUSED: N_("已暂停"),
    SubscriptionStatus.CANCELLED: N_("已取消"),
}  # fmt: skip
CYCLE = {
    CycleStatus.ANNOUNCED: N_("待会员决定"), CycleStatus.ORDERED: N_("待付款"), CycleStatus.PAID: N_("已付款"),
    CycleStatus.SKIPPED: N_("已跳过"), CycleStatus.MISSED: N_("没有确认"), CycleStatus.UNPAID: N_("没有付款"),
    CycleStatus.CANCELLED: N_("已取消"), CycleStatus.REFUNDED: N_("已退款"),
}  # fmt: skip
REMINDER = {
    ReminderStatus.DUE: N_("待发"), ReminderStatus.QUEUED: N_("在路上"), ReminderStatus.SENT: N_("已送到"),
    ReminderStatus.FAILED: N_("没送到"), ReminderStatus.DROPPED: N_("不用提醒了"),
}  # fmt: skip
WAYS = {Way.KF.value: N_("客服会话"), Way.BROADCAST.value: N_("企业群发"), Way.TODO.value: N_("员工待办")}
STEPS = {
    "d7": N_("前 7 天"), "d3": N_("前 3 天"), "d0": N_("当天"), "p1": N_("催付第 1 次"), "p3": N_("催付第 2 次"),
    "p5": N_("催付第 3 次"), "gone": N_("告知取消"),
}  # fmt: skip
WHY = {
    "nobody": N_("没有可以转告的同事"), "not_a_contact": N_("不是任何员工的联系人"),
    "not_confirmed": N_("群发没有人确认"), "unreachable": N_("企业微信说送不到"),
    "limit_reached": N_("这位客户的群发次数用完了"), "no_longer_a_contact": N_("已不是好友"),
    "not_sent": N_("没有发出"), "gate.opted_out": N_("会员退订了"), "gate.complaint": N_("有没处理完的投诉"),
    "gate.quota": N_("群发次数用完了"), "gate.frequency": N_("近来触达的次数满了"),
    "gate.quiet_hours": N_("免打扰时段"), "gate.stopped": N_("营销发送已全部停止"),
}  # fmt: skip


class PlanUnreadable(Invalid):
    """What was filled in is no plan. what: the first thing that is wrong."""

    code = "subscription.plan_unreadable"

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


@SCREENS.get(PATH, Right.CONSOLE)
async def plans(request: web.Request) -> web.Response:
    return await _plans(request)


async def _plans(
    request: web.Request, *, refusal: ShopError | None = None, form: dict[str, str] | None = None, said: str = ""
) -> web.Response:
    today = local_day(house_of(request).app.clock.now())
    week_ago = today - timedelta(days=6)
    async with looking(request) as session:
        found = await subscription_plans.views(session)
        heads = await subscription_plans.headcount(session)
        due = await subscription_reports.count_between(session, today, today + timedelta(days=6))
        sent = await subscription_reports.ways_of(session, week_ago, today)
    return _page(
        request, "plans", status=refusal.status if refusal is not None else 200, plans=found, heads=heads,
        active=sum(count for (_, status), count in heads.items() if status is SubscriptionStatus.ACTIVE),
        paused=sum(count for (_, status), count in heads.items() if status is SubscriptionStatus.PAUSED),
        due=due, reached=_reached(sent),
        SubscriptionStatus=SubscriptionStatus, units=UNITS, holidays=HOLIDAYS, refusal=refusal, form=form or {},
        said=said,
    )  # fmt: skip


def _reached(counts: dict[tuple[str, str], int]) -> float | None:
    """Of the reminders that came to an end the share that arrived."""
    sent = sum(count for (_, status), count in counts.items() if status == ReminderStatus.SENT)
    failed = sum(count for (_, status), count in counts.items() if status == ReminderStatus.FAILED)
    return sent / (sent + failed) if sent + failed else None


@SCREENS.post(PATH, Right.MANAGE)
async def put(request: web.Request) -> web.Response:
    """A new plan, or other terms of the one with this name."""
    form = {name: str(value) for name, value in (await request.post()).items()}
    try:
        draft = _read(form)
        async with change(request, "subscription_plan.saved", about=f"plan:{draft.key}") as deed:
            view = await subscription_plans.put(deed.session, draft, now=deed.now)
            deed.facts |= {"version": view.terms.version, "price_fen": view.terms.price_fen}
    except ShopError as refusal:
        return await _plans(request, refusal=refusal, form=form)
    said = say(
        request, N_("套餐“%(title)s”已保存，第 %(version)s 版条款。"), title=draft.title, version=view.terms.version
    )
    return await _plans(request, said=said)


@SCREENS.post(PATH + "/{id}/close", Right.MANAGE)
async def close(request: web.Request) -> web.Response:
    """Nobody can sign up any more; who has it keeps it."""
    async with change(request, "subscription_plan.closed") as deed:
        number = request.match_info["id"]
        found = await subscription_plans.views(deed.session, SubscriptionPlan.id == _whole(number, 0))
        if not found:
            raise PlanNotFound(number[:16])
        await subscription_plans.close(deed.session, found[0].plan.key, now=deed.now)
        deed.about = f"plan:{found[0].plan.key}"
    return go(request, PATH)


@SCREENS.get(PATH + "/members", Right.MEMBERS)
async def members(request: web.Request) -> web.Response:
    query, page = request.query, max(1, _whole(request.query.get("page", ""), 1))
    status = SubscriptionStatus(query["status"]) if query.get("status", "") in set(SubscriptionStatus) else None
    plan_id = _whole(query.get("plan", ""), 0)
    where: list[sa.ColumnElement[bool]] = []
    if status is not None:
        where.append(Subscription.status == status)
    if plan_id:
        where.append(Subscription.plan_id == plan_id)
    async with looking(request) as session:
        rows = await subscriptions.views(session, *where, limit=PAGE + 1, offset=(page - 1) * PAGE)
        names = await subscription_reports.names_of(session, [one.subscription.member_id for one in rows])
        offered = await subscription_plans.views(session)
    return _page(
        request, "members", rows=rows[:PAGE], more=page + 1 if len(rows) > PAGE else None, names=names,
        wanted={"status": status, "plan": plan_id}, plans=offered,
    )  # fmt: skip


@SCREENS.get(PATH + "/due", Right.MEMBERS)
async def due(request: web.Request) -> web.Response:
    days = _whole(request.query.get("days", ""), 7)
    days = days if days in SPANS else 7
    today = local_day(house_of(request).app.clock.now())
    last = today + timedelta(days=days - 1)
    page = max(1, _whole(request.query.get("page", ""), 1))
    async with looking(request) as session:
        lines: Sequence[DueLine] = await subscription_reports.due_between(
            session, today, last, limit=PAGE + 1, offset=(page - 1) * PAGE
        )
        counts = await subscription_reports.ways_of(session, today - timedelta(days=days - 1), today)
    ways = {way: {status: counts.get((way, status), 0) for status in ("sent", "queued", "failed")} for way in WAYS}
    lost = sum(count for (way, status), count in counts.items() if not way and status == ReminderStatus.FAILED)
    return _page(
        request, "due", lines=lines[:PAGE], more=page + 1 if len(lines) > PAGE else None, days=days, spans=SPANS,
        ways=ways, lost=lost, any=bool(counts),
    )  # fmt: skip


@SCREENS.get(PATH + "/stock", Right.CONSOLE)
async def stock(request: web.Request) -> web.Response:
    weeks = _whole(request.query.get("weeks", ""), 8)
    weeks = weeks if weeks in WEEKS else 8
    async with looking(request) as session:
        now = house_of(request).app.clock.now()
        found = await subscription_reports.forecast(session, weeks=weeks, now=now)
    articles = {need.sku: need.name for week in found for need in week.needs.values()}
    return _page(
        request, "stock", weeks=found, articles=articles, span=weeks, spans=WEEKS,
        option=_chart(found, articles) if articles else None,
    )  # fmt: skip


def _chart(weeks: Sequence[Week], articles: dict[str, str]) -> dict[str, Any]:
    """Bars of what is likely needed, an article a colour, a week a bar."""

    def pieces(week: Week, sku: str) -> int:
        return round(week.needs[sku].likely) if sku in week.needs else 0

    return {
        "tooltip": {"trigger": "axis"},
        "legend": {"bottom": 0, "type": "scroll"},
        "grid": {"left": 48, "right": 16, "top": 40, "bottom": 64},
        "xAxis": {"type": "category", "data": [f"{week.begins_on:%m-%d}" for week in weeks]},
        "yAxis": {"type": "value", "name": "件", "minInterval": 1},
        "series": [
            {"name": name, "type": "bar", "stack": "all", "data": [pieces(week, sku) for week in weeks]}
            for sku, name in sorted(articles.items())
        ],
    }


def _page(request: web.Request, tab: str, *, status: int = 200, **facts: Any) -> web.Response:
    today = local_day(house_of(request).app.clock.now())
    return render(
        request, f"console/subscription_{tab}.html", status=status, tab=tab, words=words, today=today, here=PATH,
        statuses=STATUS, cycles=CYCLE, reminders=REMINDER, way_names=WAYS, steps=STEPS, why=WHY, **facts,
    )  # fmt: skip


def _whole(told: str, otherwise: int) -> int:
    return int(told) if told.isascii() and told.isdigit() and len(told) < 10 else otherwise


def _read(form: dict[str, str]) -> PlanDraft:
    """The plan of a form. An article a line: sku, name, category, pieces, yuan. Raises PlanUnreadable."""
    items = [_item(line) for line in form.get("articles", "").splitlines() if line.strip()]
    price = form.get("price", "").strip()
    try:
        return PlanDraft.model_validate(
            {
                "key": form.get("key", ""),
                "title": form.get("title", ""),
                "items": items,
                "price_fen": _fen(price) if price else None,
                "unit": form.get("unit", "months"),
                "every": form.get("every", "1") or "1",
                "gift_every": form.get("gift_every", "4") or "0",
                "locks_price": form.get("locks_price") == "yes",
                "on_holiday": form.get("on_holiday", "before"),
            }
        )
    except ValidationError as wrong:
        first = wrong.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PlanUnreadable(f"{where} {first['msg'].removeprefix('Value error, ')}".strip()) from None


def _item(line: str) -> dict[str, Any]:
    parts = [part.strip() for part in line.replace("，", ",").split(",")]
    if len(parts) != 5 or not parts[3].isdecimal():
        raise PlanUnreadable(line.strip()[:60])
    return {
        "sku": parts[0],
        "name": parts[1],
        "category": parts[2],
        "quantity": int(parts[3]),
        "price_fen": _fen(parts[4]),
    }


def _fen(yuan: str) -> int:
    whole, _, cents = yuan.partition(".")
    if not whole.isdecimal() or len(whole) > 8 or not (cents == "" or (cents.isdecimal() and len(cents) <= 2)):
        raise PlanUnreadable(yuan[:20])
    return int(whole) * 100 + int(cents.ljust(2, "0") or 0)
