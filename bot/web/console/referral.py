"""老带新 for managers: programmes with their cost against the cap, the ranking, what looks odd, cash to be paid."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from aiohttp import web

from bot.access.rights import Right
from bot.web.language import N_
from bot.web.screens import Screens, change, go, looking, render, say, who
from campaigns import (
    referral_checks,
    referral_programmes,
    referral_reports,
    referral_rewards,
    referral_rules,
)
from campaigns.models.offer import Offer
from campaigns.models.referral import CameBy, InviteStatus, ProgrammeStatus, ReferralProgramme, RewardStatus
from campaigns.referral_facts import ProgrammeNotFound
from campaigns.referral_reports import Figures, Reviewed
from campaigns.referral_rules import Back, Gift, Terms

SCREENS = Screens()
PATH = "/console/referral"
STATUS: Mapping[ProgrammeStatus, tuple[str, str]] = {
    ProgrammeStatus.RUNNING: (N_("进行中"), "green"),
    ProgrammeStatus.PAUSED: (N_("已暂停"), "yellow"),
    ProgrammeStatus.CLOSED: (N_("已结束"), "secondary"),
}
PAUSED: Mapping[str, str] = {"cap": N_("拉新成本超过上限，自己停下了"), "budget": N_("预算用完，自己停下了")}
INVITATION: Mapping[InviteStatus, str] = {
    InviteStatus.JOINED: N_("已加入，待首单"),
    InviteStatus.BOUGHT: N_("已下单，待过退款期"),
    InviteStatus.COUNTED: N_("已算数"),
    InviteStatus.LAPSED: N_("没有按时下单"),
    InviteStatus.FAILED: N_("不算数"),
    InviteStatus.REVOKED: N_("已撤回"),
    InviteStatus.REFUSED: N_("不是新朋友"),
}
WHY: Mapping[str, str] = {
    "own_link": N_("自己的链接"),
    "not_new": N_("之前就认识或买过"),
    "invited_before": N_("之前已被邀请"),
    "refund": N_("首单退款"),
    "left": N_("很快离开了"),
    "lapsed": N_("没有按时下单"),
    "erased": N_("已注销"),
    "same_person": N_("自己邀请自己"),
    "same_address": N_("同一个收货地址"),
    "ring": N_("互相邀请成环"),
    "burst": N_("短时间内太多"),
}
MERGED_BY: Mapping[str, str] = {"phone_hash": N_("手机号"), "unionid": N_("微信号"), "shop_account": N_("店铺账号")}
VERDICTS: Mapping[str, tuple[str, str]] = {
    referral_checks.APPROVED: (N_("通过"), "green"),
    referral_checks.REFUSED: (N_("不通过"), "red"),
}
CAME_BY: Mapping[CameBy, str] = {
    CameBy.CONTACT_WAY: N_("加好友"),
    CameBy.KF: N_("客服链接"),
    CameBy.CHAT: N_("填邀请码"),
    CameBy.H5: N_("邀请页面"),
}
REWARDS: Mapping[RewardStatus, tuple[str, str]] = {
    RewardStatus.PENDING: (N_("待入账"), "secondary"),
    RewardStatus.PAID: (N_("已到账"), "green"),
    RewardStatus.TO_DO: (N_("待店里转账"), "yellow"),
    RewardStatus.STUCK: (N_("暂时发不出"), "red"),
    RewardStatus.UNFUNDED: (N_("等预算"), "red"),
    RewardStatus.VOID: (N_("已作废"), "secondary"),
    RewardStatus.TAKEN_BACK: (N_("已收回"), "secondary"),
}
BECAUSE: Mapping[str, str] = {
    "each": N_("邀请一位"),
    "step": N_("阶梯"),
    "welcome": N_("加入礼"),
    "order": N_("首单礼"),
    "back": N_("首单返"),
}
SIZE = 50
DECIDED = 20
RANKED = 20


@SCREENS.get(PATH, Right.CONSOLE)
async def overview(request: web.Request) -> web.Response:
    async with looking(request) as session:
        found = await referral_programmes.everything(session)
        rows = [(one, await referral_reports.figures(session, one)) for one in found]
        waiting = await referral_reports.waiting(session)
    return _render(request, "console/referral.html", rows=rows, waiting=waiting, here="programmes")


@SCREENS.get(PATH + "/reviews", Right.CONSOLE)
async def reviews(request: web.Request) -> web.Response:
    return await _reviews(request)


async def _reviews(request: web.Request, **more: Any) -> web.Response:
    async with looking(request) as session:
        open_ones = await referral_reports.reviews(session)
        decided = await referral_reports.reviews(session, decided=True, limit=DECIDED)
        waiting = await referral_reports.waiting(session)
    return _render(
        request, "console/referral_reviews.html", here="reviews", waiting=waiting, decided=decided,
        open_ones=[(one, evidence(request, one)) for one in open_ones], **more,
    )  # fmt: skip


@SCREENS.post(PATH + "/reviews/{id:\\d+}", Right.MANAGE)
async def decide(request: web.Request) -> web.Response:
    form = await request.post()
    approves, note = form.get("verdict") == referral_checks.APPROVED, str(form.get("note", ""))
    review_id = int(request.match_info["id"])
    action = "referral.approved" if approves else "referral.refused"
    async with change(request, action, about=f"referral_review:{review_id}") as deed:
        one = await referral_checks.decide(
            deed.session, review_id, approves=approves, by=who(request).account.name, note=note, now=deed.now
        )
        deed.facts |= {"invitation": one.id, "status": one.status.value}
    return go(request, f"{PATH}/reviews")


@SCREENS.get(PATH + "/cash", Right.CONSOLE)
async def cash(request: web.Request) -> web.Response:
    async with looking(request) as session:
        due = await referral_reports.cash_due(session)
        waiting = await referral_reports.waiting(session)
    return _render(request, "console/referral_cash.html", here="cash", due=due, waiting=waiting)


@SCREENS.post(PATH + "/cash/{id:\\d+}", Right.MANAGE)
async def cash_paid(request: web.Request) -> web.Response:
    reward_id = int(request.match_info["id"])
    async with change(request, "referral.cash_paid", about=f"referral_reward:{reward_id}") as deed:
        by = who(request).account.name
        reward = await referral_rewards.cash_paid(deed.session, reward_id, by=by, now=deed.now)
        deed.facts |= {"cash_fen": reward.cash_fen}
    return go(request, f"{PATH}/cash")


@SCREENS.get(PATH + "/{id:\\d+}", Right.CONSOLE)
async def programme(request: web.Request) -> web.Response:
    async with looking(request) as session:
        one = await _get(session, request)
        told = await referral_reports.figures(session, one)
        ranked = await referral_reports.ranking(session, one.id, limit=RANKED)
        terms = referral_programmes.terms_of(one)
        keys = {gift.coupon for _, gift in terms.gifts() if gift.coupon is not None}
        offers = {offer.key: offer for offer in await session.scalars(sa.select(Offer).where(Offer.key.in_(keys)))}
        waiting = await referral_reports.waiting(session)
    return _render(
        request, "console/referral_programme.html", here="", waiting=waiting, one=one, told=told, ranked=ranked,
        terms=terms, promised=promised(request, terms, offers), funnel=funnel(request, told), stages=stages(told),
        is_over=referral_rules.is_over_cap(terms, told.committed_fen, told.acquired),
    )  # fmt: skip


@SCREENS.get(PATH + "/{id:\\d+}/invitations", Right.CONSOLE)
async def invitations(request: web.Request) -> web.Response:
    """Who brought whom, and what each caused: every reward beside its cause."""
    query = request.query
    status = InviteStatus(query["status"]) if query.get("status") in set(InviteStatus) else None
    before = query.get("before", "")
    before_id = int(before) if before.isdecimal() and len(before) < 18 else None
    async with looking(request) as session:
        one = await _get(session, request)
        rows = await referral_reports.traced(session, one.id, status=status, before_id=before_id, size=SIZE + 1)
        waiting = await referral_reports.waiting(session)
    more = rows[SIZE - 1].invitation.id if len(rows) > SIZE else None
    return _render(
        request, "console/referral_invitations.html", here="", waiting=waiting, one=one, rows=rows[:SIZE], more=more,
        wanted=status, came_by=CAME_BY, rewards=REWARDS, because=BECAUSE,
    )  # fmt: skip


@SCREENS.post(PATH + "/{id:\\d+}", Right.MANAGE)
async def move(request: web.Request) -> web.Response:
    """Pause, resume or close a programme."""
    what, programme_id = str((await request.post()).get("do", "")), int(request.match_info["id"])
    if what not in ("pause", "resume", "close"):
        raise web.HTTPNotFound
    async with change(request, f"referral.{what}d", about=f"referral:{programme_id}") as deed:
        await _get(deed.session, request)
        if what == "pause":
            by = who(request).account.title or who(request).account.name
            await referral_programmes.pause(deed.session, programme_id, because=by, now=deed.now)
        elif what == "resume":
            await referral_programmes.resume(deed.session, programme_id)
        else:
            await referral_programmes.close(deed.session, programme_id)
    return go(request, f"{PATH}/{programme_id}")


async def _get(session: Any, request: web.Request) -> ReferralProgramme:
    number = request.match_info["id"]
    found: ReferralProgramme | None = await session.get(ReferralProgramme, int(number)) if len(number) < 18 else None
    if found is None:
        raise ProgrammeNotFound(number)
    return found


# What a page says


def stages(told: Figures) -> list[tuple[str, int]]:
    """How far invitations came: everybody who came, bought, and counts."""
    came = sum(count for status, count in told.by_status.items() if status is not InviteStatus.REFUSED)
    bought = told.acquired + told.by_status.get(InviteStatus.REVOKED, 0)
    return [(N_("来了"), came), (N_("下了首单"), bought), (N_("算数"), told.by_status.get(InviteStatus.COUNTED, 0))]


def funnel(request: web.Request, told: Figures) -> dict[str, Any]:
    """ECharts' option: three bars, the first on top."""
    shown = stages(told)
    return {
        "grid": {"left": 90, "right": 40, "top": 8, "bottom": 24},
        "xAxis": {"type": "value", "minInterval": 1},
        "yAxis": {"type": "category", "inverse": True, "data": [say(request, name) for name, _ in shown]},
        "series": [{"type": "bar", "barWidth": 26, "label": {"show": True}, "data": [count for _, count in shown]}],
    }


def evidence(request: web.Request, one: Reviewed) -> str:
    """What was seen, in a sentence, for whoever decides."""
    facts = one.review.evidence
    if one.review.kind == "same_person":
        same = MERGED_BY.get(facts.get("because", ""), N_("员工合并"))
        return say(request, N_("两个会员号合成了一个人，依据：%(what)s"), what=say(request, same))
    if one.review.kind == "ring":
        around = " → ".join(f"#{member_id}" for member_id in facts["members"])
        return say(request, N_("%(count)d 个人互相邀请成环：%(around)s"), count=len(facts["members"]), around=around)
    if one.review.kind == "burst":
        minutes = max(1, facts["within_seconds"] // 60)
        sentence = N_("%(minutes)d 分钟内邀请了 %(invited)d 人，界线是 %(most)d 人")
        return say(request, sentence, minutes=minutes, invited=facts["invited"], most=facts["most"])
    if one.review.kind == "same_address" and facts.get("with") == "inviter":
        return say(request, N_("收货地址和邀请人相同"))
    return say(request, N_("收货地址和同一位邀请人的另一位朋友相同"))


def promised(request: web.Request, terms: Terms, offers: Mapping[str, Offer]) -> list[tuple[str, str]]:
    """Who gets what, a line each."""

    def gift(one: Gift) -> str:
        if one.points is not None:
            return say(request, N_("%(points)d 积分"), points=one.points)
        if one.cash_fen is not None:
            return say(request, N_("现金 %(yuan)s 元"), yuan=f"{one.cash_fen / 100:g}")
        offer = offers.get(one.coupon or "")
        return say(request, N_("优惠券“%(title)s”"), title=offer.title if offer is not None else one.coupon)

    def back(one: Back) -> str:
        facts = {"percent": f"{one.percent_bp / 100:g}", "most": f"{one.most_fen / 100:g}"}
        sentence = N_("积分返 %(percent)s%%，最多 %(most)s 元")
        return say(
            request, sentence if one.paid_in == "points" else N_("现金返 %(percent)s%%，最多 %(most)s 元"), **facts
        )

    mine, theirs = terms.inviter, terms.invitee
    lines = [(say(request, N_("邀请人，每一位")), gift(mine.each))] if mine.each is not None else []
    lines += [(say(request, N_("邀请人，满 %(at)d 位"), at=step.at), gift(step)) for step in mine.steps]
    lines += [(say(request, N_("新朋友，加入")), gift(theirs.welcome))] if theirs.welcome is not None else []
    lines += [(say(request, N_("新朋友，首单")), gift(theirs.first_order))] if theirs.first_order is not None else []
    lines += [(say(request, N_("新朋友，首单")), back(theirs.back))] if theirs.back is not None else []
    return lines


def _render(request: web.Request, template: str, **facts: Any) -> web.Response:
    return render(
        request, template, statuses=STATUS, paused=PAUSED, invitation=INVITATION, why=WHY, verdicts=VERDICTS,
        path_here=PATH, InviteStatus=InviteStatus, ProgrammeStatus=ProgrammeStatus, **facts,
    )  # fmt: skip
