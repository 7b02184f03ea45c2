"""Subscriptions on a member's phone: the plans, signing up, and one page for each with every deed on it.

Every deed is a plain form; what it did is said on the page it was sent from.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncSession

from bot import texts
from bot.subscribing import words
from bot.subscribing.ways import PAGE
from bot.web.h5_site import MemberSite, Pages
from bot.web.visitors import Visitor
from campaigns import subscription_plans, subscriptions
from campaigns.models.subscription import CycleStatus, Mode, SubscriptionPlan
from campaigns.subscription_plans import PlanView
from campaigns.subscription_terms import DateInvalid, PlanNotFound, QuantityInvalid
from campaigns.subscriptions import View
from crm import addresses
from crm.base.calendar import months_later
from crm.base.clock import local_day
from crm.base.errors import Invalid, ShopError

POSTPONED = {"7": "一周", "14": "两周", "30": "一个月"}
PAUSED = {"": "直到我恢复", "1": "一个月", "2": "两个月", "3": "三个月"}
Deed = Callable[[AsyncSession, View, Mapping[str, str]], Awaitable[str]]


class AddressInvalid(Invalid):
    """No parcel could find its way by it."""

    code = "subscription.address_invalid"


class NoAddresses(Invalid):
    """The shop has no key to seal addresses with."""

    code = "subscription.no_addresses"


class SubscriptionPages:
    """The pages under /h5/subscriptions. pay_url: the shop's payment page; None: nobody can pay online."""

    def __init__(self, site: MemberSite, *, pay_url: str | None) -> None:
        self._site, self._app, self._pay_url = site, site.app, pay_url
        self._deeds: Mapping[str, Deed] = {
            "confirm": self._confirm,
            "skip": self._skip,
            "postpone": self._postpone,
            "pause": self._pause,
            "resume": self._resume,
            "cancel": self._cancel,
            "mode": self._choose,
            "address": self._move,
        }

    def routes(self) -> list[web.AbstractRouteDef]:
        pages: Pages = [
            ("GET", PAGE, self.overview),
            ("GET", f"{PAGE}/plans/{{id}}", self.plan),
            ("POST", f"{PAGE}/plans/{{id}}", self.sign_up),
            ("GET", f"{PAGE}/{{no}}", self.one),
            ("POST", f"{PAGE}/{{no}}/{{deed}}", self.do),
        ]
        return self._site.guarded(pages)

    async def overview(self, request: web.Request) -> web.StreamResponse:
        """What the visitor has, and what there is."""
        visitor = await self._site.visitors.get(request)
        async with self._app.sessions.read() as session:
            mine = await subscriptions.of_member(session, visitor.member_id)
            shown = await subscription_plans.on_show(session)
        have = {one.plan.id for one in mine}
        return self._page("h5/subscriptions.html", mine=mine, plans=[one for one in shown if one.plan.id not in have])

    async def plan(self, request: web.Request) -> web.StreamResponse:
        return await self._plan(request, await self._site.visitors.get(request))

    async def _plan(
        self, request: web.Request, visitor: Visitor, *, said: str = "", form: Mapping[str, str] | None = None,
        status: int = 200,
    ) -> web.Response:  # fmt: skip
        """form: what was sent and refused, so that nobody writes it again."""
        today = local_day(self._app.clock.now())
        async with self._app.sessions.read() as session:
            view = await self._offered(session, request)
            known = await self._masked(session, await addresses.newest_of(session, visitor.member_id))
        return self._page(
            "h5/plan.html", status=status, view=view, visitor=visitor, known=known, said=said, form=form or {},
            first=today + timedelta(days=1), last=today + subscriptions.FARTHEST, modes=words.HOW,
            can_move=self._app.vault is not None,
        )  # fmt: skip

    async def sign_up(self, request: web.Request) -> web.StreamResponse:
        visitor, form = await self._site.form(request)
        try:
            async with self._app.sessions.begin() as session:
                view = await self._offered(session, request)
                made = await subscriptions.sign_up(
                    session,
                    visitor.member_id,
                    view.plan.key,
                    mode=_mode(form),
                    quantity=_quantity(form.get("quantity", "1")),
                    first_on=_day(form.get("first_on", ""), local_day(self._app.clock.now())),
                    address_id=await self._kept(session, visitor.member_id, form.get("address", "")),
                    now=self._app.clock.now(),
                    chance=self._app.chance,
                )
        except ShopError as refusal:
            said = texts.refusal(refusal)
            return await self._plan(request, visitor, said=said, form=form, status=refusal.status)
        raise web.HTTPSeeOther(f"{PAGE}/{made.subscription.no}")

    async def one(self, request: web.Request) -> web.StreamResponse:
        return await self._one(request, await self._site.visitors.get(request))

    async def _one(
        self, request: web.Request, visitor: Visitor, *, said: str = "", is_good: bool = False, status: int = 200
    ) -> web.Response:
        async with self._app.sessions.read() as session:
            view = await subscriptions.get(session, request.match_info["no"], member_id=visitor.member_id)
            past = await subscriptions.cycles_of(session, view.subscription.id)
            address = await self._masked(session, view.subscription.address_id)
        return self._page(
            "h5/subscription.html", status=status, view=view, visitor=visitor, address=address, said=said,
            past=[one for one in past if view.cycle is None or one.id != view.cycle.id], is_good=is_good,
            pay=self._pay(request, view), postponed=POSTPONED, paused=PAUSED, modes=words.HOW,
            can_move=self._app.vault is not None,
        )  # fmt: skip

    def _pay(self, request: web.Request, view: View) -> str | None:
        cycle = view.cycle
        if self._pay_url is None or cycle is None or cycle.status is not CycleStatus.ORDERED:
            return None
        back = f"{self._site.visitors.origin(request)}{PAGE}/{view.subscription.no}"
        query = urlencode({"no": cycle.order_no, "fen": cycle.price_fen, "title": view.plan.title, "back": back})
        return f"{self._pay_url}{'&' if '?' in self._pay_url else '?'}{query}"

    # ---- deeds

    async def do(self, request: web.Request) -> web.StreamResponse:
        """One deed on one subscription, said on its page; what is refused is said there too."""
        visitor, form = await self._site.form(request)
        deed = self._deeds.get(request.match_info["deed"])
        if deed is None:
            raise web.HTTPNotFound
        try:
            async with self._app.sessions.begin() as session:
                view = await subscriptions.get(session, request.match_info["no"], member_id=visitor.member_id)
                said = await deed(session, view, form)
        except ShopError as refusal:
            return await self._one(request, visitor, said=texts.refusal(refusal), status=refusal.status)
        return await self._one(request, visitor, said=said, is_good=True)

    async def _confirm(self, session: AsyncSession, view: View, form: Mapping[str, str]) -> str:
        del form
        done = await subscriptions.confirm(session, **self._whose(view))
        cycle = done.cycle or view.cycle
        assert cycle is not None  # confirm() has refused
        return words.ordered(done, cycle, "", now=self._app.clock.now())

    async def _skip(self, session: AsyncSession, view: View, form: Mapping[str, str]) -> str:
        del form
        done = await subscriptions.skip(session, **self._whose(view))
        return words.SKIPPED.format(title=view.plan.title, day=self._next(done))

    async def _postpone(self, session: AsyncSession, view: View, form: Mapping[str, str]) -> str:
        days = int(form.get("days", "")) if form.get("days") in POSTPONED else 7
        done = await subscriptions.postpone(session, days=days, **self._whose(view))
        return words.POSTPONED.format(title=view.plan.title, day=self._next(done))

    async def _pause(self, session: AsyncSession, view: View, form: Mapping[str, str]) -> str:
        months = form.get("months", "")
        today = local_day(self._app.clock.now())
        until = months_later(today, int(months)) if months and months in PAUSED else None
        await subscriptions.pause(session, until=until, **self._whose(view))
        if until is None:
            return words.PAUSED.format(title=view.plan.title)
        return words.PAUSED_UNTIL.format(title=view.plan.title, day=words.day(until, today))

    async def _resume(self, session: AsyncSession, view: View, form: Mapping[str, str]) -> str:
        del form
        done = await subscriptions.resume(session, **self._whose(view))
        return words.RESUMED.format(title=view.plan.title, day=self._next(done))

    async def _cancel(self, session: AsyncSession, view: View, form: Mapping[str, str]) -> str:
        del form
        await subscriptions.cancel(session, **self._whose(view))
        return words.CANCELLED.format(title=view.plan.title)

    async def _choose(self, session: AsyncSession, view: View, form: Mapping[str, str]) -> str:
        mode = _mode(form)
        await subscriptions.choose(session, mode=mode, **self._whose(view))
        return f"好的，以后{words.MODES[mode]}。"

    async def _move(self, session: AsyncSession, view: View, form: Mapping[str, str]) -> str:
        address_id = await self._kept(session, view.subscription.member_id, form.get("address", ""))
        if address_id is None:
            raise AddressInvalid
        await subscriptions.send_to(session, address_id=address_id, **self._whose(view))
        return words.ADDRESS_KEPT.format(address=await self._masked(session, address_id))

    # ---- what they share

    def _whose(self, view: View) -> dict[str, Any]:
        """Which subscription, whose, and when: what every verb wants to know."""
        one = view.subscription
        return {"no": one.no, "member_id": one.member_id, "now": self._app.clock.now()}

    def _next(self, view: View) -> str:
        return words.day(view.subscription.due_on, local_day(self._app.clock.now()))

    async def _offered(self, session: AsyncSession, request: web.Request) -> PlanView:
        """The plan of this page. Raises PlanNotFound, PlanClosed."""
        number = request.match_info["id"]
        known = number.isascii() and number.isdigit() and len(number) < 16
        plan = await session.get(SubscriptionPlan, int(number)) if known else None
        if plan is None:
            raise PlanNotFound(number[:16])
        return await subscription_plans.get_open(session, plan.key)

    async def _kept(self, session: AsyncSession, member_id: int, written: str) -> int | None:
        """The sealed address; without a word the one told last. Raises AddressInvalid, NoAddresses."""
        if not written.strip():
            return await addresses.newest_of(session, member_id)
        if self._app.vault is None:
            raise NoAddresses
        told = addresses.normalized(written)
        if told is None:
            raise AddressInvalid
        return await addresses.keep(session, self._app.vault, member_id, told, now=self._app.clock.now())

    async def _masked(self, session: AsyncSession, address_id: int | None) -> str:
        if address_id is None or self._app.vault is None:
            return ""
        return (await addresses.masked_of(session, self._app.vault, [address_id])).get(address_id, "")

    def _page(self, template: str, *, status: int = 200, **facts: Any) -> web.Response:
        today = local_day(self._app.clock.now())
        return self._site.page(template, status=status, words=words, today=today, here=PAGE, **facts)


def _mode(form: Mapping[str, str]) -> Mode:
    """Whatever else is sent is the careful one: nothing is ordered without a yes."""
    return Mode.DEFAULT if form.get("mode") == Mode.DEFAULT else Mode.ASKS


def _quantity(told: str) -> int:
    if not (told.isascii() and told.isdigit() and len(told) < 4):
        raise QuantityInvalid(0)
    return int(told)


def _day(told: str, today: date) -> date | None:
    """Raises DateInvalid for what is no day, such as 30 February."""
    if not told:
        return None
    try:
        return date.fromisoformat(told)
    except ValueError:
        raise DateInvalid(today + timedelta(days=1), today + subscriptions.FARTHEST) from None
