"""Campaigns that cannot be meant, or may not be: each as a file says it, and what has to be answered where."""

from typing import Any

import yaml

from tests.campaigns.fixtures import EVERYBODY

NOBODY = {"is": "lifetime", "orders": {"least": 99}}


def written(**more: Any) -> str:
    """A one-off of tomorrow that says something harmless, unless told otherwise; None leaves a field out."""
    usual = {
        "name": "周末满减", "kind": "one_off", "audience": EVERYBODY,
        "starts_at": "2026-03-10T10:00:00", "channels": ["broadcast"], "messages": [{"text": "满 199 减 30"}],
    }  # fmt: skip
    told = {name: value for name, value in {**usual, **more}.items() if value is not None}
    return yaml.safe_dump(told, allow_unicode=True, sort_keys=False)


def says(text: str) -> str:
    return written(messages=[{"text": text}])


def weekly(every: str, **more: Any) -> str:
    return written(kind="recurring", starts_at=None, every=every, **more)


# What nothing may be sent of: as a file, the place, and words of the answer.
REFUSED = {
    "a loop bomb": (says("{% for i in range(9999999) %}满{% endfor %}"), "messages.0.text", "循环（for）"),
    "a loop in a loop's clothes": (says("{{ '满' * 99999999 }}"), "messages.0.text", "算式（*）"),
    "an attribute walk": (says("{{ ''.__class__.__mro__[1].__subclasses__() }}"), "messages.0.text", "不能这样写"),
    "a walk from a field": (says("{{ 会员名.__class__ }}"), "messages.0.text", "取内部属性（点号）"),
    "a field that nobody has": (says("{{ 会员 }}您好"), "messages.0.text", "没有“会员”这个字段，是不是 "),
    "a tag left open": (says("{% if 会员名 %}您好"), "messages.0.text", "写得不完整"),
    "a schedule in the past": (written(starts_at="2026-03-01T10:00:00"), "starts_at", "已经过去了"),
    "an end in the past": (weekly("0 10 * * 6", ends_at="2026-03-02T10:00:00"), "ends_at", "已经过去了"),
    "a cron that never fires": (weekly("0 0 30 2 *"), "every", "永远不会到"),
    "a cron out of bounds": (weekly("0 25 * * *"), "every", "时“25”写不得：只能是 0 到 23"),
    "a cron in words": (weekly("每周六十点"), "every", "要五段：分 时 日 月 星期"),
    "a cron that ends before it begins": (
        weekly("0 10 1 5 *", ends_at="2026-04-01T10:00:00"), "every", "一次也不会触发",
    ),
    "a day that does not exist": (written().replace("'2026-03-10T10:00:00'", "2026-02-30T10:00:00"), "", "不存在"),
    "an hour that was skipped": (
        written(starts_at="1986-05-04T02:30:00"), "starts_at", "夏令时把表拨过去了",
    ),
    "a cost below zero": (written(cost_fen=-1), "cost_fen", "要不小于 0"),
    "a benefit below zero": (written(worth_fen=-2000), "worth_fen", "要不小于 0"),
    "a misspelt field": (written(start_at="2026-03-10"), "start_at", "没有这个字段"),
    "a duration in words": (written(grace="很久"), "grace", "要写多久，例如 30m、2h、7d"),
    "nothing said": (written(messages=None), "", "messages 至少写一条"),
    "a condition that there is none of": (written(audience={"is": "everyone"}), "audience", "没有 everyone 这一种"),
    "a segment that there is none of": (written(audience=None, segment="不存在"), "segment", "没有叫“不存在”的人群"),
    "a word that the law forbids": (says("全网最低价"), "messages.0.text", "绝对化用语"),
}  # fmt: skip

# What is said before it goes out, and may be meant: as a file, and words of what is said.
CAUTIONED = {
    "nobody": (written(audience=NOBODY), "一个人也没有"),
    "everybody": (written(audience=EVERYBODY), "选中了全部会员"),
    "in quiet hours": (written(starts_at="2026-03-10T23:30:00"), "在免打扰的时间里"),
    "on a holiday": (weekly("0 10 1 5 *", grace="3h"), "2026-05-01 放假"),
    "on a day that few months have": (weekly("0 10 31 * *"), "没有 31 日的月份不发"),
    "far away": (weekly("0 10 29 2 *"), "下一次要到 2028-02-29"),
    "a coupon that there is none of": (says("回复「领券 新人礼」"), "没有叫这个名字的优惠"),
    "overlapping another campaign": (written(starts_at="2026-03-10T12:00:00"), "与『周三秒杀』"),
}  # fmt: skip
