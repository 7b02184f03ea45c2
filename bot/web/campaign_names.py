"""What campaigns, runs and deliveries are called on screens and by the command line."""

from bot.web.language import N_
from campaigns import gate_words
from campaigns.models.campaign import CampaignStatus, RunStatus
from campaigns.models.sequence import EnrolmentStatus

STATUS = {
    CampaignStatus.DRAFT: N_("草稿"),
    CampaignStatus.IN_REVIEW: N_("待审"),
    CampaignStatus.SCHEDULED: N_("已排期"),
    CampaignStatus.RUNNING: N_("进行中"),
    CampaignStatus.PAUSED: N_("已暂停"),
    CampaignStatus.FINISHED: N_("已结束"),
    CampaignStatus.CANCELLED: N_("已取消"),
}
TONES = {
    CampaignStatus.IN_REVIEW: "orange", CampaignStatus.SCHEDULED: "blue", CampaignStatus.RUNNING: "green",
    CampaignStatus.PAUSED: "yellow",
}  # fmt: skip
RUN_STATUS = {
    RunStatus.ASKS: N_("等人决定"),
    RunStatus.PLANNING: N_("计划中"),
    RunStatus.SENDING: N_("发送中"),
    RunStatus.FINISHED: N_("已结束"),
    RunStatus.CANCELLED: N_("已取消"),
}
ENROLMENT = {
    EnrolmentStatus.ACTIVE: N_("正在里面"), EnrolmentStatus.FINISHED: N_("走完了"), EnrolmentStatus.LEFT: N_("离开了"),
    EnrolmentStatus.CANCELLED: N_("活动取消了"),
}  # fmt: skip
DELIVERY = {
    "planned": N_("已计划"), "held": N_("暂缓"), "queued": N_("在路上"), "asked": N_("等员工确认"),
    "sent": N_("已送达"), "skipped": N_("不发"), "failed": N_("没送到"), "holdout": N_("对照组"),
}  # fmt: skip
REASONS = {
    "cancelled": N_("活动取消了"),
    "left_audience": N_("到发的时候已不在人群里"),
    "no_coupon": N_("没有券给他了：发完、停发，或者他已经到限领"),
    "not_a_contact": N_("不是任何员工的联系人"),
    "not_confirmed": N_("员工没有确认"),
    "unreachable": N_("企业微信说送不到"),
    "limit_reached": N_("这位客户的群发次数用完了"),
    "no_longer_a_contact": N_("已不是好友"),
    "not_sent": N_("没有发出"),
    "field_missing": N_("缺文案里要写的资料"),
    "too_long": N_("填好的文案太长"),
    "goal_reached": N_("目标已达到"),
    "held_too_long": N_("暂缓得太久"),
    "not_for_them": N_("这一步不对他"),
    "waited_in_vain": N_("没等到"),
    "had_it_today": N_("当天已有一条"),
    "merged": N_("并入了另一位会员"),
    "late": N_("过点了"),
    "not_delivered": N_("客服消息没有送到"),
    "stopped": N_("急停时从员工手里撤回了"),
    "no_owner": N_("没有群主（不是我们的同事）"),
    "too_late": N_("过了该发的时间"),
    "not_listed": N_("员工点了发送，企业微信没有说发到"),
}
KINDS = {
    "one_off": N_("一次"), "recurring": N_("周期"), "triggered": N_("触发"), "steps": N_("步骤序列"),
}  # fmt: skip


def reason(code: str) -> str:
    """Why a delivery did not arrive, or somebody left a sequence."""
    return REASONS.get(code) or gate_words.label(code)


EVENT_FIELDS = {  # what of an event is asked after most
    "to_stage": N_("到了哪个阶段"), "from_stage": N_("从哪个阶段来"), "segment_id": N_("人群的编号"),
    "group_id": N_("群的编号"), "tag_id": N_("标签的编号"), "to_level": N_("到了哪个等级"),
    "offer_id": N_("优惠的编号"),
}  # fmt: skip
PLACES = {
    "messages": N_("写法"), "tiers": N_("档"), "steps": N_("第几步"), "goal": N_("目标"), "text": N_("文字"),
    "name": N_("名称"), "audience": N_("对谁"), "segment": N_("人群"), "groups": N_("客户群"), "starts_at": N_("时间"),
    "ends_at": N_("到什么时候为止"), "every": N_("每几天"), "on": N_("什么触发"), "link": N_("卡片"),
    "share": N_("份额"),
    "holdout_percent": N_("对照组"), "wait": N_("等一件事"), "day": N_("第几天"), "stays": N_("留下的条件"),
}  # fmt: skip


def place(field: str) -> list[tuple[str, str]]:
    """Where a mistake is: the parts of its field, each with its name and a number that may be empty."""
    found: list[tuple[str, str]] = []
    for part in field.split("."):
        if part.isdigit() and found:
            found[-1] = (found[-1][0], str(int(part) + 1))
        elif part:
            found.append((PLACES.get(part, part), ""))
    return found
