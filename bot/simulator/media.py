"""Temporary material: uploads by type and size, media ids that live three days, and permanent image addresses."""

from dataclasses import dataclass

from bot.simulator.corp import DAY, Corp
from bot.simulator.refusals import Refusal, Unknown

LIFE = 3 * DAY
SMALLEST = 5  # bytes; a file must be larger
MEGABYTE = 1024 * 1024
LARGEST = {"image": 10 * MEGABYTE, "voice": 2 * MEGABYTE, "video": 10 * MEGABYTE, "file": 20 * MEGABYTE}
LARGEST_PERMANENT_IMAGE = 2 * MEGABYTE
IMAGE_TYPES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png"}


@dataclass(slots=True, frozen=True)
class Material:
    media_id: str
    type: str
    filename: str
    content_type: str
    data: bytes
    created_at: float
    permanent: bool = False


class Media:
    def __init__(self, corp: Corp) -> None:
        self._corp = corp
        self._materials: dict[str, Material] = {}

    def upload(self, media_type: str, filename: str, data: bytes) -> Material:
        if media_type not in LARGEST:
            raise Refusal(40004, media_type)
        _check_size(data, LARGEST[media_type])
        content_type = sniff(data)
        if media_type == "image" and not content_type.startswith("image/"):
            raise Refusal(40009, "image must be JPG or PNG")
        return self.keep(media_type, filename, data, content_type)

    def upload_permanent_image(self, filename: str, data: bytes) -> Material:
        _check_size(data, LARGEST_PERMANENT_IMAGE)
        content_type = sniff(data)
        if not content_type.startswith("image/"):
            raise Refusal(40009, "image must be JPG or PNG")
        return self.keep("image", filename, data, content_type, permanent=True)

    def keep(
        self, media_type: str, filename: str, data: bytes, content_type: str = "", permanent: bool = False
    ) -> Material:
        """Store without the vendor's checks: what a customer sends from the phone arrives this way."""
        media_id = self._corp.new_id("3", 160)
        material = Material(
            media_id, media_type, filename, content_type or sniff(data), data, self._corp.now(), permanent
        )
        self._materials[media_id] = material
        return material

    def get(self, media_id: object) -> Material:
        """The material an API call names: 40007 when unknown or older than three days."""
        material = self._materials.get(media_id) if isinstance(media_id, str) else None
        if material is None or (not material.permanent and self._corp.now() - material.created_at > LIFE):
            raise Refusal(40007)
        return material

    def show(self, media_id: str) -> Material:
        """For the pages: what was once sent stays visible, as in the real client."""
        if media_id not in self._materials:
            raise Unknown("没有这个文件")
        return self._materials[media_id]


def _check_size(data: bytes, largest: int) -> None:
    if not data:
        raise Refusal(44001)
    if len(data) <= SMALLEST:
        raise Refusal(40006)
    if len(data) > largest:
        raise Refusal(45001)


def sniff(data: bytes) -> str:
    for magic, content_type in IMAGE_TYPES.items():
        if data.startswith(magic):
            return content_type
    return "application/octet-stream"
