"""What coupons given to an audience are called on screens and by the command line: the words, and their colour."""

from collections.abc import Mapping

from bot.web.language import N_
from campaigns import coupon_grants
from campaigns.models.coupon_grant import GrantStatus

STATUS: Mapping[GrantStatus, tuple[str, str]] = {
    GrantStatus.RUNNING: (N_("发放中"), "blue"),
    GrantStatus.ASKS: (N_("等人决定"), "orange"),
    GrantStatus.FINISHED: (N_("发完了"), "secondary"),
    GrantStatus.STOPPED: (N_("停了"), "red"),
}
BECAUSE = {"offer.not_open": N_("优惠停发了或者过期了"), coupon_grants.STOPPED_BY_HAND: N_("有人停的")}
