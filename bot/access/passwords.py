"""Passwords: argon2 in a thread, so that nobody else waits while one is checked."""

import asyncio
from dataclasses import dataclass

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from crm.base.errors import Invalid

LEAST, MOST, DISTINCT = 10, 200, 4  # characters
_hasher = PasswordHasher()  # the library's own choice follows RFC 9106
_nobody = _hasher.hash("nobody has this password")


@dataclass(eq=False)
class PasswordUnfit(Invalid):
    """A password has 10 to 200 characters and is not the account's name."""

    code = "account.password_unfit"
    least: int = LEAST


async def hashed(password: str, *, name: str) -> str:
    """What is kept of a password. Raises PasswordUnfit."""
    if not LEAST <= len(password) <= MOST or password.lower() == name.lower() or len(set(password)) < DISTINCT:
        raise PasswordUnfit
    return await asyncio.to_thread(_hasher.hash, password)


async def fits(kept: str | None, password: str) -> bool:
    """Is this the password? For an account without one it takes as long, so that time tells nothing."""
    right = await asyncio.to_thread(_verified, kept or _nobody, password[:MOST])
    return right and kept is not None


def needs_rehash(kept: str) -> bool:
    return _hasher.check_needs_rehash(kept)


def _verified(kept: str, password: str) -> bool:
    try:
        return _hasher.verify(kept, password)
    except (Argon2Error, InvalidHashError):
        return False
