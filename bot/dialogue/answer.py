"""The transaction around every handler: effects, reply and the done mark commit together.

Conversations wait on a queue (`due_at`). A round locks some of them, answers their open messages in order and commits
once; PostgreSQL workers skip each other's rows. A bug rolls back its own turn only: it is tried again, then it is a
human's.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot import texts
from bot.app import App
from bot.dialogue import lines, sessions, state
from bot.dialogue.router import Router
from bot.dialogue.thinking import think_ahead
from bot.dialogue.turn import PUT_OFF, SILENCE, Choice, Reply, Say, Text, Turn, as_messages, ask_whether_it_helped
from bot.handoff import queue
from bot.handoff.triggers import Reason
from bot.metrics import ALERTS, TURNS
from bot.models.conversation import Conversation, KfSend
from bot.models.gateway import Handling, InboundMessage
from bot.wecom import lanes
from bot.wecom.api.kf import KfApi
from bot.wecom.errors import WecomError
from bot.wecom.kf_items import MsgSendFail, Origin, SessionStatusChange
from campaigns import draining
from crm.base import outbox
from crm.base.errors import ShopError
from crm.base.outbox import Message, OutboxRow
from crm.models.member import Member

log = logging.getLogger(__name__)

ROUND = 100  # conversations a transaction answers
ROUND_SECONDS = 0.5  # then it commits what it has: no answer waits for a hundred others, and a death loses little work
MESSAGES = 1000  # open messages of one conversation taken together: many answers then share few sends
TRIES = 3
AGAIN = (timedelta(seconds=1), timedelta(seconds=5))  # after the first and the second failure
AFTER_BUG = timedelta(minutes=1)  # when a conversation failed in a way its handlers could not catch
ASK_AGAIN = timedelta(seconds=2)  # when WeCom did not say whose session it is
USEFULNESS = (Choice("useful", texts.USEFUL_CHOICES[0]), Choice("useless", texts.USEFUL_CHOICES[1]))
STATE_CALLS = 10  # service_state/get side by side


class Answering:
    """Works off the queue of conversations, round by round."""

    def __init__(self, app: App, kf: KfApi, router: Router) -> None:
        self._app, self._kf, self._router = app, kf, router

    async def run(self) -> None:
        """Forever: rounds while there is work, then wait for a tap."""
        while True:
            if not await self.round():
                await self._app.peers.wait("dialogue", seconds=0.5)

    async def round(self) -> int:
        """Answer some conversations in one transaction; returns how many messages were handled or put off."""
        asked_at = self._app.clock.now()
        asked = await self._learn_states()
        await think_ahead(self._app, now=asked_at)
        now = self._app.clock.now()
        async with self._app.sessions.begin() as session:
            conversations = await _take_due(session, now=now)
            open_messages = await _open_messages(session, [one.id for one in conversations])
            members = await _members(session, conversations)
            handled = 0
            leaving: list[Message] = []
            began = self._app.clock.monotonic()
            for conversation in conversations:
                if handled and self._app.clock.monotonic() - began > ROUND_SECONDS:
                    break  # the rest stay due
                member, inbounds = members[conversation.member_id or 0], open_messages[conversation.id]
                is_sure = conversation.id in asked and all(one.received_at <= asked_at for one in inbounds)
                if conversation.service_state in state.FLEETING and not is_sure:
                    conversation.due_at, handled = now, handled + 1  # news came while we asked: ask again first
                    continue
                leaving += await self._answer_safely(session, conversation, member, inbounds, now=now)
                handled += len(inbounds)
            await outbox.put(session, leaving, now=now)
        if handled:
            self._app.peers.tap("send")
        return handled

    async def _answer_safely(
        self,
        session: AsyncSession,
        conversation: Conversation,
        member: Member,
        inbounds: Sequence[InboundMessage],
        *,
        now: datetime,
    ) -> list[Message]:
        """What leaves because of one conversation; a bug that even its last resort met leaves the others alone."""
        try:
            async with session.begin_nested():
                return await self._answer(session, conversation, member, inbounds, now=now)
        except Exception:
            log.exception("dialogue.conversation_failed", extra={"conversation_id": conversation.id})
            ALERTS.labels("dialogue_bug").inc()
            await session.refresh(conversation)
            conversation.due_at = now + AFTER_BUG
            return []

    async def _answer(
        self,
        session: AsyncSession,
        conversation: Conversation,
        member: Member,
        inbounds: Sequence[InboundMessage],
        *,
        now: datetime,
    ) -> list[Message]:
        """What leaves because of all open messages of one conversation, taken in order."""
        says: list[Say] = []
        before: list[Message] = []
        then: list[Message] = []
        conversation.due_at = now if len(inbounds) == MESSAGES else None  # there may be more
        done: list[InboundMessage] = []
        put_off: list[Turn] = []
        for place, inbound in enumerate(inbounds):
            if inbound.origin == Origin.CUSTOMER and conversation.service_state is None:
                conversation.due_at = now  # asked for before the next round
                break
            later = inbounds[place + 1 :]
            turn = Turn(
                self._app, session, conversation, member, inbound, now, *self._among_lines(put_off, inbound, later)
            )
            replies = await self._replies(turn, put_off, overtaken=_human_came(later))
            if replies is None:
                conversation.due_at = now + AGAIN[min(inbound.attempts, len(AGAIN)) - 1]
                break
            for reply in replies:
                says += reply.says
                before += reply.before
                then += reply.then
                done.append(inbound)
        if put_off and conversation.due_at is None:
            conversation.due_at = lines.wait_until(put_off[-1].inbound, gap=self._app.line_gap)
        if not done:
            return []
        return [*before, *self._messages(conversation, says, because=done[-1], now=now), *then]

    def _among_lines(
        self, put_off: Sequence[Turn], inbound: InboundMessage, later: Sequence[InboundMessage]
    ) -> tuple[tuple[str, ...], bool]:
        """The lines put off before this one, and whether it may be put off as well."""
        gap, now = self._app.line_gap, self._app.clock.now()
        goes_on = len(put_off) + 1 < lines.TOGETHER and lines.may_go_on(inbound, later, gap=gap, now=now)
        return tuple(line.text for line in put_off), goes_on

    async def _replies(self, turn: Turn, put_off: list[Turn], *, overtaken: bool) -> list[Reply] | None:
        """The replies to a message and to the lines put off before it; None when it shall be tried again.

        A question that takes the lines up settles them; after anything else (人工, 我的订单) each stands for itself.
        """
        reply = await self._reply(turn, overtaken=overtaken)
        if reply is None:
            return None
        if reply is PUT_OFF:
            put_off.append(turn)
            return []
        lines_before, put_off[:] = list(put_off), []
        if reply.settles:
            for line in lines_before:
                line.inbound.status, line.inbound.done_at = Handling.DONE, turn.now
            return [reply]
        alone = [
            await self._reply(replace(line, earlier=(), may_go_on=False), overtaken=False) for line in lines_before
        ]
        if None in alone:
            turn.conversation.due_at = turn.now + AGAIN[0]
        return [one for one in (*alone, reply) if one is not None]

    async def _reply(self, turn: Turn, *, overtaken: bool) -> Reply | None:
        """The reply to one message, whose effects are kept; None when it shall be tried again."""
        inbound = turn.inbound
        try:
            async with turn.session.begin_nested() as effects:
                reply = await self._handle(turn, overtaken=overtaken)
                if reply is PUT_OFF:
                    await effects.rollback()
        except ShopError as refusal:  # effects rolled back; only the words go out
            log.info("dialogue.refused", extra={"code": refusal.code, "inbound_id": inbound.id})
            reply = Reply.text(texts.refusal(refusal))
            await turn.session.refresh(inbound)
            await turn.session.refresh(turn.conversation)
        except Exception as bug:
            log.exception("dialogue.failed", extra={"inbound_id": inbound.id})
            return await self._after_bug(turn, bug)
        if reply is PUT_OFF:
            await turn.session.refresh(inbound)
            await turn.session.refresh(turn.conversation)
            return reply
        inbound.status, inbound.done_at = Handling.DONE, turn.now
        TURNS.labels("answered" if reply.says else "silent").inc()
        return reply

    async def _handle(self, turn: Turn, *, overtaken: bool) -> Reply:
        item = turn.item
        if isinstance(item, SessionStatusChange):
            return await sessions.follow(turn, item)
        if isinstance(item, MsgSendFail):
            await _note_failure(turn, item)
            return SILENCE
        await sessions.mind_clocks(turn)
        if turn.is_from_customer and (overtaken or not state.bot_holds(turn.conversation)):
            return SILENCE
        return await self._router.reply(turn) or SILENCE

    async def _after_bug(self, turn: Turn, bug: Exception) -> Reply | None:
        inbound = turn.inbound
        await turn.session.refresh(inbound)
        await turn.session.refresh(turn.conversation)
        inbound.attempts += 1
        inbound.error = f"{type(bug).__name__}: {bug}"[:500]
        if inbound.attempts < TRIES:
            return None
        inbound.status, inbound.done_at = Handling.DEAD, turn.now
        TURNS.labels("failed").inc()
        if inbound.origin != Origin.CUSTOMER:
            return SILENCE
        return await sessions.call_person(turn, Reason.BOT_ERROR)

    def _messages(
        self, conversation: Conversation, says: Sequence[Say], *, because: InboundMessage, now: datetime
    ) -> list[Message]:
        to, deadline = queue.address(conversation), now + self._app.reply_deadline
        says = _without_echo(says)
        if self._app.asks_usefulness:
            says = ask_whether_it_helped(says, USEFULNESS)
        return [
            lanes.kf_message(to, payload, because=("reply", because.msgid, number), deadline=deadline)
            for number, payload in enumerate(as_messages(says))
        ]

    async def _learn_states(self) -> set[int]:
        """Ask WeCom whose sessions those are of which we do not know it for certain, outside of any transaction.

        Returns the ids of those asked for now.
        """
        now = self._app.clock.now()
        async with self._app.sessions.read() as session:
            unknown = (
                await session.scalars(
                    sa.select(Conversation)
                    .where(
                        Conversation.due_at <= now,
                        sa.or_(Conversation.service_state.is_(None), Conversation.service_state.in_(state.FLEETING)),
                    )
                    .order_by(Conversation.due_at)
                    .limit(ROUND)
                )
            ).all()
        if not unknown:
            return set()
        limit = asyncio.Semaphore(STATE_CALLS)
        learnt = await asyncio.gather(*(self._ask_state(one, limit) for one in unknown))
        async with self._app.sessions.begin() as session:
            for one, values in sorted(learnt, key=lambda pair: pair[0].id):
                await session.execute(
                    sa.update(Conversation)
                    .where(
                        Conversation.id == one.id,
                        Conversation.service_state.is_not_distinct_from(one.service_state),
                    )
                    .values(**values)
                )
        return {one.id for one in unknown}

    async def _ask_state(
        self, conversation: Conversation, limit: asyncio.Semaphore
    ) -> tuple[Conversation, dict[str, object]]:
        try:
            async with limit:
                session = await self._kf.get_state(conversation.open_kfid, conversation.external_userid)
        except WecomError as error:
            log.warning("dialogue.state_unknown", extra={"conversation_id": conversation.id, "error": str(error)})
            return conversation, {"due_at": self._app.clock.now() + ASK_AGAIN}
        learnt: dict[str, object] = {
            "service_state": session.state,
            "servicer_userid": session.servicer_userid or None,
        }
        if conversation.service_state is not None and session.state in state.BOT_MAY_SPEAK:
            learnt["human_wanted_at"] = None  # it lapsed in the queue: nobody is on the way any more
        return conversation, learnt


def _human_came(later: Sequence[InboundMessage]) -> bool:
    """Whether a person has answered or taken over since: then the bot's word would come after theirs."""
    return any(one.origin == Origin.SERVICER or one.kind == SessionStatusChange.__name__ for one in later)


def _without_echo(says: Sequence[Say]) -> list[Say]:
    """Says without texts said twice: five quick lines about one thing get its answer once."""
    kept: list[Say] = []
    for say in says:
        if not (isinstance(say, Text) and say in kept):
            kept.append(say)
    return kept


async def _note_failure(turn: Turn, event: MsgSendFail) -> None:
    """WeCom took the message and could not deliver it: never count it as shown."""
    log.warning("kf.send_failed", extra={"msgid": event.fail_msgid, "fail_type": event.fail_type})
    failed = sa.update(KfSend).where(KfSend.msgid == event.fail_msgid).values(failed_type=event.fail_type)
    outbox_id = await turn.session.scalar(
        failed.returning(KfSend.outbox_id), execution_options={"synchronize_session": False}
    )
    ref = await turn.session.scalar(sa.select(OutboxRow.gate_ref).where(OutboxRow.id == outbox_id))
    if ref is not None:
        await draining.bounced(turn.session, ref)


async def _take_due(session: AsyncSession, *, now: datetime) -> Sequence[Conversation]:
    return (
        await session.scalars(
            sa.select(Conversation)
            .where(Conversation.due_at <= now)
            .order_by(Conversation.due_at, Conversation.id)
            .limit(ROUND)
            .with_for_update(skip_locked=True, key_share=True)
        )
    ).all()


async def _open_messages(session: AsyncSession, conversation_ids: Sequence[int]) -> dict[int, list[InboundMessage]]:
    rows = await session.scalars(
        sa.select(InboundMessage)
        .where(InboundMessage.conversation_id.in_(conversation_ids), InboundMessage.status == Handling.OPEN)
        .order_by(InboundMessage.id)
    )
    found: defaultdict[int, list[InboundMessage]] = defaultdict(list)
    for row in rows:
        if len(found[row.conversation_id]) < MESSAGES:
            found[row.conversation_id].append(row)
    return found


async def _members(session: AsyncSession, conversations: Sequence[Conversation]) -> dict[int, Member]:
    """Members of these conversations by id; where one was merged, the member it became part of."""
    ids = {one.member_id for one in conversations if one.member_id is not None}
    kept = sa.orm.aliased(Member)
    rows = await session.execute(
        sa.select(Member, kept).outerjoin(kept, Member.merged_into_id == kept.id).where(Member.id.in_(ids))
    )
    return {member.id: became or member for member, became in rows.all()}
