"""我的邀请, 邀请海报, 邀请码, 邀请榜; and who opens the chat by a member's link."""

import logging

from bot import referral_words, texts
from bot.dialogue.router import Router, from_customer, is_event, says
from bot.dialogue.turn import Reply, Turn
from bot.referral import posters, sharing, ways
from bot.wecom.kf_items import EnterSession
from campaigns import referral_links, referral_programmes, referral_reports, referral_rules, referrals
from campaigns.models.referral import CameBy, InviteStatus, ReferralInvitation, ReferralProgramme
from crm.base.errors import ShopError

log = logging.getLogger(__name__)

router = Router("referral")
LOOK = r"(?:帮我)?(?:查看?|看看?|查询)?(?:一?下)?"
PAGE = "/h5/invite"
SHOWN = 8


@router.on(is_event(EnterSession))
async def by_link(turn: Turn) -> Reply | None:
    """Who came by a member's link was invited; the greeting is somebody else's."""
    item = turn.item
    code = referral_rules.code_in(item.scene_param) if isinstance(item, EnterSession) else None
    if code is not None and isinstance(item, EnterSession):
        _, _, number = item.scene_param.partition(".")
        programme_id = int(number) if number.isdecimal() and len(number) < 18 else None
        try:
            async with turn.session.begin_nested():
                await referral_links.invite(
                    turn.session, code, turn.member.id, came_by=CameBy.KF, at=turn.now, programme_id=programme_id,
                    now=turn.now,
                )  # fmt: skip
        except ShopError as refused:
            log.info("referral.not_invited", extra={"member_id": turn.member.id, "code": refused.code})
    return None


@router.on(from_customer, says(rf"{LOOK}我的邀请(?:记录|进度|好友|奖励)?|邀请(?:记录|进度)"))
async def mine(turn: Turn) -> Reply | None:
    programme = await _programme(turn)
    if programme is None:
        return Reply.text(texts.REFERRAL_NONE)
    counted = await referrals.counted_of(turn.session, programme.id, turn.member.id)
    brought = await referrals.of_inviter(turn.session, programme.id, turn.member.id)
    said = [texts.REFERRAL_MINE.format(title=referral_programmes.terms_of(programme).title, counted=counted)]
    said += await _lines(turn, brought[:SHOWN]) if brought else [texts.REFERRAL_NOBODY]
    steps = referral_programmes.terms_of(programme).inviter.steps
    if ahead := next((step for step in steps if step.at > counted), None):
        said.append(texts.REFERRAL_NEXT.format(missing=ahead.at - counted, at=ahead.at))
    said.append(texts.REFERRAL_HOW)
    if turn.app.public_url:
        said.append(f"{turn.app.public_url.rstrip('/')}{PAGE}")
    return Reply.text("\n".join(said))


@router.on(
    from_customer, says(r"(?:我要|生成|我的|要)?邀请(?:好友|海报|链接|朋友|有礼)?(?:海报|链接)?|(?:我的)?海报|老带新")
)
async def invite(turn: Turn) -> Reply | None:
    """The link and the code at once; the poster follows when it is drawn."""
    programme = await _programme(turn)
    if programme is None:
        return Reply.text(texts.REFERRAL_NONE)
    shared = await sharing.share(turn.session, turn.app, turn.member.id, programme, now=turn.now)
    known = await sharing.offers_of(turn.session, shared.terms)
    ours, theirs = referral_words.promises(shared.terms, known)
    said = [f"【{shared.terms.title}】", *ours, *(f"朋友{line}" for line in theirs)]
    if not shared.url:
        said.append(texts.REFERRAL_BY_CODE.format(code=shared.link.code))
        return Reply.text("\n".join(said))
    said.append(texts.REFERRAL_SHARE.format(url=shared.url, code=shared.link.code))
    await posters.write_down(
        turn.session,
        msgid=turn.inbound.msgid,
        conversation_id=turn.conversation.id,
        link_id=shared.link.id,
        now=turn.now,
    )
    turn.app.peers.tap(posters.TOPIC)
    turn.app.peers.tap(ways.TOPIC)
    return Reply.text("\n".join(said))


@router.on(from_customer, says(r"(?:我?填|我的)?(?:写)?邀请码(?:是)?\s*[:：]?\s*(?P<code>[A-Za-z2-9]{8})"))
async def typed_code(turn: Turn, code: str) -> Reply | None:
    """The friend's own way in: a code that can be read out."""
    one = await referral_links.invite(
        turn.session, code, turn.member.id, came_by=CameBy.CHAT, at=turn.now, now=turn.now
    )
    if one.status is InviteStatus.REFUSED:
        return Reply.text(texts.REFERRAL_REFUSED.get(one.why, texts.REFERRAL_REFUSED["not_new"]))
    return Reply.text(texts.REFERRAL_CAME)


@router.on(from_customer, says(r"邀请(?:排行)?榜|邀请排行|邀请排名"))
async def ranking(turn: Turn) -> Reply | None:
    programme = await _programme(turn)
    if programme is None:
        return Reply.text(texts.REFERRAL_NONE)
    best = await referral_reports.ranking(turn.session, programme.id, limit=10)
    if not best:
        return Reply.text(texts.REFERRAL_EMPTY_RANKING)
    said = [texts.REFERRAL_RANKING.format(title=referral_programmes.terms_of(programme).title)]
    said += [f"{one.place}. {referral_words.masked(one.name)}  {one.counted} 位" for one in best]
    place = await referral_reports.place_of(turn.session, programme.id, turn.member.id)
    said += [texts.REFERRAL_PLACE.format(place=place)] if place is not None else []
    return Reply.text("\n".join(said))


async def _programme(turn: Turn) -> ReferralProgramme | None:
    found = await referral_programmes.open_now(turn.session, at=turn.now)
    return found[0] if found else None


async def _lines(turn: Turn, brought: list[ReferralInvitation]) -> list[str]:
    names = await referral_reports.names_of(turn.session, [one.invitee_id for one in brought])
    return [
        f"· {referral_words.masked(names.get(one.invitee_id, ''))}  {referral_words.for_member(one)}" for one in brought
    ]
