"""任务, 答题, 投票: what there is to do, a quiz question by question, a vote with its result."""

from bot import task_words
from bot.dialogue.handlers import reviews
from bot.dialogue.router import Router, from_customer, says, tapped
from bot.dialogue.turn import Reply, Text, Turn
from campaigns.models.task import CommunityTask, TaskKind
from campaigns.tasks import board, entries, store
from campaigns.tasks.board import TaskCard
from campaigns.tasks.definition import Quiz, Review, Vote
from campaigns.tasks.entries import AlreadyDone

router = Router("tasks")
PAGE = "/h5/tasks"
KEY = r"(?P<key>[^\s，。！？]{1,40})"
KINDS = {"答题": TaskKind.QUIZ, "投票": TaskKind.VOTE}


@router.on(from_customer, says(r"(?:查看?|看看?)?(?:社群|我的|有什么|有哪些)?任务(?:中心|列表)?[吗呢]?"))
async def show(turn: Turn) -> Reply:
    cards = await board.cards(turn.session, turn.member.id, now=turn.now)
    if not cards:
        return Reply.text(task_words.NONE)
    return Reply((task_words.listed(cards, _page(turn)),))


@router.on(from_customer, says(rf"(?:我要|参加)?(?P<what>答题|投票)(?:\s*{KEY})?"))
async def begin(turn: Turn, what: str, key: str) -> Reply | None:
    """The quiz or vote of this name; without a name the one there is, or which there are."""
    if key:
        found = [task for task in [await store.find(turn.session, key)] if task is not None]
    else:
        found = await store.on_now(turn.session, kinds=[KINDS[what]], now=turn.now)
    if not found:
        return Reply.text(task_words.NONE) if not key else None
    if len(found) > 1:
        cards = [await board.card(turn.session, one, turn.member.id, now=turn.now) for one in found]
        return Reply((task_words.listed(cards, _page(turn)),))
    return await _open(turn, found[0])


@router.on(from_customer, tapped(task_words.PREFIX))
async def tapped_line(turn: Turn, argument: str) -> Reply | None:
    """A line of one of our menus: everything it needs came back with it."""
    what, _, rest = argument.partition(":")
    number, _, rest = rest.partition(":")
    task = await turn.session.get(CommunityTask, int(number)) if number.isdecimal() and len(number) < 18 else None
    if task is None:
        return Reply.text(task_words.GONE)
    if what == "open":
        return await _open(turn, task)
    if what == "review":
        order_id, _, sku = rest.partition(":")
        return await reviews.chosen(turn, task, int(order_id) if order_id.isdecimal() else 0, sku)
    version, _, choices = rest.partition(":")
    if not (version.isdecimal() and choices.isdecimal() and len(version) < 10 and len(choices) <= 20):
        return None
    if what == "quiz":
        return await _quiz(turn, task, int(version), choices)
    return await _vote(turn, task, int(version), int(choices)) if what == "vote" else None


async def _open(turn: Turn, task: CommunityTask) -> Reply:
    card = await board.card(turn.session, task, turn.member.id, now=turn.now)
    told = card.told
    if card.entry is not None or not card.is_open:
        return _standing(card)
    if isinstance(told, Quiz):
        return Reply((task_words.question(task, told, ""),))
    if isinstance(told, Vote):
        return Reply((task_words.ballot(task, told),))
    if isinstance(told, Review):
        return await reviews.begin(turn, card)
    said = [task.title, told.about, task_words.stands(card), task_words.offers(told)]
    return Reply.text("\n".join(filter(None, said)))


async def _quiz(turn: Turn, task: CommunityTask, version: int, answers: str) -> Reply:
    told = store.told(task)
    if not isinstance(told, Quiz) or task.version != version:
        return Reply.text(task_words.CHANGED)
    if len(answers) < len(told.questions) and store.is_open(task, now=turn.now):
        return Reply((task_words.question(task, told, answers),))
    choices = [int(one) for one in answers]
    try:
        answered = await entries.answer(
            turn.session, task.key, turn.member.id, choices, version=version, channel="chat", now=turn.now
        )
    except AlreadyDone:
        return _standing(await board.card(turn.session, task, turn.member.id, now=turn.now))
    return Reply.text(task_words.graded(answered, told))


async def _vote(turn: Turn, task: CommunityTask, version: int, choice: int) -> Reply:
    try:
        answered = await entries.answer(
            turn.session, task.key, turn.member.id, [choice], version=version, channel="chat", now=turn.now
        )
    except AlreadyDone:
        return _standing(await board.card(turn.session, task, turn.member.id, now=turn.now))
    card = await board.card(turn.session, answered.task, turn.member.id, now=turn.now)
    return Reply.text("\n".join([_voted(card, task_words.VOTED), *task_words.got(answered.reward), *_result(card)]))


def _standing(card: TaskCard) -> Reply:
    """What became of a task this member did, or that is over."""
    told, lines = card.told, [] if card.is_open else [task_words.GONE]
    if isinstance(told, Quiz) and card.entry is not None:
        lines.append(task_words.ANSWERED.format(count=len(told.questions), score=card.entry.score))
    if isinstance(told, Vote):
        lines += [_voted(card, task_words.VOTED_ALREADY)] if card.entry is not None else []
        lines += _result(card)
    return Reply((Text("\n".join(lines)),))


def _voted(card: TaskCard, pattern: str) -> str:
    told, entry = card.told, card.entry
    if not isinstance(told, Vote) or entry is None:
        return ""
    return pattern.format(name=told.options[entry.choice - 1].name)


def _result(card: TaskCard) -> list[str]:
    return task_words.tally(card.tally) or ([task_words.SEEN_LATER] if card.is_open else [])


def _page(turn: Turn) -> str:
    return f"{turn.app.public_url}{PAGE}" if turn.app.public_url else ""
