"""What staff and members read of 老带新: statuses, reasons, gifts and evidence in words."""

from collections.abc import Mapping
from typing import Any

from bot.texts import yuan
from campaigns.models.offer import Offer
from campaigns.models.referral import (
    CameBy,
    InviteStatus,
    ProgrammeStatus,
    ReferralInvitation,
    ReferralReward,
    RewardStatus,
)
from campaigns.referral_rules import Back, Gift, Terms

PROGRAMME = {
    ProgrammeStatus.RUNNING: "进行中", ProgrammeStatus.PAUSED: "已暂停", ProgrammeStatus.CLOSED: "已结束",
}  # fmt: skip
PAUSED = {"cap": "拉新成本超过上限，自己停下了", "budget": "预算用完，自己停下了"}
INVITATION = {
    InviteStatus.JOINED: "已加入，待首单", InviteStatus.BOUGHT: "已下单，待过退款期", InviteStatus.COUNTED: "已算数",
    InviteStatus.LAPSED: "没有按时下单", InviteStatus.FAILED: "不算数", InviteStatus.REVOKED: "已撤回",
    InviteStatus.REFUSED: "不是新朋友",
}  # fmt: skip
REWARD = {
    RewardStatus.PENDING: "待入账", RewardStatus.PAID: "已到账", RewardStatus.TO_DO: "待店里转账",
    RewardStatus.STUCK: "暂时发不出", RewardStatus.UNFUNDED: "等预算", RewardStatus.VOID: "已作废",
    RewardStatus.TAKEN_BACK: "已收回",
}  # fmt: skip
WHY = {
    "own_link": "自己的链接", "not_new": "不是新朋友", "invited_before": "之前已被邀请", "refund": "首单退款",
    "left": "很快离开了", "lapsed": "没有按时下单", "erased": "已注销", "same_person": "和邀请人是同一个人",
    "same_address": "和邀请人同一个地址", "ring": "互相邀请成环", "burst": "短时间内太多", "budget": "预算用完",
    "points_capped": "到了当天积分上限", "nothing_left": "没有剩下的", "offer.sold_out": "券发完了",
    "offer.not_open": "券不在发放期", "offer.limit_reached": "每人限领的到了", "points.none": "店里没有积分规则",
}  # fmt: skip
REVIEW = {
    "same_person": "自己邀请自己", "same_address": "同一个收货地址", "ring": "互相邀请成环", "burst": "短时间内太多",
}  # fmt: skip
CAME_BY = {
    CameBy.CONTACT_WAY: "加好友", CameBy.KF: "客服链接", CameBy.CHAT: "填邀请码", CameBy.H5: "邀请页面",
}  # fmt: skip
MERGED_BY = {"phone_hash": "手机号", "unionid": "微信号", "shop_account": "店铺账号", "manual": "员工合并"}


def why(code: str) -> str:
    """A reason in words; what could not be had back says so."""
    known, _, kept = code.partition(":")
    return WHY.get(known, known) + ("（已用掉，收不回）" if kept else "")


def evidence(kind: str, facts: Mapping[str, Any]) -> str:
    """What was seen, for the person who decides."""
    if kind == "same_person":
        return f"两个会员号合成了一个人（{MERGED_BY.get(facts.get('because', ''), facts.get('because', ''))}相同）"
    if kind == "ring":
        return (
            f"{len(facts.get('members', ()))} 个人互相邀请成环：会员 {' → '.join(map(str, facts.get('members', ())))}"
        )
    if kind == "burst":
        minutes = max(1, facts.get("within_seconds", 0) // 60)
        return f"{minutes} 分钟内邀请了 {facts.get('invited')} 人，界线是 {facts.get('most')} 人"
    if kind == "same_address":
        return f"收货地址和{'邀请人' if facts.get('with') == 'inviter' else '同一位邀请人的另一位朋友'}相同"
    return str(dict(facts))


def for_member(one: ReferralInvitation) -> str:
    """How one's friend stands; that a review is open is nobody's business but the shop's."""
    return INVITATION[one.status] + (f"（{why(one.why)}）" if one.why and one.status is not InviteStatus.LAPSED else "")


def gift(one: Gift | Back, offer: Offer | None = None) -> str:
    """For example: 500 积分; 优惠券“猫粮券”; 返现 10%（最多 20 元）."""
    if isinstance(one, Back):
        paid = "积分返还" if one.paid_in == "points" else "返现"
        return f"首单{paid} {one.percent_bp / 100:g}%（最多 {yuan(one.most_fen)} 元）"
    if one.points is not None:
        return f"{one.points} 积分"
    if one.cash_fen is not None:
        return f"现金 {yuan(one.cash_fen)} 元"
    return f"优惠券“{offer.title if offer is not None else one.coupon}”"


def reward(one: ReferralReward, offer: Offer | None = None) -> str:
    if one.cash_fen:
        return f"现金 {yuan(one.cash_fen)} 元"
    if one.offer_id is not None:
        return f"优惠券“{offer.title if offer is not None else ''}”"
    return f"{one.points} 积分"


def promises(terms: Terms, offers: Mapping[str, Offer]) -> tuple[list[str], list[str]]:
    """What inviters get, and what newcomers get, a line each."""

    def said(one: Gift | Back) -> str:
        return gift(one, offers.get(one.coupon or "") if isinstance(one, Gift) else None)

    mine = [f"每邀请 1 位：{said(terms.inviter.each)}"] if terms.inviter.each is not None else []
    mine += [f"邀请满 {step.at} 位：再得{said(step)}" for step in terms.inviter.steps]
    theirs = [f"加入就送：{said(terms.invitee.welcome)}"] if terms.invitee.welcome is not None else []
    theirs += [f"完成首单：{said(terms.invitee.first_order)}"] if terms.invitee.first_order is not None else []
    theirs += [said(terms.invitee.back)] if terms.invitee.back is not None else []
    return mine, theirs


def masked(name: str) -> str:
    """Enough for a friend to recognise: 陈*, 欧**."""
    name = name.strip()
    return f"{name[:1]}{'*' * min(2, max(1, len(name) - 1))}" if name else "一位朋友"
