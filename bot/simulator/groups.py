"""Customer groups (客户群): members, versions, what the API may see and when, join ways, and the chat inside."""

from dataclasses import dataclass, field
from typing import Any

from bot.simulator.chats import Chats, Message
from bot.simulator.corp import Corp
from bot.simulator.envelope import Bare
from bot.simulator.refusals import NotPossible, Refusal, Unknown

MAX_MEMBERS = 500
INVITED, BY_LINK, BY_QR = 1, 2, 3
LEFT, REMOVED = 0, 1


@dataclass(slots=True)
class Member:
    id: str  # userid or external_userid
    type: int  # 1 staff, 2 customer
    join_time: int
    join_scene: int
    invitor: str = ""
    state: str = ""
    nickname: str = ""


@dataclass(slots=True)
class Group:
    chat_id: str
    name: str
    owner: str
    create_time: int
    notice: str = ""
    members: dict[str, Member] = field(default_factory=dict)
    admins: list[str] = field(default_factory=list)
    version: str = ""
    dismissed: bool = False
    stale: list[tuple[float, dict[str, Any]]] = field(default_factory=list)  # (until, what groupchat/get still says)


@dataclass(slots=True)
class JoinWay:
    config_id: str
    chat_ids: list[str]
    scene: int = BY_LINK
    remark: str = ""
    state: str = ""
    auto_create_room: bool = True
    room_base_name: str = ""
    room_base_id: int = 1
    mark_source: bool = True


class Groups:
    def __init__(self, corp: Corp, chats: Chats) -> None:
        self.corp = corp
        self.chats = chats
        self.all: dict[str, Group] = {}
        self.join_ways: dict[str, JoinWay] = {}
        self.lag_seconds = 0.0  # how long groupchat/get still shows the group as it was before a change

    def get(self, chat_id: object) -> Group:
        """The group an API call names."""
        group = self.all.get(chat_id) if isinstance(chat_id, str) else None
        if group is None or group.dismissed:
            raise Refusal(90501)
        return group

    def find(self, chat_id: str) -> Group:
        """The group a person acts on."""
        if chat_id not in self.all or self.all[chat_id].dismissed:
            raise Unknown("没有这个群")
        return self.all[chat_id]

    def of_owner(self, userid: str) -> list[Group]:
        return [group for group in self.all.values() if group.owner == userid and not group.dismissed]

    def of_member(self, userid: str) -> list[Group]:
        return [group for group in self.all.values() if userid in group.members and not group.dismissed]

    def shown(self, group: Group) -> dict[str, Any]:
        """What groupchat/get tells: for `lag_seconds` after a change still the group as it was."""
        now = self.corp.now()
        group.stale = [(until, was) for until, was in group.stale if until > now]
        return group.stale[0][1] if group.stale else self.current(group)

    # by hand, in the client

    def create(
        self, name: str, owner: str, members: list[str] | None = None, chat_id: str | None = None, silent: bool = False
    ) -> Group:
        leader = self.corp.get_staff(owner).userid
        group = Group(chat_id or self.corp.new_id("wr"), name, leader, int(self.corp.now()))
        self.all[group.chat_id] = group
        self.chats.name(group.chat_id, name)
        for known in [leader, *(members or [])]:
            self._enter(group, known, INVITED, leader, "")
        self._renew(group)
        if not silent:
            self._event(group, "create")
        return group

    def add_members(
        self, chat_id: str, members: list[str], *, scene: int = INVITED, invitor: str = "", state: str = ""
    ) -> None:
        group = self.find(chat_id)
        new = [known for known in members if known not in group.members]
        if not new:
            raise NotPossible("已经在群里了")
        if len(group.members) + len(new) > MAX_MEMBERS:
            raise NotPossible("这个群已经满员")
        self._before_change(group)
        for known in new:
            self._enter(group, known, scene, invitor or group.owner, state)
        self._member_event(group, "add_member", new, {"JoinScene": 3 if scene == BY_QR else 0})

    def remove_members(self, chat_id: str, members: list[str], *, quit_scene: int = REMOVED) -> None:
        group = self.find(chat_id)
        if any(known not in group.members for known in members):
            raise NotPossible("不在群里")
        if group.owner in members:
            raise NotPossible("群主不能退群，请先转让")
        self._before_change(group)
        for known in members:
            gone = group.members.pop(known)
            self.chats.post(
                self.chats.group(chat_id), "system", "", "event", {"content": f"{self.name_of(gone.id)} 退出了群聊"}
            )
            self.chats.part(chat_id, known)
        self._member_event(group, "del_member", members, {"QuitScene": quit_scene})

    def join(self, external_userid: str, chat_id: str = "", config_id: str = "") -> Group:
        """A customer joins by a group's QR code, or by a join way: the first of its groups with room."""
        self.corp.get_customer(external_userid)
        if not config_id:
            self.add_members(chat_id, [external_userid], scene=BY_QR)
            return self.find(chat_id)
        way = self.join_ways.get(config_id)
        if way is None:
            raise NotPossible("这个群二维码已失效")
        group = self._with_room(way)
        self.add_members(group.chat_id, [external_userid], scene=BY_QR, state=way.state)
        return group

    def change(self, chat_id: str, *, name: str = "", notice: str | None = None, owner: str = "") -> None:
        group = self.find(chat_id)
        self._before_change(group)
        if name:
            group.name = name
            self.chats.name(chat_id, name)
            self._event(group, "update", {"UpdateDetail": "change_name"})
        if notice is not None:
            group.notice = notice
            self._event(group, "update", {"UpdateDetail": "change_notice"})
        if owner:
            group.owner = self.corp.get_staff(owner).userid
            self._event(group, "update", {"UpdateDetail": "change_owner"})

    def dismiss(self, chat_id: str) -> None:
        group = self.find(chat_id)
        group.dismissed = True
        for known in list(group.members):
            self.chats.part(chat_id, known)
        self._event(group, "dismiss")

    def say(self, chat_id: str, known: str, msgtype: str, payload: dict[str, Any]) -> Message:
        """A member writes in the group. No API and no callback tells."""
        group = self.find(chat_id)
        if known not in group.members:
            raise NotPossible("不在群里")
        kind: Any = "staff" if group.members[known].type == 1 else "customer"
        return self.chats.post(self.chats.group(chat_id), kind, known, msgtype, payload)

    def name_of(self, known: str) -> str:
        person = self.corp.find_staff(known) or self.corp.customers.get(known)
        return person.name if person else known

    # inside

    def _enter(self, group: Group, known: str, scene: int, invitor: str, state: str) -> None:
        staff = self.corp.find_staff(known)
        identity = staff.userid if staff else self.corp.get_customer(known).external_userid
        now = int(self.corp.now())
        group.members[identity] = Member(identity, 1 if staff else 2, now, scene, invitor, state)
        if staff:
            self.chats.group(group.chat_id).watchers.add(staff.userid)
            self.corp.changed(staff.userid, "groups")
        else:
            self.chats.join(group.chat_id, identity)

    def _with_room(self, way: JoinWay) -> Group:
        for chat_id in way.chat_ids:
            group = self.all.get(chat_id)
            if group and not group.dismissed and len(group.members) < MAX_MEMBERS:
                return group
        if not way.auto_create_room or not way.chat_ids:
            raise NotPossible("这些群都已经满员")
        first = self.find(way.chat_ids[0])
        overflow = self.create(f"{way.room_base_name or first.name}{way.room_base_id}", first.owner)
        way.room_base_id += 1
        way.chat_ids.append(overflow.chat_id)
        return overflow

    def _before_change(self, group: Group) -> None:
        if self.lag_seconds > 0:
            group.stale.append((self.corp.now() + self.lag_seconds, self.current(group)))

    def _renew(self, group: Group) -> None:
        group.version = self.corp.new_id("", 128)

    def _member_event(self, group: Group, detail: str, members: list[str], scene: dict[str, object]) -> None:
        before = group.version
        self._renew(group)
        facts: dict[str, object] = {
            "UpdateDetail": detail,
            **scene,
            "MemChangeCnt": len(members),
            "MemChangeList": {"Item": [Bare(known) for known in members]},
            "LastMemVer": before,
            "CurMemVer": group.version,
        }
        self._event(group, "update", facts)

    def _event(self, group: Group, change: str, facts: dict[str, object] | None = None) -> None:
        self.corp.emit_event(
            "contacts",
            "change_external_chat",
            {"ChatId": group.chat_id, "ChangeType": change, **(facts or {})},
        )
        for member in group.members.values():
            if member.type == 1:
                self.corp.changed(member.id, "groups")

    def current(self, group: Group) -> dict[str, Any]:
        return {
            "chat_id": group.chat_id,
            "name": group.name,
            "owner": group.owner,
            "create_time": group.create_time,
            "notice": group.notice,
            "member_list": [self._member(member) for member in group.members.values()],
            "admin_list": [{"userid": userid} for userid in group.admins],
            "member_version": group.version,
        }

    def _member(self, member: Member) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "userid": member.id,
            "type": member.type,
            "join_time": member.join_time,
            "join_scene": member.join_scene,
            "group_nickname": member.nickname,
            "name": self.name_of(member.id),
        }
        if member.join_scene == INVITED:
            shown["invitor"] = {"userid": member.invitor}
        if member.state and member.join_scene == BY_QR:
            shown["state"] = member.state
        person = self.corp.customers.get(member.id)
        if person:
            shown["unionid"] = person.unionid
        return shown
