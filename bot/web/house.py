"""What a page of the staff's browser may reach beyond the App: the settings, WeCom, the sale's allocator, the vault."""

from dataclasses import dataclass

from aiohttp import web

from bot.app import App
from bot.flashsale.allocator import Allocator
from bot.settings import Settings
from bot.wecom.client import WecomClient
from crm.base.secrets import Vault


@dataclass(frozen=True, slots=True)
class House:
    """Built once, in bootstrap.py."""

    app: App
    settings: Settings
    client: WecomClient
    allocator: Allocator
    vault: Vault | None  # None: no SIYU_DATA_KEY, so nothing can be sealed or revealed


HOUSE = web.AppKey("house", House)
