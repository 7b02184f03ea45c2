"""Pictures of articles, uploaded ahead: a kf message takes a media_id, and one lives three days."""

import asyncio
import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

import aiohttp
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.app import App
from bot.faq.articles import Article
from bot.models.faq import FaqPicture
from bot.wecom.api.media import MediaApi
from bot.wecom.errors import WecomError
from crm.base.db import insert

log = logging.getLogger(__name__)

LIFE = timedelta(days=3) - timedelta(hours=1)
RENEW_AFTER = timedelta(days=2)
TRY_AGAIN = timedelta(minutes=10)
LOOK_EVERY = 60.0
MAX_BYTES = 10 * 1024 * 1024  # what WeCom takes
FETCH = aiohttp.ClientTimeout(total=20)


def sources(articles: Iterable[Article]) -> set[str]:
    """Where the pictures of these articles come from."""
    both = ((one.image, one.link.picture if one.link else "") for one in articles)
    return {source for pair in both for source in pair if source}


async def uploaded(session: AsyncSession, articles: Iterable[Article], *, now: datetime) -> dict[str, str]:
    """media_ids by source, of those that can be sent now. No query for articles without pictures."""
    wanted = sources(articles)
    if not wanted:
        return {}
    rows = await session.execute(
        sa.select(FaqPicture.source, FaqPicture.media_id).where(
            FaqPicture.source.in_(wanted), FaqPicture.media_id.is_not(None), FaqPicture.uploaded_at > now - LIFE
        )
    )
    return {source: media_id for source, media_id in rows if media_id}


class Unreadable(Exception):
    """A picture cannot be had from where the article says; the message says why."""


class Pictures:
    """Keeps what the published articles show uploaded."""

    def __init__(self, app: App, media: MediaApi, http: aiohttp.ClientSession, folder: Path | None) -> None:
        self._app, self._media, self._http, self._folder = app, media, http, folder

    async def run(self) -> None:
        """Forever: upload what is new or getting old."""
        while True:
            await self.round()
            await self._app.peers.wait("pictures", seconds=LOOK_EVERY)

    async def round(self) -> int:
        """Upload what is due; returns how many were tried."""
        due = await self._due()
        for source in due:
            await self._upload(source)
        return len(due)

    async def _due(self) -> list[str]:
        wanted, now = sources(self._app.faq.articles.values()), self._app.clock.now()
        if not wanted:
            return []
        async with self._app.sessions.read() as session:
            rows = await session.scalars(sa.select(FaqPicture).where(FaqPicture.source.in_(wanted)))
            settled = {one.source for one in rows if not _is_due(one, now)}
        return sorted(wanted - settled)

    async def _upload(self, source: str) -> None:
        try:
            content = await self._read(source)
            media_id = (await self._media.upload(content, kind="image", filename=_name(source))).media_id
        except (Unreadable, WecomError, aiohttp.ClientError, OSError, TimeoutError) as error:
            log.warning("faq.picture_failed", extra={"source": source, "error": str(error)})
            await self._write(source, error=str(error)[:500])
            return
        await self._write(source, media_id=media_id, uploaded_at=self._app.clock.now(), error=None)

    async def _read(self, source: str) -> bytes:
        if not source.startswith(("http://", "https://")):
            return await asyncio.to_thread(self._read_file, source)
        async with self._http.get(source, timeout=FETCH) as answer:
            if answer.status != 200:
                raise Unreadable(f"HTTP {answer.status}")
            content = await answer.content.read(MAX_BYTES + 1)
        return _checked(content)

    def _read_file(self, source: str) -> bytes:
        if self._folder is None:
            raise Unreadable("SIYU_FAQ_PICTURES names no folder")
        path = (self._folder / source).resolve()
        if not path.is_relative_to(self._folder.resolve()):
            raise Unreadable("outside of the folder of pictures")
        return _checked(path.read_bytes())

    async def _write(self, source: str, **values: object) -> None:
        values |= {"tried_at": self._app.clock.now()}
        async with self._app.sessions.begin() as session:
            row = insert(session, FaqPicture).values(source=source, **values)
            await session.execute(row.on_conflict_do_update(index_elements=["source"], set_=values))


def _is_due(picture: FaqPicture, now: datetime) -> bool:
    fresh = picture.uploaded_at is not None and now < picture.uploaded_at + RENEW_AFTER
    just_failed = picture.error is not None and now < picture.tried_at + TRY_AGAIN
    return not fresh and not just_failed


def _checked(content: bytes) -> bytes:
    if len(content) > MAX_BYTES:
        raise Unreadable("larger than 10 MB")
    if not content.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")):
        raise Unreadable("neither JPG nor PNG")
    return content


def _name(source: str) -> str:
    return Path(source.split("?")[0]).name[-60:] or "picture.jpg"
