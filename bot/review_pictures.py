"""Pictures that customers sent as reviews in the chat, fetched while WeCom has them: a media_id lives three days."""

import logging
from datetime import datetime, timedelta

import sqlalchemy as sa

from bot.app import App
from bot.wecom.api.media import MediaApi
from bot.wecom.errors import MediaGone, WecomError
from campaigns.models.review import ReviewPicture
from campaigns.tasks import reviews
from campaigns.tasks.reviews import PictureWrong

log = logging.getLogger(__name__)

LOOK_EVERY = 2.0
AGAIN = timedelta(minutes=1)  # times the tries so far
TRIES = 12
GONE, UNREADABLE, LOST = "gone", "unreadable", "lost"  # why there is no picture


class ReviewPictures:
    """The loop. Two workers may fetch the same picture; the second finds it there."""

    def __init__(self, app: App, media: MediaApi) -> None:
        self._app, self._media = app, media

    async def run(self) -> None:
        """Forever: fetch what came."""
        while True:
            if not await self.round():
                await self._app.peers.wait("review_pictures", seconds=LOOK_EVERY)

    async def round(self) -> int:
        """Fetch what is due; returns how many were tried."""
        now = self._app.clock.now()
        async with self._app.sessions.read() as session:
            due = (
                await session.execute(
                    sa.select(ReviewPicture.id, ReviewPicture.media_id, ReviewPicture.tries)
                    .where(ReviewPicture.fetch_at <= now)
                    .order_by(ReviewPicture.fetch_at)
                    .limit(10)
                )
            ).all()
        for picture_id, media_id, tries in due:
            await self._settle(picture_id, **await self._fetch(media_id, tries, now))
        return len(due)

    async def _fetch(self, media_id: str, tries: int, now: datetime) -> dict[str, object]:
        """What is known of the picture now."""
        try:
            content = (await self._media.get(media_id)).content
            return {"content": content, "content_type": reviews.kind_of(content), "fetch_at": None}
        except MediaGone:
            return {"fetch_at": None, "error": GONE}
        except PictureWrong:
            return {"fetch_at": None, "error": UNREADABLE}
        except WecomError as error:
            log.warning("review.picture_failed", extra={"error": str(error)})
            later = now + AGAIN * (tries + 1) if tries + 1 < TRIES else None
            return {"fetch_at": later, "tries": tries + 1, "error": "" if later else LOST}

    async def _settle(self, picture_id: int, **values: object) -> None:
        mine = (ReviewPicture.id == picture_id, ReviewPicture.fetch_at.is_not(None))
        async with self._app.sessions.begin() as session:
            await session.execute(sa.update(ReviewPicture).where(*mine).values(**values))
