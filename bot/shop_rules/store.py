"""Versions of the rules: read, changed, put back. The newest holds; nothing that was ever in force is lost."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.models.shop_rules import RuleVersion
from bot.settings import Settings
from bot.shop_rules import sheet
from bot.shop_rules.sheet import InForce, Sheet
from crm.base.db import insert
from crm.base.errors import NotFound, Refused

SERVER = 0  # the version that nobody wrote: what the server's settings say


@dataclass(eq=False)
class RulesChanged(Refused):
    """Somebody else changed the rules since these were looked at. version: theirs."""

    code: ClassVar[str] = "rules.changed"
    version: int


@dataclass(eq=False)
class RulesNotFound(NotFound):
    """There is no such version."""

    code: ClassVar[str] = "rules.not_found"
    version: int


async def newest(session: AsyncSession) -> RuleVersion | None:
    """The version in force; None: the server's settings are all there is."""
    found: RuleVersion | None = await session.scalar(
        sa.select(RuleVersion).order_by(RuleVersion.version.desc()).limit(1)
    )
    return found


async def version_of(session: AsyncSession) -> int:
    return await session.scalar(sa.select(sa.func.max(RuleVersion.version))) or SERVER


async def in_force(session: AsyncSession, settings: Settings) -> InForce:
    """What holds now, for a command: the service's processes keep theirs in the App (live.py)."""
    found = await newest(session)
    return sheet.read(settings, found.texts if found is not None else {})


async def history(session: AsyncSession, *, limit: int = 50) -> Sequence[RuleVersion]:
    """The newest first."""
    return (await session.scalars(sa.select(RuleVersion).order_by(RuleVersion.version.desc()).limit(limit))).all()


async def texts_of(session: AsyncSession, version: int) -> dict[str, str]:
    """What a version said otherwise than the server. Raises RulesNotFound."""
    if version == SERVER:
        return {}
    found = await session.get(RuleVersion, version)
    if found is None:
        raise RulesNotFound(version)
    return dict(found.texts)


def differing(settings: Settings, before: Sheet, after: Sheet) -> dict[str, tuple[str, str]]:
    """Rule -> its text before and after, of those that differ."""
    said = sheet.usual(settings)
    return {
        name: (before.get(name, said[name]), after.get(name, said[name]))
        for name in said
        if before.get(name, said[name]) != after.get(name, said[name])
    }


async def change(
    session: AsyncSession,
    settings: Settings,
    texts: Sheet,
    *,
    seen: int,
    by: str,
    now: datetime,
    back_to: int | None = None,
) -> RuleVersion | None:
    """Let these texts hold, over the server's settings; None when nothing differs. seen: the version they come from.

    The version's number is the guard: of any number who changed the same one, one takes the next.
    Raises RulesWrong, RulesChanged.
    """
    sheet.read(settings, texts)
    wanted = sheet.own(settings, texts)
    now_held = await texts_of(session, await version_of(session))
    changed = sorted(differing(settings, now_held, wanted))
    if not changed:
        return None
    values = {
        "version": seen + 1, "texts": wanted, "changed": changed, "made_by": by, "made_at": now, "back_to": back_to,
    }  # fmt: skip
    made = insert(session, RuleVersion).values(values).on_conflict_do_nothing().returning(RuleVersion)
    version: RuleVersion | None = await session.scalar(made) if await version_of(session) == seen else None
    if version is None:
        raise RulesChanged(await version_of(session))
    return version


async def put_back(
    session: AsyncSession, settings: Settings, version: int, *, seen: int, by: str, now: datetime
) -> RuleVersion | None:
    """Let hold what held at `version`. Raises RulesNotFound, RulesChanged, and RulesWrong where it cannot hold now."""
    texts = await texts_of(session, version)
    return await change(session, settings, texts, seen=seen, by=by, now=now, back_to=version)
