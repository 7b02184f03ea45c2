"""Signing in and out of the staff's browser: by password and code, or by scanning with WeCom."""

import hmac
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from bot.access import accounts, audit, passwords, sign_ins
from bot.access.sign_ins import WrongCredentials
from bot.models.access import Account
from bot.web.house import HOUSE, House
from bot.web.pace import address_of
from bot.web.screens import COOKIE, HEADERS, WHO, check_form, go, problem, refused, render
from bot.web.seals import Seals
from bot.wecom.errors import WecomError
from crm.base.errors import ShopError

BACK = "/sign-in/wecom/back"
TRIP_COOKIE = "siyu_staff_trip"
HALF_COOKIE = "siyu_staff_half"  # the password was right, the code is still to come
TRIP = timedelta(minutes=10)
OUR_PAGE = re.compile(r"/(?:console|desk)(?:[/?][\w\-./?=&%~:,+]{0,500})?")


@dataclass(eq=False)
class NoAccount(ShopError):
    """WeCom knows this person; we have no account for them."""

    code = "sign_in.no_account"
    status = 403


@dataclass(eq=False)
class WecomSilent(ShopError):
    """WeCom did not say who it is."""

    code = "sign_in.wecom_failed"
    status = 503


def routes() -> list[web.RouteDef]:
    return [
        web.get("/sign-in", _in_words(door)),
        web.post("/sign-in", _in_words(enter)),
        web.post("/sign-in/code", _in_words(enter_code)),
        web.get("/sign-in/wecom", _in_words(leave_for_wecom)),
        web.get(BACK, _in_words(come_back)),
        web.post("/sign-out", _in_words(leave)),
    ]


def _in_words(view: Any) -> Any:
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            found: web.StreamResponse = await view(request)
            return found
        except ShopError as refusal:
            return refused(request, refusal)

    return answer


# ---- by password


async def door(request: web.Request) -> web.Response:
    """The sign-in page; who is in already goes on."""
    if await _who(request) is not None:
        raise web.HTTPFound(_next(request.query.get("next", "")))
    return _door(request, _next(request.query.get("next", "")))


async def enter(request: web.Request) -> web.StreamResponse:
    """Name and password. Counted before they are looked at."""
    _check_origin(request)
    house, form = request.app[HOUSE], await request.post()
    name, password = str(form.get("name", "")), str(form.get("password", ""))
    there, now = _next(str(form.get("next", ""))), house.app.clock.now()
    try:
        async with house.app.sessions.begin() as session:
            await sign_ins.count_try(session, name, address=_address(request), now=now)
        async with house.app.sessions.read() as session:
            account = await accounts.find(session, name)
        fits = await passwords.fits(account.password if account is not None else None, password)
        if account is None or not fits or account.disabled_at is not None:
            raise WrongCredentials
    except ShopError as refusal:
        return _door(request, there, refusal=refusal, name=name)
    if account.totp_secret is not None:
        page = render(request, "staff/code.html", next=there)
        _set(page, request, HALF_COOKIE, _seals(house).seal({"account": account.id, "for": "code"}, TRIP), TRIP)
        return page
    return await _let_in(request, account, there, by="password")


async def enter_code(request: web.Request) -> web.StreamResponse:
    """The six digits of somebody whose password was right a moment ago."""
    _check_origin(request)
    house, form = request.app[HOUSE], await request.post()
    there, now = _next(str(form.get("next", ""))), house.app.clock.now()
    half = _seals(house).open(request.cookies.get(HALF_COOKIE, ""))
    if half is None or half.get("for") != "code":
        return _door(request, there)
    try:
        async with house.app.sessions.read() as session:
            account = await accounts.get(session, int(half["account"]))
        async with house.app.sessions.begin() as session:
            await sign_ins.count_try(session, f"{account.name}#code", address=_address(request), now=now)
        async with house.app.sessions.begin() as session:
            await accounts.use_code(session, account, str(form.get("code", "")), vault=house.vault, now=now)
    except ShopError as refusal:
        return render(request, "staff/code.html", next=there, refusal=refusal, status=refusal.status)
    return await _let_in(request, account, there, by="password and code")


async def leave(request: web.Request) -> web.Response:
    """Out of this browser."""
    house = request.app[HOUSE]
    me = await _who(request)
    if me is not None:
        request[WHO] = me
        await check_form(request)
        now = house.app.clock.now()
        async with house.app.sessions.begin() as session:
            await sign_ins.revoke(session, me.sign_in_id, account_id=me.account.id, now=now)
            await audit.append(session, "account.signed_out", by=me.account.name, now=now)
    answer = go(request, "/sign-in")
    answer.del_cookie(COOKIE, path="/")
    return answer


# ---- by WeCom


async def leave_for_wecom(request: web.Request) -> web.StreamResponse:
    """To WeCom's page: a code to scan on a computer, nothing to do inside the WeCom client."""
    house = request.app[HOUSE]
    state = f"{house.app.chance.getrandbits(128):032x}"
    app = house.settings.apps[house.settings.main_app]
    common = {
        "appid": house.settings.corp_id,
        "agentid": app.agent_id,
        "redirect_uri": _origin(request) + BACK,
        "state": state,
    }
    if "wxwork" in request.headers.get("User-Agent", "").lower():
        query = {**common, "response_type": "code", "scope": "snsapi_base"}
        url = f"{house.settings.oauth_url}/connect/oauth2/authorize?{urlencode(query)}#wechat_redirect"
    else:
        url = f"{house.settings.login_url}/wwlogin/sso/login?{urlencode({'login_type': 'CorpApp', **common})}"
    away = web.Response(status=303, headers={**HEADERS, "Location": url})
    sealed = _seals(house).seal({"state": state, "to": _next(request.query.get("next", "")), "for": "trip"}, TRIP)
    _set(away, request, TRIP_COOKIE, sealed, TRIP)
    return away


async def come_back(request: web.Request) -> web.StreamResponse:
    """From WeCom with a code that works once."""
    house = request.app[HOUSE]
    trip = _seals(house).open(request.cookies.get(TRIP_COOKIE, ""))
    if trip is None or trip.get("for") != "trip":
        raise web.HTTPFound("/sign-in")
    if not hmac.compare_digest(str(trip["state"]).encode(), request.query.get("state", "").encode()):
        return problem(request, 403, "form.stale")
    try:
        visitor = await house.client.staff.getuserinfo(request.query.get("code", ""))
    except WecomError as error:
        raise WecomSilent from error
    if not visitor.userid:
        raise NoAccount
    async with house.app.sessions.read() as session:
        account = await accounts.of_staff(session, visitor.userid)
    if account is None or account.disabled_at is not None:
        raise NoAccount
    return await _let_in(request, account, _next(str(trip["to"])), by="wecom")


# ---- what both do


async def _let_in(request: web.Request, account: Account, there: str, *, by: str) -> web.Response:
    house = request.app[HOUSE]
    now, browser = house.app.clock.now(), request.headers.get("User-Agent", "")
    async with house.app.sessions.begin() as session:
        token = await sign_ins.begin(session, account, address=_address(request), browser=browser, now=now)
        await sign_ins.forget_tries(session, account.name)
        await sign_ins.forget_tries(session, f"{account.name}#code")
        facts = {"by": by, "address": _address(request)}
        await audit.append(session, "account.signed_in", by=account.name, facts=facts, now=now)
    answer = web.Response(status=303, headers={**HEADERS, "Location": there})
    _set(answer, request, COOKIE, token, sign_ins.STAY)
    for name in (HALF_COOKIE, TRIP_COOKIE):
        answer.del_cookie(name, path="/")
    return answer


def _door(request: web.Request, there: str, *, refusal: ShopError | None = None, name: str = "") -> web.Response:
    status = refusal.status if refusal is not None else 200
    return render(request, "staff/door.html", next=there, refusal=refusal, name=name, status=status)


async def _who(request: web.Request) -> sign_ins.SignedIn | None:
    house, token = request.app[HOUSE], request.cookies.get(COOKIE, "")
    if not token:
        return None
    async with house.app.sessions.read() as session:
        found = await sign_ins.find(session, token, now=house.app.clock.now())
    return found[0] if found is not None else None


def _check_origin(request: web.Request) -> None:
    """A form that signs in has no token yet, so another site's is known by where it came from."""
    origin = request.headers.get("Origin")
    if origin not in (None, "null", _origin(request), f"{request.scheme}://{request.host}"):
        raise web.HTTPForbidden(text="this form is not ours")


def _next(there: str) -> str:
    return there if OUR_PAGE.fullmatch(there) else "/console"


def _address(request: web.Request) -> str:
    """Where a try comes from; with no proxy in between, whoever is connected."""
    return (address_of(request) or request.remote or "")[:64]


def _origin(request: web.Request) -> str:
    return request.app[HOUSE].app.public_url or f"{request.scheme}://{request.host}"


def _set(answer: web.Response, request: web.Request, name: str, value: str, stay: timedelta) -> None:
    """A cookie no script reads, no other site sends, and no plain line carries where the shop has TLS."""
    secure = _origin(request).startswith("https://")
    answer.set_cookie(
        name, value, max_age=int(stay.total_seconds()), path="/", httponly=True, samesite="Lax", secure=secure
    )


def _seals(house: House) -> Seals:
    secret = house.settings.apps[house.settings.main_app].secret.get_secret_value()
    return Seals(secret.encode(), house.app.clock, about="siyu staff")
