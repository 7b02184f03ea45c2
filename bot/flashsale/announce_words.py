"""An announcement in words: what a group reads, what its owner is asked, and what the manager is told of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bot.flashsale.board import ItemView
from bot.flashsale.words import clock, yuan
from bot.models.sale import Sale
from campaigns import gate_words
from campaigns.definition import Link, Message
from campaigns.group_posts import Progress, Stand
from campaigns.guard_rules import Decision
from campaigns.models.campaign import DeliveryStatus
from campaigns.models.group_post import PostStatus
from campaigns.staff_tasks import Note
from crm.base.clock import SHANGHAI

ITEMS_SHOWN = 8
STATES = {
    DeliveryStatus.PLANNED: "排着",
    DeliveryStatus.HELD: "暂缓",
    DeliveryStatus.QUEUED: "在路上",
    DeliveryStatus.ASKED: "等群主点发送",
    DeliveryStatus.SENT: "已发",
    DeliveryStatus.SKIPPED: "不发",
    DeliveryStatus.FAILED: "没发成",
}
REASONS = {
    "cancelled": "秒杀结束，任务已收回",
    "stopped": "急停时从群主手里撤回了",
    "not_confirmed": "群主到时没有点发送，任务已收回",
    "unreachable": "企业微信说发不到这个群",
    "no_owner": "群主不是我们的同事",
    "too_late": "秒杀已经结束",
    "not_listed": "群主点了发送，企业微信没有说发到",
    "not_sent": "没有发出",
}
STATUS = {PostStatus.PAUSED: "已暂停", PostStatus.ASKS: "停了太久，再公布一次就接着发", PostStatus.CANCELLED: "已收回"}


@dataclass(frozen=True, slots=True)
class Outlook:
    """What announcing would do, before it does anything. judged: what the gate says about each group, for then."""

    at: datetime
    names: Mapping[int, str]
    ownerless: Sequence[int]
    judged: Mapping[int, Decision]

    @property
    def refused(self) -> dict[int, Decision]:
        return {one: why for one, why in self.judged.items() if not why.is_allowed}


def announcement(sale: Sale, items: Sequence[ItemView], *, has_link: bool) -> str:
    """What a group reads."""
    lines = [
        f"{one.code} {one.name[:40]}：秒杀价 {yuan(one.price_fen)} 元（原价 {yuan(one.list_price_fen)} 元），"
        f"共 {one.stock} 件，每人限 {one.limit_each} 件"
        for one in items[:ITEMS_SHOWN]
    ]
    if len(items) > ITEMS_SHOWN:
        lines.append(f"……共 {len(items)} 样")
    how = "从下面的链接进场，到点就能抢。" if has_link else "到点给客服发「秒杀」就能抢。"
    said = "\n".join([f"【{sale.name[:60]}】{clock(sale.opens_at)} 开抢", *lines, how])
    return said.replace("{", "｛")  # a message is a template, and a name may hold anything


def message(sale: Sale, items: Sequence[ItemView], page: str) -> Message:
    text = announcement(sale, items, has_link=bool(page))
    if not page:
        return Message(text=text)
    desc = f"{clock(sale.opens_at)} 开抢，先到先得"
    return Message(text=text, link=Link(title=sale.name[:42], url=page, desc=desc))


def note(sale: Sale, page: str) -> Note:
    """The card an owner gets, once for all their groups."""
    text = (
        f"{clock(sale.opens_at)} 开抢。请打开企业微信 → 客户联系 → 群发助手，把您每个群的公告都点“发送”："
        "每个群的链接不同，一群一条。开抢前发到才有用。"
    )
    return Note(title=f"【秒杀公告待发送】{sale.name}", text=text, url=page)


def recap(sale: Sale, *, people: int, units: int, is_sold_out: bool, next_at: datetime | None) -> str:
    """What a group reads when it is over."""
    how = "，全部抢光" if is_sold_out else ""
    then = f"下一场 {clock(next_at)}，没抢到的别急。" if next_at is not None else "谢谢大家，下次秒杀还在群里预告。"
    name = sale.name[:60].replace("{", "｛")
    return f"【{name}】结束了：{people} 位朋友抢到 {units} 件{how}。{then}"


def recap_note(sale: Sale) -> Note:
    return Note(
        title=f"【秒杀小结待发送】{sale.name}",
        text="请打开企业微信 → 客户联系 → 群发助手，点“发送”把结果告诉群里。",
    )


def outlook(seen: Outlook, *, has_page: bool, is_asked: bool) -> list[str]:
    """What is said when a sale is announced: when its groups hear of it, and which cannot today."""
    if not seen.names:
        return ["没有写群，不发群公告；会员从客服和页面看得到。"]
    when = "群主现在就收到任务" if is_asked else f"{clock(seen.at)} 群主收到任务"
    lines = [f"{len(seen.names)} 个群，{when}，点了“发送”才会发到群里。"]
    codes = Counter(why.code for why in seen.refused.values())
    for code, count in codes.most_common():
        some = [seen.names[one] for one, why in seen.refused.items() if why.code == code]
        had = "今天的群发已经用掉了" if code == "gate.quota" else gate_words.label(code)
        lines.append(f"{count}/{len(seen.names)} 个群{had}：{_some(some)}")
    if seen.ownerless:
        names = _some([seen.names[one] for one in seen.ownerless])
        lines.append(f"{len(seen.ownerless)} 个群的群主不是我们的同事，发不了：{names}")
    if not has_page:
        lines.append("没有设 SIYU_PUBLIC_URL，公告里没有链接，也分不出各群卖了多少。")
    return lines


def _some(names: Sequence[str]) -> str:
    return "、".join(names[:5]) + ("……" if len(names) > 5 else "")


def headline(known: Progress) -> str:
    """42/50 个群已发。"""
    standing = STATUS.get(known.status, "")
    return f"{known.sent}/{len(known.groups)} 个群已发" + (f"（{standing}）" if standing else "")


def stand(one: Stand) -> str:
    """How far one group is, and since when: 等群主点发送，18:00 起，提醒过 1 次。"""
    parts = [STATES[one.status]]
    if one.status is DeliveryStatus.SENT and one.sent_at is not None:
        return f"{parts[0]}，{_time(one.sent_at)}"
    if one.status is DeliveryStatus.ASKED and one.asked_at is not None:
        parts.append(f"{_time(one.asked_at)} 起" if one.confirmed_at is None else "已点，等企业微信的结果")
        if one.reminders:
            parts.append(f"提醒过 {one.reminders} 次")
    if one.reason:
        parts.append(REASONS.get(one.reason) or gate_words.label(one.reason))
    if one.due_at is not None and one.status is DeliveryStatus.HELD:
        parts.append(f"{clock(one.due_at)} 再看")
    return "，".join(parts)


def _time(at: datetime) -> str:
    return f"{at.astimezone(SHANGHAI):%H:%M}"
