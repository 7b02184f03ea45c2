"""What the decisions hold about people, table by table: see crm/privacy.py."""

from collections.abc import Sequence
from typing import Any

from campaigns.models.campaign import Batch, Broadcast, Campaign, Conversion, Copy, Delivery, Run
from campaigns.models.gate import MarketingHold, QuotaUse, SendingStop, Touch
from crm.privacy import Fate, Holding, of_member

DECISIONS: Sequence[Holding] = (
    of_member(Touch, "收到过的营销消息", Fate.GONE),
    of_member(QuotaUse, "用掉的群发次数", Fate.GONE),
    of_member(MarketingHold, "暂不打扰", Fate.GONE),
    of_member(Delivery, "活动打算发和发过的", Fate.GONE),
    of_member(Copy, "群发任务里的名字", Fate.GONE),
    of_member(Conversion, "算在活动上的订单", Fate.GONE),
)
NOBODY: dict[type[Any], str] = {
    Batch: "a range of numbers",
    Broadcast: "a task of the staff's",
    Campaign: "the shop's own plans",
    Run: "when a campaign went out",
    SendingStop: "the shop's emergency brake",
}
