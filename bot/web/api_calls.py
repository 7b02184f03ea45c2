"""Every call of the HTTP API, by subject."""

from collections.abc import Callable, Sequence

from bot.web import (
    api_campaigns,
    api_coupons,
    api_events,
    api_members,
    api_offers,
    api_orders,
    api_people,
    api_points,
    api_sales,
    api_search,
    api_segments,
)
from bot.web.api_call import Call
from bot.web.api_sales import Telling
from crm.base.secrets import Vault


def every_call(vault: Vault | None, telling: Callable[[], Telling] = Telling) -> Sequence[Call]:
    """vault: opens phones, for their mask and for who may see them. telling: how groups hear of a sale."""
    return (
        *api_orders.CALLS,
        *api_search.CALLS,
        *api_members.member_calls(vault),
        *api_people.people_calls(vault),
        *api_offers.CALLS,
        *api_coupons.CALLS,
        *api_points.CALLS,
        *api_segments.CALLS,
        *api_sales.sale_calls(telling),
        *api_campaigns.CALLS,
        *api_events.CALLS,
    )
