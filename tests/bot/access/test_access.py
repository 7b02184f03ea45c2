"""Accounts, sign-ins, the second factor and the audit log, below the pages."""

import asyncio

import pyotp
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from bot.access import accounts, audit, sign_ins
from bot.access.accounts import AccountNameInvalid, AccountTaken, CodeWrong, LastOwner
from bot.access.passwords import PasswordUnfit
from bot.access.sign_ins import TRIES_OF_NAME, TRY_WINDOW, TooManyTries
from bot.models.access import AuditEntry
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.secrets import Vault
from crm.sight import Role
from tests.bot.web.staffroom import KEY

PASSWORD = "test-password-1"


@pytest.mark.parametrize("name", ["", "a", "店主", "a b", "-x", "x" * 41])
async def test_a_name_can_be_typed(sessions: Sessions, clock: FrozenClock, name: str) -> None:
    async with sessions.begin() as session:
        with pytest.raises(AccountNameInvalid):
            await accounts.make(session, name, role=Role.AGENT, now=clock.now())


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaaaa", "x" * 201, "wang.xiaomei"])
async def test_a_password_that_anybody_would_guess_is_refused(
    sessions: Sessions, clock: FrozenClock, password: str
) -> None:
    async with sessions.begin() as session:
        with pytest.raises(PasswordUnfit):
            await accounts.make(session, "wang.xiaomei", role=Role.AGENT, password=password, now=clock.now())


async def test_a_name_and_a_person_have_one_account(sessions: Sessions, clock: FrozenClock) -> None:
    async with sessions.begin() as session:
        await accounts.make(session, "Mei", role=Role.AGENT, userid="Mei", now=clock.now())
        for again in ({"name": "mei"}, {"name": "other", "userid": "MEI"}):
            with pytest.raises(AccountTaken):
                await accounts.make(session, role=Role.AGENT, now=clock.now(), **again)  # type: ignore[arg-type]


async def test_somebody_stays_owner(sessions: Sessions, clock: FrozenClock) -> None:
    async with sessions.begin() as session:
        first = await accounts.make(session, "first", role=Role.OWNER, now=clock.now())
        with pytest.raises(LastOwner):
            await accounts.set_role(session, first.id, Role.AGENT)
        with pytest.raises(LastOwner):
            await accounts.disable(session, first.id, now=clock.now())
        await accounts.make(session, "second", role=Role.OWNER, now=clock.now())
        await accounts.set_role(session, first.id, Role.AGENT)


async def test_guessing_is_slowed_down_and_the_wait_ends(sessions: Sessions, clock: FrozenClock) -> None:
    async def once(name: str = "mei", address: str = "10.0.0.1") -> None:
        async with sessions.begin() as session:
            await sign_ins.count_try(session, name, address=address, now=clock.now())

    for _ in range(TRIES_OF_NAME):
        await once()
    with pytest.raises(TooManyTries) as refused:
        await once(address="10.0.0.2")
    assert refused.value.retry_after == TRY_WINDOW.total_seconds()
    await once(name="somebody.else")
    clock.advance(TRY_WINDOW)
    await once()


async def test_a_hundred_guesses_at_once_are_counted_like_a_hundred(sessions: Sessions, clock: FrozenClock) -> None:
    async def once() -> bool:
        async with sessions.begin() as session:
            try:
                await sign_ins.count_try(session, "mei", address="10.0.0.1", now=clock.now())
            except TooManyTries:
                return False
        return True

    assert sum(await asyncio.gather(*(once() for _ in range(30)))) == TRIES_OF_NAME


async def test_a_code_works_once(sessions: Sessions, clock: FrozenClock) -> None:
    vault, secret = Vault(KEY), accounts.new_secret()
    totp = pyotp.TOTP(secret)
    async with sessions.begin() as session:
        mei = await accounts.make(session, "mei", role=Role.AGENT, password=PASSWORD, now=clock.now())
        code = totp.at(clock.now())
        with pytest.raises(CodeWrong):
            await accounts.set_second_factor(session, mei.id, secret, "000000", vault=vault, now=clock.now())
        await accounts.set_second_factor(session, mei.id, secret, code, vault=vault, now=clock.now())
        with pytest.raises(CodeWrong):  # the code that set it is used up
            await accounts.use_code(session, mei, code, vault=vault, now=clock.now())
    clock.advance(seconds=30)
    codes = [totp.at(clock.now())] * 5

    async def enter(code: str) -> bool:
        async with sessions.begin() as session:
            account = await accounts.named(session, "mei")
            try:
                await accounts.use_code(session, account, code, vault=vault, now=clock.now())
            except CodeWrong:
                return False
        return True

    assert sum(await asyncio.gather(*map(enter, codes))) == 1
    assert secret not in (mei.totp_secret or "")


async def test_a_sign_in_ends_by_idling_by_age_and_by_revocation(sessions: Sessions, clock: FrozenClock) -> None:
    async with sessions.begin() as session:
        mei = await accounts.make(session, "mei", role=Role.AGENT, now=clock.now())
        token = await sign_ins.begin(session, mei, address="", browser="", now=clock.now())

    async def found() -> bool:
        async with sessions.read() as session:
            return await sign_ins.find(session, token, now=clock.now()) is not None

    assert await found()
    clock.advance(sign_ins.IDLE)
    assert not await found()
    async with sessions.begin() as session:
        token = await sign_ins.begin(session, mei, address="", browser="", now=clock.now())
        await accounts.set_password(session, mei.id, PASSWORD, now=clock.now())
    assert not await found()


async def test_the_log_only_grows(sessions: Sessions, clock: FrozenClock) -> None:
    async with sessions.begin() as session:
        for number in range(5):
            await audit.append(
                session, "test.done", by="mei", about=f"n:{number}", facts={"n": number}, now=clock.now()
            )
    async with sessions.read() as session:
        verdict = await audit.verify(session)
    assert (verdict.entries, verdict.broken_at) == (5, None)
    for statement in ("UPDATE audit_log SET action = 'other' WHERE id = 3", "DELETE FROM audit_log WHERE id = 3"):
        with pytest.raises(DBAPIError, match="only grows"):
            async with sessions.begin() as session:
                await session.execute(sa.text(statement))


async def test_who_rewrites_the_log_is_found_out(sessions: Sessions, clock: FrozenClock) -> None:
    async with sessions.begin() as session:
        for number in range(5):
            await audit.append(session, "test.done", by="mei", about=f"n:{number}", now=clock.now())
    drop = {
        "sqlite": "DROP TRIGGER audit_log_no_update",
        "postgresql": "ALTER TABLE audit_log DISABLE TRIGGER audit_log_only_grows",
    }
    async with sessions.begin() as session:
        await session.execute(sa.text(drop[sessions.dialect]))
        await session.execute(sa.update(AuditEntry).where(AuditEntry.id == 3).values(by="somebody"))
    async with sessions.read() as session:
        assert (await audit.verify(session)).broken_at == 3


async def test_many_append_at_once_and_the_chain_does_not_fork(sessions: Sessions, clock: FrozenClock) -> None:
    async def once(number: int) -> None:
        async with sessions.begin() as session:
            await audit.append(session, "test.done", by="mei", about=f"n:{number}", now=clock.now())

    await asyncio.gather(*(once(number) for number in range(20)))
    async with sessions.read() as session:
        verdict = await audit.verify(session)
    assert (verdict.entries, verdict.broken_at) == (20, None)
