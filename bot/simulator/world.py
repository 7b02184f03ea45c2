"""The whole simulated WeCom in memory: its areas, and short verbs to seed it and to play a customer."""

import random
from typing import Any

from bot.simulator.aibots import AiBots
from bot.simulator.archive import Archive
from bot.simulator.bills import Bills
from bot.simulator.chats import Chats, Message
from bot.simulator.contacts import Contacts, Follow
from bot.simulator.corp import App, CallbackTarget, Corp, Customer, Staff
from bot.simulator.groups import Group, Groups
from bot.simulator.kf import Account, Kf
from bot.simulator.kf_bot import KfBot
from bot.simulator.media import Media
from bot.simulator.notices import Notices
from bot.simulator.tags import Tags
from bot.simulator.tasks import Tasks
from bot.simulator.visitors import Visitors
from bot.simulator.webhooks import Webhooks
from crm.base.clock import Clock


class World:
    """Builds the areas in the order they depend on each other. Deterministic for a given `chance` and clock."""

    def __init__(self, clock: Clock, chance: random.Random | None = None, corpid: str = "ww0000000000000001") -> None:
        self.corp = Corp(clock, chance or random.Random(7), corpid)
        self.chats = Chats(self.corp)
        self.media = Media(self.corp)
        self.kf = Kf(self.corp, self.chats)
        self.kf_bot = KfBot(self.kf, self.media)
        self.contacts = Contacts(self.corp, self.chats, self.media)
        self.tags = Tags(self.corp)
        self.groups = Groups(self.corp, self.chats)
        self.tasks = Tasks(self.corp, self.contacts, self.groups)
        self.notices = Notices(self.corp)
        self.webhooks = Webhooks(self.corp, self.media)
        self.aibots = AiBots(self.corp, self.chats)
        self.archive = Archive(self.corp, self.chats, self.groups)
        self.bills = Bills(self.corp)
        self.visitors = Visitors(self.corp, self.contacts)

    # seeding

    def register_app(
        self, agentid: int, name: str, secret: str, callback: CallbackTarget | None = None, **settings: Any
    ) -> App:
        """A self-built app. A callback given here is trusted; one saved over HTTP is verified first."""
        return self.corp.add_app(agentid, name, secret, callback=callback, **settings)

    def add_staff(self, userid: str, name: str, **details: Any) -> Staff:
        return self.corp.add_staff(userid, name, **details)

    def add_customer(self, name: str, external_userid: str | None = None, **details: Any) -> Customer:
        return self.corp.add_customer(name, external_userid, **details)

    def add_kf_account(
        self, name: str, open_kfid: str | None = None, servicers: list[str] | None = None, avatar: str = ""
    ) -> Account:
        return self.kf.add_account(name, open_kfid, servicers, avatar)

    def add_contact(
        self, userid: str, external_userid: str, state: str | None = None, silent: bool = True, **details: Any
    ) -> Follow:
        """`external_userid` adds `userid`; silent: no event, as if it had happened before the simulation began."""
        return self.contacts.add(userid, external_userid, state=state or "", silent=silent, **details)

    def add_group(
        self, name: str, owner: str, members: list[str] | None = None, chat_id: str | None = None, silent: bool = True
    ) -> Group:
        """A customer group; `members` mixes userids and external_userids, the owner is always in."""
        return self.groups.create(name, owner, members, chat_id, silent)

    # playing a customer

    def customer_says(self, external_userid: str, open_kfid: str, content: str, menu_id: str | None = None) -> Message:
        text = {"content": content} if menu_id is None else {"content": content, "menu_id": menu_id}
        return self.kf.say(open_kfid, external_userid, "text", text)

    def customer_enters(self, external_userid: str, open_kfid: str, scene: str = "", scene_param: str = "") -> str:
        return self.kf.enter(open_kfid, external_userid, scene, scene_param)

    def seen_by_customer(self, external_userid: str, ref: str) -> list[dict[str, Any]]:
        """Everything in one of the customer's chats, as the phone shows it; empty before the first word."""
        chats = {chat.ref: chat for chat in self.chats.of_customer(external_userid)}
        chat = chats.get(ref)
        return [self.chats.shown(chat, message) for message in chat.messages] if chat else []
