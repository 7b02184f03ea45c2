"""Buttons on tickets' cards: 接单 makes the ticket the presser's, once; 转给同事 brings it to somebody else."""

import logging
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot import texts
from bot.app import App
from bot.handoff import cards, queue
from bot.handoff.queue import TicketClosed, TicketTaken
from bot.models.conversation import Conversation
from bot.models.handoff import StepKind, Ticket, TicketMode, TicketStatus
from bot.wecom import lanes
from bot.wecom.api.kf import KfApi, ServiceState
from bot.wecom.errors import IllegalTransition, NotAServicer, ServicerAway
from bot.wecom.events import CardPressed
from crm import staff
from crm.base import outbox
from crm.base.outbox import Message
from crm.models.member import Member

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Press:
    """Somebody's press on the card of one round of one ticket."""

    ticket_id: int
    round_no: int
    by: str
    response_code: str  # updates the card once


class CardPresses:
    """Handles presses out of the inbox. A press that is handled twice ends as it ended the first time."""

    def __init__(self, app: App, kf: KfApi) -> None:
        self._app, self._kf = app, kf

    async def take(self, event: CardPressed) -> None:
        found = cards.read_task_id(event.task_id)
        if found is None:
            log.info("card.not_ours", extra={"task_id": event.task_id})
            return
        press = Press(*found, by=event.from_user, response_code=event.response_code)
        if event.event_key == cards.ACCEPT:
            await self._accept(press)
        elif event.event_key == cards.PASS:
            await self._pass(press)
        self._app.peers.tap("send")

    async def _accept(self, press: Press) -> None:
        now = self._app.clock.now()
        try:
            async with self._app.sessions.begin() as session:
                ticket = await queue.take(session, press.ticket_id, by=press.by, now=now)
                conversation = await session.get_one(Conversation, ticket.conversation_id)
        except TicketTaken as taken:
            await self._too_late(press, texts.STAFF_TAKEN, who=taken.by)
            return
        except TicketClosed:
            await self._too_late(press, texts.STAFF_GONE)
            return
        if ticket.mode is TicketMode.DESK:
            await self._settle(press, conversation, held=False, code="")
            return
        await self._bring(press, conversation)

    async def _bring(self, press: Press, conversation: Conversation) -> None:
        """Move the session to the presser: from the bot, from the queue, or from the colleague who had it."""
        where = conversation.open_kfid, conversation.external_userid
        session = await self._kf.get_state(*where)
        if session.state is ServiceState.ENDED:
            await self._only_by_hand(press)
            return
        code = ""
        if (session.state, session.servicer_userid) != (ServiceState.HUMAN, press.by):
            try:
                code = await self._kf.trans(*where, ServiceState.HUMAN, servicer_userid=press.by)
                code = "" if session.state is ServiceState.QUEUE else code  # the queue has had its prompt
            except (ServicerAway, NotAServicer):
                await self._cannot(press)
                return
            except IllegalTransition:  # it ended, or it is theirs already: look again on the next try
                session = await self._kf.get_state(*where)
                if session.servicer_userid != press.by:
                    await self._only_by_hand(press)
                    return
        await self._settle(press, conversation, held=True, code=code)

    async def _settle(self, press: Press, conversation: Conversation, *, held: bool, code: str) -> None:
        """The ticket is the presser's: their name on every copy of the card, the prompt to the customer."""
        now = self._app.clock.now()
        async with self._app.sessions.begin() as session:
            known = await session.get_one(Conversation, conversation.id, with_for_update={"key_share": True})
            if held:
                known.service_state, known.servicer_userid = ServiceState.HUMAN, press.by
                known.human_wanted_at = None
                await queue.hush(session, known, now=now)
            else:
                await queue.silence_bot(session, known, now=now)
            ticket = await session.get_one(Ticket, press.ticket_id, with_for_update=True)
            if ticket.status is not TicketStatus.CLOSED:
                for name, value in queue.has_it(ticket, press.by, self._app.handoff, now=now).items():
                    setattr(ticket, name, value)
            words = texts.CARD_TAKEN.format(who=await _name(session, press.by))
            messages = [await self._card_says(session, press, words)]
            if code:
                prompt = {"msgtype": "text", "text": {"content": texts.HUMAN_PROMPT}}
                to = queue.address(known)
                messages.append(lanes.kf_event_message(code, prompt, to=to, deadline=now + lanes.PROMPT_LIFE))
            await outbox.put(session, messages, now=now)

    async def _too_late(self, press: Press, words: str, *, who: str = "") -> None:
        async with self._app.sessions.begin() as session:
            await self._tell(session, press, words, who=await _name(session, who))

    async def _only_by_hand(self, press: Press) -> None:
        async with self._app.sessions.begin() as session:
            await self._tell(session, press, texts.STAFF_ENDED)

    async def _cannot(self, press: Press) -> None:
        """The presser is not receiving: anybody may still take it."""
        now = self._app.clock.now()
        async with self._app.sessions.begin() as session:
            await queue.give_back(session, press.ticket_id, by=press.by, now=now)
            await self._tell(session, press, texts.STAFF_AWAY)

    async def _pass(self, press: Press) -> None:
        now = self._app.clock.now()
        async with self._app.sessions.begin() as session:
            conversation = await session.scalar(
                sa.select(Conversation)
                .join(Ticket, Ticket.conversation_id == Conversation.id)
                .where(Ticket.id == press.ticket_id)
                .with_for_update(key_share=True)
            )
            ticket = await session.get(Ticket, press.ticket_id, with_for_update=True)
            if conversation is None or ticket is None:
                return
            if ticket.status is TicketStatus.CLOSED:
                await self._tell(session, press, texts.STAFF_GONE)
                return
            if ticket.servicer_userid != press.by:
                await self._tell(session, press, texts.STAFF_NOT_YOURS)
                return
            once = f"passed:{press.round_no}"
            if await queue.step(session, ticket.id, StepKind.PASSED, now=now, by=press.by, once=once):
                moved = queue.bring_again(conversation, ticket, without=(press.by,), now=now)
                card = await self._card_says(session, press, texts.CARD_PASSED)
                await outbox.put(session, [card, moved], now=now)

    async def _card_says(self, session: AsyncSession, press: Press, words: str) -> Message:
        """Take the buttons off this card, for everybody who got it."""
        people = await cards.recipients(session, press.ticket_id, press.round_no) or (press.by,)
        return lanes.card_update(people, press.response_code, cards.button(words))

    async def _tell(self, session: AsyncSession, press: Press, words: str, **more: str) -> None:
        ticket = await session.get(Ticket, press.ticket_id)
        member = await session.get(Member, ticket.member_id) if ticket and ticket.member_id else None
        content = words.format(customer=member.name if member else "", **more)
        message = {"msgtype": "text", "text": {"content": content}}
        because = ("press", press.response_code)
        about = member.id if member is not None else None
        told = lanes.staff_message(message, because=because, userids=(press.by,), about=about)
        await outbox.put(session, [told], now=self._app.clock.now())


async def _name(session: AsyncSession, userid: str) -> str:
    return await staff.name_of(session, userid) or userid or "同事"
