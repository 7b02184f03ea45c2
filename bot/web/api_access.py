"""Who calls the HTTP API: the key read, its scope held against the call, its pace kept, its last use noted.

Last uses wait in memory and are written once a minute: a call costs one read, and no write.
"""

import hmac
from collections.abc import Mapping
from datetime import datetime

from aiohttp import web

from bot import api_keys
from bot.api_keys import Caller, KeyOver
from bot.models.api import Scope
from bot.web.pace import Pace
from crm.base.clock import Clock
from crm.base.db import Sessions
from crm.base.errors import Busy, Refused
from crm.base.secrets import Vault

MINUTE = 60.0
CALLS_PER_MINUTE = 600


class Unauthorized(Refused):
    """Authorization: Bearer KEY is missing, wrong, expired or revoked."""

    code = "api.unauthorized"
    status = 401

    def __init__(self, over: KeyOver | None = None) -> None:
        super().__init__()
        self.over = over


class ScopeMissing(Refused):
    """This key may not do this."""

    code = "api.scope_missing"
    status = 403

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self.scope = scope


class TooMany(Busy):
    """Too many calls with this key."""

    code = "api.too_many"
    status = 429


class Access:
    """The doorkeeper. `keys`: those of the settings, secret by name: they may do everything."""

    def __init__(
        self,
        sessions: Sessions,
        clock: Clock,
        *,
        keys: Mapping[str, str],
        vault: Vault | None = None,
        calls_per_minute: int = CALLS_PER_MINUTE,
    ) -> None:
        self._sessions, self._clock, self._vault = sessions, clock, vault
        self._keys = {name: secret.encode() for name, secret in keys.items()}
        self._pace = Pace(clock, times=calls_per_minute, seconds=MINUTE)
        self._used: dict[int, datetime] = {}

    async def caller(self, request: web.Request, scope: Scope) -> Caller:
        """Who it is. Raises Unauthorized, ScopeMissing, TooMany."""
        found = await self._find(request.headers.get("Authorization", ""))
        if found is None:
            raise Unauthorized
        try:
            self._pace.check(found.ref)
        except Busy as busy:
            raise TooMany(busy.retry_after) from None
        if found.key_id is not None:
            self._used[found.key_id] = self._clock.now()
        if scope not in found.scopes:
            raise ScopeMissing(scope)
        return found

    async def _find(self, header: str) -> Caller | None:
        kind, _, given = header.partition(" ")
        if kind.lower() != "bearer" or not given:
            return None
        found = None
        for name, secret in self._keys.items():  # every key is compared, so that time tells nothing
            if hmac.compare_digest(secret, given.encode("utf-8", "replace")):
                found = Caller(name)
        if found is not None or self._vault is None:
            return found
        try:
            async with self._sessions.read() as session:
                return await api_keys.find(session, self._vault, given, now=self._clock.now())
        except KeyOver as over:
            raise Unauthorized(over) from None

    async def run(self) -> None:
        """Forever: write down last uses, once a minute."""
        while True:
            await self._clock.sleep(MINUTE)
            await self.note()

    async def note(self) -> None:
        """Write down what is not written yet; also when the service stops."""
        used, self._used = self._used, {}
        if used:
            async with self._sessions.begin() as session:
                await api_keys.note_use(session, used)
