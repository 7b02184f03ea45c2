"""The WeCom client: one object with the calls of each area, over one transport, token cache and limiter."""

import random
from collections.abc import Mapping

from bot.wecom.api.aibot import AibotApi
from bot.wecom.api.archive import ArchiveApi
from bot.wecom.api.bills import BillsApi
from bot.wecom.api.broadcasts import BroadcastsApi
from bot.wecom.api.call import Caller
from bot.wecom.api.contacts import ContactsApi
from bot.wecom.api.groups import GroupsApi
from bot.wecom.api.kf import KfApi
from bot.wecom.api.media import MediaApi
from bot.wecom.api.staff import StaffApi
from bot.wecom.api.tags import TagsApi
from bot.wecom.api.ways import WaysApi
from bot.wecom.limits import Limiter
from bot.wecom.token import AppKey, TokenCache
from bot.wecom.transport import Transport
from crm.base.clock import Clock


class WecomClient:
    """The calls, by area. Each takes `app`, the one whose token it uses; left out, it is `default_app`, or the first.

    A token's permissions and visible range are its app's. Everything raises the errors of errors.py.
    """

    def __init__(
        self,
        transport: Transport,
        tokens: TokenCache,
        limiter: Limiter,
        clock: Clock,
        chance: random.Random,
        *,
        corp_id: str,
        apps: Mapping[str, AppKey],
        default_app: str | None = None,
    ) -> None:
        caller = Caller(transport, tokens, limiter, clock, chance, default_app=default_app or next(iter(apps)))
        self.corp_id = corp_id
        self.limiter, self.tokens = limiter, tokens
        self.kf = KfApi(caller)
        self.contacts = ContactsApi(caller)
        self.tags = TagsApi(caller)
        self.ways = WaysApi(caller)
        self.broadcasts = BroadcastsApi(caller)
        self.groups = GroupsApi(caller)
        self.staff = StaffApi(caller, {name: key.agent_id for name, key in apps.items()})
        self.media = MediaApi(caller)
        self.aibot = AibotApi(caller)
        self.archive = ArchiveApi(caller)
        self.bills = BillsApi(caller)
