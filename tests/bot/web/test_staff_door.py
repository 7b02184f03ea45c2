"""Signing in, staying in, and what each role may open."""

import re

import pyotp
import pytest
import sqlalchemy as sa

from bot.access import accounts, audit
from bot.models.access import Account
from bot.web.console import every
from bot.web.screens import COOKIE
from crm.base.clock import FrozenClock
from crm.sight import Role
from tests.bot.web.staffroom import Staffroom

PASSWORD = "test-password-1"
PART = r"{\w+(?::([a-z]+)\|[^}]*|:(?:[^{}]|{[^}]*})+)?}"  # of a route: the first of several words, or any pattern


async def hire(room: Staffroom, name: str = "mei", role: Role = Role.MANAGER) -> Account:
    async with room.house.app.sessions.begin() as session:
        return await accounts.make(session, name, role=role, password=PASSWORD, now=room.house.app.clock.now())


async def test_by_name_and_password_to_the_page_one_wanted(staffroom: Staffroom) -> None:
    await hire(staffroom)
    client = await staffroom.stranger()
    away = await client.get("/console/audit?by=mei", allow_redirects=False)
    assert (away.status, away.headers["Location"]) == (302, "/sign-in?next=/console/audit?by%3Dmei")
    form = {"name": "Mei", "password": PASSWORD, "next": "/console/audit?by=mei"}
    answer = await client.post("/sign-in", data=form, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/console/audit?by=mei")
    cookie = answer.cookies[COOKIE]
    assert cookie["httponly"] and cookie["samesite"] == "Lax"
    page = await client.get("/console/audit")
    assert "account.signed_in" in await page.text()
    policy = page.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy and "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]


@pytest.mark.parametrize("there", ["https://elsewhere.example/", "//elsewhere.example", "/h5", "/console\r\nX: y"])
async def test_the_door_leads_nowhere_else(staffroom: Staffroom, there: str) -> None:
    await hire(staffroom)
    client = await staffroom.stranger()
    form = {"name": "mei", "password": PASSWORD, "next": there}
    answer = await client.post("/sign-in", data=form, allow_redirects=False)
    assert answer.headers["Location"] == "/console"


async def test_a_wrong_password_and_a_wrong_name_read_alike_and_are_throttled(staffroom: Staffroom) -> None:
    await hire(staffroom)
    client = await staffroom.stranger()
    pages = []
    for name in ("mei", "nobody"):
        answer = await client.post("/sign-in", data={"name": name, "password": "wrong-password"})
        assert answer.status == 403
        pages.append((await answer.text()).replace(name, "NAME"))
    assert pages[0] == pages[1]
    for _ in range(4):
        await client.post("/sign-in", data={"name": "mei", "password": "wrong-password"})
    late = await client.post("/sign-in", data={"name": "mei", "password": PASSWORD}, allow_redirects=False)
    assert late.status == 429 and "分钟" in await late.text()


async def test_another_sites_form_signs_nobody_in(staffroom: Staffroom) -> None:
    await hire(staffroom)
    client = await staffroom.stranger()
    form, foreign = {"name": "mei", "password": PASSWORD}, {"Origin": "https://elsewhere.example"}
    assert (await client.post("/sign-in", data=form, headers=foreign)).status == 403


async def test_a_second_factor_is_asked_for(staffroom: Staffroom, clock: FrozenClock) -> None:
    mei, secret = await hire(staffroom), accounts.new_secret()
    code = pyotp.TOTP(secret).at(clock.now())
    async with staffroom.house.app.sessions.begin() as session:
        vault = staffroom.house.vault
        await accounts.set_second_factor(session, mei.id, secret, code, vault=vault, now=clock.now())
    clock.advance(minutes=1)
    client = await staffroom.stranger()
    half = await client.post("/sign-in", data={"name": "mei", "password": PASSWORD}, allow_redirects=False)
    assert half.status == 200 and COOKIE not in half.cookies
    wrong = await client.post("/sign-in/code", data={"code": "000000"}, allow_redirects=False)
    assert wrong.status == 422 and COOKIE not in wrong.cookies
    right = {"code": pyotp.TOTP(secret).at(clock.now())}
    answer = await client.post("/sign-in/code", data=right, allow_redirects=False)
    assert answer.status == 303 and COOKIE in answer.cookies


async def test_a_form_without_its_token_changes_nothing(staffroom: Staffroom) -> None:
    owner = await staffroom.enter()
    answer = await owner.client.post("/console/accounts", data={"name": "new", "role": "owner"}, allow_redirects=False)
    assert answer.status == 403
    stranger = await staffroom.enter(Role.MANAGER)
    foreign = await owner.client.post(
        "/console/accounts", data={"name": "new", "csrf": stranger.csrf}, allow_redirects=False
    )
    assert foreign.status == 403
    async with staffroom.house.app.sessions.read() as session:
        assert await session.scalar(sa.select(sa.func.count()).select_from(Account)) == 2


def pages() -> list[tuple[str, str]]:
    """Without what changes nothing though it is sent as a form, and the look at a phone that is judged by sight."""
    looks = ("/preview", "/reveal")
    return [(route.method, route.path) for one in every.ALL for route in one.routes() if not route.path.endswith(looks)]


@pytest.mark.parametrize("role", [Role.AGENT, Role.AUDITOR])
async def test_roles_change_only_what_is_theirs(staffroom: Staffroom, role: Role) -> None:
    """Whoever may not manage is refused every change but of their own account, of talks and of visits."""
    browser = await staffroom.enter(role)
    talks = [("POST", "/desk"), ("POST", "/console/follow-ups")] if role is Role.AGENT else []
    open_ = [("POST", "/console/me"), *talks]
    for method, path in pages():
        if method == "POST" and not any(method == one and path.startswith(start) for one, start in open_):
            answer = await browser.post(re.sub(PART, lambda part: part[1] or "1", path))
            assert answer.status == 403, path
            assert "权限" in await answer.text()


async def test_a_deed_and_its_entry_stand_or_fall_together(staffroom: Staffroom) -> None:
    owner = await staffroom.enter()
    made = await owner.post("/console/accounts", {"name": "new.one", "role": "agent"})
    again = await owner.post("/console/accounts", {"name": "new.one", "role": "agent"})
    assert (made.status, again.status) == (200, 409)
    async with staffroom.house.app.sessions.read() as session:
        found = await audit.page(session, action="account.made")
    assert [(one.by, one.facts["name"]) for one in found] == [("owner", "new.one")]


async def test_signing_out_ends_it(staffroom: Staffroom) -> None:
    owner = await staffroom.enter()
    assert (await owner.post("/sign-out")).status == 303
    assert (await owner.get("/console")).status == 302


async def test_the_page_speaks_the_language_one_chose(staffroom: Staffroom) -> None:
    owner = await staffroom.enter()
    assert "操作记录" in await owner.text("/console/audit")
    assert (await owner.post("/console/me/language", {"language": "en", "back": "/console/audit"})).status == 303
    assert "Audit log" in await owner.text("/console/audit")


async def test_htmx_gets_a_line_not_a_page(staffroom: Staffroom) -> None:
    auditor = await staffroom.enter(Role.AUDITOR)
    answer = await auditor.post("/console/accounts", {"name": "x"}, headers={"HX-Request": "true"})
    assert answer.status == 403 and (await answer.text()).startswith("您的角色")
    stranger = await staffroom.stranger()
    away = await stranger.get("/console", headers={"HX-Request": "true"})
    assert away.status == 401 and away.headers["HX-Redirect"].startswith("/sign-in")
