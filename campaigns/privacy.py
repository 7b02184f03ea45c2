"""What the decisions hold about people, table by table: see crm/privacy.py."""

from collections.abc import Sequence
from typing import Any

from campaigns.models.gate import MarketingHold, QuotaUse, SendingStop, Touch
from crm.privacy import Fate, Holding, of_member

DECISIONS: Sequence[Holding] = (
    of_member(Touch, "收到过的营销消息", Fate.GONE),
    of_member(QuotaUse, "用掉的群发次数", Fate.GONE),
    of_member(MarketingHold, "暂不打扰", Fate.GONE),
)
NOBODY: dict[type[Any], str] = {SendingStop: "the shop's emergency brake"}
