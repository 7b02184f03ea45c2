"""晒单: which article, some words where the task wants them, and a picture; what staff say comes later."""

from bot import task_words
from bot.dialogue import state
from bot.dialogue.router import Arguments, Router, from_customer, is_text, says
from bot.dialogue.turn import Reply, Turn
from bot.wecom.kf_items import KfMessage
from campaigns.models.task import CommunityTask, TaskKind
from campaigns.tasks import board, store
from campaigns.tasks import reviews as verbs
from campaigns.tasks.board import TaskCard
from campaigns.tasks.definition import Review
from campaigns.tasks.reviews import Picture

router = Router("reviews")
TOPIC = "review"  # an article was chosen; the picture is awaited
SENT = "review_sent"  # a picture came; more may follow


def is_picture(turn: Turn) -> Arguments | None:
    """The customer sent an image."""
    item = turn.item
    return {} if isinstance(item, KfMessage) and item.msgtype == "image" and item.media_id else None


@router.on(from_customer, says(r"(?:我要|参加)?(?:晒单|晒图|买家秀)(?:返现|有礼|领积分)?"))
async def show(turn: Turn) -> Reply | None:
    """What there is to review; a shop without reviews leaves the question to its articles."""
    found = await store.on_now(turn.session, kinds=[TaskKind.REVIEW], now=turn.now)
    if not found:
        return None
    return await begin(turn, await board.card(turn.session, found[0], turn.member.id, now=turn.now))


async def begin(turn: Turn, card: TaskCard) -> Reply:
    if not isinstance(card.told, Review) or not card.articles:
        days = card.told.within_days if isinstance(card.told, Review) else 0
        return Reply.text(task_words.REVIEW_NONE.format(days=days))
    return Reply((task_words.pick(card.task, list(card.articles[:10])),))


async def chosen(turn: Turn, task: CommunityTask, order_id: int, sku: str) -> Reply:
    """The article of a tapped line: the next picture is of it."""
    card = await board.card(turn.session, task, turn.member.id, now=turn.now)
    article = next((one for one in card.articles if (one.order_id, one.sku) == (order_id, sku)), None)
    if not isinstance(card.told, Review) or article is None:
        return Reply.text(task_words.GONE) if not card.is_open else await begin(turn, card)
    told = {"key": task.key, "order_id": order_id, "sku": sku, "article": article.name, "words": ""}
    state.set_topic(turn.conversation, TOPIC, {**told, "chars": card.told.min_chars}, now=turn.now)
    asks = task_words.REVIEW_ASKS_WORDS if card.told.min_chars else task_words.REVIEW_ASKS
    return Reply.text(asks.format(article=article.name, chars=card.told.min_chars))


@router.on(from_customer, is_picture)
async def pictured(turn: Turn) -> Reply | None:
    """A picture belongs to the review that is being written; any other is nobody's matter here."""
    topic, data = state.topic_of(turn.conversation, now=turn.now), turn.conversation.topic_data or {}
    picture = Picture(media_id=turn.item.media_id if isinstance(turn.item, KfMessage) else "")
    if topic == SENT:
        added = await verbs.add_picture(turn.session, data["review_id"], turn.member.id, picture, now=turn.now)
        return Reply.text(task_words.REVIEW_MORE if added else task_words.REVIEW_FULL)
    if topic != TOPIC:
        return None
    if len(data["words"]) < data["chars"]:
        return Reply.text(task_words.REVIEW_WORDS_SHORT.format(chars=data["chars"]))
    review = await verbs.send(
        turn.session, data["key"], turn.member.id, data["order_id"], data["sku"], [picture], words=data["words"],
        channel="chat", now=turn.now,
    )  # fmt: skip
    state.set_topic(turn.conversation, SENT, {"review_id": review.id}, now=turn.now)
    told = store.told(await turn.session.get_one(CommunityTask, review.task_id))
    won = task_words.offers(told)
    return Reply.text(task_words.REVIEW_SENT.format(won=f"，通过{won}" if won else ""))


@router.on(from_customer, is_text)
async def worded(turn: Turn) -> Reply | None:
    """Words for a review that takes some; anything the shop has an answer of its own for is that."""
    data = turn.conversation.topic_data or {}
    if turn.menu_id or state.topic_of(turn.conversation, now=turn.now) != TOPIC or not data["chars"]:
        return None
    if len(data["words"]) >= data["chars"]:
        return None
    words = turn.text
    if len(words) < data["chars"]:
        return Reply.text(task_words.REVIEW_WORDS_SHORT.format(chars=data["chars"]))
    state.set_topic(turn.conversation, TOPIC, {**data, "words": words}, now=turn.now)
    return Reply.text(task_words.REVIEW_WORDS_KEPT)
