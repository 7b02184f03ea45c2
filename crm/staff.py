"""Staff: our people in WeCom, and which of them may have external contacts."""

from collections.abc import Collection, Iterable

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm.base.db import insert
from crm.models.member import Staff


def key(userid: str) -> str:
    """How a userid compares: WeCom answers some calls in lower case whatever was asked."""
    return userid.lower()


async def find(session: AsyncSession, userid: str) -> Staff | None:
    found: Staff | None = await session.scalar(sa.select(Staff).where(Staff.key == key(userid)))
    return found


async def name_of(session: AsyncSession, userid: str) -> str:
    """What customers call them; empty while nobody told us."""
    return await session.scalar(sa.select(Staff.name).where(Staff.key == key(userid))) or ""


async def names_of(session: AsyncSession, userids: Iterable[str]) -> dict[str, str]:
    """What customers call them, by userid as it was given; who has no name is called by the userid."""
    spelled = {one for one in userids if one}
    rows = await session.execute(sa.select(Staff.key, Staff.name).where(Staff.key.in_({key(one) for one in spelled})))
    known = {row.key: row.name for row in rows}
    return {one: known.get(key(one)) or one for one in spelled}


async def know(session: AsyncSession, userids: Iterable[str]) -> dict[str, int]:
    """Staff ids by key; userids met for the first time get a row."""
    spelled = {key(userid): userid for userid in userids}
    ids = await _ids(session, spelled)
    missing = [{"key": each, "userid": spelled[each]} for each in sorted(spelled) if each not in ids]
    if missing:
        await session.execute(insert(session, Staff.__table__).on_conflict_do_nothing(), missing)
        ids = await _ids(session, spelled)
    return ids


async def set_following(session: AsyncSession, userids: Collection[str]) -> dict[str, int]:
    """Exactly these may have external contacts from now on; returns their ids by key."""
    ids = await know(session, userids)
    may = Staff.id.in_(ids.values())
    await session.execute(sa.update(Staff).where(may, Staff.follows.is_(False)).values(follows=True))
    await session.execute(sa.update(Staff).where(~may, Staff.follows.is_(True)).values(follows=False))
    return ids


async def _ids(session: AsyncSession, keys: Collection[str]) -> dict[str, int]:
    if not keys:
        return {}
    rows = await session.execute(sa.select(Staff.key, Staff.id).where(Staff.key.in_(keys)))
    return {row.key: row.id for row in rows}
