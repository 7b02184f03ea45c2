"""What the bot talks about where everybody reads along. A subject that is not in SUBJECTS does not exist there.

A handler gets a Heard, and there is no member in it: nothing here could say whose orders or points to look up. The
personal subjects of the 1:1 dialogue are known by their words alone, and answered with the way to it.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot import texts
from bot.app import App
from bot.dialogue.handlers import root
from bot.dialogue.handlers.oddities import WALL_CHARS, gives_orders, has_no_words, is_foreign
from bot.dialogue.handlers.sale import SALES
from bot.dialogue.handlers.welcome import GRATITUDE, GREETING, first_articles
from bot.dialogue.turn import cut
from bot.faq import audience, questions, variables
from bot.faq.articles import Article
from bot.faq.matcher import Match
from bot.faq.variables import Openly
from bot.flashsale import board, sales
from bot.flashsale import words as sale_words
from bot.handoff import triggers
from bot.metrics import FAQ
from bot.models.group_bot import BotMention
from bot.wecom.aibot import STREAM_BYTES
from crm.base.clock import local_day

OFFERED = 3
OFFER_LIFE = timedelta(minutes=10)  # a number said later than this chooses nothing
FLOOD_MENTIONS, FLOOD_TIME = 20, timedelta(minutes=1)
_NUMBER = re.compile(r"(?:选|第)?\s*([1-3１-３一二三])\s*(?:个|号|条)?[。.]?")
_NUMBERS = {name: place for place, names in enumerate(("1１一", "2２二", "3３三")) for name in names}
_MINE = re.compile(
    r"(?:我|俺|咱)(?:的|有|还有|还剩|还能用|名下|账户|账号)?.{0,6}?"
    r"(?:订单|包裹|快递|物流|单号|积分|余额|优惠券|券|会员码|等级|地址|手机号|退款|生日|签到|邀请|订阅)"
)


@dataclass(slots=True)
class Heard:
    """One message to the bot, as a handler sees it. `now` is the one instant of its answer."""

    app: App
    session: AsyncSession
    mention: BotMention
    now: datetime
    help_url: str = ""  # where one goes for what is personal; empty: the words alone say it

    @property
    def text(self) -> str:
        return self.mention.text


@dataclass(frozen=True, slots=True)
class Answer:
    """What everybody reads, in WeCom's markdown. offered: keys of the articles it offers by number."""

    text: str
    offered: tuple[str, ...] = ()


async def answer(heard: Heard) -> Answer:
    """The first subject that has something to say."""
    for subject in SUBJECTS:
        found = await subject(heard)
        if found is not None:
            return replace(found, text=cut(found.text, STREAM_BYTES)[0])
    return Answer(texts.GROUP_MISS)


def greeting(app: App, *, now: datetime) -> str:
    """Who the bot is and what people ask it."""
    first = first_articles(app, now=now)
    menu = [texts.GROUP_MENU.format(lines=_lines(first))] if first else []
    return "\n".join([texts.GROUP_HELLO.format(shop=app.shop.name), *menu])


# ---- the subjects


async def flood(heard: Heard) -> Answer | None:
    """Many mentions of one person within a minute: a notice instead of an answer."""
    mine = heard.mention
    count = await heard.session.scalar(
        sa.select(sa.func.count())
        .select_from(BotMention)
        .where(
            BotMention.bot == mine.bot,
            BotMention.userid == mine.userid,
            BotMention.received_at > mine.received_at - FLOOD_TIME,
            BotMention.id <= mine.id,
        )
    )
    return Answer(texts.GROUP_FLOOD) if (count or 0) > FLOOD_MENTIONS else None


async def hello(heard: Heard) -> Answer | None:
    is_hello = not heard.text or GREETING.fits(heard.text) is not None
    return Answer(greeting(heard.app, now=heard.now)) if is_hello else None


async def thanks(heard: Heard) -> Answer | None:
    return Answer(texts.THANKS) if GRATITUDE.fits(heard.text) is not None else None


async def by_number(heard: Heard) -> Answer | None:
    """One of the articles that the same person was offered a moment ago in the same chat."""
    found = _NUMBER.fullmatch(heard.text)
    if found is None:
        return None
    mine = heard.mention
    offer = await heard.session.scalar(
        sa.select(BotMention)
        .where(
            BotMention.bot == mine.bot,
            BotMention.userid == mine.userid,
            BotMention.chat_id == mine.chat_id,
            BotMention.offered.is_not(None),
            BotMention.done_at > heard.now - OFFER_LIFE,
            BotMention.id < mine.id,
        )
        .order_by(BotMention.id.desc())
        .limit(1)
    )
    keys = offer.offered or [] if offer is not None else []
    place = _NUMBERS[found[1]]
    article = heard.app.faq.articles.get(keys[place]) if place < len(keys) else None
    if offer is None or article is None or not _is_open(article, heard):
        return None
    FAQ.labels("chosen").inc()
    await questions.chosen(heard.session, offer.id, article.id, now=heard.now)
    return await _told(heard, article)


async def odd(heard: Heard) -> Answer | None:
    """What no article is about."""
    text = heard.text
    if has_no_words(text):
        return Answer(texts.EMOJI)
    if gives_orders(text):
        return Answer(texts.PROMPT_LIKE.format(shop=heard.app.shop.name))
    return Answer(texts.GROUP_WALL) if len(text) > WALL_CHARS else None


async def sales_on(heard: Heard) -> Answer | None:
    """What flash sales are on: everybody may know."""
    if SALES.fits(heard.text) is None:
        return None
    found = await sales.on_now(heard.session, now=heard.now)
    parts = [
        sale_words.sale(one, await board.items(heard.session, one.id), heard.app.public_url, now=heard.now)
        for one in found
    ]
    return Answer("\n\n".join(parts) or texts.SALE_NONE)


async def personal(heard: Heard) -> Answer | None:
    """The words of any subject of the 1:1 dialogue, or of somebody who needs a person."""
    is_personal = root.is_about(heard.text) or triggers.detect(heard.text) is not None
    return _elsewhere(heard) if is_personal else None


async def ask(heard: Heard) -> Answer | None:
    """A question: what the articles say to everybody. Those for some customers only are not there."""
    faq, text = heard.app.faq, heard.text
    match = faq.matcher.match(text, local_day(heard.now))
    known = tuple(hit for hit in match.hits if hit.article_id in faq.articles)
    match = match if known == match.hits else replace(match, kind="miss", hits=known)
    match = audience.narrow(match, audience.of(faq.articles, match), ())
    if match.kind != "answer" and _MINE.search(triggers.plain(text)):
        return _elsewhere(heard)
    FAQ.labels(match.kind).inc()
    mine = heard.mention
    questions.record_mention(heard.session, match, mention_id=mine.id, asker=mine.userid, text=text, now=heard.now)
    return await _decided(heard, match)


async def _decided(heard: Heard, match: Match) -> Answer | None:
    articles = heard.app.faq.articles
    if match.kind == "miss":
        return Answer(texts.GROUP_NOT_CHINESE) if is_foreign(heard.text) else None
    if match.kind == "answer":
        return await _told(heard, articles[match.hits[0].article_id])
    found = [articles[hit.article_id] for hit in match.hits[:OFFERED]]
    return Answer(texts.GROUP_SUGGEST.format(lines=_numbered(found)), tuple(one.id for one in found))


Subject = Callable[[Heard], Awaitable[Answer | None]]
SUBJECTS: tuple[Subject, ...] = (flood, hello, thanks, by_number, odd, sales_on, personal, ask)


# ---- an article in public


async def _told(heard: Heard, article: Article) -> Answer:
    """The article's answer; one that speaks of the reader is not for a group."""
    if variables.is_personal(article.answer):
        return _elsewhere(heard)
    shop = heard.app.shop
    parts = [await variables.fill_openly(article.answer, Openly(shop.name, shop.service_hours, heard.now))]
    if article.link is not None:
        parts.append(texts.GROUP_LINK.format(title=article.link.title, url=article.link.url))
    if article.image.startswith(("http://", "https://")):
        parts.append(texts.GROUP_PICTURE.format(url=article.image))
    articles = heard.app.faq.articles
    related = [articles[key] for key in article.menu if key in articles and _is_open(articles[key], heard)]
    if related:
        parts.append(texts.GROUP_RELATED.format(lines=_lines(related)))
    return Answer("\n".join(parts))


def _is_open(article: Article, heard: Heard) -> bool:
    """Valid today and for everybody."""
    return article.is_valid(local_day(heard.now)) and not article.audience


def _elsewhere(heard: Heard) -> Answer:
    link = texts.GROUP_PERSONAL_LINK.format(url=heard.help_url) if heard.help_url else ""
    return Answer(texts.GROUP_PERSONAL.format(link=link))


def _lines(articles: Sequence[Article]) -> str:
    return "\n".join(f"- {one.question}" for one in articles)


def _numbered(articles: Sequence[Article]) -> str:
    return "\n".join(f"{place}. {one.question}" for place, one in enumerate(articles, start=1))
