"""What a member shares: the link, the code, and everything a poster shows."""

from dataclasses import dataclass
from datetime import datetime

import aiohttp
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot import referral_words
from bot.app import App
from bot.referral import ways
from bot.referral.poster import Poster
from campaigns import offers, referral_links, referral_programmes
from campaigns.models.offer import Offer
from campaigns.models.referral import ReferralLink, ReferralProgramme
from campaigns.referral_rules import Terms
from crm.models.member import Member

AVATAR_BYTES = 2 * 1024 * 1024
AVATAR_SECONDS = aiohttp.ClientTimeout(total=3)


@dataclass(frozen=True, slots=True)
class Shared:
    """A member's link in one programme."""

    link: ReferralLink
    programme: ReferralProgramme
    terms: Terms
    url: str  # empty: the shop has no address for its pages


async def share(
    session: AsyncSession, app: App, member_id: int, programme: ReferralProgramme, *, now: datetime
) -> Shared:
    """The member's link, made when it is first asked for, and its contact way on the way. Raises PersonErased."""
    link = await referral_links.link_of(session, member_id, now=now, chance=app.chance)
    terms = referral_programmes.terms_of(programme)
    await ways.want(session, link, terms.staff, most=app.inviter_ways, now=now)
    return Shared(link, programme, terms, url_of(app, link, programme))


def url_of(app: App, link: ReferralLink, programme: ReferralProgramme) -> str:
    return f"{app.public_url.rstrip('/')}/h5/r/{link.code}?p={programme.id}" if app.public_url else ""


async def offers_of(session: AsyncSession, terms: Terms) -> dict[str, Offer]:
    """The offers whose coupons a programme gives, by key."""
    keys = {gift.coupon for _, gift in terms.gifts() if gift.coupon is not None}
    found = [await offers.find(session, key) for key in sorted(keys)]
    return {offer.key: offer for offer in found if offer is not None}


async def poster_of(session: AsyncSession, app: App, shared: Shared, url: str) -> tuple[Poster, str]:
    """What a member's poster shows, and where their avatar is."""
    row = (await session.execute(sa.select(Member.name, Member.avatar).where(Member.id == shared.link.member_id))).one()
    _, theirs = referral_words.promises(shared.terms, await offers_of(session, shared.terms))
    name = row.name or "您的朋友"
    poster = Poster(app.shop.name, shared.terms.title, name, theirs, url, shared.link.code)
    return poster, row.avatar


async def fetch_avatar(http: aiohttp.ClientSession, address: str) -> bytes:
    """An avatar, or nothing when it cannot be had in time: the poster then shows the first letter of the name."""
    if not address.startswith(("http://", "https://")):
        return b""
    try:
        async with http.get(address, timeout=AVATAR_SECONDS) as answer:
            content = await answer.content.read(AVATAR_BYTES + 1) if answer.status == 200 else b""
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return b""
    return content if len(content) <= AVATAR_BYTES else b""
