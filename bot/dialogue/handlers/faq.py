"""Questions and the shop's articles: an answer, a choice of three, or a word to the fallback."""

from bot import texts
from bot.dialogue.router import Router, from_customer, is_text, tapped
from bot.dialogue.turn import Choice, Menu, Reply, Turn
from bot.metrics import FAQ
from crm.base.clock import local_day

router = Router("faq")


@router.on(from_customer, tapped("faq"))
async def chosen(turn: Turn, argument: str) -> Reply | None:
    """A line of a menu was tapped: its article, if it still is valid."""
    article = turn.app.faq.articles.get(argument)
    if article is None or not article.is_valid(local_day(turn.now)):
        return None
    FAQ.labels("chosen").inc()
    return Reply.text(article.answer)


@router.on(from_customer, is_text)
async def ask(turn: Turn) -> Reply | None:
    match = turn.app.faq.matcher.match(turn.text, local_day(turn.now))
    FAQ.labels(match.kind).inc()
    if match.kind == "answer":
        return Reply.text(turn.app.faq.articles[match.hits[0].article_id].answer)
    if match.kind == "suggest":
        choices = [Choice(f"faq:{hit.article_id}", hit.question) for hit in match.hits]
        return Reply((Menu(texts.SUGGEST_HEAD, tuple(choices), texts.SUGGEST_TAIL),))
    return None
