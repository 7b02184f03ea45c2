"""Phones: read as people write them, kept sealed, found by keyed hash, shown masked; a look at one leaves a row."""

from collections.abc import Mapping
from datetime import datetime

import phonenumbers
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm.base.db import insert
from crm.base.secrets import Vault
from crm.identities import Key
from crm.models.member import IdentityKind
from crm.models.private import PrivateKind, PrivateValue, Reveal

REGION = "CN"  # of numbers written without +…
PURPOSE = "phone"


def normalized(written: str, region: str = REGION) -> str | None:
    """A number as +8613800138000, however it was written; None when no phone has it."""
    try:
        found = phonenumbers.parse(written, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(found):
        return None
    return phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164)


def masked(phone: str) -> str:
    """138****8000: enough to recognise one's own, too little to call a stranger."""
    local = phone.removeprefix("+86")
    return f"{local[:3]}{'*' * max(4, len(local) - 7)}{local[-4:]}"


def key(vault: Vault, phone: str) -> Key:
    """The identity of whoever has this normalised number."""
    return (IdentityKind.PHONE_HASH, vault.fingerprint(phone, about=PURPOSE))


async def keep(session: AsyncSession, vault: Vault, phones: Mapping[str, int], *, now: datetime) -> None:
    """Seal these normalised numbers, each with its member; a number that is kept already stays as it is."""
    if not phones:
        return
    rows = [
        {
            "member_id": member_id,
            "kind": PrivateKind.PHONE,
            "fingerprint": vault.fingerprint(phone, about=PURPOSE),
            "sealed": vault.seal(phone, about=PURPOSE),
            "added_at": now,
        }
        for phone, member_id in sorted(phones.items())
    ]
    table = PrivateValue.__table__
    await session.execute(insert(session, table).on_conflict_do_nothing(), rows)


async def masked_of(session: AsyncSession, vault: Vault, member_id: int) -> list[str]:
    """A member's numbers as a screen may show them, newest first."""
    return [masked(phone) for phone in await _opened(session, vault, member_id)]


async def reveal(
    session: AsyncSession, vault: Vault, member_id: int, *, userid: str, because: str, now: datetime
) -> list[str]:
    """A member's numbers in plain text; who looked and why is written down in the same transaction."""
    session.add(Reveal(member_id=member_id, kind=PrivateKind.PHONE, userid=userid, because=because, revealed_at=now))
    await session.flush()
    return await _opened(session, vault, member_id)


async def _opened(session: AsyncSession, vault: Vault, member_id: int) -> list[str]:
    rows = await session.scalars(
        sa.select(PrivateValue.sealed)
        .where(PrivateValue.member_id == member_id, PrivateValue.kind == PrivateKind.PHONE)
        .order_by(PrivateValue.added_at.desc(), PrivateValue.id.desc())
    )
    return [vault.open(sealed, about=PURPOSE) for sealed in rows]
