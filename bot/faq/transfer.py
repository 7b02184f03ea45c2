"""A file of articles into the database and out of it again, so that a second run changes nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bot.faq import articles, publish, store
from bot.faq.articles import Article, Loaded
from bot.faq.publish import Build, Published
from crm.base.db import Sessions

TOGETHER = 200  # articles a transaction saves
Told = Callable[[int], None]  # how many rows are done


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a file's good rows."""

    saved: tuple[str, ...]  # keys that are new or changed
    unchanged: int
    live: Published | None  # None when nothing was to be published


async def take_in(
    sessions: Sessions,
    loaded: Loaded,
    *,
    by: str,
    now: datetime,
    note: str,
    despite: str,
    told: Told,
    build: Build = publish.lexical,
) -> Taken:
    """Save what differs and publish what is marked so, all or none. Raises what publish.publish raises.

    When publishing is refused the articles stay saved as drafts: nothing typed is lost, and nothing is seen.
    """
    async with sessions.read() as session:
        new = await store.unlike_live(session, loaded.articles)
    told(len(loaded.articles) - len(new))
    saved = await _save(sessions, new, by=by, now=now, note=note, told=told)
    keys = [one.id for one in new]
    live = await publish.publish(sessions, keys, by=by, now=now, despite=despite, build=build) if keys else None
    saved += await _save(sessions, loaded.drafts, by=by, now=now, note=note, told=told)
    return Taken(tuple(saved), len(loaded.articles) + len(loaded.drafts) - len(saved), live)


async def _save(
    sessions: Sessions, rows: Sequence[Article], *, by: str, now: datetime, note: str, told: Told
) -> list[str]:
    saved: list[str] = []
    for start in range(0, len(rows), TOGETHER):
        some = rows[start : start + TOGETHER]
        async with sessions.begin() as session:
            saved += await store.save_all(session, some, by=by, now=now, note=note)
        told(len(some))
    return saved


async def write_out(sessions: Sessions, path: Path) -> tuple[int, int]:
    """Every article into a file, published ones and drafts; returns how many of each. History stays here."""
    async with sessions.read() as session:
        published = store.contents(await store.published(session))
        drafts = store.contents(await store.drafts(session))
    articles.dump(path, published, drafts)
    return len(published), len(drafts)
