"""Staff accounts: made by the owner, each with a role; a password, a second factor, or WeCom alone."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pyotp
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.access import passwords
from bot.models.access import Account, SignIn
from crm import staff
from crm.base.db import insert
from crm.base.errors import Invalid, NotFound, Refused
from crm.base.secrets import Vault
from crm.sight import Role

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,39}")
STEP_SECONDS = 30  # of a code by RFC 6238


@dataclass(eq=False)
class AccountNameInvalid(Invalid):
    """A name is what people type: 2 to 40 small letters, digits, dots, dashes."""

    code = "account.name_invalid"
    name: str


@dataclass(eq=False)
class AccountTaken(Refused):
    """The name, or the WeCom person, has an account already."""

    code = "account.taken"
    name: str


@dataclass(eq=False)
class AccountNotFound(NotFound):
    """Nobody has this account."""

    code = "account.not_found"


@dataclass(eq=False)
class LastOwner(Refused):
    """Somebody has to be able to make accounts."""

    code = "account.last_owner"


@dataclass(eq=False)
class CodeWrong(Invalid):
    """The six digits are wrong, too old, or were used already."""

    code = "account.code_wrong"


@dataclass(eq=False)
class NoDataKey(Refused):
    """A second factor is kept sealed, and this shop has no key to seal with."""

    code = "account.no_data_key"


async def make(
    session: AsyncSession,
    name: str,
    *,
    role: Role,
    title: str = "",
    password: str | None = None,
    userid: str | None = None,
    now: datetime,
) -> Account:
    """A new account. Raises AccountNameInvalid, PasswordUnfit, AccountTaken."""
    typed = name.strip().lower()
    if not NAME.fullmatch(typed):
        raise AccountNameInvalid(name)
    values = {
        "name": typed,
        "title": title.strip()[:40] or typed,
        "role": role,
        "userid": staff.key(userid) if userid else None,
        "password": await passwords.hashed(password, name=typed) if password is not None else None,
        "totp_step": 0,
        "language": "zh",
        "made_at": now,
    }
    made = await session.scalar(
        insert(session, Account).values(**values).on_conflict_do_nothing().returning(Account.id)
    )
    if made is None:
        raise AccountTaken(typed)
    return await get(session, made)


async def get(session: AsyncSession, account_id: int) -> Account:
    found = await session.get(Account, account_id, populate_existing=True)
    if found is None:
        raise AccountNotFound
    return found


async def find(session: AsyncSession, name: str) -> Account | None:
    found: Account | None = await session.scalar(sa.select(Account).where(Account.name == name.strip().lower()))
    return found


async def named(session: AsyncSession, name: str) -> Account:
    found = await find(session, name)
    if found is None:
        raise AccountNotFound
    return found


async def of_staff(session: AsyncSession, userid: str) -> Account | None:
    """The account of a person in WeCom."""
    found: Account | None = await session.scalar(sa.select(Account).where(Account.userid == staff.key(userid)))
    return found


async def everybody(session: AsyncSession) -> Sequence[Account]:
    return (await session.scalars(sa.select(Account).order_by(Account.disabled_at.is_not(None), Account.name))).all()


async def set_password(session: AsyncSession, account_id: int, password: str, *, now: datetime) -> None:
    """A new password; every browser signed in with the old one is signed out. Raises PasswordUnfit."""
    account = await get(session, account_id)
    account.password = await passwords.hashed(password, name=account.name)
    await sign_out_everywhere(session, account_id, now=now)


async def set_role(session: AsyncSession, account_id: int, role: Role) -> None:
    """Raises LastOwner."""
    account = await get(session, account_id)
    if account.role is Role.OWNER and role is not Role.OWNER:
        await _check_another_owner(session, account_id)
    account.role = role


async def set_userid(session: AsyncSession, account_id: int, userid: str | None) -> None:
    """Tie the account to a person in WeCom, or to nobody. Raises AccountTaken."""
    key = staff.key(userid) if userid else None
    if key is not None:
        other = await of_staff(session, key)
        if other is not None and other.id != account_id:
            raise AccountTaken(other.name)
    (await get(session, account_id)).userid = key


async def disable(session: AsyncSession, account_id: int, *, now: datetime) -> None:
    """They cannot sign in any more, and are signed out everywhere. Raises LastOwner."""
    account = await get(session, account_id)
    if account.role is Role.OWNER:
        await _check_another_owner(session, account_id)
    account.disabled_at = account.disabled_at or now
    await sign_out_everywhere(session, account_id, now=now)


async def enable(session: AsyncSession, account_id: int) -> None:
    (await get(session, account_id)).disabled_at = None


async def sign_out_everywhere(session: AsyncSession, account_id: int, *, now: datetime) -> None:
    mine = (SignIn.account_id == account_id, SignIn.revoked_at.is_(None))
    await session.execute(sa.update(SignIn).where(*mine).values(revoked_at=now))


# ---- the second factor


def new_secret() -> str:
    """For the authenticator app; kept once the first code proves that the app has it."""
    return str(pyotp.random_base32())


def address(account: Account, secret: str, *, shop: str) -> str:
    """otpauth://… for the QR code."""
    return str(pyotp.TOTP(secret).provisioning_uri(name=account.name, issuer_name=f"思域 {shop}"))


async def set_second_factor(
    session: AsyncSession, account_id: int, secret: str, code: str, *, vault: Vault | None, now: datetime
) -> None:
    """From now on a code is asked too. Raises CodeWrong, NoDataKey."""
    if vault is None:
        raise NoDataKey
    step = _step_of(secret, code, now=now)
    if step is None:
        raise CodeWrong
    account = await get(session, account_id)
    account.totp_secret, account.totp_step = vault.seal(secret, about=f"totp:{account_id}"), step


async def drop_second_factor(session: AsyncSession, account_id: int) -> None:
    account = await get(session, account_id)
    account.totp_secret = None


async def use_code(session: AsyncSession, account: Account, code: str, *, vault: Vault | None, now: datetime) -> None:
    """The six digits, once: the WHERE clause lets a code pass a single time. Raises CodeWrong, NoDataKey."""
    if vault is None or account.totp_secret is None:
        raise NoDataKey
    step = _step_of(vault.open(account.totp_secret, about=f"totp:{account.id}"), code, now=now)
    if step is None:
        raise CodeWrong
    used = await session.scalar(
        sa.update(Account)
        .where(Account.id == account.id, Account.totp_step < step)
        .values(totp_step=step)
        .returning(Account.id)
    )
    if used is None:
        raise CodeWrong


def _step_of(secret: str, code: str, *, now: datetime) -> int | None:
    """The half minute the code belongs to: this one, or a neighbour, for clocks are never quite right."""
    typed, totp = code.replace(" ", ""), pyotp.TOTP(secret)
    step = int(now.timestamp()) // STEP_SECONDS
    for each in (step, step - 1, step + 1):
        if pyotp.utils.strings_equal(typed, totp.at(each * STEP_SECONDS)):
            return each
    return None


async def _check_another_owner(session: AsyncSession, account_id: int) -> None:
    owners = sa.select(Account.id).where(Account.role == Role.OWNER, Account.disabled_at.is_(None)).with_for_update()
    if not set(await session.scalars(owners)) - {account_id}:
        raise LastOwner
