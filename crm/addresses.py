"""Addresses: kept sealed as phones are, shown masked, opened for the parcel; a look at one leaves a row."""

import re
import unicodedata
from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from crm.base.db import insert, is_among
from crm.base.secrets import Vault
from crm.models.private import PrivateKind, PrivateValue, Reveal

PURPOSE = "address"
SHORTEST, LONGEST = 8, 200
_PLACE = re.compile(r"[省市区县镇乡村路街道巷弄号楼栋幢室苑园城里湾庄座层]")
_SHOWN = 6


def normalized(written: str) -> str | None:
    """An address on one line with single spaces; None when no parcel could find its way by it."""
    line = " ".join(written.split())
    if (
        not SHORTEST <= len(line) <= LONGEST
        or len(_PLACE.findall(line)) < 2
        or not re.search(r"\d|[一二三四五六七八九十]", line)
    ):
        return None
    return line


def masked(address: str) -> str:
    """The city and district, no door."""
    return f"{address[:_SHOWN]}{'*' * 4}"


async def keep(session: AsyncSession, vault: Vault, member_id: int, address: str, *, now: datetime) -> int:
    """Seal a normalised address and return its id; the same one again is the one that is there."""
    print_ = vault.fingerprint(f"{member_id}\x1f{address}", about=PURPOSE)  # a household has one door and two members
    values = {
        "member_id": member_id,
        "kind": PrivateKind.ADDRESS,
        "fingerprint": print_,
        "place": vault.fingerprint(_place(address), about=f"{PURPOSE} place"),
        "sealed": vault.seal(address, about=PURPOSE),
        "added_at": now,
    }
    await session.execute(insert(session, PrivateValue).values(values).on_conflict_do_nothing())
    known = (PrivateValue.kind == PrivateKind.ADDRESS, PrivateValue.fingerprint == print_)
    return (await session.scalars(sa.select(PrivateValue.id).where(*known))).one()


def _place(address: str) -> str:
    """Where it leads, however it was written: without blanks, marks, and the phone of who takes the parcel."""
    letters = "".join(letter for letter in unicodedata.normalize("NFKC", address).lower() if letter.isalnum())
    return re.sub(r"(?:86)?1[3-9]\d{9}", "", letters)


async def neighbours(session: AsyncSession, member_id: int, among: Collection[int]) -> list[int]:
    """Who of these members gets parcels where this member does."""
    mine, theirs = PrivateValue, aliased(PrivateValue)
    rows = await session.scalars(
        sa.select(theirs.member_id)
        .join(mine, mine.place == theirs.place)
        .where(mine.member_id == member_id, is_among(session, theirs.member_id, set(among) - {member_id}))
        .distinct()
        .order_by(theirs.member_id)
    )
    return list(rows)


async def newest_of(session: AsyncSession, member_id: int) -> int | None:
    """The address a member told last."""
    mine = (PrivateValue.member_id == member_id, PrivateValue.kind == PrivateKind.ADDRESS)
    newest = sa.select(PrivateValue.id).where(*mine).order_by(PrivateValue.added_at.desc(), PrivateValue.id.desc())
    return await session.scalar(newest.limit(1))


async def masked_of(session: AsyncSession, vault: Vault, ids: Collection[int]) -> dict[int, str]:
    """These addresses as a screen may show them."""
    return {one: masked(address) for one, address in (await _opened(session, vault, ids)).items()}


async def reveal(
    session: AsyncSession, vault: Vault, ids: Collection[int], *, userid: str, because: str, now: datetime
) -> dict[int, str]:
    """These addresses in plain text; who looked at whose and why is written down in the same transaction."""
    rows = await session.execute(
        sa.select(PrivateValue.member_id).where(is_among(session, PrivateValue.id, ids)).distinct()
    )
    session.add_all(
        Reveal(member_id=member_id, kind=PrivateKind.ADDRESS, userid=userid, because=because, revealed_at=now)
        for member_id in sorted(rows.scalars())
    )
    await session.flush()
    return await _opened(session, vault, ids)


async def _opened(session: AsyncSession, vault: Vault, ids: Collection[int]) -> dict[int, str]:
    rows = await session.execute(
        sa.select(PrivateValue.id, PrivateValue.sealed).where(
            is_among(session, PrivateValue.id, ids), PrivateValue.kind == PrivateKind.ADDRESS
        )
    )
    return {row.id: vault.open(row.sealed, about=PURPOSE) for row in rows}
