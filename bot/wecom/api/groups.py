"""Customer groups (客户群): their lists, their people, and the codes one joins by."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from bot.wecom.api.call import Caller, Page, pages
from bot.wecom.reading import Json, given, instant, number, obj, objs, text, texts

GROUP = "/cgi-bin/externalcontact/groupchat"
GROUPS_PER_PAGE = 1000


@dataclass(frozen=True, slots=True)
class GroupRef:
    chat_id: str
    status: int  # 0 normal; 1-3 its owner has left the company


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A person in a group; an external one need not be anybody's contact."""

    id: str  # userid of staff, external_userid of others
    is_staff: bool
    name: str
    nickname: str  # in this group
    joined_at: datetime
    join_scene: int  # 1 invited by a member, 2 by a link, 3 by QR code
    invited_by: str
    state: str  # of the join way, with scene 3
    unionid: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Group:
    chat_id: str
    name: str
    owner: str
    created_at: datetime
    notice: str
    members: tuple[GroupMember, ...]
    admins: tuple[str, ...]
    member_version: str  # equals an event's current_version once the list has caught up with it


@dataclass(frozen=True, slots=True)
class JoinWay:
    """A code that leads into one of up to five groups, and into a new one when they are full."""

    config_id: str
    scene: int
    chat_ids: tuple[str, ...]
    remark: str
    state: str
    qr_code: str
    auto_create_room: bool


class GroupsApi:
    """Calls about customer groups. Nothing here can post into one, or add or remove a person."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def list(
        self, cursor: str = "", *, owners: Sequence[str] = (), status: int = 0, app: str | None = None
    ) -> Page[GroupRef]:
        """A page of groups, of up to 100 owners. Raises TooMuchAsked when there are too many without owners."""
        body = given(
            status_filter=status,
            owner_filter={"userid_list": [*owners]} if owners else None,
            cursor=cursor or None,
            limit=GROUPS_PER_PAGE,
        )
        answer = await self._caller.post(f"{GROUP}/list", body, app=app, repeatable=True)
        found = tuple(GroupRef(text(one, "chat_id"), number(one, "status")) for one in objs(answer, "group_chat_list"))
        return Page(found, text(answer, "next_cursor"))

    def lists(
        self, *, owners: Sequence[str] = (), cursor: str = "", app: str | None = None
    ) -> AsyncIterator[Page[GroupRef]]:
        """All pages of `list` from `cursor` on."""
        return pages(lambda at: self.list(at, owners=owners, app=app), cursor=cursor)

    async def get(self, chat_id: str, *, app: str | None = None) -> Group:
        """A group and everybody in it. Raises NotACustomerGroup."""
        body: Json = {"chat_id": chat_id, "need_name": 1}
        return _group(obj(await self._caller.post(f"{GROUP}/get", body, app=app, repeatable=True), "group_chat"))

    async def add_join_way(
        self,
        chat_ids: Sequence[str],
        *,
        scene: int = 2,
        remark: str | None = None,
        state: str | None = None,
        auto_create_room: bool = False,
        room_base_name: str | None = None,
        room_base_id: int | None = None,
        app: str | None = None,
    ) -> str:
        """A code (2) or a widget (1) for up to five groups; returns its config_id. A second try would make two."""
        body = given(
            scene=scene,
            remark=remark,
            auto_create_room=int(auto_create_room),
            room_base_name=room_base_name,
            room_base_id=room_base_id,
            chat_id_list=[*chat_ids],
            state=state,
        )
        return text(await self._caller.post(f"{GROUP}/add_join_way", body, app=app, repeatable=False), "config_id")

    async def get_join_way(self, config_id: str, *, app: str | None = None) -> JoinWay:
        body: Json = {"config_id": config_id}
        return _join_way(
            obj(await self._caller.post(f"{GROUP}/get_join_way", body, app=app, repeatable=True), "join_way")
        )

    async def update_join_way(self, config_id: str, body: Json, *, app: str | None = None) -> None:
        """Replace the whole way: a field left out is cleared."""
        await self._caller.post(f"{GROUP}/update_join_way", {**body, "config_id": config_id}, app=app, repeatable=True)

    async def del_join_way(self, config_id: str, *, app: str | None = None) -> None:
        """The code stops working."""
        await self._caller.post(f"{GROUP}/del_join_way", {"config_id": config_id}, app=app, repeatable=True)

    async def opengid_to_chatid(self, opengid: str, *, app: str | None = None) -> str:
        """The chat_id behind what a mini-program or a page learns of the group it was opened in."""
        path = "/cgi-bin/externalcontact/opengid_to_chatid"
        return text(await self._caller.post(path, {"opengid": opengid}, app=app, repeatable=True), "chat_id")


def _group(fields: Json) -> Group:
    return Group(
        text(fields, "chat_id"),
        text(fields, "name"),
        text(fields, "owner"),
        instant(fields, "create_time"),
        text(fields, "notice"),
        tuple(_member(one) for one in objs(fields, "member_list")),
        tuple(text(one, "userid") for one in objs(fields, "admin_list")),
        text(fields, "member_version"),
    )


def _member(fields: Json) -> GroupMember:
    return GroupMember(
        text(fields, "userid"),
        number(fields, "type") == 1,
        text(fields, "name"),
        text(fields, "group_nickname"),
        instant(fields, "join_time"),
        number(fields, "join_scene"),
        text(obj(fields, "invitor"), "userid"),
        text(fields, "state"),
        text(fields, "unionid"),
    )


def _join_way(fields: Json) -> JoinWay:
    return JoinWay(
        text(fields, "config_id"),
        number(fields, "scene"),
        texts(fields, "chat_id_list"),
        text(fields, "remark"),
        text(fields, "state"),
        text(fields, "qr_code"),
        number(fields, "auto_create_room") == 1,
    )
