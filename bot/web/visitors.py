"""Who is looking at an H5 page: sign-in by WeCom's OAuth, a cookie bound to the visitor, a token for their forms."""

import hmac
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa
from aiohttp import web
from sqlalchemy.orm import aliased

from bot.app import App
from bot.web.seals import Seals
from bot.wecom.api.staff import StaffApi
from bot.wecom.errors import OAuthCodeSpent, WecomError
from crm import identities
from crm.base.errors import ShopError
from crm.models.member import Member, MemberSource

COOKIE = "siyu_visitor"
TRIP_COOKIE = "siyu_trip"  # between leaving for WeCom and coming back
BACK = "/h5/back"
STAY = timedelta(days=7)
TRIP = timedelta(minutes=10)
OUR_PAGE = re.compile(r"/h5/[\w\-./?=&%]{0,500}")


@dataclass(eq=False)
class NotACustomer(ShopError):
    """WeCom knows no customer of ours in this visitor."""

    code = "visitor.not_a_customer"
    status = 403


@dataclass(eq=False)
class SignInFailed(ShopError):
    """WeCom did not say who it is; opening the page again helps."""

    code = "visitor.sign_in_failed"
    status = 503


@dataclass(eq=False)
class FormExpired(ShopError):
    """The form belongs to somebody else, or to a sign-in that is over."""

    code = "visitor.form_expired"
    status = 403


@dataclass(frozen=True, slots=True)
class Visitor:
    """A signed-in member. token: goes into every form and comes back with it."""

    member_id: int
    token: str
    joined_at: datetime


class Visitors:
    """Signs visitors in and knows them again. secret: the same in every process."""

    def __init__(
        self, app: App, staff: StaffApi, *, secret: bytes, authorize_url: str, corp_id: str, agent_id: int
    ) -> None:
        self._app, self._staff = app, staff
        self._seals = Seals(secret, app.clock, about="siyu visitors")
        self._authorize_url, self._corp_id, self._agent_id = authorize_url, corp_id, agent_id

    def routes(self) -> list[web.RouteDef]:
        return [web.get(BACK, self.come_back)]

    async def find(self, request: web.Request) -> Visitor | None:
        """The visitor as their cookie proves it, as who they are by now; None: not signed in, or erased since."""
        claims = self._seals.open(request.cookies.get(COOKIE, ""))
        if claims is None:
            return None
        known = aliased(Member)
        living = (
            sa.select(Member.id, Member.joined_at)
            .join(known, Member.id == sa.func.coalesce(known.merged_into_id, known.id))
            .where(known.id == int(claims["member"]), known.erased_at.is_(None))
        )
        async with self._app.sessions.read() as session:
            member = (await session.execute(living)).first()
        if member is None:
            return None
        return Visitor(member.id, self._seals.mac(f"form:{claims['member']}:{claims['until']}"), member.joined_at)

    async def get(self, request: web.Request) -> Visitor:
        """The visitor of a page; who is not signed in is sent to WeCom and comes back to this page."""
        found = await self.find(request)
        if found is None:
            raise self._leave(request)
        return found

    async def check_form(self, request: web.Request, token: str) -> Visitor:
        """The visitor who sent a form of their own. Raises FormExpired."""
        found = await self.find(request)
        if found is None or not hmac.compare_digest(found.token.encode(), token.encode()):
            raise FormExpired
        return found

    def sealed_member(self, request: web.Request, token: str) -> int | None:
        """The member who signed in and sent a form of their own, by our seals alone: merged or erased since, maybe."""
        claims = self._seals.open(request.cookies.get(COOKIE, ""))
        if claims is None or "member" not in claims:
            return None
        mac = self._seals.mac(f"form:{claims['member']}:{claims['until']}")
        return int(claims["member"]) if hmac.compare_digest(mac.encode(), token.encode()) else None

    def _leave(self, request: web.Request) -> web.HTTPFound:
        state = f"{self._app.chance.getrandbits(128):032x}"
        query = {
            "appid": self._corp_id,
            "redirect_uri": f"{self.origin(request)}{BACK}",
            "response_type": "code",
            "scope": "snsapi_base",
            "state": state,
            "agentid": self._agent_id,
        }
        away = web.HTTPFound(f"{self._authorize_url}/connect/oauth2/authorize?{urlencode(query)}#wechat_redirect")
        trip = self._seals.seal({"state": state, "to": request.path_qs}, TRIP)
        away.set_cookie(TRIP_COOKIE, trip, max_age=int(TRIP.total_seconds()), **self._kind(request))
        return away

    async def come_back(self, request: web.Request) -> web.StreamResponse:
        """From WeCom with a code that works once: the cookie is set and the page they wanted is shown."""
        trip = self._seals.open(request.cookies.get(TRIP_COOKIE, ""))
        to = trip["to"] if trip is not None and OUR_PAGE.fullmatch(trip["to"]) else "/h5/claims"
        if trip is None or not hmac.compare_digest(trip["state"].encode(), request.query.get("state", "").encode()):
            raise web.HTTPFound(to)  # an old link or somebody else's: begin anew
        member_id = await self._member(request.query.get("code", ""))
        there = web.HTTPFound(to)
        sealed = self._seals.seal({"member": member_id}, STAY)
        there.set_cookie(COOKIE, sealed, max_age=int(STAY.total_seconds()), **self._kind(request))
        there.del_cookie(TRIP_COOKIE, path="/h5")
        raise there

    async def _member(self, code: str) -> int:
        """The member behind a code. Raises NotACustomer, SignInFailed."""
        try:
            visitor = await self._staff.getuserinfo(code)
        except OAuthCodeSpent:
            raise SignInFailed from None
        except WecomError as error:
            raise SignInFailed from error
        if not visitor.external_userid:
            raise NotACustomer
        person = identities.wechat_person(visitor.external_userid)
        now = self._app.clock.now()
        async with self._app.sessions.begin() as session:
            member = await identities.enrol(session, person, source=MemberSource.KF, now=now, chance=self._app.chance)
        return member.id

    def origin(self, request: web.Request) -> str:
        """Where members reach our pages."""
        return self._app.public_url or f"{request.scheme}://{request.host}"

    def _kind(self, request: web.Request) -> dict[str, Any]:
        """Cookies no script reads, no other site sends, and no plain line carries where the shop has TLS."""
        secure = self.origin(request).startswith("https://")
        return {"path": "/h5", "httponly": True, "samesite": "Lax", "secure": secure}
