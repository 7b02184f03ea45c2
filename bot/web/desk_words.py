"""What the desk calls things: queues, reasons, steps, how far a message got."""

from collections.abc import Mapping

from bot.desk.queues import Queue
from bot.desk.thread import Said
from bot.models.handoff import StepKind
from bot.web.language import N_

QUEUES: Mapping[Queue, str] = {
    Queue.MINE: N_("我的"),
    Queue.UNASSIGNED: N_("没人接"),
    Queue.AT_RISK: N_("快超时"),
    Queue.BREACHED: N_("已超时"),
    Queue.SNOOZED: N_("稍后"),
    Queue.ALL: N_("全部"),
    Queue.CLOSED: N_("已结束"),
}
REASONS: Mapping[str, str] = {
    "asked_for": N_("要求人工"),
    "complaint": N_("投诉"),
    "angry": N_("不满"),
    "refund": N_("退款"),
    "out_of_scope": N_("机器人不便回答"),
    "misses": N_("连续没答上"),
    "vip": N_("重要会员"),
    "bot_error": N_("机器人出错"),
    "bad_rating": N_("差评"),
}
STEPS: Mapping[StepKind, str] = {
    StepKind.OPENED: N_("转人工"),
    StepKind.PROMISED: N_("休息时间，已告诉客户最晚何时回复"),
    StepKind.ASSIGNED: N_("分给了"),
    StepKind.QUEUED: N_("进入排队"),
    StepKind.NOBODY: N_("暂时没有人能接"),
    StepKind.ACCEPTED: N_("接单"),
    StepKind.PASSED: N_("转给同事"),
    StepKind.ANSWERED: N_("第一次回复"),
    StepKind.WARNED: N_("快要超时"),
    StepKind.BREACHED: N_("超时"),
    StepKind.REASSIGNED: N_("太久没回复，换人"),
    StepKind.CLOSED: N_("结束"),
    StepKind.ASKED: N_("请客户评价"),
    StepKind.RATED: N_("客户评价"),
    StepKind.NOTED: N_("备注"),
}
STATES: Mapping[str, str] = {
    "waiting": N_("等待发出"),
    "claimed": N_("正在发出"),
    "sent": N_("企业微信已收下"),
    "dead": N_("没有发出"),
    "unknown": N_("结果不明"),
    "cancelled": N_("已收回"),
}
DECISIONS: Mapping[str, str] = {"answer": N_("直接回答"), "suggest": N_("给了选项"), "miss": N_("没答上")}
SPEAKERS: Mapping[str, str] = {
    "customer": N_("客户"),
    "bot": N_("机器人"),
    "staff": N_("同事"),
    "step": "·",
    "note": N_("备注"),
}


def speaker(one: Said) -> str:
    """A name where there is one; else what they are, to be translated."""
    return one.name or SPEAKERS[one.who]


def line(one: Said) -> str:
    """The words of a line; of a step, what happened, to be translated."""
    if one.who != "step" or one.step is None:
        return one.words
    return STEPS[one.step]
