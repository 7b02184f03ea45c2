"""Several quick lines of one customer are one question: which belong together, and how long to wait for more."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from bot.models.gateway import InboundMessage
from bot.wecom.kf_items import Origin

TOGETHER = 5  # lines; who writes more is telling a story


def may_go_on(inbound: InboundMessage, later: Sequence[InboundMessage], *, gap: timedelta, now: datetime) -> bool:
    """Whether the line after this one is here, or may still come within `gap`.

    Between two lines the vendor's clock counts, for the wait our own: the two may differ.
    """
    if not _is_typed(inbound):
        return False
    if later:
        return _is_typed(later[0]) and later[0].sent_at - inbound.sent_at <= gap
    return now < wait_until(inbound, gap=gap)


def wait_until(inbound: InboundMessage, *, gap: timedelta) -> datetime:
    return inbound.received_at + gap


def _is_typed(inbound: InboundMessage) -> bool:
    """Written by the customer; a tap on a menu is a word of ours."""
    if inbound.origin != Origin.CUSTOMER or inbound.kind != "text":
        return False
    content = inbound.body.get("text")
    return isinstance(content, dict) and not content.get("menu_id")
