"""One file per subject; `root` asks them in this order and ends with a fallback that helps."""

from bot.dialogue.handlers import (
    consent,
    coupons,
    csat,
    fallback,
    faq,
    human,
    oddities,
    orders,
    points,
    referral,
    reviews,
    sale,
    subscription,
    suggestions,
    surveys,
    tasks,
    welcome,
)
from bot.dialogue.router import Router

root = Router("root")
root.include(
    oddities.flood,
    referral.router,  # before the welcome: it looks by whose link somebody comes, and lets it greet
    welcome.router,
    csat.router,
    human.router,
    subscription.router,
    consent.router,
    orders.router,
    points.router,
    coupons.router,
    sale.router,
    suggestions.router,
    tasks.router,
    reviews.router,
    surveys.router,
    oddities.before,
    faq.router,
    oddities.after,
    human.unanswered,
    fallback.router,
)
