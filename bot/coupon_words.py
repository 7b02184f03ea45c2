"""Offers and coupons in the words a customer reads."""

from bot import texts
from bot.texts import yuan
from campaigns.coupon_terms import CouponUnfit
from campaigns.ladders import EVERYBODY, Given
from campaigns.models.offer import Coupon, CouponStatus, Offer, OfferKind
from campaigns.offer_rules import Quote
from crm.base.clock import SHANGHAI


def terms(offer: Offer) -> str:
    """满 100 元减 20 元，限猫粮"""
    above = f"满 {yuan(offer.threshold_fen)} 元" if offer.threshold_fen else ""
    scope = f"，限{'、'.join([*offer.categories, *offer.skus][:3])}" if offer.categories or offer.skus else ""
    return f"{above}{_benefit(offer)}{scope}"


def _benefit(offer: Offer) -> str:
    if offer.kind is OfferKind.AMOUNT:
        return f"减 {yuan(offer.amount_fen)} 元"
    if offer.kind is OfferKind.PERCENT:
        most = f"，最多减 {yuan(offer.cap_fen)} 元" if offer.cap_fen is not None else ""
        return f"打 {(10_000 - offer.percent_bp) / 1000:g} 折{most}"
    if offer.kind is OfferKind.SHIPPING:
        return f"免运费，最多 {yuan(offer.amount_fen)} 元" if offer.amount_fen else "免运费"
    return "送赠品"


def line(coupon: Coupon, offer: Offer) -> str:
    """A coupon in one line: its code, what it is, until when; or which order has it."""
    what = f"{coupon.code}  {offer.title}：{terms(offer)}"
    if coupon.status is CouponStatus.HELD:
        return f"{what}（已用在订单 {coupon.order_no}，等付款）"
    return f"{what}，{coupon.expires_at.astimezone(SHANGHAI):%m-%d %H:%M} 前有效"


def used(quoted: Quote, order_no: str) -> str:
    """What a coupon did for an order."""
    gift = any(one.kind is OfferKind.GIFT for one in quoted.saved)
    saved = f"省了 {yuan(quoted.discount_fen)} 元，应付 {yuan(quoted.to_pay_fen)} 元"
    return texts.COUPON_USED.format(order=order_no, saved=f"{saved}，另有赠品" if gift and quoted.discount_fen else
                                    "会随单送赠品" if gift else saved)  # fmt: skip


def given(found: Given) -> str:
    """What a member got of a tiered offer, and why that."""
    got = f"{found.points} 积分"
    if found.coupon is not None and found.offer is not None:
        got = line(found.coupon, found.offer)
    why = texts.LADDER_EVERYBODY if found.reason == EVERYBODY else texts.LADDER_WHY.format(tier=found.tier)
    return texts.LADDER_GIVEN.format(why=why, got=got)


def unfit(refusal: CouponUnfit) -> str:
    return texts.COUPON_UNFIT[refusal.reason].format(missing=yuan(refusal.missing_fen))
