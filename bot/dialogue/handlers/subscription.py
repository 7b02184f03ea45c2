"""订阅: the plans, signing up by a tap, and one word for each delivery; a word that means two things is asked about."""

import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from bot import texts
from bot.dialogue import state
from bot.dialogue.router import Arguments, Router, from_customer, is_text, says, tapped
from bot.dialogue.turn import Choice, Menu, Reply, Turn
from bot.subscribing import replies, words
from bot.subscribing.replies import Wish
from bot.subscribing.ways import PAGE
from campaigns import subscription_plans, subscription_reminders, subscriptions
from campaigns.models.subscription import CycleStatus, Mode, SubscriptionPlan, SubscriptionStatus
from campaigns.subscription_terms import NothingOpen, TooLate
from campaigns.subscriptions import View
from crm import addresses, consents
from crm.base.calendar import months_later
from crm.base.clock import local_day

router = Router("subscription")
ADDRESS = "subscription-address"
LATER = ((7, "推迟一周"), (14, "推迟两周"), (30, "推迟一个月"))
QUESTION = re.compile(r"[?？吗呢]|怎么|什么|多少|请问")
LEAVE = frozenset({"算了", "不改了", "取消", "没事了"})
NEW, DO = "sub-new", "sub-do"
ABOUT_ONE = frozenset({Wish.CONFIRM, Wish.SKIP, Wish.POSTPONE})


@router.on(from_customer, is_text)
async def address(turn: Turn) -> Reply | None:
    """What follows our question where to send it."""
    if turn.menu_id or state.topic_of(turn.conversation, now=turn.now) != ADDRESS:
        return None
    no = str((turn.conversation.topic_data or {}).get("no", ""))
    if turn.text.strip("。！! ") in LEAVE:
        state.set_topic(turn.conversation, None, None, now=turn.now)
        return Reply.text(words.KEPT)
    if replies.read(turn.text) is not None or len(turn.text) < addresses.SHORTEST or QUESTION.search(turn.text):
        return None
    return await _move_to(turn, await subscriptions.get(turn.session, no, member_id=turn.member.id), turn.text)


@router.on(
    from_customer,
    says(r"(?:我要|我想|想)?订阅(?:套餐|列表)?|(?:有)?(?:什么|哪些)(?:可以)?订阅的?(?:套餐)?[吗呢]?|定期购"),
)
async def plans(turn: Turn) -> Reply | None:
    """What there is; a shop without any leaves the word to its articles."""
    shown = await subscription_plans.on_show(turn.session)
    if not shown:
        return None
    lines = [words.offered(one) for one in shown[:8]]
    how = words.PLANS_HOW.format(key=shown[0].plan.key)
    return Reply.text("\n\n".join([words.PLANS, *lines, f"{how}{_page(turn)}"]))


@router.on(from_customer, says(r"(?:我要|我想|想)?订阅\s*(?P<key>[^\s，。！？]{1,40})"))
async def plan(turn: Turn, key: str) -> Reply | None:
    """One plan, and the two ways to have it."""
    found = await subscription_plans.find(turn.session, key)
    if found is None or found.plan.closed_at is not None:
        shown = await subscription_plans.on_show(turn.session)
        return Reply.text(words.PLAN_UNKNOWN.format(key=key)) if shown else None
    choices = tuple(Choice(f"{NEW}:{found.plan.id}:{mode.value}", said) for mode, said in words.HOW.items())
    return Reply((Menu(words.HOW_HEAD.format(terms=words.offered(found)), choices),))


@router.on(from_customer, tapped(NEW))
async def sign_up(turn: Turn, argument: str) -> Reply | None:
    number, _, chosen = argument.partition(":")
    offered = await turn.session.get(SubscriptionPlan, int(number)) if number.isdecimal() else None
    if offered is None or chosen not in set(Mode):
        return None
    view = await subscriptions.sign_up(
        turn.session,
        turn.member.id,
        offered.key,
        mode=Mode(chosen),
        address_id=await addresses.newest_of(turn.session, turn.member.id),
        now=turn.now,
        chance=turn.app.chance,
    )
    coming = words.upcoming(view, today=local_day(turn.now))
    said = words.SIGNED.format(title=offered.title, cycle=words.cycle(offered), next=f"{coming}。")
    if view.subscription.address_id is None and turn.app.vault is not None:
        state.set_topic(turn.conversation, ADDRESS, {"no": view.subscription.no}, now=turn.now)
        said = f"{said}\n{words.ADDRESS_FIRST}"
    return Reply.text(f"{said}{_page(turn, view)}")


@router.on(from_customer, says(r"(?:查看?|看看?)?(?:一下)?我的订阅|订阅(?:查询|状态|情况)"))
async def mine(turn: Turn) -> Reply | None:
    found = await subscriptions.of_member(turn.session, turn.member.id)
    if not found:
        return Reply.text(words.MINE_NONE) if await subscription_plans.on_show(turn.session) else None
    lines = [words.mine(one, today=local_day(turn.now)) for one in found]
    return Reply.text("\n".join([words.MINE, *lines, f"{words.MINE_HOW}{_page(turn)}"]))


def _about_a_subscription(turn: Turn) -> Arguments | None:
    """Cheap, because every line of everybody's passes here."""
    return {} if replies.read(turn.text) is not None or replies.is_yes(turn.text) else None


@router.on(from_customer, _about_a_subscription)
async def reply(turn: Turn) -> Reply | None:
    """A word about a delivery, from who has a subscription."""
    found = await subscriptions.of_member(turn.session, turn.member.id)
    if not found or turn.menu_id:
        return None
    told = replies.read(turn.text)
    if told is None:  # a yes, if we asked
        asked = await subscription_reminders.asked_lately(turn.session, turn.member.id, now=turn.now)
        return await _do(turn, Wish.CONFIRM, [one for one in found if one.subscription.no in asked]) if asked else None
    if told.wish is None:
        return _ask(told.wishes, found)
    if told.wish is Wish.CONFIRM and not any(one.cycle for one in found):
        return None
    arg = str(told.months) if told.wish is Wish.PAUSE and told.months else str(told.days or "")
    return await _do(turn, told.wish, found, arg, told.rest)


@router.on(from_customer, tapped(DO))
async def do(turn: Turn, argument: str) -> Reply | None:
    """A tap on what the bot asked: the wish, whose, and how long."""
    wish, _, rest = argument.partition(":")
    no, _, arg = rest.partition(":")
    if wish == "keep":
        return Reply.text(words.KEPT)
    if wish not in set(Wish):
        return None
    if wish == Wish.UNPUSH:
        await consents.opt_out(turn.session, turn.member.id, source="kf_chat", wording_version="退订", now=turn.now)
        return Reply.text(texts.OPTED_OUT)
    if not no:
        return await _do(turn, Wish(wish), await subscriptions.of_member(turn.session, turn.member.id), arg)
    return await _one(turn, Wish(wish), await subscriptions.get(turn.session, no, member_id=turn.member.id), arg)


async def _do(turn: Turn, wish: Wish, found: Sequence[View], arg: str = "", rest: str = "") -> Reply:
    """Of several subscriptions the one that can be meant; the bot asks where more than one can."""
    may = [one for one in found if _fits(wish, one)] or list(found)
    if len(may) == 1:
        return await _one(turn, wish, may[0], arg, rest)
    choices = tuple(Choice(f"{DO}:{wish.value}:{one.subscription.no}:{arg}", one.plan.title) for one in may)
    return Reply((Menu(words.WHICH, choices),))


def _fits(wish: Wish, view: View) -> bool:
    if wish is Wish.RESUME:
        return view.subscription.status is SubscriptionStatus.PAUSED
    if wish in ABOUT_ONE:
        return view.cycle is not None
    return wish is not Wish.PAUSE or view.subscription.status is SubscriptionStatus.ACTIVE


def _ask(wishes: Sequence[Wish], found: Sequence[View]) -> Reply:
    no = found[0].subscription.no if len(found) == 1 else ""
    choices = [Choice(f"{DO}:{wish.value}:{no}", words.MEANS_EACH[wish]) for wish in wishes]
    return Reply((Menu(words.MEANS, (*choices, Choice(f"{DO}:keep:", "都不是，照旧"))),))


async def _one(turn: Turn, wish: Wish, view: View, arg: str = "", rest: str = "") -> Reply:
    """Do it. What cannot be done is said with what can."""
    try:
        return await _VERBS[wish](turn, view, arg, rest)
    except NothingOpen as nothing:
        when = words.day(nothing.due_on, local_day(turn.now))
        return Reply.text(words.NOTHING_OPEN.format(title=view.plan.title, day=when))
    except TooLate as late:
        return Reply.text(words.LATE.get(late.stands, texts.REFUSALS["subscription.too_late"]))


async def _confirm(turn: Turn, view: View, arg: str, rest: str) -> Reply:
    del arg, rest
    cycle = view.cycle
    if cycle is None or cycle.status is not CycleStatus.ORDERED:  # who confirms twice reads what the first one did
        await subscriptions.confirm(turn.session, view.subscription.no, member_id=turn.member.id, now=turn.now)
    assert cycle is not None  # confirm() has refused
    return Reply.text(words.ordered(view, cycle, _page(turn, view), now=turn.now))


async def _skip(turn: Turn, view: View, arg: str, rest: str) -> Reply:
    del arg, rest
    done = await subscriptions.skip(turn.session, view.subscription.no, member_id=turn.member.id, now=turn.now)
    when = words.day(done.subscription.due_on, local_day(turn.now))
    return Reply.text(words.SKIPPED.format(title=view.plan.title, day=when))


async def _postpone(turn: Turn, view: View, arg: str, rest: str) -> Reply:
    del rest
    if not arg.isdecimal():
        choices = tuple(
            Choice(f"{DO}:{Wish.POSTPONE.value}:{view.subscription.no}:{days}", said) for days, said in LATER
        )
        return Reply((Menu(words.HOW_LATE, choices),))
    done = await subscriptions.postpone(
        turn.session, view.subscription.no, int(arg), member_id=turn.member.id, now=turn.now
    )
    when = words.day(done.subscription.due_on, local_day(turn.now))
    return Reply.text(words.POSTPONED.format(title=view.plan.title, day=when))


async def _pause(turn: Turn, view: View, arg: str, rest: str) -> Reply:
    del rest
    until = months_later(local_day(turn.now), int(arg)) if arg.isdecimal() and 0 < int(arg) <= 12 else None
    if until is None and arg.isdecimal():
        until = local_day(turn.now) + timedelta(days=int(arg))
    await subscriptions.pause(turn.session, view.subscription.no, member_id=turn.member.id, until=until, now=turn.now)
    if until is None:
        return Reply.text(words.PAUSED.format(title=view.plan.title))
    return Reply.text(words.PAUSED_UNTIL.format(title=view.plan.title, day=words.day(until, local_day(turn.now))))


async def _resume(turn: Turn, view: View, arg: str, rest: str) -> Reply:
    del arg, rest
    done = await subscriptions.resume(turn.session, view.subscription.no, member_id=turn.member.id, now=turn.now)
    when = words.day(done.subscription.due_on, local_day(turn.now))
    return Reply.text(words.RESUMED.format(title=view.plan.title, day=when))


async def _cancel(turn: Turn, view: View, arg: str, rest: str) -> Reply:
    """Asked once whether it is meant, because it cannot be taken back by a word."""
    del rest
    no, left = view.subscription.no, view.paid_until_gift
    if arg == "sure":
        await subscriptions.cancel(turn.session, no, member_id=turn.member.id, now=turn.now)
        return Reply.text(words.CANCELLED.format(title=view.plan.title))
    head = words.CANCEL_SURE_GIFT if left else words.CANCEL_SURE
    choices = (
        Choice(f"{DO}:{Wish.CANCEL.value}:{no}:sure", "确认取消"),
        Choice(f"{DO}:{Wish.PAUSE.value}:{no}", "先暂停"),
        Choice(f"{DO}:keep:", "不取消了"),
    )
    return Reply((Menu(head.format(title=view.plan.title, left=left), choices),))


async def _address(turn: Turn, view: View, arg: str, rest: str) -> Reply:
    del arg
    if turn.app.vault is None:
        return Reply.text(words.ADDRESS_NOT_HERE)
    if rest:
        return await _move_to(turn, view, rest)
    state.set_topic(turn.conversation, ADDRESS, {"no": view.subscription.no}, now=turn.now)
    return Reply.text(words.ADDRESS_ASK)


async def _move_to(turn: Turn, view: View, written: str) -> Reply:
    """Seal the address, for all deliveries from now on."""
    told, vault = addresses.normalized(written), turn.app.vault
    if told is None or vault is None:
        state.set_topic(turn.conversation, ADDRESS, {"no": view.subscription.no}, now=turn.now)
        return Reply.text(words.ADDRESS_ODD)
    address_id = await addresses.keep(turn.session, vault, turn.member.id, told, now=turn.now)
    await subscriptions.send_to(turn.session, view.subscription.no, address_id, member_id=turn.member.id, now=turn.now)
    state.set_topic(turn.conversation, None, None, now=turn.now)
    return Reply.text(words.ADDRESS_KEPT.format(address=addresses.masked(told)))


_VERBS: dict[Wish, Callable[[Turn, View, str, str], Awaitable[Reply]]] = {
    Wish.CONFIRM: _confirm,
    Wish.SKIP: _skip,
    Wish.POSTPONE: _postpone,
    Wish.PAUSE: _pause,
    Wish.RESUME: _resume,
    Wish.CANCEL: _cancel,
    Wish.ADDRESS: _address,
}


def _page(turn: Turn, view: View | None = None) -> str:
    """Where it can be looked at, if the shop has pages."""
    no = f"/{view.subscription.no}" if view is not None else ""
    return f"\n{turn.app.public_url}{PAGE}{no}" if turn.app.public_url else ""
