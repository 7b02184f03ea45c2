"""Questions and the shop's articles: an answer, a choice of three, or a word to the fallback."""

from dataclasses import replace

from bot import texts
from bot.dialogue import state
from bot.dialogue.router import Router, from_customer, is_text, tapped
from bot.dialogue.shown import may_see, meant_for, says_of
from bot.dialogue.turn import PUT_OFF, Choice, Menu, Reply, Turn
from bot.faq import questions
from bot.faq.matcher import Match
from bot.metrics import FAQ
from crm.base.clock import local_day

router = Router("faq")
OFFERED = 3


@router.on(from_customer, tapped("faq"))
async def chosen(turn: Turn, argument: str) -> Reply | None:
    """A line of a menu was tapped: its article, if it still is there for this customer."""
    article = turn.app.faq.articles.get(argument)
    if article is None or not await may_see(turn, article):
        return None
    FAQ.labels("chosen").inc()
    state.clear_misses(turn.conversation)
    await questions.tapped(turn.session, turn.conversation.id, article.id, now=turn.now)
    return Reply(await says_of(turn, article))


@router.on(from_customer, tapped("useful"))
async def useful(turn: Turn, argument: str) -> Reply | None:
    return Reply.text(texts.USEFUL) if await _rate(turn, argument, useful=True) else None


@router.on(from_customer, tapped("useless"))
async def useless(turn: Turn, argument: str) -> Reply | None:
    if not await _rate(turn, argument, useful=False):
        return None
    state.count_miss(turn.conversation, turn.now)
    return Reply.text(texts.USELESS)


async def _rate(turn: Turn, argument: str, *, useful: bool) -> bool:
    if not argument.isdecimal() or len(argument) > 18:
        return False
    return await questions.rated(turn.session, turn.conversation.id, int(argument), useful=useful, now=turn.now)


@router.on(from_customer, is_text)
async def ask(turn: Turn) -> Reply | None:
    """The line by itself, else together with those put off before it. A miss waits while more may come."""
    text, match = turn.text, await _understand(turn, turn.text)
    if match.kind == "miss" and turn.earlier:
        together = " ".join((*turn.earlier, turn.text))
        joined = await _understand(turn, together)
        text, match = (together, joined) if joined.kind != "miss" or not turn.may_go_on else (text, match)
    if match.kind == "miss" and turn.may_go_on:
        return PUT_OFF
    FAQ.labels(match.kind).inc()
    questions.record(
        turn.session, match, conversation_id=turn.conversation.id, inbound_id=turn.inbound.id, text=text, now=turn.now
    )
    return await _reply(turn, match)


async def _understand(turn: Turn, text: str) -> Match:
    """What the articles make of `text`, as far as this customer may see them and they are still there."""
    faq = turn.app.faq
    match = faq.matcher.match(text, local_day(turn.now))
    known = tuple(hit for hit in match.hits if hit.article_id in faq.articles)
    return await meant_for(turn, match if known == match.hits else replace(match, kind="miss", hits=known))


async def _reply(turn: Turn, match: Match) -> Reply | None:
    articles = turn.app.faq.articles
    if match.kind == "miss":
        return None
    state.clear_misses(turn.conversation)
    if match.kind == "answer":
        says = await says_of(turn, articles[match.hits[0].article_id], rating=str(turn.inbound.id))
        return Reply(says, settles=True)
    choices = [Choice(f"faq:{hit.article_id}", hit.question) for hit in match.hits[:OFFERED]]
    return Reply((Menu(texts.SUGGEST_HEAD, tuple(choices), texts.SUGGEST_TAIL),), settles=True)
