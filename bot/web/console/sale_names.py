"""Words of flash sales on the staff's pages."""

from collections.abc import Mapping

from bot.models.sale import SaleStatus
from bot.web.language import N_
from campaigns.models.campaign import DeliveryStatus

STATUS: Mapping[SaleStatus, tuple[str, str]] = {
    SaleStatus.DRAFT: (N_("草稿"), "secondary"),
    SaleStatus.ANNOUNCED: (N_("已公布"), "blue"),
    SaleStatus.OPEN: (N_("开抢中"), "green"),
    SaleStatus.SOLD_OUT: (N_("已售罄"), "orange"),
    SaleStatus.CLOSED: (N_("已结束"), "secondary"),
    SaleStatus.SETTLED: (N_("已结清"), "teal"),
}
STANDS: Mapping[DeliveryStatus, tuple[str, str]] = {
    DeliveryStatus.PLANNED: (N_("排着"), "secondary"),
    DeliveryStatus.HELD: (N_("暂缓"), "yellow"),
    DeliveryStatus.QUEUED: (N_("在路上"), "blue"),
    DeliveryStatus.ASKED: (N_("等群主点发送"), "yellow"),
    DeliveryStatus.SENT: (N_("已发"), "green"),
    DeliveryStatus.SKIPPED: (N_("不发"), "secondary"),
    DeliveryStatus.FAILED: (N_("没发成"), "red"),
}
REASONS: Mapping[str, str] = {
    "cancelled": N_("秒杀结束，任务已收回"),
    "not_confirmed": N_("群主到时没有点发送，任务已收回"),
    "unreachable": N_("企业微信说发不到这个群"),
    "no_owner": N_("群主不是我们的同事"),
    "too_late": N_("秒杀已经结束"),
    "not_listed": N_("群主点了发送，企业微信没有说发到"),
    "not_sent": N_("没有发出"),
    "gate.quota": N_("今天的群发已经用掉了"),
    "gate.quiet_hours": N_("免打扰时段"),
    "gate.stopped": N_("营销发送已全部停止"),
    "gate.group_gone": N_("群已解散"),
}
