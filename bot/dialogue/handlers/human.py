"""Customers who need a person: they ask, complain, are angry, or the bot has no answer; each by a rule with a name."""

from bot.dialogue import sessions, state
from bot.dialogue.router import Arguments, Router, from_customer, is_text
from bot.dialogue.turn import Reply, Turn
from bot.handoff import triggers
from bot.handoff.standing import is_vip
from bot.handoff.triggers import Reason
from bot.models.handoff import TicketMode

router = Router("human")
unanswered = Router("unanswered")  # asked after the articles: who gets here has no sure answer


def person_called(turn: Turn) -> Arguments | None:
    """A person was called and is on the way."""
    return {} if turn.conversation.human_wanted_at is not None else None


@router.on(from_customer, person_called)
async def keep_quiet(turn: Turn) -> Reply | None:
    """From the message that called a person on, the bot is silent: the person reads what comes now.

    Who asks again is told again, except at the desk, where every message is one less for the person.
    """
    at_desk = turn.app.handoff.mode_of(turn.conversation.open_kfid) is TicketMode.DESK
    if at_desk or not triggers.asks_for_person(turn.text):
        return Reply()
    return await sessions.call_person(turn, Reason.ASKED_FOR)


@router.on(from_customer, is_text)
async def triggered(turn: Turn) -> Reply | None:
    """Words that go to a person before any answer is tried."""
    reason = triggers.detect(turn.text, turn.app.handoff.enabled)
    return None if reason is None else await sessions.call_person(turn, reason)


@unanswered.on(from_customer, is_text)
async def no_sure_answer(turn: Turn) -> Reply | None:
    """A question without an answer: a VIP's, a risky one, or the second in a row goes to a person."""
    misses = state.misses_in_a_row(turn.conversation, now=turn.now) + 1
    vip = await is_vip(turn.session, turn.member.id, turn.app.handoff)
    reason = triggers.unanswered(turn.text, misses=misses, is_vip=vip, enabled=turn.app.handoff.enabled)
    return None if reason is None else await sessions.call_person(turn, reason)
