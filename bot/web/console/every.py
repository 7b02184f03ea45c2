"""All screens together, for the server."""

from collections.abc import Sequence

from bot.web import desk
from bot.web.console import (
    accounts,
    audit,
    campaign_editor,
    campaigns,
    connections,
    follow_ups,
    growth,
    home,
    keys,
    knowledge,
    me,
    members,
    month,
    numbers,
    referral,
    rfm,
    rules,
    sale_board,
    sales,
    segments,
    subscriptions,
    tasks,
    webhooks,
)
from bot.web.screens import Screens

ALL: Sequence[Screens] = (
    home.SCREENS,
    desk.SCREENS,
    members.SCREENS,
    segments.SCREENS,
    rfm.SCREENS,
    subscriptions.SCREENS,
    campaign_editor.SCREENS,
    campaigns.SCREENS,
    sales.SCREENS,
    sale_board.SCREENS,
    referral.SCREENS,
    tasks.SCREENS,
    follow_ups.SCREENS,
    growth.SCREENS,
    knowledge.SCREENS,
    numbers.SCREENS,
    month.SCREENS,
    me.SCREENS,
    accounts.SCREENS,
    keys.SCREENS,
    webhooks.SCREENS,
    rules.SCREENS,
    connections.SCREENS,
    audit.SCREENS,
)
