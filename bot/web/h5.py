"""The flash sale on a member's phone: what is on, one big button, the result in place, and what they have.

Every deed is a plain form that works without scripts; with scripts it is sent in the background and tried again under
the same key when the line breaks, which is the same claim.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from bot import texts
from bot.flashsale import board, notices, payments, sales, waiting
from bot.flashsale.allocator import Allocator
from bot.flashsale.board import ClaimView, ItemView
from bot.flashsale.known import KnownSales
from bot.flashsale.newcomers import Newcomers, is_held_back
from bot.flashsale.terms import ClaimNotFound, QuantityInvalid, Request, SaleNotFound, SoldOut
from bot.models.sale import Channel, ClaimStatus, Sale, SaleStatus
from bot.web.h5_site import MemberSite, Pages, wants_json
from bot.web.live import Live
from bot.web.pace import address_of
from bot.web.visitors import Visitor
from crm.base.errors import ShopError


@dataclass(frozen=True, slots=True)
class PayPage:
    """Where members pay. url: the shop's page; it gets no, fen, title and back. None: nobody can pay online."""

    url: str | None


class SalePages:
    """The pages of flash sales, and what a visitor finds first."""

    def __init__(self, site: MemberSite, allocator: Allocator, newcomers: Newcomers, pay: PayPage) -> None:
        self._site, self._app, self._visitors = site, site.app, site.visitors
        self._allocator, self._newcomers, self._pay = allocator, newcomers, pay
        self._known = KnownSales(self._app.sessions, self._app.clock)
        self.live = Live(self._state)

    def routes(self) -> list[web.AbstractRouteDef]:
        pages: Pages = [
            ("GET", "/h5", self.overview),
            ("GET", "/h5/sales/{code}", self.sale),
            ("GET", "/h5/sales/{code}/live", self.watch),
            ("POST", "/h5/sales/{code}/claim", self.claim),
            ("POST", "/h5/sales/{code}/wait", self.wait),
            ("GET", "/h5/claims", self.claims),
            ("GET", "/h5/claims/{no}", self.one_claim),
            ("POST", "/h5/claims/{no}/give-back", self.give_back),
        ]
        return self._site.guarded(pages)

    # ---- pages

    async def overview(self, request: web.Request) -> web.StreamResponse:
        """Everything that is on, or will be."""
        now = self._app.clock.now()
        async with self._app.sessions.read() as session:
            found = [(one, await board.items(session, one.id)) for one in await sales.on_now(session, now=now)]
        return self._site.page("h5/overview.html", sales=found, now=now)

    async def sale(self, request: web.Request) -> web.StreamResponse:
        visitor = await self._visitors.get(request)
        return await self._sale_page(request, visitor)

    async def _sale_page(
        self, request: web.Request, visitor: Visitor, *, said: str = "", is_good: bool = False, status: int = 200
    ) -> web.Response:
        now, link = self._app.clock.now(), request.query.get("g", "")
        async with self._app.sessions.read() as session:
            sale = await self._seen(session, request.match_info["code"])
            standing = await sales.standing(session, sale, visitor.member_id, now=now)
            items = await board.items(session, sale.id)
            mine = await board.claims_of(session, visitor.member_id, sale_id=sale.id)
            waits = {one.item_id: one for one in await board.waits_of(session, visitor.member_id)}
        opens_at = sale.early_at if standing.is_early and sale.early_at is not None else sale.opens_at
        return self._site.page(
            "h5/sale.html",
            status=status,
            sale=sale,
            items=[_card(one, mine) for one in items],
            waits=waits,
            opens_at=opens_at,
            phase=_phase(sale, opens_at, now=now),
            is_invited=standing.is_invited,
            claims=mine,
            visitor=visitor,
            link=link,
            now=now,
            new_key=self._site.new_key,
            said=said,
            is_good=is_good,
        )

    async def watch(self, request: web.Request) -> web.StreamResponse:
        """Stock and phase as they change."""
        await self._visitors.get(request)
        async with self._app.sessions.read() as session:
            sale = await self._seen(session, request.match_info["code"])
        return await self.live.stream(request, sale.id)

    async def claims(self, request: web.Request) -> web.StreamResponse:
        visitor = await self._visitors.get(request)
        async with self._app.sessions.read() as session:
            found = await board.claims_of(session, visitor.member_id)
            waits = await board.waits_of(session, visitor.member_id)
        return self._site.page("h5/claims.html", claims=found, waits=waits, now=self._app.clock.now())

    async def one_claim(self, request: web.Request) -> web.StreamResponse:
        visitor = await self._visitors.get(request)
        return await self._claim_page(request, visitor, await self._own(request, visitor))

    async def _claim_page(
        self, request: web.Request, visitor: Visitor, claim: ClaimView, *, said: str = "", status: int = 200
    ) -> web.Response:
        async with self._app.sessions.read() as session:
            is_held = claim.status is ClaimStatus.HELD
            is_held_up = is_held and await is_held_back(session, visitor.member_id, claim.item_id)
        pay = None
        if self._pay.url is not None and is_held and not is_held_up:
            title = f"{claim.item_name} × {claim.quantity}"
            back = f"{self._visitors.origin(request)}/h5/claims/{claim.no}"
            query = urlencode({"no": claim.no, "fen": claim.total_fen, "title": title, "back": back})
            pay = f"{self._pay.url}{'&' if '?' in self._pay.url else '?'}{query}"
        return self._site.page(
            "h5/claim.html",
            status=status,
            claim=claim,
            visitor=visitor,
            pay=pay,
            is_held_up=is_held_up,
            now=self._app.clock.now(),
            said=said,
        )

    # ---- deeds

    async def claim(self, request: web.Request) -> web.StreamResponse:
        if wants_json(request) and await self._is_gone(request):
            return self._refusal(SoldOut(0))
        visitor, form = await self._site.form(request)
        try:
            granted = await self._allocator.claim(await self._request(request, visitor, form))
        except ShopError as refusal:
            return await self._refused(request, visitor, refusal)
        if wants_json(request):
            return web.json_response({"ok": True, "claim": granted.no, "to": f"/h5/claims/{granted.no}"})
        raise web.HTTPSeeOther(f"/h5/claims/{granted.no}")

    async def wait(self, request: web.Request) -> web.StreamResponse:
        visitor, form = await self._site.form(request)
        try:
            wanted = await self._request(request, visitor, form)
            async with self._app.sessions.begin() as session:
                place = await waiting.join(session, wanted, now=self._app.clock.now())
        except ShopError as refusal:
            return await self._refused(request, visitor, refusal)
        said = texts.H5_WAITING.format(number=place.number)
        if wants_json(request):
            return web.json_response({"ok": True, "said": said})
        return await self._sale_page(request, visitor, said=said, is_good=True)

    async def give_back(self, request: web.Request) -> web.StreamResponse:
        visitor, _ = await self._site.form(request)
        claim = await self._own(request, visitor)
        try:
            async with self._app.sessions.begin() as session:
                now = self._app.clock.now()
                offers = await payments.give_back(session, claim.no, member_id=visitor.member_id, now=now)
                await notices.offered(session, offers, public_url=self._app.public_url, now=now)
        except ShopError as refusal:
            return await self._claim_page(request, visitor, claim, said=texts.refusal(refusal), status=refusal.status)
        self._allocator.forget([claim.item_id])
        raise web.HTTPSeeOther(f"/h5/claims/{claim.no}")

    async def _is_gone(self, request: web.Request) -> bool:
        """Whether this is a claim of what was sold out a moment ago, told from memory: most of a storm comes too late.

        Raises Busy.
        """
        posted = await request.post()
        item, token = (str(posted.get(name, "")) for name in ("item", "token"))
        item_id = self._known.item_id(request.match_info["code"], item)
        if item_id is None or (member_id := self._visitors.sealed_member(request, token)) is None:
            return False
        if not self._allocator.is_gone(item_id, member_id):
            return False
        self._site.check_pace(request, member_id)
        return True

    async def _request(self, request: web.Request, visitor: Visitor, form: Mapping[str, str]) -> Request:
        now = self._app.clock.now()
        quantity = form.get("quantity", "1")
        if not (quantity.isascii() and quantity.isdigit() and len(quantity) < 4):
            raise QuantityInvalid(0)
        known = await self._known.get(request.match_info["code"])
        link = request.query.get("g", "") or form.get("g", "")
        item_id, standing, group_id = await self._known.place(
            known, form.get("item", ""), visitor.member_id, link=link, now=now
        )
        await self._newcomers.check(known.sale, visitor.member_id, visitor.joined_at, address=address_of(request))
        return Request(
            item_id=item_id,
            member_id=visitor.member_id,
            quantity=int(quantity),
            key=form.get("key", "")[:64] or self._site.new_key(),
            channel=Channel.H5,
            group_id=group_id,
            is_early=standing.is_early,
            is_invited=standing.is_invited,
        )

    async def _refused(self, request: web.Request, visitor: Visitor, refusal: ShopError) -> web.Response:
        if wants_json(request):
            return self._refusal(refusal)
        return await self._sale_page(request, visitor, said=texts.refusal(refusal), status=refusal.status)

    def _refusal(self, refusal: ShopError) -> web.Response:
        """A refusal for the page's script, and the key of the next request."""
        body = {"ok": False, "code": refusal.code, "said": texts.refusal(refusal), "key": self._site.new_key()}
        return web.json_response(body, status=refusal.status)

    # ---- what they share

    async def _state(self, sale_id: int) -> dict[str, Any]:
        """What everybody who watches a sale is told."""
        async with self._app.sessions.read() as session:
            items = await board.items(session, sale_id)
        return {"items": {one.code: {"left": one.left, "stock": one.stock, "held": one.held} for one in items}}

    async def _seen(self, session: Any, code: str) -> Sale:
        sale = await sales.get(session, code)
        if sale.status is SaleStatus.DRAFT:
            raise SaleNotFound(code)
        return sale

    async def _own(self, request: web.Request, visitor: Visitor) -> ClaimView:
        """The claim of this page, if it is the visitor's."""
        no = request.match_info["no"]
        async with self._app.sessions.read() as session:
            claim = await board.claim_of(session, visitor.member_id, no)
        if claim is None:
            raise ClaimNotFound(no)
        return claim


def _card(item: ItemView, mine: list[ClaimView]) -> dict[str, Any]:
    """One article and what this member can do about it."""
    own = [one for one in mine if one.item_id == item.item_id]
    held = next((one for one in own if one.status is ClaimStatus.HELD), None)
    have = sum(one.quantity for one in own if one.status is not ClaimStatus.RELEASED)
    return {"item": item, "held": held, "have": have, "room": max(0, item.limit_each - have)}


def _phase(sale: Sale, opens_at: datetime, *, now: datetime) -> str:
    if sale.status in (SaleStatus.CLOSED, SaleStatus.SETTLED, SaleStatus.SOLD_OUT) or now >= sale.closes_at:
        return "over"
    return "open" if now >= opens_at else "soon"
