"""Media: uploads that live three days, pictures with a lasting address, downloads of what customers sent."""

from dataclasses import dataclass
from datetime import datetime

import aiohttp

from bot.wecom.api.call import Caller
from bot.wecom.errors import BadAnswer
from bot.wecom.reading import EPOCH, Json, instant, text
from bot.wecom.transport import Blob

MEDIA = "/cgi-bin/media"
UPLOAD_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Uploaded:
    media_id: str  # good for three days, in every app of the corp
    kind: str
    created_at: datetime = EPOCH


class MediaApi:
    """Calls about files. A second upload of the same file is only a second file, so all of them may be repeated."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def upload(
        self,
        content: bytes,
        *,
        kind: str,
        filename: str,
        content_type: str = "application/octet-stream",
        app: str | None = None,
    ) -> Uploaded:
        """kind: image ≤ 10 MB, voice ≤ 2 MB AMR, video ≤ 10 MB MP4, file ≤ 20 MB; all over 5 bytes."""
        answer = await self._upload("upload", {"type": kind}, content, filename, content_type, app)
        return Uploaded(text(answer, "media_id"), text(answer, "type"), instant(answer, "created_at"))

    async def uploadimg(
        self, content: bytes, *, filename: str, content_type: str = "image/png", app: str | None = None
    ) -> str:
        """A picture's lasting address, ≤ 2 MB; 1,000 a day."""
        return text(await self._upload("uploadimg", {}, content, filename, content_type, app), "url")

    async def get(self, media_id: str, *, app: str | None = None) -> Blob:
        """The file. Raises MediaGone after three days."""
        path = f"{MEDIA}/get"
        found = await self._caller.call(
            "GET", path, app=app, repeatable=True, params={"media_id": media_id}, seconds=UPLOAD_SECONDS
        )
        if not isinstance(found, Blob):
            raise BadAnswer(errmsg="JSON where a file was due", path=path)
        return found

    async def _upload(
        self, call: str, params: dict[str, str], content: bytes, filename: str, content_type: str, app: str | None
    ) -> Json:
        name = "".join(letter for letter in filename if letter.isprintable()) or "file"

        def form() -> aiohttp.FormData:
            data = aiohttp.FormData(quote_fields=False)  # the vendor reads a quoted Chinese name literally
            data.add_field("media", content, filename=name, content_type=content_type)
            return data

        path = f"{MEDIA}/{call}"
        answer = await self._caller.call(
            "POST", path, app=app, repeatable=True, params=params, form=form, seconds=UPLOAD_SECONDS
        )
        return answer if isinstance(answer, dict) else {}
