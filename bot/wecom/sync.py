"""The full sync: staff, contacts, groups and corp tags read from WeCom into crm.

Callbacks keep us up to date; they also get lost, and the first of them comes long after the first customer. A full
reading puts right what was missed. One page is one transaction (sync_runs.py); WeCom is called between transactions.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from bot.models.sync import SyncKind
from bot.wecom import listings
from bot.wecom.api.call import Page
from bot.wecom.api.contacts import STAFF_PER_CALL, ContactsApi
from bot.wecom.api.groups import Group, GroupsApi
from bot.wecom.api.tags import TagGroup, TagsApi
from bot.wecom.errors import (
    NoSuchContact,
    NoSuchTag,
    NotAContact,
    NotACustomerGroup,
    NotAllowed,
    Retry,
    TooMuchAsked,
    WecomError,
)
from bot.wecom.events import (
    Event,
    ExternalContactAdded,
    ExternalContactDeleted,
    ExternalContactEvent,
    FollowDeleted,
    GroupDismissed,
    GroupEvent,
    GroupMembersChanged,
    GroupMembersLeft,
    GroupNoticeChanged,
    GroupOwnerChanged,
    GroupRenamed,
    TagChange,
    TagChanged,
    TransferFailed,
)
from bot.wecom.reading import EPOCH
from bot.wecom.sync_runs import Run, Runs
from crm import contacts, groups, staff, tags
from crm.base.clock import Clock
from crm.base.db import Sessions
from crm.contacts import Relation
from crm.models.group import Group as KnownGroup
from crm.models.member import ContactEnd

log = logging.getLogger(__name__)

AT_ONCE = 4  # groups, or contacts, asked for side by side; WeCom allows five listing calls in flight
PAGES_TOGETHER = 10  # of contacts, in one transaction
LAGS = (1.0, 2.0, 4.0)  # seconds between looks at a group that WeCom has not brought up to date yet
SETTLED = timedelta(minutes=1)  # after an event nobody waits any more: what WeCom shows is what it has


class Corp(Protocol):
    """What the sync needs of the WeCom client."""

    @property
    def contacts(self) -> ContactsApi: ...

    @property
    def groups(self) -> GroupsApi: ...

    @property
    def tags(self) -> TagsApi: ...


class Sync:
    """Reads everything; each part can be read alone and goes on where an earlier reading was cut short.

    Raises WecomError: after one that may pass the run stays open and the next call goes on, otherwise it is given up.
    """

    def __init__(self, sessions: Sessions, corp: Corp, clock: Clock) -> None:
        self._sessions, self._corp, self._clock = sessions, corp, clock
        self._runs = Runs(sessions, clock)

    async def run(self) -> None:
        """Tags first, so that contacts bear known ones; contacts before groups, so that people have their names."""
        await self.tags()
        await self.contacts()
        await self.groups()

    async def tags(self) -> None:
        async with self._runs.open(SyncKind.TAGS) as run:
            listed = [listings.tag_group(group) for group in await self._corp.tags.get_corp_tag_list()]
            async with self._runs.page(run, taken=sum(len(group.tags) for group in listed), is_last=True) as session:
                await tags.take_listing(session, listed, now=self._clock.now())

    async def contacts(self) -> None:
        """Every contact of every member of staff who may have some; who is not shown any more is lost.

        Staff whom WeCom will not list (no licence, no permission any more) keep what they had: not shown is not gone.
        """
        async with self._runs.open(SyncKind.CONTACTS) as run:
            if not run.place:
                await self._list_staff(run)
            while run.place["next"] < len(run.place["staff"]):
                await self._take_contacts(run)
            await self._end_unseen(run)

    async def groups(self) -> None:
        """Every group we know or are shown is asked for its people; one that WeCom does not know is dissolved."""
        async with self._runs.open(SyncKind.GROUPS) as run:
            run.place = run.place or {"owners": [[]], "cursor": "", "after": ""}
            while run.place["owners"]:
                await self._list_groups(run)
            while await self._take_groups(run):
                pass

    # contacts

    async def _list_staff(self, run: Run) -> None:
        userids = await self._corp.contacts.get_follow_user_list()
        place = {"staff": sorted(set(userids)), "next": 0, "cursor": ""}
        async with self._runs.page(run, place) as session:
            await staff.set_following(session, userids)

    async def _take_contacts(self, run: Run) -> None:
        """Some pages in one transaction: WeCom shows a hundred people at a time, and ours costs half in thousands."""
        place, read_at, shown = run.place, self._clock.now(), list[Relation]()
        for page in range(PAGES_TOGETHER):
            try:
                more, place = await self._read_contacts(place)
            except WecomError:
                if page == 0:
                    raise
                break  # what was read is kept; the next round asks again
            shown += more
            if place["next"] >= len(place["staff"]):
                break
        async with self._runs.page(run, place, taken=len(shown)) as session:
            await contacts.take_batch(session, shown, read_at=read_at, now=self._clock.now())

    async def _read_contacts(self, place: dict[str, Any]) -> tuple[list[Relation], dict[str, Any]]:
        """One page of contacts, and where the next one begins."""
        chunk = place["staff"][place["next"] : place["next"] + STAFF_PER_CALL]
        try:
            page = await self._corp.contacts.batch_get_by_user(chunk, place["cursor"])
            shown = [relation for each in page.items for relation in listings.relations(each)]
            cursor = _next(page, place)
        except NotAContact:  # how WeCom may say that these people have no contacts
            shown, cursor = [], ""
        further = {"cursor": cursor} if cursor else {"cursor": "", "next": place["next"] + STAFF_PER_CALL}
        return shown, {**place, **further}

    async def _end_unseen(self, run: Run) -> None:
        """Ask for every customer who was not shown: a page may have slipped by while people came and went."""
        listed, after, asked = await self._listed_staff(run), "", 0
        while True:  # each round moves `after` on
            async with self._sessions.read() as session:
                unseen = await contacts.unseen(session, listed, since=run.started_at, after=after, limit=AT_ONCE)
            if not unseen:
                break
            await asyncio.gather(*map(self.refresh_contact, unseen))
            after, asked = unseen[-1], asked + len(unseen)
        async with self._runs.page(run, is_last=True):
            log.info("sync.contacts", extra={"staff": len(listed), "asked_again": asked})

    async def _listed_staff(self, run: Run) -> list[int]:
        """A batch leaves out staff without a licence as if they had no contacts: who showed none is asked alone."""
        async with self._sessions.begin() as session:
            ids = await staff.know(session, run.place["staff"])
            unseen = await contacts.unseen_staff(session, ids.values(), since=run.started_at)
        for userid in unseen:
            if not await self._has_no_contacts(userid):
                del ids[staff.key(userid)]
        return list(ids.values())

    async def _has_no_contacts(self, userid: str) -> bool:
        try:
            return not await self._corp.contacts.list(userid)
        except WecomError as error:
            if error.retry is not Retry.NEVER:
                raise
            log.warning("sync.staff_not_listed", extra={"userid": userid, "error": str(error)})
            return False

    # groups

    async def _list_groups(self, run: Run) -> None:
        owners, *others = run.place["owners"]
        try:
            page = await self._corp.groups.list(run.place["cursor"], owners=owners)
        except TooMuchAsked:
            if owners:
                raise
            run.place["owners"] = await self._owners()
            return
        cursor = _next(page, run.place)
        further = {"cursor": cursor} if cursor else {"cursor": "", "owners": others}
        async with self._runs.page(run, {**run.place, **further}) as session:
            await groups.list_batch(session, [each.chat_id for each in page.items], now=self._clock.now())

    async def _owners(self) -> list[list[str]]:
        """Staff in chunks to ask for their groups: a corp with very many groups must be asked piece by piece."""
        userids = sorted(set(await self._corp.contacts.get_follow_user_list()))
        return [userids[start : start + STAFF_PER_CALL] for start in range(0, len(userids), STAFF_PER_CALL)]

    async def _take_groups(self, run: Run) -> bool:
        """Read the next few groups side by side, write each in its own transaction; False: there are none left."""
        async with self._sessions.read() as session:
            chat_ids = await groups.unread(session, since=run.started_at, after=run.place["after"], limit=AT_ONCE)
        read_at = self._clock.now()
        found: dict[str, Group | None] = {}

        async def look(chat_id: str) -> None:
            try:
                found[chat_id] = await self._find_group(chat_id)
            except NotAllowed as error:  # its owner is out of the app's sight: we know no more than before
                log.warning("sync.group_hidden", extra={"chat_id": chat_id, "error": str(error)})

        await asyncio.gather(*map(look, chat_ids))
        for chat_id in chat_ids:
            async with self._runs.page(run, {**run.place, "after": chat_id}, taken=1) as session:
                if chat_id in found:
                    await _take_group(session, chat_id, found[chat_id], read_at=read_at, now=self._clock.now())
        if not chat_ids:
            async with self._runs.page(run, is_last=True):
                pass
        return bool(chat_ids)

    async def _find_group(self, chat_id: str) -> Group | None:
        try:
            return await self._corp.groups.get(chat_id)
        except NotACustomerGroup:
            return None

    # what a callback points at

    async def take_contact_event(self, event: ExternalContactEvent) -> None:
        """Write down what the callback says, then read the customer, who may have been renamed, tagged or moved."""
        now = self._clock.now()
        async with self._sessions.begin() as session:
            await _hear_contact(session, event, now=now)
        if not isinstance(event, FollowDeleted | TransferFailed):
            await self.refresh_contact(event.external_userid)

    async def refresh_contact(self, external_userid: str) -> None:
        """Bring one customer up to what WeCom says now: all who follow them, profile, remarks, tags."""
        read_at = self._clock.now()
        try:
            shown = listings.relations(await self._corp.contacts.get(external_userid))
        except (NotAContact, NoSuchContact):
            shown = []
        followers = [relation.userid for relation in shown]
        async with self._sessions.begin() as session:
            now = self._clock.now()
            await contacts.take_batch(session, shown, read_at=read_at, now=now)
            await contacts.end_unlisted(session, external_userid, followers=followers, read_at=read_at, now=now)

    async def take_group_event(self, event: GroupEvent) -> None:
        """Bring one group up to what WeCom says now, waiting a few seconds while it still says what it said before."""
        if isinstance(event, GroupDismissed):
            async with self._sessions.begin() as session:
                now = self._clock.now()
                await groups.dismiss(session, event.chat_id, at=_happened_at(event, now), now=now)
            return
        for pause in (*LAGS, None):
            read_at = self._clock.now()
            group = await self._find_group(event.chat_id)
            if pause is None or not await self._lags(event, group):
                break
            await self._clock.sleep(pause)
        left = listings.departure(event) if isinstance(event, GroupMembersLeft) else None
        async with self._sessions.begin() as session:
            now = self._clock.now()
            if group is not None:
                snapshot = listings.snapshot(group, read_at=read_at)
                await groups.take_snapshot(session, snapshot, departure=left, now=now)
            elif await groups.find(session, event.chat_id) is not None:
                await groups.dismiss(session, event.chat_id, at=now, now=now)

    async def _lags(self, event: GroupEvent, shown: Group | None) -> bool:
        if self._clock.now() - event.created_at > SETTLED:
            return False
        async with self._sessions.read() as session:
            known = await groups.find(session, event.chat_id)
            owner = await staff.find(session, shown.owner) if shown is not None else None
        if shown is None:
            return known is None  # a new group that WeCom does not show yet
        return known is not None and is_older(shown, event, known, owner_id=owner.id if owner else None)

    async def take_tag_event(self, event: TagChanged) -> None:
        """Bring one tag or tag group up to what WeCom says now. Tags of rule groups (规则组) are not the corp's."""
        if event.strategy_id:
            return
        found: Sequence[TagGroup] = ()
        if event.change is not TagChange.DELETE:
            ids = [event.tag_id]
            with suppress(NoSuchTag):
                found = await self._corp.tags.get_corp_tag_list(
                    tag_ids=() if event.is_group else ids, group_ids=ids if event.is_group else ()
                )
        gone = [wecom_id for group in found for wecom_id in listings.deleted_tags(group)] if found else [event.tag_id]
        async with self._sessions.begin() as session:
            await tags.take_groups(session, [listings.tag_group(group) for group in found if not group.deleted])
            for wecom_id in gone:
                await tags.deleted(session, wecom_id=wecom_id, now=self._clock.now())


def _next(page: Page[Any], place: Mapping[str, Any]) -> str:
    """Where the listing goes on; nowhere when it points at itself, or it would never end."""
    return page.next_cursor if page.next_cursor != place["cursor"] else ""


def is_older(shown: Group, event: GroupEvent, known: KnownGroup, *, owner_id: int | None) -> bool:
    """Whether WeCom still shows a group as it was before `event`. known: as we have it; owner_id: ours, of `shown`."""
    if isinstance(event, GroupMembersChanged):
        before = {event.last_version, known.member_version} - {event.current_version, ""}
        return shown.member_version in before
    if isinstance(event, GroupRenamed):
        return shown.name == known.name
    if isinstance(event, GroupNoticeChanged):
        return shown.notice == known.notice
    return isinstance(event, GroupOwnerChanged) and owner_id == known.owner_id


async def _hear_contact(session: AsyncSession, event: ExternalContactEvent, *, now: datetime) -> None:
    userid, external_userid, at = event.userid, event.external_userid, _happened_at(event, now)
    if isinstance(event, ExternalContactAdded):
        await contacts.added(
            session, userid=userid, external_userid=external_userid, at=at, state=event.state or None, now=now
        )
    elif isinstance(event, ExternalContactDeleted | FollowDeleted):
        by = ContactEnd.CUSTOMER
        if isinstance(event, ExternalContactDeleted):
            by = ContactEnd.TRANSFER if event.source == "DELETE_BY_TRANSFER" else ContactEnd.STAFF
        await contacts.lost(session, userid=userid, external_userid=external_userid, at=at, by=by, now=now)


def _happened_at(event: Event, now: datetime) -> datetime:
    return now if event.created_at == EPOCH else event.created_at


async def _take_group(
    session: AsyncSession, chat_id: str, group: Group | None, *, read_at: datetime, now: datetime
) -> None:
    if group is None:
        await groups.dismiss(session, chat_id, at=now, now=now)
    else:
        await groups.take_snapshot(session, listings.snapshot(group, read_at=read_at), now=now)
