"""The way to every page of the staff's browser: who is there, may they, is the form theirs, and what went wrong.

A view is a function of the request. It reads with `looking`, changes with `change` (which writes the audit log in the
same transaction) and ends with `render` or `go`.
"""

import hmac
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from gettext import NullTranslations
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from jinja2 import Environment, FileSystemLoader
from sqlalchemy.ext.asyncio import AsyncSession

from bot.access import audit, sign_ins
from bot.access.rights import RIGHTS, NotAllowed, Right
from bot.access.sign_ins import SignedIn
from bot.web import formats, menu, refusals
from bot.web.house import HOUSE, House
from bot.web.language import LANGUAGES, preferred, translations
from bot.web.names import ROLES, STAGES
from crm.base.errors import Busy, ShopError
from crm.sight import SIGHT

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
STATIC = HERE / "static"
COOKIE = "siyu_staff"
WHO = web.RequestKey("who", SignedIn)
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "style-src-attr 'unsafe-inline'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
View = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(eq=False)
class FormStale(ShopError):
    """The form was made for another sign-in, or did not come from our page."""

    code = "form.stale"
    status = 403


@dataclass(slots=True)
class Deed:
    """A change in the making. `about` and `facts` go into the audit log; a view may add what it learns."""

    session: AsyncSession
    now: datetime
    about: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


class Screens:
    """Pages of one subject, each with the right it takes. `*SCREENS.routes()` goes to create_app."""

    def __init__(self) -> None:
        self._routes: list[web.RouteDef] = []

    def get(self, path: str, right: Right) -> Callable[[View], View]:
        return self._add("GET", path, right)

    def post(self, path: str, right: Right) -> Callable[[View], View]:
        return self._add("POST", path, right)

    def routes(self) -> list[web.RouteDef]:
        return list(self._routes)

    def _add(self, method: str, path: str, right: Right) -> Callable[[View], View]:
        def keep(view: View) -> View:
            self._routes.append(web.route(method, path, guarded(view, right)))
            return view

        return keep


def guarded(view: View, right: Right) -> View:
    """`view`, for whom it is for; everybody else gets an answer in words."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            await _admit(request, right)
            return await view(request)
        except web.HTTPNotFound:
            return problem(request, 404, "page.not_found")
        except web.HTTPException:
            raise
        except ShopError as refusal:
            log.info("staff.refused", extra={"path": request.path, "code": refusal.code})
            return refused(request, refusal)
        except Exception:
            log.exception("staff.failed", extra={"path": request.path})
            return problem(request, 500, "page.failed")

    return answer


async def _admit(request: web.Request, right: Right) -> None:
    """Knows who is there, or sends them to the sign-in page. Raises NotAllowed, FormStale."""
    house = request.app[HOUSE]
    token, now = request.cookies.get(COOKIE, ""), house.app.clock.now()
    found = None
    if token:
        async with house.app.sessions.read() as session:
            found = await sign_ins.find(session, token, now=now)
    if found is None:
        raise _to_the_door(request)
    me, is_time_to_note = found
    request[WHO] = me
    if right not in RIGHTS[me.account.role]:
        raise NotAllowed(right)
    if request.method not in {"GET", "HEAD"}:
        await check_form(request)
    if is_time_to_note:
        async with house.app.sessions.begin() as session:
            await sign_ins.note_seen(session, me.sign_in_id, now=now)


def _to_the_door(request: web.Request) -> web.HTTPException:
    here = request.path_qs if request.method == "GET" and "HX-Request" not in request.headers else "/console"
    door = f"/sign-in?{urlencode({'next': here})}"
    if "HX-Request" in request.headers:
        return web.HTTPUnauthorized(headers={"HX-Redirect": door})
    return web.HTTPFound(door)


async def check_form(request: web.Request) -> None:
    """The form, or htmx's header, carries the token of this sign-in. Raises FormStale."""
    given = request.headers.get("X-CSRF", "")
    if not given:
        given = str((await request.post()).get("csrf", ""))
    if not hmac.compare_digest(given.encode(), form_token(who(request).token).encode()):
        raise FormStale


def form_token(token: str) -> str:
    return hmac.digest(token.encode(), b"siyu form", sha256).hex()


def who(request: web.Request) -> SignedIn:
    """Whoever is at this browser."""
    found: SignedIn = request[WHO]
    return found


def may(request: web.Request, right: Right) -> bool:
    return right in RIGHTS[who(request).account.role]


def house_of(request: web.Request) -> House:
    return request.app[HOUSE]


@asynccontextmanager
async def looking(request: web.Request) -> AsyncIterator[AsyncSession]:
    """A transaction that only looks."""
    async with request.app[HOUSE].app.sessions.read() as session:
        yield session


@asynccontextmanager
async def change(request: web.Request, action: str, about: str = "", **facts: Any) -> AsyncIterator[Deed]:
    """A transaction that changes something; who did what to what is in the audit log when it commits, or neither is."""
    app = request.app[HOUSE].app
    async with app.sessions.begin() as session:
        deed = Deed(session, app.clock.now(), about, dict(facts))
        yield deed
        await audit.append(
            session, action, by=who(request).account.name, about=deed.about, facts=deed.facts, now=deed.now
        )


# ---- what the browser gets


def render(
    request: web.Request, template: str, *, status: int = 200, said: str | None = None, **more: Any
) -> web.Response:
    """A page, or with htmx a piece of one. said: shown as a notice."""
    headers = dict(HEADERS)
    if said and "HX-Request" in request.headers:
        headers["HX-Trigger"] = json.dumps({"notice": said})
    text = _templates(language_of(request)).get_template(template).render(_context(request) | {"said": said} | more)
    return web.Response(text=text, status=status, content_type="text/html", headers=headers)


def go(request: web.Request, path: str) -> web.Response:
    """On to another page, after a deed."""
    if "HX-Request" in request.headers:
        return web.Response(headers={**HEADERS, "HX-Redirect": path})
    return web.Response(status=303, headers={**HEADERS, "Location": path})


def refused(request: web.Request, refusal: ShopError) -> web.Response:
    """A refusal in words: a line for htmx, else a page."""
    words = refusals.in_words(refusal, translations(language_of(request)))
    headers = {"Retry-After": f"{refusal.retry_after:.0f}"} if isinstance(refusal, Busy) else {}
    return _problem(request, refusal.status, words, headers)


def problem(request: web.Request, status: int, code: str) -> web.Response:
    return _problem(request, status, refusals.of_code(code, translations(language_of(request))), {})


def _problem(request: web.Request, status: int, words: str, headers: dict[str, str]) -> web.Response:
    if "HX-Request" in request.headers:
        return web.Response(text=words, status=status, headers={**HEADERS, **headers})
    page = render(request, "staff/problem.html", status=status, words=words)
    page.headers.update(headers)
    return page


def language_of(request: web.Request) -> str:
    me: SignedIn | None = request.get(WHO)
    if me is not None:
        return me.account.language if me.account.language in LANGUAGES else "zh"
    return preferred(request.headers.get("Accept-Language", ""))


def say(request: web.Request, sentence: str, **facts: Any) -> str:
    """A sentence marked with N_, in the visitor's language."""
    said = translations(language_of(request)).gettext(sentence)
    return said % facts if facts else said


def _context(request: web.Request) -> dict[str, Any]:
    me: SignedIn | None = request.get(WHO)
    house = request.app[HOUSE]
    common = {
        "shop": house.app.shop,
        "now": house.app.clock.now(),
        "path": request.path,
        "language": language_of(request),
        "languages": LANGUAGES,
        "Right": Right,
        "roles": ROLES,
        "stages": STAGES,
        "explain": lambda refusal: refusals.in_words(refusal, translations(language_of(request))),
    }
    if me is None:
        return common
    rights = RIGHTS[me.account.role]
    return common | {
        "me": me.account,
        "sight": SIGHT[me.account.role],
        "may": lambda right: right in rights,
        "csrf": form_token(me.token),
        "menu": [
            (title, [item for item in items if item.right in rights])
            for title, items in menu.SECTIONS
            if any(item.right in rights for item in items)
        ],
        "opened": menu.opened(request.path),
    }


@cache
def _templates(language: str) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        extensions=["jinja2.ext.i18n", "jinja2.ext.do"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    known: NullTranslations = translations(language)
    environment.install_gettext_translations(known, newstyle=True)  # type: ignore[attr-defined]
    environment.filters.update(formats.FILTERS)
    environment.filters["json"] = lambda value: json.dumps(value, ensure_ascii=False, default=str)
    environment.globals["static"] = static
    return environment


@cache
def static(name: str) -> str:
    """The address of a file of ours; a changed file has another, so browsers may keep it for good."""
    version = sha256((STATIC / name).read_bytes()).hexdigest()[:8]
    return f"/static/{name}?v={version}"


async def file(request: web.Request) -> web.StreamResponse:
    """A file of ours. Asked for by its version it never changes, so browsers keep it."""
    path = (STATIC / request.match_info["name"]).resolve()
    if not path.is_relative_to(STATIC) or not path.is_file():
        raise web.HTTPNotFound
    kept = "public, max-age=31536000, immutable" if "v" in request.query else "no-cache"
    return web.FileResponse(path, headers={"Cache-Control": kept, "X-Content-Type-Options": "nosniff"})
