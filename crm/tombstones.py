"""Tombstones: identities of erased people, as keyed hashes, so that no listing brings anybody back.

The key lies in the database: what a sync must respect may not depend on a setting that can be lost. Whoever has the
whole database can test a guess; external_userids are no guess, and a phone is hashed with the shop's own key before.
"""

import hmac
from collections.abc import Collection, Mapping
from datetime import datetime
from hashlib import sha256

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm.base.db import insert, is_among
from crm.models.member import IdentityKind
from crm.models.privacy import Tombstone, TombstoneKey

Key = tuple[IdentityKind, str]


async def among(session: AsyncSession, keys: Collection[Key]) -> dict[Key, datetime]:
    """Those of `keys` that were erased, and when. One query while nobody was."""
    if not keys:
        return {}
    row = (await session.execute(sa.select(TombstoneKey.secret, sa.exists(sa.select(Tombstone.kind))))).one()
    secret, is_needed = row
    if not is_needed:
        return {}
    prints = {fingerprint(secret, key): key for key in keys}
    rows = await session.execute(
        sa.select(Tombstone.fingerprint, Tombstone.erased_at).where(
            is_among(session, Tombstone.fingerprint, list(prints))
        )
    )
    return {prints[row.fingerprint]: row.erased_at for row in rows}


async def bury(session: AsyncSession, keys: Collection[Key], *, now: datetime) -> list[str]:
    """From now on these identities lead to nobody; returns their fingerprints, sorted."""
    secret = await _secret(session)
    prints = {fingerprint(secret, key): key[0] for key in keys}
    rows = [{"kind": kind, "fingerprint": print_, "erased_at": now} for print_, kind in sorted(prints.items())]
    if rows:
        told = insert(session, Tombstone.__table__)
        again = told.on_conflict_do_update(index_elements=["kind", "fingerprint"], set_={"erased_at": now})
        await session.execute(again, rows)
    return sorted(prints)


async def lift(session: AsyncSession, keys: Collection[Key]) -> None:
    """These identities lead to somebody again, who came back by their own act."""
    if not keys:
        return
    secret = await _secret(session)
    prints = [fingerprint(secret, key) for key in keys]
    await session.execute(sa.delete(Tombstone).where(Tombstone.fingerprint.in_(prints)))


async def matches(session: AsyncSession, proof: Collection[str], keys: Collection[Key]) -> bool:
    """Whether one of these identities is among a receipt's fingerprints: how a receipt is checked."""
    secret = await _secret(session)
    return bool({fingerprint(secret, key) for key in keys} & set(proof))


def fingerprint(secret: str, key: Key) -> str:
    """The same for the same identity and key, and telling nothing of it."""
    kind, value = key
    return hmac.digest(bytes.fromhex(secret), f"{kind.value}\x1f{value}".encode(), sha256).hex()


def is_resting(
    keys: Collection[Key], owned: Mapping[Key, int], gone: Mapping[Key, datetime], acted_at: datetime | None
) -> bool:
    """Whether somebody shown under these keys is an erased person who has not come back.

    They come back by what they do themselves after the erasure, or as part of a person we know by another key.
    """
    if not gone or any(key in owned for key in keys):
        return False
    buried = [gone[key] for key in keys if key in gone]
    return bool(buried) and (acted_at is None or acted_at <= max(buried))


async def _secret(session: AsyncSession) -> str:
    return (await session.scalars(sa.select(TombstoneKey.secret))).one()
