"""One file per subject; `root` asks them in this order and ends with a fallback that helps."""

from bot.dialogue.handlers import consent, fallback, faq, human, orders, welcome
from bot.dialogue.router import Router

root = Router("root")
root.include(welcome.router, human.router, consent.router, orders.router, faq.router, fallback.router)
