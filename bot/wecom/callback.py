"""Callbacks of WeCom: verified, decrypted, stored once, and only then acknowledged.

Everything that can be wrong with a delivery is a 4xx and a counter; whatever is a valid event, known or not, is a row.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from aiohttp import web
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.metrics import CALLBACKS
from bot.models.gateway import CallbackRow, Handling, KfAccount
from bot.wecom import event_xml, events
from bot.wecom.crypto import LARGEST_BODY, BadEnvelope, Envelope, Flaw
from crm.base.clock import Clock
from crm.base.db import Sessions, insert_new
from crm.base.errors import Busy
from crm.base.groupcommit import GroupCommit
from crm.base.peers import Peers

log = logging.getLogger(__name__)

BAD_REQUEST = frozenset({Flaw.XML, Flaw.JSON, Flaw.BASE64, Flaw.CIPHER, Flaw.PADDING, Flaw.LENGTH})


class Outcome(StrEnum):
    STORED = "stored"
    DUPLICATE = "duplicate"  # the same event in a new envelope: WeCom's own retry
    REPLAYED = "replayed"  # the same envelope again


@dataclass(frozen=True, slots=True)
class Delivery:
    """One callback, verified and decrypted."""

    app: str
    envelope: str  # the signature
    event: events.Event
    body: str
    received_at: datetime

    @property
    def key(self) -> str | None:
        return events.dedupe_key(self.event, self.app)


class Inbox:
    """Stores deliveries, many per commit, and taps who handles them."""

    def __init__(self, sessions: Sessions, peers: Peers) -> None:
        self._peers = peers
        self._commit: GroupCommit[Delivery, Outcome] = GroupCommit(sessions, store)
        self.start, self.stop = self._commit.start, self._commit.stop

    async def put(self, delivery: Delivery) -> Outcome:
        """Returns after the commit that holds the delivery. Raises Busy when too many wait."""
        outcome = await self._commit.submit(delivery)
        if outcome is Outcome.STORED:
            self._peers.tap("pull" if isinstance(delivery.event, events.KfMsgOrEvent) else "inbox")
        return outcome


async def store(connection: AsyncConnection, deliveries: Sequence[Delivery]) -> list[Outcome]:
    """Write deliveries into the running transaction; the unique keys decide which are new."""
    rows = {one.envelope: _row(one) for one in reversed(deliveries)}  # of one envelope the first counts
    new = set(await insert_new(connection, list(reversed(rows.values())), returning=CallbackRow.envelope))
    await _want(connection, [one for one in deliveries if one.envelope in new])
    known = await _known(connection, set(rows) - new)
    outcomes = []
    for one in deliveries:
        if one.envelope in new:
            new.discard(one.envelope)
            known.add(one.envelope)
            outcomes.append(Outcome.STORED)
        else:
            outcomes.append(Outcome.REPLAYED if one.envelope in known else Outcome.DUPLICATE)
    return outcomes


def _row(one: Delivery) -> dict[str, Any]:
    is_signal = isinstance(one.event, events.KfMsgOrEvent)  # it only says "come and pull", which _want notes
    return {
        "app": one.app,
        "envelope": one.envelope,
        "dedupe_key": one.key,
        "event": type(one.event).__name__,
        "body": one.body,
        "received_at": one.received_at,
        "status": Handling.DONE if is_signal else Handling.OPEN,
        "attempts": 0,
        "not_before": one.received_at,
        "done_at": one.received_at if is_signal else None,
    }


async def _want(connection: AsyncConnection, deliveries: Sequence[Delivery]) -> None:
    """Note that kf accounts have news, with the newest token that lets us pull them."""
    newest: dict[str, Delivery] = {
        one.event.open_kfid: one for one in deliveries if isinstance(one.event, events.KfMsgOrEvent)
    }
    if not newest:
        return
    news = [
        {
            "open_kfid": open_kfid,
            "name": "",
            "app": one.app,
            "wanted_at": one.received_at,
            "token": getattr(one.event, "token", "") or None,
            "token_at": one.received_at,
        }
        for open_kfid, one in sorted(newest.items())  # sorted: two processes lock the accounts in the same order
    ]
    await connection.execute(_WANT[connection.dialect.name], news)


def _want_statement(wish: postgresql.Insert | sqlite.Insert) -> sa.Executable:
    newest = {name: wish.excluded[name] for name in ("wanted_at", "token", "token_at")}
    return wish.on_conflict_do_update(index_elements=["open_kfid"], set_={**newest, "removed_at": None})


_WANT = {
    "sqlite": _want_statement(sqlite.insert(KfAccount)),
    "postgresql": _want_statement(postgresql.insert(KfAccount)),
}


async def _known(connection: AsyncConnection, envelopes: set[str]) -> set[str]:
    if not envelopes:
        return set()
    found = await connection.execute(sa.select(CallbackRow.envelope).where(CallbackRow.envelope.in_(envelopes)))
    return set(found.scalars().all())


class CallbackView:
    """The addresses /wecom/callback/{app}: GET verifies the URL, POST delivers an event."""

    def __init__(self, envelopes: Mapping[str, Envelope], inbox: Inbox, clock: Clock) -> None:
        self._envelopes, self._inbox, self._clock = envelopes, inbox, clock

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/wecom/callback/{app}", self.verify), web.post("/wecom/callback/{app}", self.deliver)]

    async def verify(self, request: web.Request) -> web.Response:
        app, envelope = self._app(request)
        try:
            echo = envelope.verify_echo(*signed(request), request.query.get("echostr", ""), now=self._clock.now())
        except BadEnvelope as bad:
            return refuse(app, bad.reason)
        CALLBACKS.labels(app, "verified").inc()
        return web.Response(body=echo, content_type="text/plain")

    async def deliver(self, request: web.Request) -> web.Response:
        app, envelope = self._app(request)
        now = self._clock.now()
        signature, timestamp, nonce = signed(request)
        try:
            content = envelope.open(await body_of(request), signature, timestamp, nonce, now=now)
            event = event_xml.parse_event(content)
        except BadEnvelope as bad:
            return refuse(app, bad.reason)
        try:
            outcome = await self._inbox.put(Delivery(app, signature, event, content.decode(), now))
        except Busy as busy:
            CALLBACKS.labels(app, "busy").inc()
            return web.Response(status=503, headers={"Retry-After": f"{busy.retry_after:.0f}"})
        if outcome is Outcome.REPLAYED:
            return refuse(app, Flaw.REPLAYED)
        CALLBACKS.labels(app, outcome.value).inc()
        return web.Response(text="success")

    def _app(self, request: web.Request) -> tuple[str, Envelope]:
        app = request.match_info["app"]
        if app not in self._envelopes:
            raise web.HTTPNotFound
        return app, self._envelopes[app]


def signed(request: web.Request) -> tuple[str, str, str]:
    """msg_signature, timestamp and nonce of the query."""
    query = request.query
    return query.get("msg_signature", ""), query.get("timestamp", ""), query.get("nonce", "")


async def body_of(request: web.Request) -> bytes:
    """At most one byte more than the largest envelope, which is enough to refuse it."""
    if (request.content_length or 0) > LARGEST_BODY:
        raise BadEnvelope(Flaw.TOO_LARGE)
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise BadEnvelope(Flaw.TOO_LARGE)
    return bytes(body)


def refuse(app: str, reason: Flaw) -> web.Response:
    """What did not come from WeCom, or not in one piece, is a 4xx and a counter."""
    CALLBACKS.labels(app, reason.value).inc()
    log.info("callback.refused", extra={"app": app, "reason": reason.value})
    if reason is Flaw.TOO_LARGE:
        return web.Response(status=413)
    return web.Response(status=400 if reason in BAD_REQUEST else 403)
