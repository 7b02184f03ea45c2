"""What all pages under /h5 share: who is looking, forms that only they can send, how fast, and refusals in words."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web
from jinja2 import Environment, FileSystemLoader

from bot import texts
from bot.app import App
from bot.flashsale import words
from bot.web.pace import Pace, address_of
from bot.web.visitors import NotACustomer, Visitor, Visitors
from crm.base.errors import Busy, ShopError

HERE = Path(__file__).parent
STATIC = HERE / "static"
TEMPLATES = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, enable_async=False)
TEMPLATES.filters["yuan"] = words.yuan
TEMPLATES.filters["clock"] = words.clock
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "img-src 'self' https: data: {pictures}; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors {frames}",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
MINE = (20, 10.0)  # deeds of one member in so many seconds
ADDRESS = (600, 10.0)  # of one address: a phone company puts many people behind one
View = Callable[[web.Request], Awaitable[web.StreamResponse]]
Pages = list[tuple[str, str, View]]  # method, path, view


class MemberSite:
    """Built once, given to each group of pages."""

    def __init__(self, app: App, visitors: Visitors, *, frames: str = "'none'") -> None:
        """frames: the one origin that may show our pages in a frame, as the simulator's phone does."""
        self.app, self.visitors = app, visitors
        pictures = frames if frames.startswith("http://") else ""  # the simulator's QR codes come from a plain address
        self._headers = {
            name: value.replace("{frames}", frames).replace(" {pictures}", f" {pictures}".rstrip())
            for name, value in HEADERS.items()
        }
        self._by_member = Pace(app.clock, times=MINE[0], seconds=MINE[1])
        self._by_address = Pace(app.clock, times=ADDRESS[0], seconds=ADDRESS[1])

    def routes(self) -> list[web.AbstractRouteDef]:
        """The way back from WeCom's sign-in, and the files."""
        back: Pages = [(one.method, one.path, one.handler) for one in self.visitors.routes()]
        return [*self.guarded(back), web.static("/h5/static", STATIC, append_version=False)]

    def guarded(self, pages: Pages) -> list[web.AbstractRouteDef]:
        """Routes to these pages, where a refusal is a page in words, whatever raised it."""
        return [web.route(method, path, self._guarded(view)) for method, path, view in pages]

    def page(self, template: str, *, status: int = 200, **facts: Any) -> web.Response:
        html = TEMPLATES.get_template(template).render(shop=self.app.shop, texts=texts, **facts)
        return web.Response(text=html, status=status, content_type="text/html", headers=self._headers)

    async def form(self, request: web.Request) -> tuple[Visitor, Mapping[str, str]]:
        """The visitor and what they sent. Raises FormExpired, Busy."""
        posted = await request.post()
        form = {name: value for name, value in posted.items() if isinstance(value, str)}
        return await self.sender(request, form.get("token", "")), form

    async def sender(self, request: web.Request, token: str) -> Visitor:
        """The visitor who sent a form with this token, unless they send too many. Raises FormExpired, Busy."""
        visitor = await self.visitors.check_form(request, token)
        self.check_pace(request, visitor.member_id)
        return visitor

    def check_pace(self, request: web.Request, member_id: int) -> None:
        """Count one more deed. Raises Busy for too many."""
        if (address := address_of(request)) is not None:
            self._by_address.check(address)
        self._by_member.check(member_id)

    def new_key(self) -> str:
        """For a form: sent twice under one key it is one deed."""
        return f"{self.app.chance.getrandbits(96):024x}"

    def _guarded(self, view: View) -> View:
        async def respond(request: web.Request) -> web.StreamResponse:
            try:
                return await view(request)
            except ShopError as refusal:
                if wants_json(request):
                    body = {"ok": False, "code": refusal.code, "said": texts.refusal(refusal)}
                    return web.json_response(body, status=429 if isinstance(refusal, Busy) else refusal.status)
                is_stranger = isinstance(refusal, NotACustomer)
                said = texts.H5_STRANGER.format(shop=self.app.shop.name) if is_stranger else texts.refusal(refusal)
                status = 429 if isinstance(refusal, Busy) else refusal.status
                return self.page("h5/notice.html", status=status, said=said)

        return respond


def wants_json(request: web.Request) -> bool:
    return "application/json" in request.headers.get("Accept", "")
