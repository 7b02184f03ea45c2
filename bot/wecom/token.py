"""Access tokens: one refresh at a time in all processes, renewed early, dropped by value, never hammered."""

import asyncio
import hashlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import case, or_, update

from bot.models.wecom import WecomToken
from bot.wecom.errors import BadAnswer, Busy, OutcomeUnknown, RateLimited, Retry, Unreachable, WecomError, error_for
from bot.wecom.transport import Transport
from crm.base.clock import Clock
from crm.base.db import Sessions, insert

GETTOKEN = "/cgi-bin/gettoken"
RENEW_BEFORE = timedelta(seconds=300)
RENEW_PAUSE = timedelta(seconds=60)  # the vendor may hand out the same token again until it dies
LEASE = timedelta(seconds=15)  # longer than a request may take; a crashed refresher holds the others up no longer
REQUEST_SECONDS = 8.0
POLL_SECONDS = 0.1
COOL_DOWN = timedelta(seconds=60)
LONGEST_COOL_DOWN = timedelta(hours=1)
FETCHES_PER_MINUTE = 6  # per process: above it something drops good tokens, and asking on would get us throttled


@dataclass(frozen=True, slots=True)
class AppKey:
    """What an app signs in with."""

    agent_id: int
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Held:
    """A token in this process's memory."""

    value: str = field(repr=False)
    renew_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Dropped:
    """The token the vendor refused last: not taken back from the shared row, unless fetched anew."""

    value: str = field(repr=False)
    at: datetime


@dataclass(frozen=True, slots=True)
class Seen:
    """The shared row as it was read: whoever asks for the next token replaces this one."""

    access_token: str | None = field(repr=False)
    leased: bool


class TokenCache:
    """`get` before a call, `drop` when the call was answered with TokenExpired.

    The hot path is a look into memory. Otherwise one task per app and process reads the shared row, and one process
    of those that find it stale takes the lease and asks the vendor. While the old token lives nobody waits for that.
    """

    def __init__(
        self, transport: Transport, sessions: Sessions, clock: Clock, corp_id: str, apps: Mapping[str, AppKey]
    ) -> None:
        self._transport, self._sessions, self._clock = transport, sessions, clock
        self._corp_id, self._apps = corp_id, dict(apps)
        self._held: dict[str, Held] = {}
        self._dropped: dict[str, Dropped] = {}
        self._flights: dict[str, asyncio.Task[str]] = {}
        self._fetched: dict[str, deque[float]] = {app: deque(maxlen=FETCHES_PER_MINUTE) for app in apps}

    async def get(self, app: str) -> str:
        """A token that lives. Raises SecretRefused, NotAllowed, RateLimited, or what the transport raises."""
        now = self._clock.now()
        held = self._held.get(app)
        if held is not None and now < held.renew_at:
            return held.value
        flight = self._flights.get(app) or self._start(app)
        if held is not None and now < held.expires_at:
            return held.value
        return await asyncio.shield(flight)  # a caller that gives up does not take the refresh from the others

    def drop(self, app: str, token: str) -> None:
        """The vendor refused `token`. Compared by value: of fifty failures with one token the first drops it."""
        held = self._held.get(app)
        if held is not None and held.value == token:
            del self._held[app]
            self._dropped[app] = Dropped(token, self._clock.now())

    async def close(self) -> None:
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _start(self, app: str) -> asyncio.Task[str]:
        flight = asyncio.create_task(self._refresh(app), name=f"wecom token {app}")
        self._flights[app] = flight
        flight.add_done_callback(lambda done: self._landed(app, done))
        return flight

    def _landed(self, app: str, flight: asyncio.Task[str]) -> None:
        self._flights.pop(app, None)
        if not flight.cancelled() and flight.exception() is not None:
            self._postpone(app)  # an early renewal failed: go on with the old token while it lives

    def _postpone(self, app: str) -> None:
        if (held := self._held.get(app)) is not None:
            later = min(self._clock.now() + RENEW_PAUSE / 2, held.expires_at)
            self._held[app] = replace(held, renew_at=later)

    async def _refresh(self, app: str) -> str:
        waited = 0.0
        while waited < 2 * LEASE.total_seconds():
            seen = await self._look(app)
            held, now = self._held.get(app), self._clock.now()
            if held is not None and now < held.renew_at:
                return held.value
            if not seen.leased and await self._lease(app, seen):
                return await self._fetch(app)
            if held is not None and now < held.expires_at:
                self._postpone(app)  # another process renews it
                return held.value
            await self._clock.sleep(POLL_SECONDS)
            waited += POLL_SECONDS
        raise Unreachable(errmsg="waited for another process to fetch the token", path=GETTOKEN)

    # the row that all processes share

    async def _look(self, app: str) -> Seen:
        """Take over what the row has for us. Raises the vendor's refusal while it is respected."""
        async with self._sessions.read() as session:
            row = await session.get(WecomToken, app)
        now = self._clock.now()
        if row is None or row.credentials != self._credentials(app):
            return Seen(None if row is None else row.access_token, leased=False)
        _respect_refusal(row, now)
        self._adopt(app, row, now)
        return Seen(row.access_token, leased=row.refreshing_until is not None and row.refreshing_until > now)

    def _adopt(self, app: str, row: WecomToken, now: datetime) -> None:
        if row.access_token is None or row.expires_at is None or row.fetched_at is None or row.expires_at <= now:
            return
        dropped = self._dropped.get(app)
        if dropped is None or dropped.value != row.access_token or row.fetched_at > dropped.at:
            self._held[app] = _hold(row.access_token, row.fetched_at, row.expires_at)

    async def _lease(self, app: str, seen: Seen) -> bool:
        """Ours to ask the vendor? Of all processes that saw the same token one matches the row."""
        now, credentials = self._clock.now(), self._credentials(app)
        same_secret = WecomToken.credentials == credentials
        async with self._sessions.begin() as session:
            await session.execute(
                insert(session, WecomToken)
                .values(app=app, credentials=credentials, refusals=0, refusal_errcode=0, refusal_errmsg="")
                .on_conflict_do_nothing()
            )
            leased = await session.scalar(
                update(WecomToken)
                .where(
                    WecomToken.app == app,
                    or_(WecomToken.refreshing_until.is_(None), WecomToken.refreshing_until <= now, ~same_secret),
                    WecomToken.access_token.is_not_distinct_from(seen.access_token),
                )
                .values(
                    refreshing_until=now + LEASE,
                    credentials=credentials,
                    access_token=case((same_secret, WecomToken.access_token), else_=None),
                    refused_until=None,
                    refusals=case((same_secret, WecomToken.refusals), else_=0),
                )
                .returning(WecomToken.app)
            )
        return leased is not None

    # asking the vendor

    async def _fetch(self, app: str) -> str:
        asked_at = self._clock.now()
        try:
            value, life = await self._ask(app)
        except WecomError as error:
            await self._give_up(app, error)
            raise
        fresh = {"access_token": value, "fetched_at": asked_at, "expires_at": asked_at + life}
        self._dropped.pop(app, None)
        self._held[app] = _hold(value, asked_at, asked_at + life)  # ours even if the database is away just now
        await self._store(app, **fresh, refused_until=None, refusals=0)
        return value

    async def _ask(self, app: str) -> tuple[str, timedelta]:
        now, recent = self._clock.monotonic(), self._fetched[app]
        if len(recent) == FETCHES_PER_MINUTE and now - recent[0] < 60:
            raise RateLimited(0, "we asked too often ourselves", GETTOKEN, retry_after=60 - (now - recent[0]))
        params = {"corpid": self._corp_id, "corpsecret": self._apps[app].secret}
        try:
            answer = await self._transport.request("GET", GETTOKEN, params=params, timeout=REQUEST_SECONDS)
        except (OutcomeUnknown, Busy) as unanswered:  # asking twice does no harm, whatever the call it was for
            raise Unreachable(unanswered.errcode, unanswered.errmsg, GETTOKEN) from unanswered
        recent.append(now)
        try:
            fields = answer if isinstance(answer, dict) else {}
            return str(fields["access_token"]), timedelta(seconds=int(fields["expires_in"]))
        except (KeyError, TypeError, ValueError, OverflowError) as odd:
            raise BadAnswer(errmsg="no token in the answer", path=GETTOKEN) from odd

    async def _give_up(self, app: str, error: WecomError) -> None:
        """End the lease; after a no that repeating cannot change, also keep everybody from asking for a while."""
        refusal: dict[str, object] = {}
        if error.errcode and error.retry in (Retry.NEVER, Retry.WAIT):
            async with self._sessions.read() as session:
                row = await session.get(WecomToken, app)
            refusals = 1 if row is None else row.refusals + 1
            refusal = {
                "refused_until": self._clock.now() + _cool_down(error, refusals),
                "refusals": refusals,
                "refusal_errcode": error.errcode,
                "refusal_errmsg": error.errmsg,
            }
        await self._store(app, **refusal)

    async def _store(self, app: str, **values: object) -> None:
        async with self._sessions.begin() as session:
            await session.execute(
                update(WecomToken).where(WecomToken.app == app).values(refreshing_until=None, **values)
            )

    def _credentials(self, app: str) -> str:
        return hashlib.sha256(f"{self._corp_id}\x1f{self._apps[app].secret}".encode()).hexdigest()[:32]


def _hold(value: str, fetched_at: datetime, expires_at: datetime) -> Held:
    # Near its end the vendor may hand out the same token again: then not at every call, but a minute later.
    pause = min(fetched_at + RENEW_PAUSE, expires_at)
    return Held(value, max(expires_at - RENEW_BEFORE, pause), expires_at)


def _respect_refusal(row: WecomToken, now: datetime) -> None:
    if row.refused_until is None or row.refused_until <= now:
        return
    error = error_for(row.refusal_errcode, row.refusal_errmsg, GETTOKEN)
    if isinstance(error, RateLimited):
        error.retry_after = (row.refused_until - now).total_seconds()
    raise error


def _cool_down(error: WecomError, refusals: int) -> timedelta:
    if isinstance(error, RateLimited):
        return timedelta(seconds=error.retry_after)
    return min(COOL_DOWN * float(2 ** min(refusals - 1, 10)), LONGEST_COOL_DOWN)
