"""What the gate's decisions read like on a screen: "08:00 起再发：免打扰时段"."""

from zoneinfo import ZoneInfo

from campaigns.guard_rules import Decision, Verdict
from crm.base.clock import SHANGHAI

WORDS = {
    "gate.unknown": "没有这位会员",
    "gate.erased": "会员已注销",
    "gate.merged": "会员已并入另一位会员",
    "gate.opted_out": "会员退订了",
    "gate.no_opt_in": "会员还没有同意接收",
    "gate.complaint": "有没处理完的投诉",
    "gate.on_hold": "被设为暂不打扰",
    "gate.already_sent": "这一条已经发过",
    "gate.no_pass": "没有经过闸门",
    "gate.same_person": "同一个人在这一批里已有一条",
    "gate.stopped": "营销发送已全部停止",
    "gate.quiet_hours": "免打扰时段",
    "gate.frequency": "{hours} 小时内已有 {touches} 次触达",
    "gate.quota": "企业群发的次数用完了",
    "gate.platform": "企业微信说这位客户的群发次数用完了",
    "gate.group_gone": "群已解散",
}


def label(code: str) -> str:
    """A decision's code in a few words, where the single member's facts are not at hand."""
    return "近来触达的次数满了" if code == "gate.frequency" else WORDS.get(code, code)


def say(decision: Decision, *, zone: ZoneInfo = SHANGHAI) -> str:
    """A decision in a few words, with the time until which it holds."""
    if decision.verdict is Verdict.ALLOWED:
        return "可以发"
    why = WORDS[decision.code].format(**decision.facts)
    if decision.verdict is Verdict.REFUSED:
        return f"不发：{why}"
    if decision.until is None:
        return f"先不发：{why}"
    return f"{decision.until.astimezone(zone):%m-%d %H:%M} 起再发：{why}"
