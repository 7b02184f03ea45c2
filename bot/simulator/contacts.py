"""客户联系: who follows whom, with remarks and tags; contact ways (渠道活码); welcome codes and welcome messages."""

from dataclasses import dataclass, field
from typing import Any

from bot.simulator import attachments, checks
from bot.simulator.chats import Chats, Message
from bot.simulator.checks import Body
from bot.simulator.codes import Codes
from bot.simulator.corp import App, Corp, Customer
from bot.simulator.media import Media
from bot.simulator.refusals import NotPossible, Refusal

WELCOME_LIFE = 20.0
ADDED_BY_QR = 1


@dataclass(slots=True)
class Follow:
    """One (member, customer) relation. `one_way`: the customer deleted the member, the member still lists them."""

    userid: str
    external_userid: str
    created_at: int
    remark: str = ""
    description: str = ""
    company: str = ""
    mobiles: list[str] = field(default_factory=list)
    tags: dict[str, None] = field(default_factory=dict)  # tag ids in the order they were marked
    state: str = ""
    oper_userid: str = ""
    add_way: int = ADDED_BY_QR
    one_way: bool = False
    confirmed: bool = True  # False: the customer asked, the member has not accepted yet
    talked_at: float = 0.0
    welcomed_by: int | None = None  # agentid


@dataclass(slots=True)
class ContactWay:
    config_id: str
    users: list[str]
    state: str = ""
    remark: str = ""
    type: int = 2
    scene: int = 2
    style: int = 1
    skip_verify: bool = True
    party: list[int] = field(default_factory=list)
    is_temp: bool = False
    is_exclusive: bool = False
    mark_source: bool = True
    created_at: int = 0


class Contacts:
    def __init__(self, corp: Corp, chats: Chats, media: Media) -> None:
        self.corp = corp
        self.chats = chats
        self.media = media
        self.ways: dict[str, ContactWay] = {}
        self.welcome_codes: Codes[Follow] = Codes(corp, "WLC")
        self.half_first = False  # send add_half_external_contact before every add_external_contact
        self.writing: set[str] = set()  # external_userids that a mark_tag call is changing right now
        self._by_member: dict[str, dict[str, Follow]] = {}
        self._by_customer: dict[str, dict[str, Follow]] = {}

    # reading

    def of_member(self, userid: str) -> list[Follow]:
        return list(self._by_member.get(userid, {}).values())

    def of_customer(self, external_userid: str) -> list[Follow]:
        return list(self._by_customer.get(external_userid, {}).values())

    def find(self, userid: str, external_userid: str) -> Follow | None:
        return self._by_member.get(userid, {}).get(external_userid)

    def get(self, userid: str, external_userid: str) -> Follow:
        """The relation a person acts on."""
        follow = self.find(userid, external_userid)
        if follow is None:
            raise NotPossible("他们还不是好友")
        return follow

    def followed(self, userid: str, external_userid: str) -> Follow:
        """The relation an API call names; 84061 when the member does not (any more) have this customer."""
        follow = self.find(userid, external_userid)
        if follow is None:
            raise Refusal(84061)
        return follow

    def visible_follows(self, app: App, external_userid: str) -> list[Follow]:
        """Who follows this customer, as far as the app may know (84061 nobody, 40096 nobody in its range)."""
        follows = self.of_customer(external_userid)
        if not follows:
            raise Refusal(84061)
        visible = [follow for follow in follows if app.sees(follow.userid)]
        if not visible:
            raise Refusal(40096)
        return visible

    # customers' deeds

    def add(
        self, userid: str, external_userid: str, *, state: str = "", silent: bool = False, **details: Any
    ) -> Follow:
        """The customer adds the member. `silent` seeds a relation without an event."""
        customer, member = self.corp.get_customer(external_userid), self.corp.get_staff(userid)
        follow = self._relate(member.userid, customer, state, details)
        if not silent:
            self._announce(follow)
        return follow

    def scan(self, external_userid: str, config_id: str) -> Follow:
        """The customer scans a contact way's QR code and adds one of its members."""
        way = self.ways.get(config_id)
        if way is None:
            raise NotPossible("这个二维码已失效")
        mine = {follow.userid for follow in self.of_customer(external_userid) if not follow.one_way}
        if way.is_exclusive and mine & set(way.users):
            raise NotPossible("这个活码只能添加一位员工")
        free = [userid for userid in way.users if userid not in mine]
        if not free:
            raise NotPossible("已经添加过了")
        follow = self._relate(
            self.corp.chance.choice(free), self.corp.get_customer(external_userid), way.state, {}, way.skip_verify
        )
        self._announce(follow)
        return follow

    def confirm(self, userid: str, external_userid: str) -> None:
        """The member accepts a customer who came through a way with skip_verify off."""
        follow = self.get(userid, external_userid)
        if follow.confirmed:
            raise NotPossible("已经通过了")
        follow.confirmed = True
        self._announce(follow)

    def leave(self, external_userid: str, userid: str) -> None:
        """The customer deletes the member; the member keeps a one-way relation."""
        follow = self.get(userid, external_userid)
        if follow.one_way:
            raise NotPossible("已经删除过了")
        follow.one_way = True
        self._event("del_follow_user", follow)
        self.corp.changed(follow.userid, "contacts")

    def say(self, external_userid: str, userid: str, msgtype: str, payload: dict[str, Any]) -> Message:
        follow = self._talking(userid, external_userid)
        return self._post(follow, "customer", external_userid, msgtype, payload)

    # staff's deeds

    def drop(self, userid: str, external_userid: str) -> None:
        """The member deletes the customer: the relation is gone for the API (84061)."""
        follow = self.get(userid, external_userid)
        del self._by_member[follow.userid][external_userid], self._by_customer[external_userid][follow.userid]
        self._event("del_external_contact", follow)
        self.corp.changed(follow.userid, "contacts")

    def write(self, userid: str, external_userid: str, msgtype: str, payload: dict[str, Any]) -> Message:
        return self._post(self._talking(userid, external_userid), "staff", userid, msgtype, payload)

    def edit(self, userid: str, external_userid: str, *, remark: str | None, add: list[str], remove: list[str]) -> None:
        """The member edits remark and tags in the client; unlike the API's changes this comes back as an event."""
        follow = self.get(userid, external_userid)
        follow.remark = follow.remark if remark is None else remark
        mark(follow, add, remove)
        fields: dict[str, object] = {"State": follow.state} if follow.state else {}
        self._event("edit_external_contact", follow, fields)
        self.corp.changed(follow.userid, "contacts")

    def forget_tags(self, tag_ids: list[str]) -> None:
        """Deleted tags disappear from every customer."""
        gone = set(tag_ids)
        for follows in self._by_member.values():
            for follow in follows.values():
                for tag_id in gone & follow.tags.keys():
                    del follow.tags[tag_id]

    # messages that reach the customer in the member's name

    def deliver(self, follow: Follow, text: str, parts: list[attachments.Part]) -> None:
        """A welcome or a mass message: the text and each attachment is a message of its own."""
        if text:
            self._post(follow, "staff", follow.userid, "text", {"content": text}, talk=False)
        for msgtype, payload in parts:
            self._post(follow, "staff", follow.userid, msgtype, payload, talk=False)

    def send_welcome(self, app: App, body: Body) -> None:
        code = checks.text(body, "welcome_code", missing=41049)
        text, parts = attachments.checked(body, self.media)
        follow = self.welcome_codes.find(code)
        if follow is None or follow.welcomed_by == app.agentid:
            raise Refusal(41050)
        if follow.talked_at or follow.welcomed_by is not None:
            raise Refusal(41051)
        follow.welcomed_by = app.agentid
        self.deliver(follow, text, parts)

    def _relate(
        self, userid: str, customer: Customer, state: str, details: dict[str, Any], confirmed: bool = True
    ) -> Follow:
        known = customer.external_userid
        old = self.find(userid, known)
        if old is not None and not old.one_way:
            raise NotPossible("已经是好友了")
        follow = Follow(userid, known, int(self.corp.now()), state=state, oper_userid=known, confirmed=confirmed)
        if old is not None:  # the member kept the customer, with remark and tags
            follow.remark, follow.tags = old.remark, old.tags
        for name, value in details.items():
            setattr(follow, name, value)
        self._by_member.setdefault(userid, {})[known] = follow
        self._by_customer.setdefault(known, {})[userid] = follow
        chat = self.chats.private("staff", known, userid)
        chat.watchers = {userid}
        self.corp.feed.publish(f"phone:{known}", "chats", {})
        self.corp.changed(userid, "contacts")
        return follow

    def _announce(self, follow: Follow) -> None:
        chat = self.chats.private("staff", follow.external_userid, follow.userid)
        fields: dict[str, object] = {"State": follow.state} if follow.state else {}
        if not self.corp.get_staff(follow.userid).console_welcome and not follow.talked_at:
            fields["WelcomeCode"] = self.welcome_codes.issue(follow, seconds=WELCOME_LIFE)
        if not follow.confirmed:
            self._event("add_half_external_contact", follow, fields)
            return
        if self.half_first:
            self._event("add_half_external_contact", follow, fields)
        name = self.corp.get_staff(follow.userid).name
        self.chats.post(chat, "system", "", "event", {"content": f"你已添加了{name}，现在可以开始聊天了。"})
        self._event("add_external_contact", follow, fields)

    def _event(self, change: str, follow: Follow, fields: dict[str, object] | None = None) -> None:
        who: dict[str, object] = {"UserID": follow.userid, "ExternalUserID": follow.external_userid}
        self.corp.emit_event("contacts", "change_external_contact", {"ChangeType": change, **who, **(fields or {})})

    def _talking(self, userid: str, external_userid: str) -> Follow:
        follow = self.get(userid, external_userid)
        if follow.one_way or not follow.confirmed:
            raise NotPossible("对方还不是你的好友，消息发不出去")
        return follow

    def _post(
        self,
        follow: Follow,
        kind: Any,
        sender: str,
        msgtype: str,
        payload: dict[str, Any],
        *,
        talk: bool = True,
    ) -> Message:
        if talk:
            follow.talked_at = self.corp.now()
        chat = self.chats.private("staff", follow.external_userid, follow.userid)
        return self.chats.post(chat, kind, sender, msgtype, payload)


def mark(follow: Follow, add: list[str], remove: list[str]) -> None:
    follow.tags.update(dict.fromkeys(add))
    for tag_id in remove:
        follow.tags.pop(tag_id, None)
