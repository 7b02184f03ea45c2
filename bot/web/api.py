"""The HTTP API for the shop's other systems: keys, idempotency, typed bodies, and the OpenAPI page made from them.

A call is a function over (session, body, *, now) with pydantic models for what it takes and gives. The view parses,
opens the one transaction, calls it, and keeps the answer under the caller's Idempotency-Key in that transaction.
"""

import hashlib
import hmac
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from aiohttp import web
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema
from sqlalchemy.ext.asyncio import AsyncSession

from bot.models.api import ApiReply
from crm.base.clock import Clock
from crm.base.db import Sessions, insert
from crm.base.errors import Invalid, Refused

log = logging.getLogger(__name__)

PREFIX = "/api/v1"
LARGEST_BODY = 2 * 1024 * 1024
KEY_SHAPE = re.compile(r"[\x21-\x7e]{1,128}")
REFERENCES = "#/components/schemas/{model}"
Handle = Callable[..., Awaitable[BaseModel]]


class Problem(BaseModel):
    """Why a call was refused. `code` is stable; `fields` says where the body is wrong."""

    error: str
    message: str
    fields: dict[str, str] = {}


class KeyReused(Refused):
    """The idempotency key was used for another request before."""

    code = "api.key_reused"


class BadKey(Invalid):
    """An idempotency key is 1 to 128 visible ASCII characters."""

    code = "api.bad_key"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the API. `handle(session, body, *, now, **path parts)` does it."""

    method: str
    path: str
    summary: str
    takes: type[BaseModel]
    gives: type[BaseModel]
    handle: Handle


class Api:
    """The calls, and the views that make them reachable. `keys`: secret by the caller's name."""

    def __init__(self, calls: Sequence[Call], sessions: Sessions, clock: Clock, *, keys: Mapping[str, str]) -> None:
        self._calls, self._sessions, self._clock = calls, sessions, clock
        self._keys = {name: secret.encode() for name, secret in keys.items()}

    def routes(self) -> list[web.RouteDef]:
        page = openapi(self._calls)

        async def describe(_request: web.Request) -> web.Response:
            return web.json_response(page, dumps=_dumps)

        views = [web.route(call.method, PREFIX + call.path, self._view(call)) for call in self._calls]
        return [*views, web.get("/api/openapi.json", describe)]

    def _view(self, call: Call) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def view(request: web.Request) -> web.Response:
            caller = self._caller(request)
            if caller is None:
                return _problem(401, "api.unauthorized", "Authorization: Bearer KEY is missing or wrong")
            raw = await _read(request)
            if raw is None:
                return _problem(413, "api.too_large", f"a body has at most {LARGEST_BODY} bytes")
            try:
                body = call.takes.model_validate(_content(request, raw, call))
            except ValidationError as error:
                return _problem(422, "api.invalid", "the request does not fit", _fields(error))
            except ValueError as error:
                return _problem(400, "api.bad_json", str(error))
            status, answer = await self._perform(call, caller, request, raw, body)
            return web.json_response(answer, status=status, dumps=_dumps)

        return view

    async def _perform(
        self, call: Call, caller: str, request: web.Request, raw: bytes, body: BaseModel
    ) -> tuple[int, dict[str, Any]]:
        """Do it once: a key that was answered before gets that answer."""
        now, parts = self._clock.now(), dict(request.match_info)
        key = request.headers.get("Idempotency-Key")
        if call.method == "GET":
            async with self._sessions.read() as session:
                return 200, _dumped(await call.handle(session, body, now=now, **parts))
        if key is None:
            async with self._sessions.begin() as session:
                return 200, _dumped(await call.handle(session, body, now=now, **parts))
        if not KEY_SHAPE.fullmatch(key):
            raise BadKey
        print_ = hashlib.sha256(b"\0".join([call.method.encode(), request.path.encode(), raw])).hexdigest()
        async with self._sessions.begin() as session:
            # The key's row is taken first: a second request waits here, and then finds the answer.
            if not await _take_key(session, caller, key, print_, now=now):
                return await _earlier(session, caller, key, print_)
            answer = _dumped(await call.handle(session, body, now=now, **parts))
            await session.execute(
                sa.update(ApiReply)
                .where(ApiReply.caller == caller, ApiReply.idempotency_key == key)
                .values(status=200, body=answer)
            )
            return 200, answer

    def _caller(self, request: web.Request) -> str | None:
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        if not given:
            return None
        found = None
        for name, secret in self._keys.items():  # every key is compared, so that time tells nothing
            if hmac.compare_digest(secret, given.encode("utf-8", "replace")):
                found = name
        return found if kind.lower() == "bearer" else None


async def _take_key(session: AsyncSession, caller: str, key: str, print_: str, *, now: datetime) -> bool:
    row = insert(session, ApiReply).values(
        caller=caller, idempotency_key=key, fingerprint=print_, status=0, body={}, answered_at=now
    )
    taken = await session.scalars(row.on_conflict_do_nothing().returning(ApiReply.caller))
    return taken.first() is not None


async def _earlier(session: AsyncSession, caller: str, key: str, print_: str) -> tuple[int, dict[str, Any]]:
    reply = await session.get_one(ApiReply, (caller, key))
    if reply.fingerprint != print_:
        raise KeyReused
    return reply.status, reply.body


async def _read(request: web.Request) -> bytes | None:
    if (request.content_length or 0) > LARGEST_BODY:
        return None
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > LARGEST_BODY:
            return None
    return bytes(body)


def _content(request: web.Request, raw: bytes, call: Call) -> Any:
    if call.method == "GET":
        return dict(request.query)
    try:
        return json.loads(raw or b"{}")
    except (UnicodeDecodeError, RecursionError, ValueError):
        raise ValueError("the body is not JSON in UTF-8") from None


def _fields(error: ValidationError) -> dict[str, str]:
    return {".".join(str(part) for part in one["loc"]) or "body": one["msg"] for one in error.errors()}


def _problem(status: int, code: str, message: str, fields: dict[str, str] | None = None) -> web.Response:
    log.info("api.refused", extra={"code": code})
    return web.json_response(_dumped(Problem(error=code, message=message, fields=fields or {})), status=status)


def _dumped(answer: BaseModel) -> dict[str, Any]:
    return answer.model_dump(mode="json")


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def openapi(calls: Sequence[Call]) -> dict[str, Any]:
    """The OpenAPI 3.1 description of these calls."""
    models = sorted(
        {model for call in calls for model in (call.takes, call.gives)} | {Problem}, key=lambda m: m.__name__
    )
    _, schemas = models_json_schema([(model, "validation") for model in models], ref_template=REFERENCES)
    paths: dict[str, dict[str, Any]] = {}
    for call in calls:
        paths.setdefault(PREFIX + call.path, {})[call.method.lower()] = _operation(call)
    return {
        "openapi": "3.1.0",
        "info": {"title": "思域 Siyu", "version": "1"},
        "paths": paths,
        "components": {
            "schemas": schemas.get("$defs", {}),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}],
    }


def _operation(call: Call) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", call.path)
    ]
    operation: dict[str, Any] = {"summary": call.summary}
    if call.method == "GET":
        required = {name for name, field in call.takes.model_fields.items() if field.is_required()}
        parameters += [
            {"name": name, "in": "query", "required": name in required, "schema": {"type": "string"}}
            for name in call.takes.model_fields
        ]
    else:
        parameters.append({"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 128}})
        operation["requestBody"] = {"required": True, "content": _json_of(call.takes)}
    problem = {"description": "refused", "content": _json_of(Problem)}
    operation["parameters"] = parameters
    operation["responses"] = {"200": {"description": "done", "content": _json_of(call.gives)}, "default": problem}
    return operation


def _json_of(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": REFERENCES.format(model=model.__name__)}}}
