"""The corp itself: its apps, staff and customers, the clock, chance, and the two ways news leaves it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from bot.simulator.feed import Feed
from bot.simulator.refusals import Refusal, Unknown
from crm.base.clock import Clock

SHOP_ZONE = ZoneInfo("Asia/Shanghai")
HOUR = 3600.0
DAY = 24 * HOUR


@dataclass(slots=True)
class CallbackTarget:
    """Where an app's events go, as saved in its settings page."""

    url: str
    token: str
    aes_key: str


@dataclass(slots=True)
class App:
    """A self-built app. `kf` and `contacts`: listed under that module's 可调用接口的应用."""

    agentid: int
    name: str
    secret: str
    callback: CallbackTarget | None = None
    kf: bool = True
    contacts: bool = True
    visible: set[str] | None = None  # userids in its visible range; None is everybody
    trusted_domains: set[str] | None = None  # host[:port] that may receive OAuth codes; None is any
    menu: list[dict[str, str]] = field(default_factory=list)

    def sees(self, userid: str) -> bool:
        return self.visible is None or userid in self.visible


@dataclass(slots=True)
class Staff:
    userid: str
    name: str
    avatar: str = ""
    department: str = "客服部"
    active: bool = True
    can_add_customers: bool = True  # has the 客户联系 permission
    console_welcome: bool = False  # a welcome is configured in the admin console, so no WelcomeCode comes


@dataclass(slots=True)
class Customer:
    external_userid: str
    name: str
    avatar: str = ""
    gender: int = 0
    unionid: str = ""
    openid: str = ""


@dataclass(slots=True, frozen=True)
class Event:
    """A callback on its way out. topic: "kf", "contacts", or "app" (then only to `agentid`)."""

    topic: str
    fields: dict[str, object]
    agentid: int | None = None


@dataclass
class Corp:
    """What everything else stands on. Areas (kf, contacts, groups, …) hold a Corp and keep their own rows."""

    clock: Clock
    chance: Random
    corpid: str = "ww0000000000000001"
    apps: dict[int, App] = field(default_factory=dict)
    staff: dict[str, Staff] = field(default_factory=dict)  # by lower-case userid: the vendor ignores case
    customers: dict[str, Customer] = field(default_factory=dict)
    feed: Feed = field(default_factory=Feed)
    listeners: list[Callable[[Event], None]] = field(default_factory=list)
    _waiting: set["asyncio.Task[None]"] = field(default_factory=set)

    def now(self) -> float:
        """Unix seconds on the simulator's own clock."""
        return self.clock.now().timestamp()

    def new_id(self, prefix: str, bits: int = 96) -> str:
        return f"{prefix}{self.chance.getrandbits(bits):0{bits // 4}x}"

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do it after `seconds` on the simulator's clock; at once when they are none."""
        if seconds <= 0:
            action()
            return
        task = asyncio.get_running_loop().create_task(self._wait(seconds, action))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _wait(self, seconds: float, action: Callable[[], None]) -> None:
        await self.clock.sleep(seconds)
        action()

    def stop_waiting(self) -> None:
        for task in self._waiting:
            task.cancel()

    # people

    def add_app(self, agentid: int, name: str, secret: str, **settings: Any) -> App:
        self.apps[agentid] = App(agentid, name, secret, **settings)
        return self.apps[agentid]

    def add_staff(self, userid: str, name: str, **details: Any) -> Staff:
        self.staff[userid.lower()] = member = Staff(userid, name, **details)
        return member

    def add_customer(self, name: str, external_userid: str | None = None, **details: Any) -> Customer:
        known = external_userid or self.new_id("wm")
        person = Customer(known, name, **details)
        person.unionid = person.unionid or self.new_id("ou")
        person.openid = person.openid or self.new_id("oo")
        self.customers[known] = person
        return person

    def find_staff(self, userid: object) -> Staff | None:
        return self.staff.get(userid.lower()) if isinstance(userid, str) else None

    def get_staff(self, userid: str) -> Staff:
        if (member := self.find_staff(userid)) is None:
            raise Unknown(f"没有叫 {userid} 的员工")
        return member

    def get_customer(self, external_userid: str) -> Customer:
        if external_userid not in self.customers:
            raise Unknown(f"没有这位客户：{external_userid}")
        return self.customers[external_userid]

    def visible_staff(self, app: App, userid: object) -> Staff:
        """The member an API call names, if the calling app may see them (40003, 60111, 60011)."""
        if not isinstance(userid, str) or not userid:
            raise Refusal(40003)
        member = self.find_staff(userid)
        if member is None:
            raise Refusal(60111, userid)
        if not app.sees(member.userid):
            raise Refusal(60011, userid)
        return member

    def known_customer(self, external_userid: object) -> Customer:
        """The customer an API call names (41035, 40096)."""
        if not external_userid:
            raise Refusal(41035)
        person = self.customers.get(external_userid) if isinstance(external_userid, str) else None
        if person is None:
            raise Refusal(40096)
        return person

    # news

    def emit(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)

    def emit_event(self, topic: str, name: str, fields: dict[str, object], *, agentid: int | None = None) -> None:
        """A callback with the common head: sent by `sys`, created now."""
        self.emit(Event(topic, {**self.head("sys"), "Event": name, **fields}, agentid))

    def head(self, sender: str, msgtype: str = "event") -> dict[str, object]:
        return {
            "ToUserName": self.corpid,
            "FromUserName": sender,
            "CreateTime": int(self.now()),
            "MsgType": msgtype,
        }

    def changed(self, userid: str, what: str) -> None:
        """Tell an employee's client which of its lists to load again."""
        self.feed.publish(f"staff:{userid}", "changed", {"what": what})
