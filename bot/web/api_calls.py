"""Every call of the HTTP API, by subject."""

from collections.abc import Sequence

from bot.web import api_coupons, api_members, api_offers, api_orders, api_points
from bot.web.api_call import Call
from crm.base.secrets import Vault


def every_call(vault: Vault | None) -> Sequence[Call]:
    """vault: opens phones for their mask."""
    return (
        *api_orders.CALLS,
        *api_members.member_calls(vault),
        *api_offers.CALLS,
        *api_coupons.CALLS,
        *api_points.CALLS,
    )
