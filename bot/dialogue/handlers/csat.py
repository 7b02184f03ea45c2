"""Ratings after a talk with a person: a tap on the menu, and what the customer adds to it."""

from bot import texts
from bot.dialogue import sessions, state
from bot.dialogue.router import Router, from_customer, is_text, tapped
from bot.dialogue.turn import Reply, Turn
from bot.handoff import csat
from bot.handoff.triggers import Reason

router = Router("csat")
PLEASED = 4


@router.on(from_customer, tapped(csat.PREFIX))
async def rated(turn: Turn, argument: str) -> Reply | None:
    """A bad rating is kept, and brings a person back: with the complaint's clocks."""
    number, _, stars = argument.partition(":")
    if not (number.isdecimal() and stars.isdecimal()):
        return None
    ticket = await csat.rate(turn.session, turn.conversation.id, int(number), int(stars), now=turn.now)
    if ticket is None:
        return Reply.text(texts.CSAT_ALREADY)
    if int(stars) >= PLEASED:
        return Reply.text(texts.CSAT_THANKS)
    state.set_topic(turn.conversation, csat.TOPIC, {"ticket_id": ticket.id}, now=turn.now)
    if int(stars) <= csat.LOW and Reason.BAD_RATING in turn.app.handoff.enabled:
        return await sessions.call_person(turn, Reason.BAD_RATING)
    return Reply.text(texts.CSAT_WHY)


@router.on(from_customer, is_text)
async def commented(turn: Turn) -> Reply | None:
    """The next words belong to the rating."""
    if turn.menu_id or not await sessions.keep_comment(turn):
        return None
    return Reply.text(texts.CSAT_COMMENT_KEPT)
