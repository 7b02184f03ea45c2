"""What the page calls each rule, what it says of a mistake, and an example of what a setting comes to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

from bot.handoff.sla import Target
from bot.handoff.triggers import Reason
from bot.shop_rules.kinds import Wrong
from bot.shop_rules.sheet import InForce, Mistake
from bot.web import formats
from bot.web.language import N_
from bot.web.screens import say

NO_LIMIT = N_("不限")
WEEK = N_(
    "一天可以写几段，几种日子用；隔开，后写的管先写的："
    "工作日 9:00–12:00、13:30–18:00；周六 10:00–16:00。客户看到的就是这些字。"
)
OWN_DAYS = N_(
    "没写的日子按国家公布的节假日和调休。一行一段，可以从表格里粘一年的："
    "2027-02-05 至 2027-02-11 放假；2027-02-14 上班；2027-02-04 9:00–12:00。"
)
BANNED = N_("一行一个。加在广告法极限词、诱导分享、引流话术之外，有这些词的文案存不下来。")
SPARED = N_("一行一个，例如店名或商品名里带的：名单碰到这几个字不拦。")
STRICTER = N_("企业微信自己也有上限，这里只能更严。")
TOGETHER = N_("所有营销消息合在一起数，空着不限。")


@dataclass(frozen=True, slots=True)
class Look:
    """How a rule is asked for. control: text, area, number, time, yesno or triggers."""

    name: str
    title: str
    hint: str = ""
    unit: str = ""
    control: str = "number"
    may_lack: bool = False


GROUPS: Sequence[tuple[str, str, Sequence[Look]]] = (
    (
        N_("人工服务时间"),
        "clock",
        (
            Look("service_hours", N_("每周"), WEEK, control="text"),
            Look("own_days", N_("放假和调休"), OWN_DAYS, control="area"),
        ),
    ),
    (
        N_("转人工"),
        "headset",
        (
            Look("triggers", N_("什么时候转"), control="triggers"),
            Look("first_response", N_("首次回复"), N_("工作时间里算，过了八成先提醒。"), N_("分钟")),
            Look("resolution", N_("解决"), N_("工作时间里算。"), N_("小时")),
            Look("complaint_first_response", N_("投诉首次回复"), N_("工作时间里算。"), N_("分钟")),
            Look("complaint_resolution", N_("投诉解决"), N_("按日历算，夜里和假日也算。"), N_("小时")),
            Look("silence", N_("多久不回换人"), N_("工作时间里算。"), N_("分钟")),
            Look("capacity", N_("每人同时接待"), unit=N_("位")),
            Look("asks_rating", N_("请客户评价"), control="yesno"),
        ),
    ),
    (
        N_("营销触达"),
        "speakerphone",
        (
            Look("quiet_from", N_("免打扰从"), N_("空着就是没有免打扰。"), control="time", may_lack=True),
            Look("quiet_to", N_("免打扰到"), control="time"),
            Look("per_day", N_("每位客户 24 小时至多"), TOGETHER, N_("次"), may_lack=True),
            Look("per_week", N_("每位客户 7 天至多"), N_("空着不限。"), N_("次"), may_lack=True),
            Look("broadcasts_per_day", N_("企业群发，每位客户每天"), STRICTER, N_("次"), may_lack=True),
            Look("broadcasts_per_week", N_("企业群发，每位客户每周"), N_("空着不限。"), N_("次"), may_lack=True),
            Look("broadcasts_per_month", N_("企业群发，每位客户每月"), N_("空着是当月天数。"), N_("次"), may_lack=True),
            Look("needs_opt_in", N_("只发给说过同意的人"), control="yesno"),
        ),
    ),
    (
        N_("要第二个人审"),
        "user-check",
        (
            Look("review_members", N_("活动超过"), unit=N_("人")),
            Look("review_yuan", N_("或送出超过"), unit=N_("元")),
        ),
    ),
    (
        N_("营销用词"),
        "language",
        (
            Look("banned", N_("店里不许用的词"), BANNED, control="area"),
            Look("spared", N_("店里放行的词"), SPARED, control="area"),
        ),
    ),
)  # fmt: skip
LOOKS: Mapping[str, Look] = {look.name: look for _, _, looks in GROUPS for look in looks}
REASONS: Mapping[Reason, str] = {
    Reason.ASKED_FOR: N_("客户说要人工"),
    Reason.COMPLAINT: N_("投诉、维权"),
    Reason.ANGRY: N_("生气"),
    Reason.REFUND: N_("退款纠纷"),
    Reason.OUT_OF_SCOPE: N_("不该由机器人回答的（病情、账号安全、批发……）"),
    Reason.MISSES: N_("连着两句没答上"),
    Reason.VIP: N_("贵客问了没把握的"),
    Reason.BOT_ERROR: N_("机器人出错"),
    Reason.BAD_RATING: N_("评价很低"),
}
MISTAKES: Mapping[Wrong, str] = {
    Wrong.NOT_A_NUMBER: N_("写一个数。"),
    Wrong.OUT_OF_RANGE: N_("要在 %(least)s 到 %(most)s 之间。"),
    Wrong.NOT_A_TIME: N_("写成 22:00 这样。"),
    Wrong.HOURS: N_("这里读不懂：「%(text)s」。写成 工作日 9:00–18:00；周六 10:00–16:00，几段不能重叠。"),
    Wrong.DAY: N_("这一行读不懂：「%(text)s」。写成 2027-02-05 至 2027-02-11 放假，一段最长 60 天。"),
    Wrong.TOO_MANY: N_("太多了，最多 %(most)s 个。"),
    Wrong.TOO_SHORT: N_("「%(text)s」不行：一个词 2 到 60 个字。"),
    Wrong.UNKNOWN: N_("没有「%(text)s」这个选择。"),
    Wrong.SAME: N_("从和到一样，就一个钟头也不剩了。"),
    Wrong.ORDER: N_("不能比它前面那一项还小。"),
}
YES, NO = N_("是"), N_("否")
NOBODY_YET, NO_QUIET = N_("任何时候都可以发。"), N_("没有")


def in_words(request: web.Request, mistake: Mistake) -> str:
    return say(request, MISTAKES[mistake.wrong]) % dict(mistake.facts)


def shown(request: web.Request, name: str, text: str) -> str:
    """A rule's text as people read it."""
    look = LOOKS[name]
    if look.control == "yesno":
        return say(request, YES if text == "yes" else NO)
    if look.control == "triggers":
        return "\n".join(say(request, REASONS[Reason(one)]) for one in text.split()) or say(request, NO_QUIET)
    if not text:
        return say(request, NO_LIMIT if look.control == "number" else NO_QUIET)
    return f"{text} {say(request, look.unit)}" if look.unit else text


def examples(request: web.Request, held: InForce, *, now: datetime) -> Mapping[str, str]:
    """Rule -> what it means for somebody now."""
    found: dict[str, str] = {}

    def tell(name: str, sentence: str, **facts: Any) -> None:
        found[name] = say(request, sentence, **facts)

    promises, gate, review = held.handoff.promises, held.gate, held.review
    for name, target, sentence in _clocks(held):
        ends = promises.deadline(target, since=now)
        tell(name, sentence, warn=formats.clock(ends.warn_at), due=formats.clock(ends.due_at))
    opens = promises.hours.opens_at(now)
    if opens <= now:
        tell("service_hours", N_("照这样，现在有人。"))
    else:
        tell("service_hours", N_("照这样，现在没有人，下一次开门是 %(when)s。"), when=formats.clock(opens))
    if gate.quiet is None:
        tell("quiet_from", NOBODY_YET)
    else:
        begins, ends_at = f"{gate.quiet.begins:%H:%M}", f"{gate.quiet.ends:%H:%M}"
        tell("quiet_from", N_("%(begins)s 到点的营销消息，等到 %(ends)s 再发。"), begins=begins, ends=ends_at)
    for cap in gate.caps:
        name = "per_day" if cap.window == timedelta(days=1) else "per_week"
        if cap.touches == 0:
            tell(name, N_("一条营销消息也不发。"))
            continue
        free = formats.clock(cap.free_at([now] * cap.touches, now=now))
        tell(name, N_("现在收到第 %(count)s 条的客户，下一条最早 %(when)s。"), count=cap.touches, when=free)
    members = review.above_members
    tell(
        "review_members",
        N_("发给 %(more)s 人的活动要另一个人审，%(count)s 人的不用。"),
        more=members + 1,
        count=members,
    )
    tell("own_days", N_("写了 %(count)s 天。"), count=len(promises.hours.own))
    return found


def _clocks(held: InForce) -> Sequence[tuple[str, Target, str]]:
    usual, complaints = held.handoff.promises.usual, held.handoff.promises.complaints
    answered = N_("现在转人工：%(warn)s 提醒，%(due)s 还没人回就算超时。")
    settled = N_("现在转人工：%(warn)s 提醒，%(due)s 还没解决就算超时。")
    return (
        ("first_response", usual.first_response, answered),
        ("resolution", usual.resolution, settled),
        ("complaint_first_response", complaints.first_response, answered),
        ("complaint_resolution", complaints.resolution, settled),
    )
