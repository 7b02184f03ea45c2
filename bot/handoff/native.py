"""Brings a session to a person: to a servicer who is receiving, else to the queue, else honestly to nobody.

Every try begins by reading where the session is, so a call whose answer was lost is settled by what became of it.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot import texts
from bot.handoff import cards, queue, routing
from bot.handoff.hours import say_when
from bot.handoff.policy import Policy
from bot.metrics import ALERTS
from bot.models.conversation import Conversation
from bot.models.handoff import StepKind, Ticket, TicketMode, TicketStatus, TicketStep
from bot.wecom import lanes
from bot.wecom.api.kf import KfApi, ServiceState, Session
from bot.wecom.errors import IllegalTransition, NotAServicer, OutcomeUnknown, Retry, ServicerAway, WecomError
from bot.wecom.lanes import Sent
from crm.base.clock import Clock
from crm.base.db import Sessions
from crm.base.outbox import Claimed, Message
from crm.models.member import Member

log = logging.getLogger(__name__)

PROMPTED_FROM = frozenset({ServiceState.UNTREATED, ServiceState.BOT})  # the queue has had its prompt
ENDED_PAUSE = timedelta(minutes=30)  # only a servicer's or the customer's word opens an ended session


@dataclass(frozen=True, slots=True)
class Errand:
    """One try for one ticket: whom it is about, and the instant of the try."""

    ticket: Ticket
    to: lanes.KfAddress
    round_no: int
    without: tuple[str, ...]
    customer: str  # as staff know them
    now: datetime


class Handover:
    """The lane `kf_handoff`: one message is one try to bring one ticket to somebody."""

    def __init__(self, kf: KfApi, sessions: Sessions, clock: Clock, policy: Callable[[], Policy]) -> None:
        self._kf, self._sessions, self._clock, self._chosen = kf, sessions, clock, policy

    @property
    def _policy(self) -> Policy:
        """As the shop has chosen by now: staff change it while we run."""
        return self._chosen()

    async def send(self, one: Claimed) -> Sent:
        errand = await self._errand(one)
        if errand.ticket.status is TicketStatus.CLOSED:
            return Sent({"closed": True})
        if errand.ticket.mode is TicketMode.DESK:
            return await self._to_desk(errand)
        try:
            return await self._bring(errand)
        except IllegalTransition:  # it moved meanwhile: look again
            return await self._look_again(errand)
        except WecomError as error:
            if error.retry is not Retry.NEVER or isinstance(error, OutcomeUnknown):
                raise  # tried again; what was done by then is found by looking
            if error.alert:
                ALERTS.labels(type(error).__name__).inc()
            return await self._nobody(errand, str(error))

    async def _bring(self, errand: Errand) -> Sent:
        session = await self._kf.get_state(errand.to.open_kfid, errand.to.external_userid)
        if session.state is ServiceState.ENDED:  # only a servicer can open it again, or the customer's next word
            return await self._nobody(errand, "the session has ended", ended=True)
        if session.state is ServiceState.HUMAN and session.servicer_userid not in errand.without:
            return await self._reached(errand, session)  # an earlier try, or somebody's hand, was first
        return await self._find_somebody(errand, session)

    async def _errand(self, one: Claimed) -> Errand:
        body = one.body
        to = lanes.KfAddress(body["conversation_id"], body["open_kfid"], body["external_userid"], body["member_id"])
        async with self._sessions.read() as session:
            ticket = await session.get_one(Ticket, body["ticket_id"])
            member = await session.get(Member, ticket.member_id) if ticket.member_id is not None else None
        return Errand(
            ticket,
            to,
            body.get("round", 1),
            tuple(body.get("without", ())),
            member.name if member is not None else "",
            self._clock.now(),
        )

    async def _find_somebody(self, errand: Errand, session: Session) -> Sent:
        servicers = await self._kf.servicer_list(errand.to.open_kfid)
        receiving = [one.userid for one in servicers if one.userid and one.receiving]
        left = [one for one in receiving if one not in errand.without]
        while left:
            chosen = await self._reserve(errand, left)
            if chosen is None:
                break
            reached = await self._give(errand, chosen, prompts=session.state in PROMPTED_FROM)
            if reached is not None:
                return reached
            left.remove(chosen)
        return await self._without_anybody(errand, session, somebody_works=bool(receiving))

    async def _reserve(self, errand: Errand, candidates: Sequence[str]) -> str | None:
        async with self._sessions.begin() as session:
            return await routing.reserve(
                session, errand.ticket.id, errand.to.open_kfid, candidates, self._policy, now=errand.now
            )

    async def _give(self, errand: Errand, servicer: str, *, prompts: bool) -> Sent | None:
        """The session is `servicer`'s; None when they cannot have it."""
        to = errand.to
        try:
            code = await self._kf.trans(to.open_kfid, to.external_userid, ServiceState.HUMAN, servicer_userid=servicer)
        except (NotAServicer, ServicerAway):  # went away between the list and now: the next one
            return None
        await self._prompt(code if prompts else "", texts.HUMAN_PROMPT)
        return await self._reached(errand, Session(ServiceState.HUMAN, servicer))

    async def _look_again(self, errand: Errand) -> Sent:
        session = await self._kf.get_state(errand.to.open_kfid, errand.to.external_userid)
        if session.state in (ServiceState.QUEUE, ServiceState.HUMAN):
            return await self._reached(errand, session)
        ended = session.state is ServiceState.ENDED
        return await self._nobody(errand, f"the session is in state {int(session.state)}", ended=ended)

    async def _without_anybody(self, errand: Errand, session: Session, *, somebody_works: bool) -> Sent:
        """Nobody has room: with the one who has it, in the queue in working hours, else the bot goes on meanwhile."""
        if session.state in (ServiceState.HUMAN, ServiceState.QUEUE):
            kept = await self._reached(errand, session)
            return replace(kept, messages=(*kept.messages, *self._nobody_else(errand)))
        if errand.round_no > 1 or not (somebody_works or self._policy.hours.is_open(errand.now)):
            return await self._nobody(errand, "nobody is receiving")
        to = errand.to
        code = await self._kf.trans(to.open_kfid, to.external_userid, ServiceState.QUEUE)
        await self._prompt(code, texts.HUMAN_QUEUED)
        return await self._reached(errand, Session(ServiceState.QUEUE))

    async def _prompt(self, code: str, content: str) -> None:
        """The one sentence that a transition allows; the handover stands without it."""
        if not code:
            return
        try:
            message = {"code": code, "msgtype": "text", "text": {"content": content}}
            await self._kf.send_msg_on_event(message, msgid=lanes.msgid("prompt", code))
        except WecomError as error:
            log.warning("handover.prompt_failed", extra={"error": str(error)})

    async def _reached(self, errand: Errand, session: Session) -> Sent:
        """In somebody's hands, or in the queue: the bot is silent by the session's own state."""
        who, now = session.servicer_userid, errand.now
        held = session.state is ServiceState.HUMAN
        values = queue.has_it(errand.ticket, who, self._policy, now=now) if held else self._in_queue(now)
        kind = StepKind.ASSIGNED if held else StepKind.QUEUED
        news = held or errand.round_no == 1  # in the queue it is tried again and again
        card = await self._card(errand, (who,) if held else ()) if news else ()
        return Sent(
            {"state": int(session.state), "servicer_userid": who},
            (
                _conversation(errand, service_state=int(session.state), servicer_userid=who or None),
                _ticket(errand, **values),
                *((_step(errand, kind, by=who),) if news else ()),
            ),
            card,
        )

    def _in_queue(self, now: datetime) -> dict[str, Any]:
        retry_at = self._policy.hours.opens_at(now + self._policy.retry)
        return {"status": TicketStatus.QUEUED, "servicer_userid": None, "retry_at": retry_at, "check_at": now}

    async def _to_desk(self, errand: Errand) -> Sent:
        """The session stays where it is, and whoever takes the ticket answers. At night the bot goes on until then."""
        waiting = _ticket(errand, status=TicketStatus.WAITING, servicer_userid=None, check_at=errand.now)
        at_night = not self._policy.hours.is_open(errand.now)
        goes_on = (_conversation(errand, human_wanted_at=None),) if at_night else ()
        return Sent({"desk": True}, (*goes_on, waiting), await self._card(errand, ()))

    async def _nobody(self, errand: Errand, why: str, *, ended: bool = False) -> Sent:
        """Nobody can take it now: the ticket and its clocks stay, the bot goes on, and it is tried again."""
        log.warning("handover.nobody", extra={"ticket_id": errand.ticket.id, "why": why})
        hours, now = self._policy.hours, errand.now
        first = errand.round_no == 1
        pause = ENDED_PAUSE if ended else self._policy.retry
        learnt = (
            _conversation(errand, human_wanted_at=None, service_state=None),
            _ticket(
                errand,
                status=TicketStatus.WAITING,
                servicer_userid=None,
                retry_at=hours.opens_at(now + pause),
                check_at=now,
            ),
            *((_step(errand, StepKind.NOBODY, note=why),) if first else ()),
        )
        messages = await self._card(errand, ()) if first else ()
        if ended:
            messages = (*messages, self._to_servicers(errand, texts.STAFF_ENDED, "ended"))
        elif first and hours.is_open(now):  # outside hours the call itself said when
            messages = (self._away(errand), *messages)
        return Sent({"nobody": why}, learnt, messages)

    def _nobody_else(self, errand: Errand) -> tuple[Message, ...]:
        """Who wanted to pass it on, or was silent, still has it."""
        if not errand.without:
            return ()
        return (self._to_servicers(errand, texts.STAFF_NOBODY_ELSE, f"kept:{errand.round_no}", errand.without),)

    def _to_servicers(self, errand: Errand, words: str, why: str, userids: tuple[str, ...] = ()) -> Message:
        content = words.format(customer=errand.customer, number=errand.ticket.id)
        return lanes.staff_message(
            {"msgtype": "text", "text": {"content": content}},
            because=("handoff", errand.ticket.id, why),
            userids=userids,
            open_kfid=errand.to.open_kfid,
            about=errand.ticket.member_id,
        )

    def _away(self, errand: Errand) -> Message:
        due = errand.ticket.first_response_due_at or errand.now
        words = texts.HUMAN_AWAY.format(when=say_when(due, now=errand.now))
        away = {"msgtype": "text", "text": {"content": words}}
        return lanes.kf_message(errand.to, away, because=("nobody", errand.ticket.id), deadline=None)

    async def _card(self, errand: Errand, userids: tuple[str, ...]) -> tuple[Message, ...]:
        async with self._sessions.read() as session:
            return (
                await cards.of_ticket(
                    session, errand.ticket, errand.to, self._policy, userids, round_no=errand.round_no, now=errand.now
                ),
            )


def _conversation(errand: Errand, **values: Any) -> sa.Executable:
    return sa.update(Conversation).where(Conversation.id == errand.to.conversation_id).values(**values)


def _ticket(errand: Errand, **values: Any) -> sa.Executable:
    return sa.update(Ticket).where(Ticket.id == errand.ticket.id, queue.OPEN).values(**values)


def _step(errand: Errand, kind: StepKind, *, by: str = "", note: str = "") -> sa.Executable:
    values = {"ticket_id": errand.ticket.id, "kind": kind, "at": errand.now, "by": by, "note": note}
    return sa.insert(TicketStep).values(values)
