"""Corp tags (企业标签): groups of tags, who created them, and the events of changes made in the console."""

from dataclasses import dataclass, field
from typing import Any

from bot.simulator.corp import App, Corp
from bot.simulator.refusals import NotPossible, Refusal

MAX_NAME = 30
MAX_TAGS = 10_000


@dataclass(slots=True)
class Tag:
    id: str
    name: str
    order: int
    created_at: int
    created_by: int | None  # agentid; None was made in the console


@dataclass(slots=True)
class TagGroup:
    id: str
    name: str
    order: int
    created_at: int
    created_by: int | None
    tags: dict[str, Tag] = field(default_factory=dict)


class Tags:
    def __init__(self, corp: Corp) -> None:
        self._corp = corp
        self.groups: dict[str, TagGroup] = {}
        self._group_of: dict[str, TagGroup] = {}  # tag id -> its group
        self._deleted: dict[str, dict[str, Any]] = {}  # group id -> what a query by id still shows

    def find(self, tag_id: str) -> tuple[TagGroup, Tag] | None:
        group = self._group_of.get(tag_id)
        return (group, group.tags[tag_id]) if group else None

    def check_ids(self, tag_ids: list[str]) -> None:
        for tag_id in tag_ids:
            if tag_id not in self._group_of:
                raise Refusal(40068, tag_id)

    def add(
        self, group_id: str, group_name: str, names: list[tuple[str, int]], *, by: App | None, order: int = 0
    ) -> tuple[TagGroup, list[Tag]]:
        """New tags in a group found by id or name, else made. All or nothing."""
        group = self._wanted(group_id, group_name)
        self._check_names([name for name, _ in names], group)
        if not names or len(self._group_of) + len(names) > MAX_TAGS:
            raise Refusal(40058, "tag")
        creator, now = by.agentid if by else None, int(self._corp.now())
        if group is None:
            group = TagGroup(self._corp.new_id("et"), group_name, order, now, creator)
            self.groups[group.id] = group
            self._news("create", "tag_group", group.id, by)
        made = [Tag(self._corp.new_id("et"), name, place, now, creator) for name, place in names]
        for tag in made:
            group.tags[tag.id] = tag
            self._group_of[tag.id] = group
            self._news("create", "tag", tag.id, by)
        return group, made

    def edit(self, known: str, name: str, order: int | None, *, by: App | None) -> None:
        group = self.groups.get(known)
        found = self.find(known)
        target = group or (found[1] if found else None)
        if target is None:
            raise Refusal(40068, known)
        self._check_owner(target, by)
        siblings = (
            {each.name for each in self.groups.values()}
            if group
            else {each.name for each in found[0].tags.values()}
            if found
            else set()
        )
        if name:
            _check_length(name)
            if name != target.name and name in siblings:
                raise Refusal(40071, name)
            target.name = name
        target.order = target.order if order is None else order
        self._news("update", "tag_group" if group else "tag", known, by)

    def delete(self, tag_ids: list[str], group_ids: list[str], *, by: App | None) -> list[str]:
        """Delete tags and groups; returns the ids of all tags that are gone. The last tag takes its group with it."""
        groups = [self._owned_group(group_id, by) for group_id in group_ids]
        for tag_id in tag_ids:
            found = self.find(tag_id)
            if found is None:
                raise Refusal(40068, tag_id)
            self._check_owner(found[1], by)
        gone: list[str] = []
        for tag_id in tag_ids:
            if tag_id in self._group_of:
                gone.append(tag_id)
                self._delete_tag(tag_id, by)
        for group in groups:
            gone += list(group.tags)
            self._delete_group(group, by)
        return gone

    def shown(self, tag_ids: list[str], group_ids: list[str]) -> list[dict[str, Any]]:
        """get_corp_tag_list: tag_ids are ignored when group_ids are given; `deleted` appears only when asked by id."""
        if group_ids:
            live = [shown(self.groups[known], by_id=True) for known in group_ids if known in self.groups]
            return live + [self._deleted[known] for known in group_ids if known in self._deleted]
        if tag_ids:
            asked = set(tag_ids)
            hits = [group for group in self.groups.values() if asked & group.tags.keys()]
            return [
                shown(group, [group.tags[known] for known in tag_ids if known in group.tags], True) for group in hits
            ]
        return [shown(group) for group in sorted(self.groups.values(), key=lambda group: -group.order)]

    def _wanted(self, group_id: str, group_name: str) -> TagGroup | None:
        if group_id:
            if group_id not in self.groups:
                raise Refusal(40068, group_id)
            return self.groups[group_id]
        if not group_name:
            raise Refusal(40058, "group_id or group_name is missing")
        _check_length(group_name)
        return next((group for group in self.groups.values() if group.name == group_name), None)

    def _check_names(self, names: list[str], group: TagGroup | None) -> None:
        taken = {tag.name for tag in group.tags.values()} if group else set()
        for name in names:
            _check_length(name)
            if name in taken:
                raise Refusal(40071, name)
            taken.add(name)

    def _owned_group(self, group_id: str, by: App | None) -> TagGroup:
        group = self.groups.get(group_id)
        if group is None:
            raise Refusal(40068, group_id)
        self._check_owner(group, by)
        return group

    def _check_owner(self, made: Tag | TagGroup, by: App | None) -> None:
        """An app edits and deletes only what it made itself; the console may do all."""
        if by is not None and made.created_by != by.agentid:
            raise Refusal(60011, "tag was created by another app")

    def _delete_tag(self, tag_id: str, by: App | None) -> None:
        group = self._group_of.pop(tag_id)
        del group.tags[tag_id]
        self._news("delete", "tag", tag_id, by)
        if not group.tags:
            self._delete_group(group, by)

    def _delete_group(self, group: TagGroup, by: App | None) -> None:
        for tag_id in group.tags:
            del self._group_of[tag_id]
        del self.groups[group.id]
        self._deleted[group.id] = {**shown(group), "deleted": True}
        self._news("delete", "tag_group", group.id, by)

    def _news(self, change: str, kind: str, known: str, by: App | None) -> None:
        """Only what was changed in the console comes back; the API's own changes do not."""
        if by is None:
            fields: dict[str, object] = {"Id": known, "TagType": kind, "ChangeType": change}
            self._corp.emit_event("contacts", "change_external_tag", fields)


def shown(group: TagGroup, tags: list[Tag] | None = None, by_id: bool = False) -> dict[str, Any]:
    deleted = {"deleted": False} if by_id else {}
    return {
        "group_id": group.id,
        "group_name": group.name,
        "create_time": group.created_at,
        "order": group.order,
        **deleted,
        "tag": [
            {"id": tag.id, "name": tag.name, "create_time": tag.created_at, "order": tag.order, **deleted}
            for tag in sorted(group.tags.values() if tags is None else tags, key=lambda tag: -tag.order)
        ],
    }


def _check_length(name: str) -> None:
    if not 1 <= len(name) <= MAX_NAME:
        raise Refusal(40072, name)


def console_name(name: str) -> str:
    """A tag name typed into the console."""
    if not 1 <= len(name.strip()) <= MAX_NAME:
        raise NotPossible("标签名要有 1 到 30 个字")
    return name.strip()
