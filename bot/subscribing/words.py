"""Every sentence about subscriptions: what members read in the chat, in a reminder and on their pages."""

from datetime import date, datetime

from bot.subscribing.replies import Wish
from campaigns.models.subscription import (
    Cycle,
    CycleStatus,
    CycleUnit,
    Mode,
    PlanTerms,
    SubscriptionPlan,
    SubscriptionStatus,
)
from campaigns.subscription_plans import PlanView
from campaigns.subscription_reminders import Due
from campaigns.subscriptions import View
from crm.base.clock import local_day

PLANS = "可以订阅的套餐，到日子自动安排："
PLANS_NONE = "现在还没有可以订阅的套餐。"
PLANS_HOW = "回复「订阅 套餐名」看详情，例如「订阅 {key}」。"
PLAN_UNKNOWN = "没有找到「{key}」这个套餐。回复「订阅」看看有哪些。"
HOW_HEAD = "{terms}\n\n每期到日子前 7 天、3 天和当天会提醒您，随时可以跳过、推迟、暂停或取消。怎么安排？"
HOW = {Mode.DEFAULT: "到日子自动下单", Mode.ASKS: "每期先问我，我确认才下单"}
MODES = {Mode.DEFAULT: "到日子自动下单", Mode.ASKS: "您确认后才下单"}
SIGNED = "订阅好了：{title}，{cycle}一期。{next}"
MINE = "您的订阅："
MINE_NONE = "您还没有订阅。回复「订阅」看看有哪些套餐。"
MINE_HOW = "可以回复：确认、跳过、推迟一周、暂停、恢复、取消订阅、改地址。"
CONFIRMED = "好的，{title}的这一期已经为您下单，{day}发货。{pay}"
CONFIRMED_GIFT = "好的，{title}的这一期是送您的，{day}发货，不用付款。"
SKIPPED = "好的，这一期跳过了。{title}下一期是 {day}。"
POSTPONED = "好的，{title}推迟到 {day}发货，之后的也跟着顺延。"
PAUSED = "好的，{title}已经暂停。想继续时回复「恢复订阅」。"
PAUSED_UNTIL = "好的，{title}暂停到 {day}，到时候自动恢复；想早点继续就回复「恢复订阅」。"
RESUMED = "已经恢复。{title}下一期是 {day}。"
CANCELLED = "{title}已经取消，以后不会再下单。谢谢您一路的支持，想再订时回复「订阅」。"
CANCEL_SURE = "取消「{title}」之后就不再发货了。是取消，还是先暂停一阵子？"
CANCEL_SURE_GIFT = "取消「{title}」之后就不再发货了，再买 {left} 期就送一期。是取消，还是先暂停一阵子？"
KEPT = "好的，订阅照旧。"
HOW_LATE = "推迟多久呢？"
WHICH = "您有几个订阅，是哪一个呢？"
MEANS = "我没把握您的意思，点一下您要的："
MEANS_EACH = {
    Wish.CONFIRM: "照常发货",
    Wish.SKIP: "只跳过这一期",
    Wish.POSTPONE: "推迟这一期",
    Wish.PAUSE: "暂停订阅",
    Wish.RESUME: "恢复订阅",
    Wish.CANCEL: "取消整个订阅",
    Wish.ADDRESS: "改收货地址",
    Wish.UNPUSH: "不再收活动推送",
}
ADDRESS_ASK = "请把新的收货地址发给我，写全省市区、街道和门牌号，一句话就行。"
ADDRESS_FIRST = "请把收货地址发给我，写全省市区、街道和门牌号，一句话就行。"
ADDRESS_ODD = "这句话看着不像完整的地址。请写全省市区、街道和门牌号，或回复「算了」。"
ADDRESS_KEPT = "收货地址已经更新：{address}。之后的每一期都寄到这里。"
ADDRESS_NOT_HERE = "收货地址暂时不能在这里改，请回复「人工」，同事帮您改。"
NOTHING_OPEN = "{title}现在没有等您决定的一期，下一期是 {day}，前 7 天会提醒您。"
LATE = {
    CycleStatus.ORDERED: "这一期的订单已经下好了，不能再改日子。不想要的话，付款前回复「跳过」就会取消。",
    CycleStatus.PAID: "这一期已经付过款，正在安排发货。需要退的话请回复「人工」。",
}
STATUS = {
    SubscriptionStatus.ACTIVE: "进行中",
    SubscriptionStatus.PAUSED: "已暂停",
    SubscriptionStatus.CANCELLED: "已取消",
}
CYCLE = {
    CycleStatus.ANNOUNCED: "待您决定",
    CycleStatus.ORDERED: "待付款",
    CycleStatus.PAID: "已付款",
    CycleStatus.SKIPPED: "已跳过",
    CycleStatus.MISSED: "没有确认，未下单",
    CycleStatus.UNPAID: "没有付款，已取消",
    CycleStatus.CANCELLED: "已取消",
    CycleStatus.REFUNDED: "已退款",
}
DUNNING = {
    "p1": "您订阅的{title}（{day}这一期）还没有付款，共 {yuan} 元。方便的时候付一下就发货；不想要了回复「跳过」就好。",
    "p3": "{title}这一期还在为您留着，共 {yuan} 元，付款后当天安排发货。需要改日子或有别的情况，直接告诉我就好。",
    "p5": "{title}这一期为您再留两天，共 {yuan} 元。到时还没付款，订单会自动取消，订阅先暂停，不会产生任何费用。",
    "gone": "{title}这一期没有付款，订单已经取消，订阅先为您暂停。想继续时回复「恢复订阅」，随时都可以。",
}
MASS = "【订阅提醒】您订阅的{title}，{day}发货。想确认、跳过或改日子，打开下面的链接，或在客服里回复「我的订阅」。"
MASS_PAY = "【订阅提醒】您订阅的{title}（{day}这一期）还没有付款，打开下面的链接就能付款或跳过；不想要了也没关系。"
MASS_GONE = "【订阅提醒】您订阅的{title}这一期没有付款，订单已取消，订阅先为您暂停。想继续，打开下面的链接就能恢复。"
LINK_TITLE = "我的订阅"
TO_DO = "【请转告客户】{name}订阅的{title}\n{said}\n原因：{why}。请在企业微信里发给客户，或打电话。"
STEPS = {
    "d7": "前 7 天",
    "d3": "前 3 天",
    "d0": "当天",
    "p1": "催付 1",
    "p3": "催付 2",
    "p5": "催付 3",
    "gone": "取消通知",
}


def yuan(fen: int) -> str:
    """Fen as yuan, without needless zeros."""
    return f"{fen / 100:.2f}".rstrip("0").rstrip(".")


def day(on: date, today: date | None = None) -> str:
    """A day as one says it: 今天, 明天, 11 月 5 日; of another year with the year."""
    if today is not None and 0 <= (on - today).days <= 2:
        return ("今天", "明天", "后天")[(on - today).days]
    year = f"{on.year} 年 " if today is not None and on.year != today.year else ""
    return f"{year}{on.month} 月 {on.day} 日"


def cycle(plan: SubscriptionPlan) -> str:
    unit = "天" if plan.unit is CycleUnit.DAYS else "个月"
    return f"每 {plan.every} {unit}" if plan.every > 1 else ("每天" if plan.unit is CycleUnit.DAYS else "每月")


def items(terms: PlanTerms) -> str:
    return "、".join(f"{item['name']} × {item['quantity']}" for item in terms.items)


def gift(terms: PlanTerms) -> str:
    return f"买 {terms.gift_every - 1} 期送 1 期" if terms.gift_every else ""


def offered(view: PlanView) -> str:
    """A plan in two lines."""
    promises = [f"每期 {yuan(view.terms.price_fen)} 元", gift(view.terms)]
    if view.plan.locks_price:
        promises.append("订阅期间不涨价")
    return f"{view.plan.title}：{items(view.terms)}\n{cycle(view.plan)}一期，{'，'.join(filter(None, promises))}"


def upcoming(view: View, *, today: date) -> str:
    """What comes next, in one sentence."""
    one, open_cycle = view.subscription, view.cycle
    if one.status is SubscriptionStatus.PAUSED:
        return f"已暂停，{day(one.resumes_on, today)}恢复" if one.resumes_on else "已暂停"
    if open_cycle is None:
        return f"下一期 {day(one.due_on, today)}"
    when = day(open_cycle.due_on, today)
    if open_cycle.status is CycleStatus.ORDERED:
        return f"{when}发货，待付款 {yuan(open_cycle.price_fen)} 元"
    price = "这一期送您" if open_cycle.is_gift else f"{yuan(open_cycle.price_fen)} 元"
    return f"{when}发货，{price}，{'不回复就自动下单' if one.mode is Mode.DEFAULT else '等您确认'}"


def towards_gift(view: View) -> str:
    """How far the next free one is; empty where there are none."""
    left = view.paid_until_gift
    if left is None:
        return ""
    return "下一期送您" if left == 0 else f"再买 {left} 期送 1 期"


def mine(view: View, *, today: date) -> str:
    quantity = f" × {view.subscription.quantity}" if view.subscription.quantity > 1 else ""
    parts = [upcoming(view, today=today), towards_gift(view)]
    return f"{view.plan.title}{quantity}：{'；'.join(filter(None, parts))}"


def reminder(due: Due, link: str) -> str:
    """What the bot says, by how far the day is and what happens when nobody answers."""
    if not due.step.startswith("d"):
        said = DUNNING[due.step].format(title=due.title, day=day(due.due_on), yuan=yuan(due.price_fen))
        return f"{said}{link}"
    when = {0: "今天", 1: "明天", 2: "后天"}.get(due.days, f"{due.days} 天后（{day(due.due_on)}）")
    many = f" × {due.quantity}" if due.quantity > 1 else ""
    cost = "这一期是送您的，不用付款" if due.is_gift else f"{yuan(due.price_fen)} 元"
    parts = [f"您订阅的{due.title}{many}，{when}发货，{cost}。"]
    if due.was_fen is not None and not due.is_gift:
        parts.append(f"价格和上一期不同：上一期 {yuan(due.was_fen)} 元。")
    if due.mode is Mode.ASKS:
        parts.append("要的话回复「确认」，不回复就不下单；也可以「跳过」「推迟一周」。")
    elif due.days <= 0:
        parts.append("18 点前没有回复，就按您选的自动下单；不要的话回复「跳过」，或「推迟一周」。")
    else:
        parts.append("不用回复，到日子自动下单；想先定下来回复「确认」，也可以「跳过」「推迟一周」。")
    return "".join(parts) + link


def mass(due: Due) -> str:
    """The same for everybody who has this plan, day and step: no name, no price."""
    if due.step.startswith("d"):
        return MASS.format(title=plain(due.title), day=f" {day(due.due_on)}")
    pattern = MASS_GONE if due.step == "gone" else MASS_PAY
    return pattern.format(title=plain(due.title), day=day(due.due_on))


def plain(title: str) -> str:
    """A title inside a template is words, whatever is in it."""
    return title.replace("{", "｛").replace("}", "｝")


def ordered(view: View, cycle_: Cycle, pay: str, *, now: datetime) -> str:
    when = day(cycle_.due_on, local_day(now))
    if cycle_.is_gift:
        return CONFIRMED_GIFT.format(title=view.plan.title, day=when)
    return CONFIRMED.format(title=view.plan.title, day=when, pay=f"应付 {yuan(cycle_.price_fen)} 元。{pay}")
