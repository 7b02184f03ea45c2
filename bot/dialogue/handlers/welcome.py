"""The first words: when a customer opens the chat, and when they say hello or thanks."""

from datetime import datetime
from itertools import islice

from bot import texts
from bot.app import App
from bot.dialogue.router import Router, Says, from_customer, is_event
from bot.dialogue.turn import Choice, Menu, Reply, Text, Turn, as_messages
from bot.faq.articles import Article
from bot.handoff import queue
from bot.wecom import lanes
from bot.wecom.kf_items import EnterSession
from crm.base.clock import local_day

router = Router("welcome")
MENU_SIZE = 5
GREETING = Says(r"(?:你|您|大家)好[呀啊吗]?|hi|hello|哈[喽啰罗]|嗨|在吗|在么|有人吗|早上好|下午好|晚上好")
GRATITUDE = Says(r"(?:好的?[，,\s]*)?(?:谢谢|多谢|感谢|thanks?|thx|3q)(?:你|您|啦|了|啊|哈|!)*")


@router.on(is_event(EnterSession))
async def enter(turn: Turn) -> Reply | None:
    """WeCom gives a code only if no welcome went out in 48 hours; without one we stay quiet."""
    item = turn.item
    if not isinstance(item, EnterSession) or not item.welcome_code:
        return Reply()
    menu = faq_menu(turn, head=texts.WELCOME_KF.format(shop=turn.app.shop.name))
    greeting = lanes.kf_event_message(
        item.welcome_code,
        as_messages([menu])[0],
        to=queue.address(turn.conversation),
        deadline=item.sent_at + lanes.CODE_LIFE,
    )
    return Reply(before=(greeting,))


@router.on(from_customer, GREETING)
async def hello(turn: Turn) -> Reply | None:
    return Reply((faq_menu(turn, head=texts.HELLO.format(shop=turn.app.shop.name)),))


@router.on(from_customer, GRATITUDE)
async def thanks(turn: Turn) -> Reply | None:
    return Reply.text(texts.THANKS)


def faq_menu(turn: Turn, *, head: str) -> Menu | Text:
    """A menu of what customers ask; a plain text when there are no articles."""
    first = first_articles(turn.app, now=turn.now)
    if not first:
        return Text(head)
    choices = [Choice(f"faq:{article.id}", article.question) for article in first]
    return Menu(f"{head}\n\n{texts.MENU_HEAD}", tuple(choices), texts.MENU_TAIL)


def first_articles(app: App, *, now: datetime) -> list[Article]:
    """The first articles that anybody may see today."""
    today, articles = local_day(now), app.faq.articles.values()
    return list(islice((one for one in articles if one.is_valid(today) and not one.audience), MENU_SIZE))
