"""App: the few long-lived things an edge may reach."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from bot.faq.articles import Article
from bot.faq.matcher import Matcher
from bot.faq.semantic import Semantics
from bot.handoff.policy import Policy
from campaigns.engine import Review
from campaigns.guard_rules import Gate
from campaigns.words import Words
from campaigns.words import read as read_words
from crm.base.clock import Clock
from crm.base.db import Sessions
from crm.base.peers import Peers
from crm.base.secrets import Vault


@dataclass(frozen=True, slots=True)
class Shop:
    """What the bot says about the shop."""

    name: str = "本店"
    service_hours: str = "每天 9:00–21:00"


class Faq:
    """The published articles and the matcher over them. Immutable: publishing builds another and swaps the reference.

    Building takes a while with many articles, so it is done in a thread. version: of the knowledge base it was built
    from.
    """

    def __init__(
        self,
        articles: Iterable[Article] = (),
        version: int = 0,
        semantics: Semantics | None = None,
        confirmed: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.articles = {article.id: article for article in articles}
        self.matcher = Matcher(self.articles.values(), semantics=semantics, confirmed=confirmed)
        self.version = version


@dataclass(slots=True)
class App:
    """What handlers, views and loops share. Built once, in bootstrap.py."""

    clock: Clock
    chance: random.Random
    sessions: Sessions
    peers: Peers
    faq: Faq = field(default_factory=Faq)
    semantics: Semantics | None = None  # the model that knows what texts mean, where one is set up
    shop: Shop = field(default_factory=Shop)
    handoff: Policy = field(default_factory=Policy)
    gate: Gate = field(default_factory=Gate)  # when and how often marketing may reach a member
    words: Words = field(default_factory=read_words)  # that marketing texts should not carry
    review: Review = field(default_factory=Review)  # from which size on a second person looks at a campaign
    reply_deadline: timedelta = timedelta(hours=2)  # an answer later than this is not sent
    line_gap: timedelta = timedelta(seconds=3)  # a question without an answer waits this long for its next line
    public_url: str = ""  # where members reach our pages, without a slash at the end; empty: links are left out
    inviter_ways: int = 50_000  # contact ways of inviters, at most; a corp has 500,000 in all
    poster_font: str | None = None  # file of a font that has Chinese; None: posters go without
    asks_usefulness: bool = False  # an answer that leaves alone asks whether it helped
    vault: Vault | None = None  # seals addresses and phones; None: the shop has no key
