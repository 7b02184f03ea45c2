"""What the dialogue does about people: calls one, follows the session when one takes or ends it, minds their clocks."""

from bot import texts
from bot.dialogue import state
from bot.dialogue.turn import Reply, Turn
from bot.handoff import csat, queue
from bot.handoff.hours import say_when
from bot.handoff.sla import COMPLAINTS
from bot.handoff.triggers import Reason
from bot.wecom.api.kf import ServiceState
from bot.wecom.kf_items import KfMessage, Origin, SessionChange, SessionStatusChange
from crm.base import outbox
from crm.base.clock import local_day
from crm.base.outbox import OutboxRow

AFTER_SALES = "售后"
SKILL_OF = {Reason.REFUND: AFTER_SALES, Reason.COMPLAINT: AFTER_SALES, Reason.BAD_RATING: AFTER_SALES}


async def call_person(turn: Turn, reason: Reason) -> Reply:
    """Hand this conversation to a person: the ticket, the words for the customer, and the silence that follows."""
    called = await queue.call(
        turn.session,
        turn.conversation,
        turn.app.handoff,
        reason=reason,
        quote=turn.text,
        now=turn.now,
        skill=_skill(turn, reason),
    )
    due = called.ticket.first_response_due_at or turn.now
    when = say_when(due, now=turn.now)
    if not called.is_new:
        late = due <= turn.now or called.ticket.first_response_at is not None
        words = texts.HUMAN_URGED if late else texts.HUMAN_ALREADY.format(when=when)
        return Reply.text(words, *called.messages)
    parts = [texts.HUMAN_WHY[reason]]
    if turn.app.handoff.hours.is_open(turn.now):
        parts.append((texts.HUMAN_SOON_COMPLAINT if reason in COMPLAINTS else texts.HUMAN_SOON).format(when=when))
    else:
        parts.append(texts.HUMAN_LATER.format(hours=turn.app.handoff.hours.words, when=when))
    return Reply.text("".join(parts), *called.messages)


def _skill(turn: Turn, reason: Reason) -> str:
    """The topic a servicer should know: the reason's own, else the first tag of the nearest article."""
    if reason in SKILL_OF or reason is Reason.BOT_ERROR or not turn.text:  # what failed may be the matcher itself
        return SKILL_OF.get(reason, "")
    hits = turn.app.faq.matcher.match(turn.text, local_day(turn.now)).hits
    nearest = turn.app.faq.articles.get(hits[0].article_id) if hits else None
    return nearest.tags[0] if nearest is not None and nearest.tags else ""


async def mind_clocks(turn: Turn) -> None:
    """Whose turn it is to speak: a person's word stops the clocks, the customer's starts them again."""
    item, policy = turn.item, turn.app.handoff
    if not isinstance(item, KfMessage):
        return
    if item.origin is Origin.SERVICER:
        await queue.person_spoke(
            turn.session, turn.conversation.id, policy, by=item.servicer_userid, at=item.sent_at, now=turn.now
        )
    elif item.origin is Origin.CUSTOMER and _with_people(turn):
        await queue.customer_spoke(turn.session, turn.conversation.id, policy, now=turn.now)
        if turn.text and not turn.menu_id:
            await keep_comment(turn)


async def keep_comment(turn: Turn) -> bool:
    """Whether this was what the customer adds to a rating; then it lies beside it, whoever has the talk by now."""
    conversation = turn.conversation
    if state.topic_of(conversation, now=turn.now) != csat.TOPIC:
        return False
    ticket_id = int((conversation.topic_data or {}).get("ticket_id", 0))
    state.set_topic(conversation, None, None, now=turn.now)
    await csat.comment(turn.session, conversation.id, ticket_id, turn.text)
    return True


def _with_people(turn: Turn) -> bool:
    conversation = turn.conversation
    return conversation.human_wanted_at is not None or conversation.service_state == ServiceState.HUMAN


async def follow(turn: Turn, event: SessionStatusChange) -> Reply:
    """A person took, passed on or ended the session."""
    session, conversation, now = turn.session, turn.conversation, turn.now
    state.take_in(conversation, event)
    key = queue.address(conversation).key
    await outbox.cancel(session, OutboxRow.key == key, reason="a person moved the session", now=now)
    if event.change is SessionChange.ENDED:
        ticket = await queue.close(session, conversation, now=now, by=event.old_servicer)
        if ticket is None:
            return Reply()
        asked = await csat.ask_natively(
            session, conversation, ticket, turn.app.handoff, code=event.msg_code, now=event.sent_at
        )
        return Reply(before=asked)
    if conversation.servicer_userid:
        await queue.assigned(session, conversation, turn.app.handoff, now=now)
    return Reply()
