"""What WeCom lists of contacts, groups and tags, in the words of crm."""

from datetime import datetime

from bot.wecom.api import contacts as contacts_api
from bot.wecom.api import groups as groups_api
from bot.wecom.api import tags as tags_api
from bot.wecom.events import GroupMembersLeft
from bot.wecom.reading import EPOCH
from crm import staff
from crm.contacts import Relation
from crm.groups import Departure, Seat, Snapshot
from crm.identities import Person, wechat_person
from crm.members import Profile
from crm.models.member import Gender
from crm.tags import TagGroupListing, TagListing

GENDERS = {1: Gender.MALE, 2: Gender.FEMALE}
STRATEGY_TAG = "st"  # tags of a rule group (规则组): not the corp's


def relations(contact: contacts_api.Contact) -> list[Relation]:
    """One relation for each member of staff who follows this customer."""
    person = customer(contact.person)
    return [
        Relation(
            userid=follow.userid,
            person=person,
            added_at=follow.added_at,
            state=follow.state,
            add_way=follow.add_way,
            remark=follow.remark,
            description=follow.description,
            tag_ids=tuple(tag_id for tag_id in follow.tag_ids if not tag_id.startswith(STRATEGY_TAG)),
        )
        for follow in contact.follows
    ]


def customer(person: contacts_api.Person) -> Person:
    profile = Profile(
        name=person.name or None,
        avatar=person.avatar or None,
        gender=GENDERS.get(person.gender),
    )
    return wechat_person(person.external_userid, unionid=person.unionid, profile=profile)


def snapshot(group: groups_api.Group, *, read_at: datetime) -> Snapshot:
    """A group with everybody in it, as of `read_at`."""
    return Snapshot(
        chat_id=group.chat_id,
        name=group.name,
        owner=group.owner,
        created_at=_known(group.created_at),
        notice=group.notice,
        member_version=group.member_version,
        seats=tuple(_seat(member) for member in group.members if member.id),
        read_at=read_at,
    )


def _seat(member: groups_api.GroupMember) -> Seat:
    name = member.name
    stranger = wechat_person(member.id, unionid=member.unionid, profile=Profile(name=name or None))
    return Seat(
        userid=member.id if member.is_staff else "",
        person=None if member.is_staff else stranger,
        name=name,
        nickname=member.nickname,
        joined_at=member.joined_at,
        join_scene=member.join_scene,
        invited_by=member.invited_by,
        state=member.state,
    )


def departure(event: GroupMembersLeft) -> Departure:
    """Who left, when and why. The callback mixes userids, which compare without case, and external_userids."""
    people = frozenset([*event.people, *map(staff.key, event.people)])
    return Departure(people=people, at=event.created_at, quit_scene=event.quit_scene)


def tag_group(group: tags_api.TagGroup) -> TagGroupListing:
    """A tag group with its living tags."""
    return TagGroupListing(
        wecom_id=group.group_id,
        name=group.name,
        rank=group.order,
        created_at=_known(group.created_at),
        tags=tuple(
            TagListing(wecom_id=tag.tag_id, name=tag.name, rank=tag.order, created_at=_known(tag.created_at))
            for tag in group.tags
            if not tag.deleted
        ),
    )


def deleted_tags(group: tags_api.TagGroup) -> list[str]:
    """Ids of what WeCom says is deleted: the group, or tags in it. Only answers to a question by id say so."""
    if group.deleted:
        return [group.group_id]
    return [tag.tag_id for tag in group.tags if tag.deleted]


def _known(instant: datetime) -> datetime | None:
    return None if instant == EPOCH else instant
