"""App: the few long-lived things an edge may reach."""

import random
from dataclasses import dataclass, field
from datetime import timedelta

from bot.faq.articles import Article
from bot.faq.matcher import Matcher
from crm.base.clock import Clock
from crm.base.db import Sessions
from crm.base.peers import Peers


@dataclass(frozen=True, slots=True)
class Shop:
    """What the bot says about the shop."""

    name: str = "本店"
    service_hours: str = "每天 9:00–21:00"


class Faq:
    """The published articles and the matcher over them; a new set replaces both at once."""

    def __init__(self, articles: tuple[Article, ...] = ()) -> None:
        self.publish(articles)

    def publish(self, articles: tuple[Article, ...]) -> None:
        self.matcher = Matcher(articles)
        self.articles = {article.id: article for article in articles}


@dataclass(slots=True)
class App:
    """What handlers, views and loops share. Built once, in bootstrap.py."""

    clock: Clock
    chance: random.Random
    sessions: Sessions
    peers: Peers
    faq: Faq = field(default_factory=Faq)
    shop: Shop = field(default_factory=Shop)
    reply_deadline: timedelta = timedelta(hours=2)  # an answer later than this is not sent
