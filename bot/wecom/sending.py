"""What each lane of the outbox does with a message: one call, or the few that belong together."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from bot import texts
from bot.metrics import ALERTS
from bot.models.conversation import Conversation
from bot.models.handoff import Ticket, TicketStatus
from bot.wecom import lanes
from bot.wecom.api.kf import KfApi, ServiceState, Session
from bot.wecom.client import WecomClient
from bot.wecom.errors import IllegalTransition, NotAServicer, OutcomeUnknown, Retry, ServicerAway, WecomError
from crm.base.clock import Clock
from crm.base.outbox import Claimed, Message

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sent:
    """What WeCom answered; what we learnt by it, and what leaves because of it, commit with the settlement."""

    result: dict[str, Any] = field(default_factory=dict)
    learnt: tuple[sa.Executable, ...] = ()
    messages: tuple[Message, ...] = ()


Send = Callable[[Claimed], Awaitable[Sent]]


@dataclass(frozen=True, slots=True)
class Lane:
    """How many messages of a lane are on their way at once, and how one is sent."""

    concurrency: int
    send: Send


def lane_table(client: WecomClient, clock: Clock, *, service_hours: str) -> Mapping[str, Lane]:
    """Every lane that leads to WeCom."""
    handover = Handover(client.kf, clock, service_hours=service_hours)

    async def kf(one: Claimed) -> Sent:
        return Sent({"msgid": await client.kf.send_msg(one.body["message"], msgid=one.dedupe_key)})

    async def kf_event(one: Claimed) -> Sent:
        return Sent({"msgid": await client.kf.send_msg_on_event(one.body["message"], msgid=one.dedupe_key)})

    async def welcome(one: Claimed) -> Sent:
        message = dict(one.body["message"])
        await client.contacts.send_welcome_msg(message.pop("welcome_code"), message, app=one.body.get("app"))
        return Sent()

    return {
        lanes.KF: Lane(32, kf),
        lanes.KF_EVENT: Lane(16, kf_event),
        lanes.KF_HANDOFF: Lane(8, handover.send),
        lanes.WELCOME: Lane(16, welcome),
    }


class Handover:
    """Brings a session to a person: to a servicer who is receiving, else to the queue, else honestly to nobody."""

    def __init__(self, kf: KfApi, clock: Clock, *, service_hours: str) -> None:
        self._kf, self._clock, self._hours = kf, clock, service_hours

    async def send(self, one: Claimed) -> Sent:
        open_kfid, customer = one.body["open_kfid"], one.body["external_userid"]
        try:
            found = await self._kf.get_state(open_kfid, customer)
            if found.state not in (ServiceState.UNTREATED, ServiceState.BOT):
                return self._moved(one, found)
            return await self._bring(one, open_kfid, customer)
        except IllegalTransition:  # it moved meanwhile: look again
            return self._moved(one, await self._kf.get_state(open_kfid, customer))
        except WecomError as error:
            if error.retry is not Retry.NEVER or isinstance(error, OutcomeUnknown):
                raise  # tried again; what was done by then is found by looking
            if error.alert:
                ALERTS.labels(type(error).__name__).inc()
            return self._nobody(one, str(error))

    async def _bring(self, one: Claimed, open_kfid: str, customer: str) -> Sent:
        for servicer in await self._kf.servicer_list(open_kfid):
            if servicer.userid and servicer.receiving and await self._give(open_kfid, customer, servicer.userid):
                return self._reached(one, Session(ServiceState.HUMAN, servicer.userid))
        await self._prompt(await self._kf.trans(open_kfid, customer, ServiceState.QUEUE), texts.HUMAN_QUEUED)
        return self._reached(one, Session(ServiceState.QUEUE))

    def _moved(self, one: Claimed, found: Session) -> Sent:
        """An earlier try, the console, or time was first."""
        if found.state in (ServiceState.QUEUE, ServiceState.HUMAN):
            return self._reached(one, found)
        if found.state is ServiceState.ENDED:  # nothing may be said any more; the customer's next word opens it anew
            return Sent({"nobody": "the session has ended"}, (_nobody_comes(one),))
        return self._nobody(one, "the session does not let itself be moved")

    async def _give(self, open_kfid: str, customer: str, servicer: str) -> bool:
        try:
            code = await self._kf.trans(open_kfid, customer, ServiceState.HUMAN, servicer_userid=servicer)
        except (NotAServicer, ServicerAway):  # went away between the list and now: the next one
            return False
        await self._prompt(code, texts.HUMAN_PROMPT)
        return True

    async def _prompt(self, code: str, content: str) -> None:
        """The one sentence that a transition allows; the handover stands without it."""
        if not code:
            return
        try:
            message = {"code": code, "msgtype": "text", "text": {"content": content}}
            await self._kf.send_msg_on_event(message, msgid=lanes.msgid("prompt", code))
        except WecomError as error:
            log.warning("handover.prompt_failed", extra={"error": str(error)})

    def _reached(self, one: Claimed, session: Session) -> Sent:
        assigned = session.state is ServiceState.HUMAN
        status = TicketStatus.ASSIGNED if assigned else TicketStatus.QUEUED
        who = session.servicer_userid or None
        return Sent(
            {"state": int(session.state), "servicer_userid": session.servicer_userid},
            (
                _conversation(one, service_state=int(session.state), servicer_userid=who),
                _ticket(one, status=status, servicer_userid=who, assigned_at=self._clock.now() if assigned else None),
            ),
        )

    def _nobody(self, one: Claimed, why: str) -> Sent:
        """Nobody can take it: the ticket stays, the bot goes on, and the customer is told both."""
        log.warning("handover.nobody", extra={"ticket_id": one.body["ticket_id"], "why": why})
        to = lanes.KfAddress(
            one.body["conversation_id"], one.body["open_kfid"], one.body["external_userid"], one.body["member_id"]
        )
        away = {"msgtype": "text", "text": {"content": texts.HUMAN_AWAY.format(hours=self._hours)}}
        message = lanes.kf_message(to, away, because=("nobody", one.body["ticket_id"]), deadline=None)
        return Sent({"nobody": why}, (_nobody_comes(one),), (message,))


def _conversation(one: Claimed, **values: Any) -> sa.Executable:
    return sa.update(Conversation).where(Conversation.id == one.body["conversation_id"]).values(**values)


def _nobody_comes(one: Claimed) -> sa.Executable:
    return _conversation(one, human_wanted_at=None, service_state=None)


def _ticket(one: Claimed, **values: Any) -> sa.Executable:
    open_ticket = (Ticket.id == one.body["ticket_id"], Ticket.status != TicketStatus.CLOSED)
    return sa.update(Ticket).where(*open_ticket).values(**values)
