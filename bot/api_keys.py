"""Keys to the HTTP API: made with the scopes they need, shown once, kept as a keyed hash, expired or revoked for good.

A key is found by the hash that the shop's own key makes of it, in a unique index: how long that takes tells nothing of
the keys there are, because nobody without the shop's key can choose how a hash begins.
"""

import base64
import random
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.models.api import ApiKey, Scope
from crm.base.db import insert
from crm.base.errors import Invalid, NotFound, Refused
from crm.base.secrets import Vault

EVERY_SCOPE = frozenset(Scope)
KEY_BYTES = 32
SHAPE = re.compile(r"siyu_[A-Za-z0-9_-]{43}")
HINT = 10  # characters
PURPOSE = "api key"
NAME = re.compile(r"[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]{0,38}[^\s\x00-\x1f\x7f])?")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, by the name of their key, and what it may do."""

    name: str
    scopes: frozenset[Scope] = EVERY_SCOPE
    key_id: int | None = None  # None: the key is a setting

    @property
    def ref(self) -> str:
        """What idempotency keys, limits and traces are kept under: a setting's name is nobody else's."""
        return self.name if self.key_id is None else f"key:{self.key_id}"

    @property
    def sees_people(self) -> bool:
        return Scope.MEMBERS_PERSONAL in self.scopes


@dataclass(frozen=True, slots=True)
class Made:
    """A new key, and the only time that its secret is seen."""

    key: ApiKey
    secret: str


@dataclass(eq=False)
class KeyNameTaken(Refused):
    """A key has this name, or had it."""

    code = "api_key.name_taken"
    name: str


@dataclass(eq=False)
class KeyWrong(Invalid):
    """A key needs a name of up to 40 characters, scopes, and an end that lies ahead."""

    code = "api_key.wrong"
    field: str


@dataclass(eq=False)
class KeyNotFound(NotFound):
    """No key has this name."""

    code = "api_key.not_found"
    name: str


@dataclass(eq=False)
class KeyOver(Refused):
    """The key is a real one that is no longer good. why: expired, revoked."""

    code = "api_key.over"
    name: str
    why: str
    since: datetime


async def everything(session: AsyncSession) -> Sequence[ApiKey]:
    """All keys, those that work first, then by name."""
    rows = sa.select(ApiKey).order_by(ApiKey.revoked_at.is_not(None), ApiKey.name)
    return (await session.scalars(rows)).all()


async def get(session: AsyncSession, name: str) -> ApiKey:
    """Raises KeyNotFound."""
    found: ApiKey | None = await session.scalar(sa.select(ApiKey).where(ApiKey.name == name))
    if found is None:
        raise KeyNotFound(name)
    return found


async def find(session: AsyncSession, vault: Vault, given: str, *, now: datetime) -> Caller | None:
    """Who calls with this key; None for one that never was. Raises KeyOver: whoever has it may know that it ended."""
    if not SHAPE.fullmatch(given):
        return None
    print_ = vault.fingerprint(given, about=PURPOSE)
    key: ApiKey | None = await session.scalar(sa.select(ApiKey).where(ApiKey.fingerprint == print_))
    if key is None:
        return None
    if key.revoked_at is not None:
        raise KeyOver(key.name, "revoked", key.revoked_at)
    if key.expires_at is not None and key.expires_at <= now:
        raise KeyOver(key.name, "expired", key.expires_at)
    return Caller(key.name, scopes_of(key), key.id)


def scopes_of(key: ApiKey) -> frozenset[Scope]:
    """A scope that this version no longer knows gives nothing."""
    return frozenset(scope for scope in Scope if scope.value in key.scopes)


async def create(
    session: AsyncSession,
    vault: Vault,
    name: str,
    scopes: Collection[Scope],
    *,
    by: str,
    expires_at: datetime | None = None,
    now: datetime,
    chance: random.Random,
) -> Made:
    """A new key. Raises KeyWrong, KeyNameTaken."""
    wrong = {
        "name": not NAME.fullmatch(name),
        "scopes": not scopes,
        "expires_at": expires_at is not None and expires_at <= now,
    }
    if field := next((field for field, is_wrong in wrong.items() if is_wrong), None):
        raise KeyWrong(field)
    secret = "siyu_" + base64.urlsafe_b64encode(chance.randbytes(KEY_BYTES)).decode().rstrip("=")
    row = insert(session, ApiKey).values(
        name=name, hint=secret[:HINT], fingerprint=vault.fingerprint(secret, about=PURPOSE),
        scopes=sorted(scope.value for scope in set(scopes)), created_by=by, created_at=now, expires_at=expires_at,
        revoked_by="",
    )  # fmt: skip
    made: ApiKey | None = await session.scalar(row.on_conflict_do_nothing().returning(ApiKey))
    if made is None:
        raise KeyNameTaken(name)
    return Made(made, secret)


async def revoke(session: AsyncSession, name: str, *, by: str, now: datetime) -> bool:
    """From the next call on it is refused; whether this call did it. Raises KeyNotFound."""
    ended = (
        sa.update(ApiKey)
        .where(ApiKey.name == name, ApiKey.revoked_at.is_(None))
        .values(revoked_at=now, revoked_by=by)
        .returning(ApiKey.id)
        .execution_options(synchronize_session=False)
    )
    if (await session.scalar(ended)) is not None:
        return True
    await get(session, name)
    return False


async def note_use(session: AsyncSession, used: Mapping[int, datetime]) -> None:
    """When keys were last used, as several processes saw it: the newest stays."""
    for key_id, at in sorted(used.items()):
        newer = sa.or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < at)
        await session.execute(sa.update(ApiKey).where(ApiKey.id == key_id, newer).values(last_used_at=at))
