"""The menu of the staff's browser: a table, one line a screen."""

from collections.abc import Sequence
from dataclasses import dataclass

from bot.access.rights import Right
from bot.web.language import N_


@dataclass(frozen=True, slots=True)
class Item:
    """A line of the menu. icon: of static/vendor/tabler-icons.svg. A role without `right` does not see it."""

    title: str
    path: str
    icon: str
    right: Right


SECTIONS: Sequence[tuple[str, Sequence[Item]]] = (
    (
        N_("工作"),
        [
            Item(N_("今天"), "/console", "home", Right.CONSOLE),
            Item(N_("工作台"), "/desk", "headset", Right.DESK),
            Item(N_("回访"), "/console/follow-ups", "phone", Right.DESK),
        ],
    ),
    (
        N_("会员"),
        [
            Item(N_("会员"), "/console/members", "users", Right.MEMBERS),
            Item(N_("人群"), "/console/segments", "filter", Right.CONSOLE),
            Item("RFM", "/console/rfm", "grid-dots", Right.CONSOLE),
            Item(N_("生命周期"), "/console/lifecycle", "route", Right.CONSOLE),
        ],
    ),
    (
        N_("营销"),
        [
            Item(N_("活动"), "/console/campaigns", "speakerphone", Right.CONSOLE),
            Item(N_("优惠与券"), "/console/coupons", "ticket", Right.CONSOLE),
            Item(N_("秒杀"), "/console/sales", "bolt", Right.CONSOLE),
            Item(N_("月度总结"), "/console/month", "clipboard-list", Right.CONSOLE),
        ],
    ),
    (
        N_("增长"),
        [
            Item(N_("老带新"), "/console/referral", "user-plus", Right.CONSOLE),
            Item(N_("订阅"), "/console/subscriptions", "repeat", Right.CONSOLE),
            Item(N_("社群任务"), "/console/tasks", "clipboard-list", Right.CONSOLE),
            Item(N_("推荐"), "/console/suggestions", "stars", Right.CONSOLE),
            Item(N_("问卷"), "/console/surveys", "gauge", Right.CONSOLE),
        ],
    ),
    (
        N_("知识"),
        [
            Item(N_("知识库"), "/console/knowledge", "book", Right.MEMBERS),
            Item(N_("该写什么"), "/console/knowledge/misses", "bulb", Right.MEMBERS),
        ],
    ),
    (
        N_("数据"),
        [
            Item(N_("数据"), "/console/numbers", "chart-bar", Right.CONSOLE),
        ],
    ),
    (
        N_("设置"),
        [
            Item(N_("员工与角色"), "/console/accounts", "id-badge-2", Right.ACCOUNTS),
            Item(N_("API 钥匙"), "/console/keys", "key", Right.ACCOUNTS),
            Item("Webhook", "/console/webhooks", "webhook", Right.SETTINGS),
            Item(N_("规则"), "/console/rules", "adjustments", Right.DESK),
            Item(N_("连接"), "/console/connections", "plug-connected", Right.SETTINGS),
            Item(N_("操作记录"), "/console/audit", "history", Right.AUDIT),
        ],
    ),
)


def opened(path: str) -> str:
    """The path of the line that a page belongs to: the longest that begins its path."""
    fitting = [
        item.path
        for _, items in SECTIONS
        for item in items
        if path == item.path or path.startswith(item.path.rstrip("/") + "/")
    ]
    return max(fitting, key=len, default="")
