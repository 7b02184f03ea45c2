"""Contact ways (渠道活码): QR codes by which a customer adds staff. Keep the config_id: listings are limited."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from bot.wecom.api.call import Caller, Page, pages
from bot.wecom.reading import Json, given, number, obj, objs, text, texts

CONTACT = "/cgi-bin/externalcontact"
WAYS_PER_PAGE = 1000
SINGLE, MULTI = 1, 2
WIDGET, QR_CODE = 1, 2


@dataclass(frozen=True, slots=True)
class NewWay:
    config_id: str
    qr_code: str  # the picture's address; empty for a widget


@dataclass(frozen=True, slots=True)
class ContactWay:
    config_id: str
    type: int
    scene: int
    userids: tuple[str, ...]
    state: str
    remark: str
    skip_verify: bool
    qr_code: str


class WaysApi:
    """Calls about contact ways."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def add_contact_way(
        self,
        userids: Sequence[str],
        *,
        state: str | None = None,
        remark: str | None = None,
        skip_verify: bool = True,
        scene: int = QR_CODE,
        app: str | None = None,
    ) -> NewWay:
        """A way to one of up to 100 members of staff; `state` (≤ 30 characters) comes back with who came by it.

        Not repeatable: a second try would make a second way, and a corp has 500,000.
        """
        body = given(
            type=SINGLE if len(userids) == 1 else MULTI,
            scene=scene,
            remark=remark,
            skip_verify=skip_verify,
            state=state,
            user=list(userids),
        )
        answer = await self._caller.post(f"{CONTACT}/add_contact_way", body, app=app, repeatable=False)
        return NewWay(text(answer, "config_id"), text(answer, "qr_code"))

    async def get_contact_way(self, config_id: str, *, app: str | None = None) -> ContactWay:
        body: Json = {"config_id": config_id}
        answer = await self._caller.post(f"{CONTACT}/get_contact_way", body, app=app, repeatable=True)
        return _way(obj(answer, "contact_way"))

    async def list_contact_way(
        self,
        cursor: str = "",
        *,
        start_at: datetime | None = None,
        end_at: datetime | None = None,
        app: str | None = None,
    ) -> Page[str]:
        """A page of config_ids of ways made in this time; without one, in the last 90 days."""
        body = given(
            start_time=int(start_at.timestamp()) if start_at else None,
            end_time=int(end_at.timestamp()) if end_at else None,
            cursor=cursor or None,
            limit=WAYS_PER_PAGE,
        )
        answer = await self._caller.post(f"{CONTACT}/list_contact_way", body, app=app, repeatable=True)
        ids = tuple(text(one, "config_id") for one in objs(answer, "contact_way"))
        return Page(ids, text(answer, "next_cursor"))

    def lists(
        self, *, start_at: datetime | None = None, end_at: datetime | None = None, app: str | None = None
    ) -> AsyncIterator[Page[str]]:
        """All pages of `list_contact_way`."""
        return pages(lambda at: self.list_contact_way(at, start_at=start_at, end_at=end_at, app=app))

    async def update_contact_way(
        self,
        config_id: str,
        userids: Sequence[str],
        *,
        state: str | None = None,
        remark: str | None = None,
        skip_verify: bool = True,
        app: str | None = None,
    ) -> None:
        """Replace who is reached and how; type and scene cannot change."""
        body = given(config_id=config_id, remark=remark, skip_verify=skip_verify, state=state, user=list(userids))
        await self._caller.post(f"{CONTACT}/update_contact_way", body, app=app, repeatable=True)

    async def del_contact_way(self, config_id: str, *, app: str | None = None) -> None:
        """The code stops working."""
        await self._caller.post(f"{CONTACT}/del_contact_way", {"config_id": config_id}, app=app, repeatable=True)


def _way(fields: Json) -> ContactWay:
    return ContactWay(
        text(fields, "config_id"),
        number(fields, "type"),
        number(fields, "scene"),
        texts(fields, "user"),
        text(fields, "state"),
        text(fields, "remark"),
        bool(fields.get("skip_verify", True)),
        text(fields, "qr_code"),
    )
