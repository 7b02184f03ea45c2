"""Offers among the shop's files: what a coupon takes off, for what, how many there are."""

from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import offers
from campaigns.definition import CampaignWrong
from campaigns.file_kinds import FileKind
from campaigns.models.offer import Offer
from campaigns.offers import Draft
from campaigns.words import Level, Words
from crm.base import complaints

NAMES = {"kind": "offer", "key": "name"}  # as a file calls them
FIELDS = tuple(Draft.model_fields)
FIXED = "已经发出过券，这一项不能再改；上限不能低于已经发出、用掉的"


def _read(name: str, told: dict[str, Any]) -> Draft:
    said = {"title": name, **told}
    said["kind"] = said.pop("offer", None)
    try:
        return Draft.model_validate({"key": name, **said})
    except ValidationError as error:
        wrong = [(".".join(str(NAMES.get(str(part), part)) for part in one["loc"]), complaints.sentence(one))
                 for one in error.errors()]  # fmt: skip
        raise CampaignWrong([{"field": field, "reason": reason} for field, reason in wrong]) from None


def _write(draft: Draft) -> dict[str, Any]:
    """As JSON: what is as usual is left out, instants are UTC."""
    written: dict[str, Any] = draft.model_dump(mode="json", exclude={"key", "kind", "starts_at", "ends_at"},
                                               exclude_defaults=True)  # fmt: skip
    at = {"starts_at": draft.starts_at, "ends_at": draft.ends_at}
    instants = {name: one.astimezone(UTC).isoformat() for name, one in at.items() if one is not None}
    return {"offer": draft.kind.value, **written, **instants}


def _mistakes(draft: Draft, words: Words) -> list[dict[str, str]]:
    refused = (one for one in words.check(draft.title) if one.level is Level.REFUSE)
    return [{"field": "title", "reason": f"“{one.text}”不能用：{one.suggest}"} for one in refused]


async def _stored(session: AsyncSession, name: str) -> dict[str, Any] | None:
    known = await offers.find(session, name)
    if known is None:
        return None
    return {**_write(_draft_of(known)), **({"closed": True} if known.closed_at is not None else {})}


def _draft_of(offer: Offer) -> Draft:
    return Draft.model_validate({name: getattr(offer, name) for name in FIELDS})


async def _check(session: AsyncSession, name: str, draft: Draft, *, now: datetime) -> None:
    del now
    known = await offers.find(session, name)
    if known is not None and (fixed := offers.fixed(known, draft)):
        raise CampaignWrong([{"field": NAMES.get(one, one), "reason": FIXED} for one in fixed])


async def _put(session: AsyncSession, name: str, draft: Draft, *, now: datetime) -> Offer:
    del name
    return await offers.put(session, draft, now=now)


OFFERS = FileKind(
    field="offer", read=_read, write=_write, mistakes=_mistakes, stored=_stored, check=_check, put=_put
)  # fmt: skip
