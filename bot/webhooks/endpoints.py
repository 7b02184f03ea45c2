"""Webhooks: added with a secret seen once, listed with how they fare, switched on again, their log, replays."""

import random
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot import outward
from bot.models.webhook import DeliveryState, Webhook, WebhookAttempt, WebhookDelivery
from bot.webhooks import addresses
from crm.base import events
from crm.base.db import insert
from crm.base.errors import Invalid, NotFound, Refused
from crm.base.events import EventCursor
from crm.base.ids import code
from crm.base.secrets import Vault

CURSOR = "webhooks"
PURPOSE = "webhook secret"
SECRET_CHARS = 40
DAY = timedelta(days=1)
NAME = re.compile(r"[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]{0,38}[^\s\x00-\x1f\x7f])?")


@dataclass(eq=False)
class WebhookNotFound(NotFound):
    """No webhook has this name."""

    code = "webhook.not_found"
    name: str


@dataclass(eq=False)
class WebhookNameTaken(Refused):
    """A webhook has this name, or had it."""

    code = "webhook.name_taken"
    name: str


@dataclass(eq=False)
class WebhookWrong(Invalid):
    """A name has 1 to 40 characters, and only events that are told can be asked for."""

    code = "webhook.wrong"
    field: str
    value: str


@dataclass(frozen=True, slots=True)
class Added:
    """A new webhook, and the only time that its secret is seen."""

    webhook: Webhook
    secret: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How a webhook fares."""

    webhook: Webhook
    waiting: int
    delivered: int  # in the last 24 hours
    given_up: int  # of those that are kept
    last_at: datetime | None  # of what was delivered


@dataclass(frozen=True, slots=True)
class Logged:
    """One event on its way, with its attempts, oldest first."""

    delivery: WebhookDelivery
    attempts: list[WebhookAttempt]


# Reads


async def get(session: AsyncSession, name: str) -> Webhook:
    """Raises WebhookNotFound; one that was removed is not found."""
    found: Webhook | None = await session.scalar(
        sa.select(Webhook).where(Webhook.name == name, Webhook.removed_at.is_(None))
    )
    if found is None:
        raise WebhookNotFound(name)
    return found


async def by_id(session: AsyncSession, webhook_id: int) -> Webhook:
    """Raises WebhookNotFound."""
    found = await session.get(Webhook, webhook_id)
    if found is None or found.removed_at is not None:
        raise WebhookNotFound(str(webhook_id))
    return found


async def everything(session: AsyncSession, *, now: datetime) -> list[Standing]:
    """All that were not removed, by name."""

    def count(state: DeliveryState, *where: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
        mine = (WebhookDelivery.webhook_id == Webhook.id, WebhookDelivery.state == state, *where)
        return sa.select(sa.func.count()).select_from(WebhookDelivery).where(*mine).scalar_subquery()

    delivered = (WebhookDelivery.webhook_id == Webhook.id, WebhookDelivery.state == DeliveryState.DELIVERED)
    rows: Any = await session.execute(
        sa.select(
            Webhook,
            count(DeliveryState.WAITING),
            count(DeliveryState.DELIVERED, WebhookDelivery.settled_at >= now - DAY),
            count(DeliveryState.GIVEN_UP),
            sa.select(sa.func.max(WebhookDelivery.settled_at)).where(*delivered).scalar_subquery(),
        )
        .where(Webhook.removed_at.is_(None))
        .order_by(Webhook.name)
    )
    return [Standing(row[0], row[1], row[2], row[3], row[4]) for row in rows]


async def log(
    session: AsyncSession, webhook_id: int, *, state: DeliveryState | None = None, limit: int = 50, before: int = 0
) -> list[Logged]:
    """The newest deliveries, newest first; before: only those with a smaller number."""
    query = sa.select(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook_id)
    if state is not None:
        query = query.where(WebhookDelivery.state == state)
    if before:
        query = query.where(WebhookDelivery.id < before)
    found = (await session.scalars(query.order_by(WebhookDelivery.id.desc()).limit(limit))).all()
    tries: dict[int, list[WebhookAttempt]] = {one.id: [] for one in found}
    mine = sa.select(WebhookAttempt).where(WebhookAttempt.delivery_id.in_(tries)).order_by(WebhookAttempt.id)
    for attempt in await session.scalars(mine):
        tries[attempt.delivery_id].append(attempt)
    return [Logged(one, tries[one.id]) for one in found]


async def problems(session: AsyncSession) -> list[str]:
    """What somebody should look at, in words."""
    rows = await session.scalars(
        sa.select(Webhook).where(Webhook.removed_at.is_(None), Webhook.disabled_at.is_not(None)).order_by(Webhook.name)
    )
    return [f"webhook {one.name} 停用了：{one.disabled_because}（修好后：siyu webhooks enable）" for one in rows]


# Verbs


async def add(
    session: AsyncSession,
    vault: Vault,
    name: str,
    url: str,
    names: Collection[str],
    *,
    private: bool,
    by: str,
    now: datetime,
    chance: random.Random,
) -> Added:
    """From now on it hears of these events, of all if none is named. Raises WebhookWrong, AddressRefused, NameTaken."""
    if not NAME.fullmatch(name):
        raise WebhookWrong("name", name)
    if unknown := sorted(one for one in names if not outward.is_told(one)):
        raise WebhookWrong("event", unknown[0])
    addresses.check(url, private=private)
    secret = f"whsec_{code(chance, SECRET_CHARS)}"
    row = insert(session, Webhook).values(
        name=name, url=url, events=sorted(set(names)), secret=vault.seal(secret, about=PURPOSE), created_by=by,
        created_at=now, disabled_because="",
    )  # fmt: skip
    made: Webhook | None = await session.scalar(row.on_conflict_do_nothing().returning(Webhook))
    if made is None:
        raise WebhookNameTaken(name)
    xid, event_id = await events.newest(session)  # the first webhook hears nothing of what was before it
    await session.execute(
        insert(session, EventCursor).values(name=CURSOR, xid=xid, event_id=event_id).on_conflict_do_nothing()
    )
    return Added(made, secret)


async def remove(session: AsyncSession, name: str, *, now: datetime) -> None:
    """It hears nothing more, and what waited for it is given up. Raises WebhookNotFound."""
    webhook = await get(session, name)
    webhook.removed_at = now
    waiting = (WebhookDelivery.webhook_id == webhook.id, WebhookDelivery.state == DeliveryState.WAITING)
    ended = sa.update(WebhookDelivery).where(*waiting).values(state=DeliveryState.GIVEN_UP, settled_at=now)
    await session.execute(ended.execution_options(synchronize_session=False))
    await session.flush()


async def disable(session: AsyncSession, name: str, *, because: str, now: datetime) -> None:
    """Nothing is sent for a while; what happens meanwhile waits. Raises WebhookNotFound."""
    webhook = await get(session, name)
    webhook.disabled_at, webhook.disabled_because = webhook.disabled_at or now, because
    await session.flush()


async def enable(session: AsyncSession, name: str, *, now: datetime) -> int:
    """Send again, what waited first; returns how many wait. Raises WebhookNotFound."""
    webhook = await get(session, name)
    webhook.disabled_at, webhook.disabled_because, webhook.failing_since = None, "", None
    waiting = (WebhookDelivery.webhook_id == webhook.id, WebhookDelivery.state == DeliveryState.WAITING)
    soon = sa.update(WebhookDelivery).where(*waiting).values(due_at=now, attempts=0).returning(WebhookDelivery.id)
    await session.flush()
    return len((await session.scalars(soon.execution_options(synchronize_session=False))).all())


async def replay(
    session: AsyncSession,
    webhook_id: int,
    *,
    ids: Sequence[int] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    only: DeliveryState | None = None,
    now: datetime,
) -> int:
    """Send these, or those of a range, once more, with the very body they had; returns how many.

    only: of this state alone, such as those that were given up. One that waits already comes sooner.
    """
    where = [WebhookDelivery.webhook_id == webhook_id]
    if ids:
        where.append(WebhookDelivery.id.in_(ids))
    if since is not None:
        where.append(WebhookDelivery.created_at >= since)
    if until is not None:
        where.append(WebhookDelivery.created_at < until)
    if only is not None:
        where.append(WebhookDelivery.state == only)
    if not (ids or since or until or only):
        return 0
    again = (
        sa.update(WebhookDelivery)
        .where(*where)
        .values(state=DeliveryState.WAITING, attempts=0, due_at=now, settled_at=None)
        .returning(WebhookDelivery.id)
    )
    return len((await session.scalars(again.execution_options(synchronize_session=False))).all())


def secret_of(webhook: Webhook, vault: Vault) -> str:
    return vault.open(webhook.secret, about=PURPOSE)
