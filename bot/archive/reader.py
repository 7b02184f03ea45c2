"""Reads the archive in batches. What was read and how far it was read commit together.

Who takes a batch says from which number: of two readers one moves the cursor, and the other's work is void. A crash at
any instruction reads the same batch again, and keeps it once.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.app import App
from bot.archive import lines
from bot.archive.keys import PrivateKeys
from bot.archive.lines import ArchiveChoices
from bot.archive.messages import Agreed, Entry, Line, Revoked, Uncounted, parse
from bot.archive.source import MOST, ArchiveUnavailable, Opened, Record, Source
from bot.metrics import ALERTS, ARCHIVED
from bot.models.archive import ArchiveAgreement, ArchiveCount, ArchivedLine, ArchiveState
from bot.models.sync import SyncKind, SyncRun
from bot.wecom.errors import Declined, WecomError
from crm.base.clock import local_day
from crm.base.db import insert
from crm.models.group import Group

log = logging.getLogger(__name__)

TOPIC = "archive"
ASKED_ANEW = timedelta(hours=1)  # what we know of a group's agreements is no older
DECRYPTED_TOGETHER = 100


class Agreements(Protocol):
    """Asks WeCom who in a group has agreed."""

    async def __call__(self, room_id: str) -> Mapping[str, bool]: ...


@dataclass(frozen=True, slots=True)
class Batch:
    """Records read, and the numbers they stand between."""

    after: int
    up_to: int
    entries: tuple[Entry, ...]


class ArchiveReader:
    """The loop of the archive: read what is new, then see to the questions whose time is up."""

    def __init__(
        self, app: App, source: Source, keys: PrivateKeys, agreements: Agreements, choices: ArchiveChoices
    ) -> None:
        self._app, self._source, self._keys = app, source, keys
        self._agreements, self._choices = agreements, choices

    async def run(self) -> None:
        """Forever: WeCom's notice taps us, and now and then we look by ourselves, for notices get lost."""
        while True:
            if await self._read_all():
                await lines.settle(self._app, self._choices)
            await lines.forget(self._app, self._choices)
            await self._app.peers.wait(TOPIC, seconds=self._choices.poll.total_seconds())

    async def _read_all(self) -> bool:
        """Whether everything there is was read: before that, nobody can say that a question has no answer.

        Before the customer groups themselves were read once, no room can be told from an internal one: it waits.
        """
        if not await self._knows_groups():
            return False
        try:
            while await self.round():
                pass
        except (ArchiveUnavailable, WecomError) as error:
            log.warning("archive.unread", extra={"error": str(error)})
            ALERTS.labels("archive_unread").inc()
            return False
        return True

    async def _knows_groups(self) -> bool:
        done = (SyncRun.kind == SyncKind.GROUPS, SyncRun.finished_at.is_not(None), SyncRun.error.is_(None))
        async with self._app.sessions.read() as session:
            return bool(await session.scalar(sa.select(sa.select(SyncRun.id).where(*done).exists())))

    async def round(self, *, limit: int = MOST) -> int:
        """Read one batch; returns how many records it had. Raises ArchiveUnavailable, WecomError."""
        batch = await self._read(limit)
        if batch is None:
            return 0
        groups = await self._groups({one.room_id for one in batch.entries if isinstance(one, Line)})
        await self._ask_agreements(batch, groups)
        now = self._app.clock.now()
        async with self._app.sessions.begin() as session:
            if not await _move(session, batch, now=now):
                log.info("archive.overtaken", extra={"after": batch.after})
                return len(batch.entries)
            counts = await self._keep(session, batch, groups, now=now)
        for kind, count in counts.items():
            ARCHIVED.labels(kind).inc(count)
        self._app.peers.tap("send")
        return len(batch.entries)

    async def _read(self, limit: int) -> Batch | None:
        async with self._app.sessions.read() as session:
            after = await session.scalar(sa.select(ArchiveState.seq)) or 0
        records = await self._source.records(after, limit)
        if not records:
            return None
        keys = await asyncio.to_thread(self._open_keys, records)
        opened = [Opened(key, one.sealed) for key, one in zip(keys, records, strict=True) if key is not None]
        contents: list[str | None] = []
        for start in range(0, len(opened), DECRYPTED_TOGETHER):
            contents += await self._source.decrypt(opened[start : start + DECRYPTED_TOGETHER])
        entries = [parse(content) for content in contents]
        entries += [Uncounted("no_key")] * (len(records) - len(opened))
        return Batch(after, max(one.seq for one in records), tuple(entries))

    def _open_keys(self, records: Sequence[Record]) -> list[str | None]:
        return [self._keys.open(one.key_version, one.random_key) for one in records]

    async def _groups(self, room_ids: Collection[str]) -> dict[str, Group]:
        """The customer groups among these rooms; internal groups are none of ours to read."""
        async with self._app.sessions.read() as session:
            rows = await session.scalars(sa.select(Group).where(Group.chat_id.in_(room_ids)))
            return {one.chat_id: one for one in rows}

    async def _ask_agreements(self, batch: Batch, groups: Mapping[str, Group]) -> None:
        """Ask WeCom about groups of which we do not know enough. If it does not answer, nothing of them is read.

        If it declines, as for a dissolved group, nobody there has agreed: one group does not stop the others.
        """
        speakers = {(one.room_id, one.sender) for one in batch.entries if isinstance(one, Line) and one.by_customer}
        changed = {one.person for one in batch.entries if isinstance(one, Agreed)}
        now = self._app.clock.now()
        async with self._app.sessions.read() as session:
            rows = await session.execute(
                sa.select(Group.chat_id, ArchiveAgreement.person)
                .join(Group, Group.id == ArchiveAgreement.group_id)
                .where(Group.chat_id.in_(groups), ArchiveAgreement.asked_at > now - ASKED_ANEW)
            )
            known = {(chat_id, person) for chat_id, person in rows if person not in changed}
        for room_id in sorted({room_id for room_id, _ in speakers - known if room_id in groups}):
            told: Mapping[str, bool] = {}
            try:
                told = await self._agreements(room_id)
            except Declined as no:
                log.warning("archive.declined", extra={"room": room_id, "error": str(no)})
            async with self._app.sessions.begin() as session:
                await _note_agreements(session, groups[room_id].id, told, now=now)

    async def _keep(
        self, session: AsyncSession, batch: Batch, groups: Mapping[str, Group], *, now: datetime
    ) -> Counter[str]:
        agreed = await _agreed(session, groups)
        counts: Counter[str] = Counter()
        kept: list[Line] = []
        for one in batch.entries:
            kind = _kind(one, groups, agreed)
            counts[kind] += 1
            if kind == "text" and isinstance(one, Line):
                kept.append(one)
        await lines.keep(session, kept, groups, self._choices, now=now)
        gone = [one.msgid for one in batch.entries if isinstance(one, Revoked)]
        await session.execute(sa.delete(ArchivedLine).where(ArchivedLine.msgid.in_(gone)))
        await _count(session, counts, now=now)
        return counts


def _kind(one: Entry, groups: Mapping[str, Group], agreed: Collection[tuple[str, str]]) -> str:
    """Under what a record is counted; "text" is kept."""
    if isinstance(one, Uncounted):
        return one.kind
    if isinstance(one, Agreed):
        return "agree" if one.agreed else "disagree"
    if isinstance(one, Revoked):
        return "revoke"
    if one.room_id not in groups:
        return "other_room"
    return "not_agreed" if one.by_customer and (one.room_id, one.sender) not in agreed else "text"


async def _move(session: AsyncSession, batch: Batch, *, now: datetime) -> bool:
    """The WHERE clause is the guard: of any number of readers of a batch one moves on."""
    moved = await session.scalar(
        sa.update(ArchiveState)
        .where(ArchiveState.id == 1, ArchiveState.seq == batch.after)
        .values(seq=batch.up_to, read_at=now)
        .returning(ArchiveState.id)
    )
    return moved is not None


async def _agreed(session: AsyncSession, groups: Mapping[str, Group]) -> set[tuple[str, str]]:
    rows = await session.execute(
        sa.select(Group.chat_id, ArchiveAgreement.person)
        .join(Group, Group.id == ArchiveAgreement.group_id)
        .where(Group.chat_id.in_(groups), ArchiveAgreement.agreed)
    )
    return {(chat_id, person) for chat_id, person in rows}


async def _note_agreements(session: AsyncSession, group_id: int, told: Mapping[str, bool], *, now: datetime) -> None:
    """What WeCom says of a group's people now; whom it does not name has not agreed."""
    await session.execute(
        sa.update(ArchiveAgreement).where(ArchiveAgreement.group_id == group_id).values(agreed=False, asked_at=now)
    )
    if not told:
        return
    rows = [
        {"group_id": group_id, "person": person, "agreed": yes, "asked_at": now} for person, yes in sorted(told.items())
    ]
    wish = insert(session, ArchiveAgreement.__table__)
    newest = {"agreed": wish.excluded.agreed, "asked_at": wish.excluded.asked_at}
    await session.execute(wish.on_conflict_do_update(index_elements=["group_id", "person"], set_=newest), rows)


async def _count(session: AsyncSession, counts: Counter[str], *, now: datetime) -> None:
    rows = [{"on_day": local_day(now), "kind": kind, "records": count} for kind, count in sorted(counts.items())]
    if not rows:
        return
    wish = insert(session, ArchiveCount.__table__)
    more = {"records": ArchiveCount.records + wish.excluded.records}
    await session.execute(wish.on_conflict_do_update(index_elements=["on_day", "kind"], set_=more), rows)
