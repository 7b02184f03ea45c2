"""Lane TAG: bring one relation's corp tags to what our tags say; a corp tag that is missing is made first."""

import asyncio
import logging

from bot.wecom import listings
from bot.wecom.api.tags import TagGroup, TagsApi
from bot.wecom.errors import NoSuchTag, NotAContact, TagNameTaken
from bot.wecom.lanes import Sent
from crm import tag_mirror, tags
from crm.base.clock import Clock
from crm.base.db import Sessions
from crm.base.outbox import Claimed
from crm.tag_mirror import Gap, Unmade

log = logging.getLogger(__name__)

ROUNDS = 4  # make what is missing, mark, and once more if a tag was deleted meanwhile
MARK_TAG = "/cgi-bin/externalcontact/mark_tag"


class TagMarks:
    """Marks and unmarks. Messages of one customer have one outbox key, so WeCom never sees two at once (45035)."""

    def __init__(self, api: TagsApi, sessions: Sessions, clock: Clock) -> None:
        self._api, self._sessions, self._clock = api, sessions, clock
        self._making = asyncio.Lock()

    async def send(self, one: Claimed) -> Sent:
        contact_id = one.body["contact_id"]
        for _ in range(ROUNDS):
            gap = await self._gap(contact_id)
            if gap is None or gap.is_closed:
                return Sent({"nothing_to_do": True})
            try:
                for tag in gap.unmade:
                    await self._make(tag)
                if not gap.unmade:
                    return await self._mark(contact_id, gap)
            except NotAContact:  # 84061: the relation is over, the sync will notice
                return Sent({"not_a_contact": True})
            except NoSuchTag:  # 40068: somebody deleted one of them in the console
                await self._look_again(gap)
        raise NoSuchTag(errmsg="its tags come and go", path=MARK_TAG)

    async def _gap(self, contact_id: int) -> Gap | None:
        async with self._sessions.read() as session:
            return await tag_mirror.gap(session, contact_id, now=self._clock.now())

    async def _mark(self, contact_id: int, gap: Gap) -> Sent:
        add, remove = list(gap.add.values()), list(gap.remove.values())
        await self._api.mark_tag(gap.userid, gap.external_userid, add=add, remove=remove)
        async with self._sessions.begin() as session:
            await tags.marked(session, contact_id, added=gap.add, removed=gap.remove, now=self._clock.now())
        return Sent({"added": add, "removed": remove})

    async def _make(self, tag: Unmade) -> None:
        """Make the corp tag, or take the one of this name that is there (40071)."""
        async with self._making:
            groups = await self._api.get_corp_tag_list()
            if (found := _named(groups, tag)) is None:
                try:
                    made = await self._api.add_corp_tag([tag.name], group_name=tag.group)
                    found = _named([made], tag)
                except TagNameTaken:  # another process was first
                    found = _named(await self._api.get_corp_tag_list(), tag)
            if found is None:
                log.warning("tags.not_made", extra={"tag_id": tag.tag_id})
                return
            group, wecom_id = found
            async with self._sessions.begin() as session:
                await tags.take_groups(session, [listings.tag_group(group)])
                await tag_mirror.link(session, tag.tag_id, wecom_id)

    async def _look_again(self, gap: Gap) -> None:
        """Learn which of these tags are gone; the next round asks for the others."""
        asked = [*gap.add.values(), *gap.remove.values()]
        listed = {tag.tag_id for group in await self._api.get_corp_tag_list() for tag in group.tags}
        async with self._sessions.begin() as session:
            for wecom_id in asked:
                if wecom_id not in listed:
                    await tags.deleted(session, wecom_id=wecom_id, now=self._clock.now())


def _named(groups: tuple[TagGroup, ...] | list[TagGroup], tag: Unmade) -> tuple[TagGroup, str] | None:
    for group in groups:
        for each in group.tags:
            if (group.name, each.name) == (tag.group, tag.name) and not (group.deleted or each.deleted):
                return group, each.tag_id
    return None
