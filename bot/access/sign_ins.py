"""Signing in and staying signed in: throttled tries, a token of which only the hash is kept, revocation."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.models.access import Account, SignIn, SignInTry
from crm.base.db import hold
from crm.base.errors import Busy, ShopError

STAY = timedelta(days=7)  # whatever is done meanwhile
IDLE = timedelta(hours=12)
SEEN_EVERY = timedelta(minutes=5)
TRY_WINDOW = timedelta(minutes=15)
TRIES_OF_NAME, TRIES_OF_ADDRESS = 5, 30  # wrong passwords in the window; an office is one address


@dataclass(eq=False)
class WrongCredentials(ShopError):
    """Name or password is wrong, or the account is disabled: which of them is nobody's business."""

    code = "sign_in.wrong"
    status = 403


@dataclass(eq=False)
class TooManyTries(Busy):
    """Too many wrong passwords: of this name, or from this address."""

    code = "sign_in.too_many_tries"
    status = 429


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who is at this browser."""

    account: Account
    sign_in_id: int
    token: str


async def count_try(session: AsyncSession, name: str, *, address: str, now: datetime) -> None:
    """Before a password is looked at: counted first, so that a hundred at once are not a hundred tries.

    Raises TooManyTries.
    """
    typed = name.strip().lower()[:40]
    await hold(session, f"sign_in:{typed}")
    since = now - TRY_WINDOW
    for column, value, most in (
        (SignInTry.name, typed, TRIES_OF_NAME),
        (SignInTry.address, address, TRIES_OF_ADDRESS),
    ):
        tries = sa.select(SignInTry.at).where(column == value, SignInTry.at > since).order_by(SignInTry.at.desc())
        found = (await session.scalars(tries.limit(most))).all()
        if len(found) == most:
            raise TooManyTries((found[-1] + TRY_WINDOW - now).total_seconds())
    session.add(SignInTry(name=typed, address=address, at=now))


async def forget_tries(session: AsyncSession, name: str) -> None:
    """The password was right after all."""
    await session.execute(sa.delete(SignInTry).where(SignInTry.name == name.strip().lower()[:40]))


async def begin(session: AsyncSession, account: Account, *, address: str, browser: str, now: datetime) -> str:
    """A signed-in browser; returns the token its cookie holds."""
    token = secrets.token_urlsafe(32)
    session.add(
        SignIn(
            token_hash=_hash(token),
            account_id=account.id,
            began_at=now,
            seen_at=now,
            ends_at=now + STAY,
            address=address[:64],
            browser=browser[:200],
        )
    )
    return token


async def find(session: AsyncSession, token: str, *, now: datetime) -> tuple[SignedIn, bool] | None:
    """Who holds this token, and whether it is time to note that they were seen; None: nobody any more."""
    row = (
        await session.execute(
            sa.select(SignIn, Account)
            .join(Account, Account.id == SignIn.account_id)
            .where(
                SignIn.token_hash == _hash(token),
                SignIn.revoked_at.is_(None),
                SignIn.ends_at > now,
                SignIn.seen_at > now - IDLE,
                Account.disabled_at.is_(None),
            )
        )
    ).one_or_none()
    if row is None:
        return None
    sign_in, account = row
    return SignedIn(account, sign_in.id, token), now - sign_in.seen_at > SEEN_EVERY


async def note_seen(session: AsyncSession, sign_in_id: int, *, now: datetime) -> None:
    await session.execute(sa.update(SignIn).where(SignIn.id == sign_in_id).values(seen_at=now))


async def revoke(session: AsyncSession, sign_in_id: int, *, account_id: int, now: datetime) -> bool:
    """Sign one browser of this account out."""
    mine = (SignIn.id == sign_in_id, SignIn.account_id == account_id, SignIn.revoked_at.is_(None))
    gone = await session.scalar(sa.update(SignIn).where(*mine).values(revoked_at=now).returning(SignIn.id))
    return gone is not None


async def standing(session: AsyncSession, account_id: int, *, now: datetime) -> Sequence[SignIn]:
    """The browsers in which this account is signed in, the last used first."""
    living = (SignIn.revoked_at.is_(None), SignIn.ends_at > now, SignIn.seen_at > now - IDLE)
    mine = sa.select(SignIn).where(SignIn.account_id == account_id, *living).order_by(SignIn.seen_at.desc())
    return (await session.scalars(mine)).all()


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
