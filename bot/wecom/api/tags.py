"""Corp tags (企业标签): the tags themselves, and who bears them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bot.wecom.api.call import Caller
from bot.wecom.reading import Json, given, instant, number, obj, objs, text

CONTACT = "/cgi-bin/externalcontact"


@dataclass(frozen=True, slots=True)
class Tag:
    tag_id: str
    name: str
    order: int  # larger comes first
    created_at: datetime
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class TagGroup:
    group_id: str
    name: str
    order: int
    created_at: datetime
    tags: tuple[Tag, ...]
    deleted: bool = False


class TagsApi:
    """Calls about corp tags. An app changes only tags it made itself (60011)."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def get_corp_tag_list(
        self, *, tag_ids: Sequence[str] = (), group_ids: Sequence[str] = (), app: str | None = None
    ) -> tuple[TagGroup, ...]:
        """All groups with their tags, or those asked for by id, the deleted among them too.

        WeCom ignores tag_ids when group_ids are given.
        """
        body = given(tag_id=list(tag_ids) or None, group_id=list(group_ids) or None)
        answer = await self._caller.post(f"{CONTACT}/get_corp_tag_list", body, app=app, repeatable=True)
        return tuple(_group(one) for one in objs(answer, "tag_group"))

    async def add_corp_tag(
        self,
        names: Sequence[str],
        *,
        group_id: str | None = None,
        group_name: str | None = None,
        order: int | None = None,
        app: str | None = None,
    ) -> TagGroup:
        """Add tags to a group, or to a new one of this name; returns the group with the new tags only.

        Not repeatable: a second try is refused with TagNameTaken. After OutcomeUnknown the list tells.
        """
        tags = [{"name": name} for name in names]
        body = given(group_id=group_id, group_name=group_name, order=order, tag=tags)
        answer = await self._caller.post(f"{CONTACT}/add_corp_tag", body, app=app, repeatable=False)
        return _group(obj(answer, "tag_group"))

    async def edit_corp_tag(
        self, id_: str, *, name: str | None = None, order: int | None = None, app: str | None = None
    ) -> None:
        """Rename or reorder a tag or a tag group."""
        body = given(id=id_, name=name, order=order)
        await self._caller.post(f"{CONTACT}/edit_corp_tag", body, app=app, repeatable=True)

    async def del_corp_tag(
        self, *, tag_ids: Sequence[str] = (), group_ids: Sequence[str] = (), app: str | None = None
    ) -> None:
        """Delete tags and groups. A group takes its tags with it, the last tag its group."""
        body = given(tag_id=list(tag_ids) or None, group_id=list(group_ids) or None)
        await self._caller.post(f"{CONTACT}/del_corp_tag", body, app=app, repeatable=True)

    async def mark_tag(
        self,
        userid: str,
        external_userid: str,
        *,
        add: Sequence[str] = (),
        remove: Sequence[str] = (),
        app: str | None = None,
    ) -> None:
        """Tag a customer as one member of staff sees them. Raises NotAContact, NoSuchTag.

        Marking twice is marking once. One call at a time per customer, because two are answered with 45035.
        """
        body = given(
            userid=userid, external_userid=external_userid, add_tag=list(add) or None, remove_tag=list(remove) or None
        )
        async with self._caller.limiter.alone("mark_tag", external_userid):
            await self._caller.post(f"{CONTACT}/mark_tag", body, app=app, repeatable=True)


def _group(fields: Json) -> TagGroup:
    return TagGroup(
        text(fields, "group_id"),
        text(fields, "group_name"),
        number(fields, "order"),
        instant(fields, "create_time"),
        tuple(_tag(one) for one in objs(fields, "tag")),
        bool(fields.get("deleted")),
    )


def _tag(fields: Json) -> Tag:
    return Tag(
        text(fields, "id"),
        text(fields, "name"),
        number(fields, "order"),
        instant(fields, "create_time"),
        bool(fields.get("deleted")),
    )
