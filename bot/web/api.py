"""The HTTP API for the shop's other systems: who calls, what was asked, done once, answered as the description says.

A call is a function over (session, body, *, now) with pydantic models for what it takes and gives. The view parses,
opens the one transaction, calls it, and keeps the answer under the caller's Idempotency-Key in that transaction.
"""

import hashlib
import json
import logging
import math
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from aiohttp import web
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from bot.api_keys import Caller
from bot.models.api import ApiReply
from bot.web.api_access import Access, ScopeMissing, Unauthorized
from bot.web.api_call import PREFIX, Call, Problem, problem_of, sentence
from bot.web.api_reading import BodyTooLarge, Unreadable, WrongRequest, body_of, query_of
from bot.web.openapi import openapi
from crm.base.clock import Clock
from crm.base.db import Sessions, insert
from crm.base.errors import Busy, Invalid, Refused, ShopError

log = logging.getLogger(__name__)

KEY_SHAPE = re.compile(r"[\x21-\x7e]{1,128}")
Answer = tuple[int, dict[str, Any]]


class KeyReused(Refused):
    """The idempotency key was used for another request before."""

    code = "api.key_reused"


class BadKey(Invalid):
    """An idempotency key is 1 to 128 visible ASCII characters."""

    code = "api.bad_key"


class Api:
    """The calls, and the views that make them reachable to those whom `access` lets in."""

    def __init__(self, calls: Sequence[Call], sessions: Sessions, clock: Clock, access: Access) -> None:
        self._calls, self._sessions, self._clock, self._access = calls, sessions, clock, access

    def routes(self) -> list[web.RouteDef]:
        page = openapi(self._calls)

        async def describe(_request: web.Request) -> web.Response:
            return web.json_response(page, dumps=_dumps)

        views = [web.route(call.method, call.route, self._view(call)) for call in self._calls]
        return [
            *views,
            web.get("/api/openapi.json", describe),
            web.route("*", PREFIX + r"/{rest:[\s\S]*}", self._nothing),
        ]

    async def _nothing(self, request: web.Request) -> web.Response:
        """No call is here, or none of this method."""
        allowed = sorted({call.method for call in self._calls if call.is_at(request.path)})
        if not allowed:
            return problem(404, Problem(error="api.no_such_call", message="there is no such call"))
        words = f"this path takes {' and '.join(allowed)}"
        refused = problem(405, Problem(error="api.wrong_method", message=words))
        refused.headers["Allow"] = ", ".join(allowed)
        return refused

    def _view(self, call: Call) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def view(request: web.Request) -> web.Response:
            try:
                caller = await self._access.caller(request, call.scope)
                if call.method == "GET":
                    raw, body = b"", query_of(request, call.takes)
                else:
                    raw, body = await body_of(request, call.takes)
                status, answer = await self._perform(call, caller, request, raw, body)
                return web.json_response(answer, status=status, dumps=_dumps)
            except BodyTooLarge as large:
                return problem(413, Problem(error="api.too_large", message=str(large)))
            except Unreadable as wrong:
                return problem(400, Problem(error="api.bad_json", message=str(wrong)))
            except WrongRequest as wrong:
                told = Problem(error="api.invalid", message="the request does not fit", fields=wrong.fields)
                return problem(422, told)
            except Unauthorized as no:
                return _unauthorized(no)
            except ScopeMissing as no:
                needed: dict[str, str | int | bool | None] = {"scope": no.scope.value}
                return problem(no.status, Problem(error=no.code, message=sentence(ScopeMissing), facts=needed))
            except Busy as busy:
                refused = problem(busy.status, problem_of(busy))
                refused.headers["Retry-After"] = str(max(1, math.ceil(busy.retry_after)))
                return refused
            except ShopError as refusal:
                return problem(refusal.status, problem_of(refusal))

        return view

    async def _perform(self, call: Call, caller: Caller, request: web.Request, raw: bytes, body: BaseModel) -> Answer:
        """Do it once: a key that was answered before gets that answer."""
        now, told = self._clock.now(), dict[str, Any](request.match_info)
        if call.by_caller:
            told["caller"] = caller
        key = request.headers.get("Idempotency-Key")
        if call.method == "GET":
            async with self._sessions.read() as session:
                return 200, dumped(await call.handle(session, body, now=now, **told))
        if key is None:
            async with self._sessions.begin() as session:
                return 200, dumped(await call.handle(session, body, now=now, **told))
        if not KEY_SHAPE.fullmatch(key):
            raise BadKey
        print_ = hashlib.sha256(b"\0".join([call.method.encode(), request.path.encode(), raw])).hexdigest()
        async with self._sessions.begin() as session:
            # The key's row is taken first: a second request waits here, and then finds the answer.
            if not await _take_key(session, caller.ref, key, print_, now=now):
                return await _earlier(session, caller.ref, key, print_)
            answer = dumped(await call.handle(session, body, now=now, **told))
            await session.execute(
                sa.update(ApiReply)
                .where(ApiReply.caller == caller.ref, ApiReply.idempotency_key == key)
                .values(status=200, body=answer)
            )
            return 200, answer


async def _take_key(session: AsyncSession, caller: str, key: str, print_: str, *, now: datetime) -> bool:
    row = insert(session, ApiReply).values(
        caller=caller, idempotency_key=key, fingerprint=print_, status=0, body={}, answered_at=now
    )
    taken = await session.scalars(row.on_conflict_do_nothing().returning(ApiReply.caller))
    return taken.first() is not None


async def _earlier(session: AsyncSession, caller: str, key: str, print_: str) -> Answer:
    reply = await session.get_one(ApiReply, (caller, key))
    if reply.fingerprint != print_:
        raise KeyReused
    return reply.status, reply.body


def problem(status: int, told: Problem) -> web.Response:
    log.info("api.refused", extra={"code": told.error})
    return web.json_response(dumped(told), status=status, dumps=_dumps)


def _unauthorized(no: Unauthorized) -> web.Response:
    told = Problem(error=no.code, message=sentence(Unauthorized))
    if no.over is not None:
        told = Problem(error=no.code, message=f"this key is {no.over.why}", facts=problem_of(no.over).facts)
    refused = problem(no.status, told)
    refused.headers["WWW-Authenticate"] = "Bearer"
    return refused


def dumped(answer: BaseModel) -> dict[str, Any]:
    return answer.model_dump(mode="json")


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
