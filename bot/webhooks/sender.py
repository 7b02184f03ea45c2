"""The loop that sends deliveries: the claim commits before the call, the attempt after it.

An attempt holds its row by a lease. Killed in between, the lease ends and the delivery is sent again: at least once,
and not always in order, because one that fails does not hold up those behind it.
"""

import asyncio
import logging
import random
from collections import Counter
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.metrics import ALERTS
from bot.models.webhook import DeliveryState, Webhook, WebhookAttempt, WebhookDelivery
from bot.webhooks import endpoints
from bot.webhooks.courier import Answer, Courier, Letter
from bot.webhooks.relay import is_wanted, relay
from bot.wecom import lanes
from crm.base import outbox
from crm.base.clock import Clock
from crm.base.db import Sessions
from crm.base.peers import Peers
from crm.base.secrets import Vault, WrongKey

log = logging.getLogger(__name__)

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
WAITS = (  # after the first failure, the second, …: a day and an hour in all, give or take a tenth
    *(timedelta(seconds=10), timedelta(seconds=30), 2 * MINUTE, 10 * MINUTE, 30 * MINUTE),
    *(HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, 9 * HOUR),
)
PATIENCE = timedelta(hours=24)  # an address that has failed so long is switched off
LEASE = timedelta(minutes=2)  # longer than any one call
AT_ONCE = 8  # calls to one address; one while it fails
IDLE_SECONDS = 1.0
STOP_SECONDS = 5.0


class WebhookSender:
    """Relays events and sends deliveries, in one worker or in several side by side."""

    def __init__(
        self,
        sessions: Sessions,
        peers: Peers,
        clock: Clock,
        chance: random.Random,
        courier: Courier,
        vault: Vault,
        *,
        supervisors: tuple[str, ...] = (),
    ) -> None:
        self._sessions, self._peers, self._clock, self._chance = sessions, peers, clock, chance
        self._courier, self._vault, self._supervisors = courier, vault, supervisors
        self._in_hand: Counter[int] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Forever: read what happened, send what is due; between looks, wait for a tap."""
        try:
            while True:
                if not await self.round():
                    await self._peers.wait("webhooks", seconds=IDLE_SECONDS)
        finally:
            await self.drain()

    async def round(self) -> int:
        """One look; returns how many events were read and calls begun."""
        async with self._sessions.read() as session:
            if not await is_wanted(session):
                return 0
        async with self._sessions.begin() as session:
            read = await relay(session, now=self._clock.now())
        letters = await self._take()
        for letter, webhook_id, attempt in letters:
            self._in_hand[webhook_id] += 1
            task = asyncio.create_task(self._carry(letter, webhook_id, attempt), name=f"webhook:{letter.delivery_id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return read + len(letters)

    async def drain(self) -> None:
        """Let the calls in hand end; who takes too long is called again later."""
        if self._tasks:
            _, slow = await asyncio.wait(self._tasks, timeout=STOP_SECONDS)
            for task in slow:
                task.cancel()

    async def _take(self) -> list[tuple[Letter, int, int]]:
        """Claim what is due, for each address as many as it may have at once."""
        now = self._clock.now()
        due = (WebhookDelivery.state == DeliveryState.WAITING, WebhookDelivery.due_at <= now)
        async with self._sessions.read() as session:
            hooks = await session.scalars(
                sa.select(Webhook).where(
                    Webhook.removed_at.is_(None),
                    Webhook.disabled_at.is_(None),
                    sa.exists().where(WebhookDelivery.webhook_id == Webhook.id, *due),
                )
            )
            wanted = [(hook, self._room(hook)) for hook in hooks]
        letters: list[tuple[Letter, int, int]] = []
        for hook, room in wanted:
            if room <= 0:
                continue
            secret = self._secret(hook)
            if secret is None:
                continue
            async with self._sessions.begin() as session:
                first = (
                    sa.select(WebhookDelivery.id)
                    .where(WebhookDelivery.webhook_id == hook.id, *due)
                    .order_by(WebhookDelivery.due_at, WebhookDelivery.id)
                    .limit(room)
                    .with_for_update(skip_locked=True)
                    .cte("first")
                )
                rows = await session.scalars(
                    sa.update(WebhookDelivery)
                    .where(WebhookDelivery.id.in_(sa.select(first.c.id)), *due)
                    .values(due_at=now + LEASE, attempts=WebhookDelivery.attempts + 1)
                    .returning(WebhookDelivery)
                    .execution_options(synchronize_session=False)
                )
                for row in sorted(rows.all(), key=lambda one: one.id):
                    letter = Letter(hook.url, secret, row.event, row.id, row.body.encode())
                    letters.append((letter, hook.id, row.attempts))
        return letters

    def _room(self, hook: Webhook) -> int:
        return (1 if hook.failing_since is not None else AT_ONCE) - self._in_hand[hook.id]

    def _secret(self, hook: Webhook) -> str | None:
        try:
            return endpoints.secret_of(hook, self._vault)
        except WrongKey:
            log.error("webhook.unreadable_secret", extra={"webhook": hook.name})
            return None

    async def _carry(self, letter: Letter, webhook_id: int, attempt: int) -> None:
        try:
            answer = await self._courier.carry(letter)
            async with self._sessions.begin() as session:
                await self._write(session, letter.delivery_id, webhook_id, attempt, answer, now=self._clock.now())
        except Exception:  # the lease ends and it is sent again
            log.exception("webhook.unsettled", extra={"delivery_id": letter.delivery_id})
        finally:
            self._in_hand[webhook_id] -= 1
            self._peers.tap("webhooks")

    async def _write(
        self, session: AsyncSession, delivery_id: int, webhook_id: int, attempt: int, answer: Answer, *, now: datetime
    ) -> None:
        """What became of an attempt. One whose lease was lost, or that was replayed meanwhile, settles nothing."""
        kept = await session.scalar(sa.select(WebhookDelivery.id).where(WebhookDelivery.id == delivery_id))
        if kept is None:  # its member was erased while it was on its way
            return
        note(session, delivery_id, answer, now=now)
        mine = (
            WebhookDelivery.id == delivery_id,
            WebhookDelivery.state == DeliveryState.WAITING,
            WebhookDelivery.attempts == attempt,
        )
        if answer.is_taken:
            ended = {"state": DeliveryState.DELIVERED, "settled_at": now}
            await session.execute(sa.update(WebhookDelivery).where(*mine).values(**ended), execution_options=_QUIET)
            well = sa.update(Webhook).where(Webhook.id == webhook_id, Webhook.failing_since.is_not(None))
            await session.execute(well.values(failing_since=None), execution_options=_QUIET)
            return
        later = next_at(attempt, now=now, chance=self._chance)
        values = {"state": DeliveryState.GIVEN_UP, "settled_at": now} if later is None else {"due_at": later}
        await session.execute(sa.update(WebhookDelivery).where(*mine).values(**values), execution_options=_QUIET)
        began = sa.update(Webhook).where(Webhook.id == webhook_id, Webhook.failing_since.is_(None))
        await session.execute(began.values(failing_since=now), execution_options=_QUIET)
        await self._switch_off(session, webhook_id, answer, now=now)

    async def _switch_off(self, session: AsyncSession, webhook_id: int, answer: Answer, *, now: datetime) -> None:
        """An address that nobody has answered at for a day is left alone, aloud."""
        because = f"连续 {PATIENCE.total_seconds() / 3600:.0f} 小时没有收下：{answer.status or answer.error}"[:200]
        off = (
            sa.update(Webhook)
            .where(Webhook.id == webhook_id, Webhook.disabled_at.is_(None), Webhook.failing_since <= now - PATIENCE)
            .values(disabled_at=now, disabled_because=because)
            .returning(Webhook.name)
            .execution_options(synchronize_session=False)
        )
        name = await session.scalar(off)
        if name is None:
            return
        log.error("webhook.disabled", extra={"webhook": name, "because": because})
        ALERTS.labels("webhook_disabled").inc()
        if self._supervisors:
            words = f"webhook“{name}”停用了：{because}。期间的事件都留着，修好后用 siyu webhooks enable 打开。"
            message = {"msgtype": "text", "text": {"content": words}}
            alarm = lanes.staff_message(message, because=("webhook", webhook_id, now), userids=self._supervisors)
            await outbox.put(session, [alarm], now=now)


_QUIET = {"synchronize_session": False}


def note(session: AsyncSession, delivery_id: int, answer: Answer, *, now: datetime) -> None:
    """Write an attempt into the log."""
    session.add(
        WebhookAttempt(
            delivery_id=delivery_id,
            at=now,
            status=answer.status,
            took_ms=answer.took_ms,
            answer=answer.answer,
            error=answer.error,
        )
    )


def next_at(attempts: int, *, now: datetime, chance: random.Random) -> datetime | None:
    """When to try again after so many attempts, a tenth sooner or later so that not all come at once; None: no more."""
    if attempts > len(WAITS):
        return None
    return now + WAITS[attempts - 1] * (0.9 + chance.random() / 5)
