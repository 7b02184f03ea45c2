"""老带新 on a phone: the page a friend opens, and the inviter's own page with the poster, the ladder and the ranking.

The friend's page is for everybody: WeCom names only those who have one of us in their contacts, and a friend has not.
It shows the inviter's own code to add one of us, or the way into the kf chat; both know by whom one came.
"""

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import aiohttp
import sqlalchemy as sa
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncSession

from bot import referral_words, texts
from bot.models.gateway import KfAccount
from bot.models.referral import InviterWay
from bot.referral import poster, sharing
from bot.referral.sharing import Shared
from bot.web.h5_site import MemberSite
from bot.web.visitors import Visitor
from bot.wecom.client import WecomClient
from bot.wecom.errors import WecomError
from campaigns import (
    referral_links,
    referral_programmes,
    referral_reports,
    referral_rewards,
    referral_rules,
    referrals,
)
from campaigns.models.offer import Offer
from campaigns.models.referral import CameBy, InviteStatus, ReferralLink, ReferralProgramme, Side
from campaigns.referral_facts import NothingOpen
from crm.models.member import Member

log = logging.getLogger(__name__)

SCENE = "referral"  # of the kf link; whose it is goes beside it
FRIENDS, RANKED = 20, 10


@dataclass(frozen=True, slots=True)
class Landing:
    """What a friend sees of an invitation."""

    link: ReferralLink
    programme: ReferralProgramme
    inviter: str
    avatar: str
    gifts: list[str]
    qr_code: str  # the picture's address; empty: no contact way


class ReferralPages:
    """The pages under /h5/r and /h5/invite."""

    def __init__(self, site: MemberSite, client: WecomClient, http: aiohttp.ClientSession) -> None:
        self._site, self._app, self._visitors = site, site.app, site.visitors
        self._client, self._http = client, http
        self._kf_links: dict[str, str] = {}  # by account; WeCom gives the same link each time

    def routes(self) -> list[web.AbstractRouteDef]:
        return self._site.guarded(
            [
                ("GET", "/h5/r/{code}", self.landing),
                ("GET", "/h5/r/{code}/accept", self.accept_page),
                ("POST", "/h5/r/{code}/accept", self.accept),
                ("GET", "/h5/invite", self.mine),
                ("GET", "/h5/invite/poster.png", self.poster),
            ]
        )

    # ---- a friend

    async def landing(self, request: web.Request) -> web.StreamResponse:
        """Who invites, what there is, and how to come. Who is signed in already may take it here."""
        visitor = await self._visitors.find(request)
        return await self._landing(request, visitor)

    async def accept_page(self, request: web.Request) -> web.StreamResponse:
        """The same for who says that they know us: WeCom is asked who they are."""
        return await self._landing(request, await self._visitors.get(request))

    async def _landing(
        self, request: web.Request, visitor: Visitor | None, *, said: str = "", is_good: bool = False, status: int = 200
    ) -> web.Response:
        async with self._app.sessions.read() as session:
            shown = await self._shown(session, request)
        kf_url = await self._kf_url(shown) if visitor is None else ""
        is_own = visitor is not None and visitor.member_id == shown.link.member_id
        return self._site.page(
            "h5/referral_landing.html", status=status, shown=shown, visitor=visitor, is_own=is_own, kf_url=kf_url,
            terms=referral_programmes.terms_of(shown.programme), said=said, is_good=is_good,
        )  # fmt: skip

    async def _shown(self, session: AsyncSession, request: web.Request) -> Landing:
        """Raises LinkNotFound, LinkClosed, NothingOpen."""
        link = await referral_links.find_link(session, request.match_info["code"][:8])
        programme = await self._programme(session, request)
        terms = referral_programmes.terms_of(programme)
        who = (await session.execute(sa.select(Member.name, Member.avatar).where(Member.id == link.member_id))).one()
        _, gifts = referral_words.promises(terms, await sharing.offers_of(session, terms))
        way = await session.get(InviterWay, link.id)
        qr_code = way.qr_code if way is not None and way.ended_at is None else ""
        avatar = who.avatar if who.avatar.startswith("https://") else ""
        return Landing(link, programme, referral_words.masked(who.name), avatar, gifts, qr_code)

    async def _programme(self, session: AsyncSession, request: web.Request) -> ReferralProgramme:
        """The one the link names; where it is over, there may be another."""
        number, now = request.query.get("p", ""), self._app.clock.now()
        if number.isdecimal() and len(number) < 18:
            try:
                return await referral_programmes.get_open(session, int(number), at=now)
            except NothingOpen:
                pass
        return await referral_programmes.get_open(session, None, at=now)

    async def _kf_url(self, shown: Landing) -> str:
        """The way into the kf chat that says by whom one came. Empty: there is no account, or WeCom does not answer."""
        async with self._app.sessions.read() as session:
            living = sa.select(KfAccount.open_kfid).where(KfAccount.removed_at.is_(None))
            account = await session.scalar(living.order_by(KfAccount.open_kfid).limit(1))
        if account is None:
            return ""
        if account not in self._kf_links:
            try:
                async with asyncio.timeout(3):
                    self._kf_links[account] = await self._client.kf.add_contact_way(account, SCENE)
            except (WecomError, TimeoutError) as error:
                log.warning("referral.kf_link_failed", extra={"open_kfid": account, "error": str(error)})
                return ""
        param = f"{referral_rules.state_of(shown.link.code)}.{shown.programme.id}"
        return f"{self._kf_links[account]}&scene_param={quote(param)}"

    async def accept(self, request: web.Request) -> web.StreamResponse:
        visitor, _ = await self._site.form(request)
        async with self._app.sessions.begin() as session:
            programme, now = await self._programme(session, request), self._app.clock.now()
            one = await referral_links.invite(
                session, request.match_info["code"][:8], visitor.member_id, came_by=CameBy.H5, at=now,
                programme_id=programme.id, now=now,
            )  # fmt: skip
        if one.status is InviteStatus.REFUSED:
            said = texts.REFERRAL_REFUSED.get(one.why, texts.REFERRAL_REFUSED["not_new"])
            return await self._landing(request, visitor, said=said, status=409)
        return await self._landing(request, visitor, said=texts.REFERRAL_CAME, is_good=True)

    # ---- an inviter

    async def mine(self, request: web.Request) -> web.StreamResponse:
        """The member's own: how far, what next, who came, the link to pass on."""
        visitor = await self._visitors.get(request)
        shared = await self._share(request, visitor)
        async with self._app.sessions.read() as session:
            facts = await self._facts(session, shared, visitor.member_id)
        return self._site.page("h5/referral_mine.html", shared=shared, visitor=visitor, words=referral_words, **facts)

    async def _facts(self, session: AsyncSession, shared: Shared, member_id: int) -> dict[str, Any]:
        programme_id = shared.programme.id
        known = await sharing.offers_of(session, shared.terms)
        friends = await referrals.of_inviter(session, programme_id, member_id, limit=FRIENDS)
        names = await referral_reports.names_of(session, [one.invitee_id for one in friends])
        got = await referral_rewards.of_member(session, programme_id, member_id, side=Side.INVITER)
        by_id: dict[int | None, Offer] = {offer.id: offer for offer in known.values()}
        counted = await referrals.counted_of(session, programme_id, member_id)
        ahead = next((step for step in shared.terms.inviter.steps if step.at > counted), None)
        return {
            "counted": counted,
            "ahead": ahead,
            "steps": [
                (step, referral_words.gift(step, known.get(step.coupon or ""))) for step in shared.terms.inviter.steps
            ],
            "each": referral_words.gift(shared.terms.inviter.each, known.get(shared.terms.inviter.each.coupon or ""))
            if shared.terms.inviter.each is not None
            else "",
            "friends": [
                (referral_words.masked(names.get(one.invitee_id, "")), referral_words.for_member(one), one)
                for one in friends
            ],
            "rewards": [
                (referral_words.reward(one, by_id.get(one.offer_id)), referral_words.REWARD[one.status], one)
                for one in reversed(got)
            ],
            "ranked": await referral_reports.ranking(session, programme_id, limit=RANKED),
            "place": await referral_reports.place_of(session, programme_id, member_id),
        }

    async def poster(self, request: web.Request) -> web.StreamResponse:
        """The visitor's own poster as a picture to keep and pass on."""
        visitor = await self._visitors.get(request)
        shared = await self._share(request, visitor)
        async with self._app.sessions.read() as session:
            told, avatar = await sharing.poster_of(session, self._app, shared, shared.url)
        told = replace(told, avatar=await sharing.fetch_avatar(self._http, avatar))
        content = await asyncio.to_thread(poster.draw, told, self._app.poster_font)
        return web.Response(body=content, content_type="image/png", headers={"Cache-Control": "private, max-age=300"})

    async def _share(self, request: web.Request, visitor: Visitor) -> Shared:
        now = self._app.clock.now()
        async with self._app.sessions.begin() as session:
            programme = await self._programme(session, request)
            shared = await sharing.share(session, self._app, visitor.member_id, programme, now=now)
        if shared.url:
            return shared
        here = f"{self._visitors.origin(request)}/h5/r/{shared.link.code}?p={programme.id}"
        return replace(shared, url=here)
