"""The OpenAPI 3.1 description of the HTTP API, made from its calls: statuses, parameters, problems, scopes."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from bot.models.api import Scope
from bot.web.api_call import PARTS, PREFIX, Call, Problem, sentence
from crm.base.errors import ShopError

REFERENCES = "#/components/schemas/{model}"
ModelKey = tuple[type[BaseModel], JsonSchemaMode]
AREAS = {
    "orders": "订单与退款",
    "members": "会员",
    "coupons": "优惠与券",
    "points": "积分与等级",
    "segments": "人群",
    "sales": "秒杀",
    "campaigns": "活动",
    "events": "事件",
}
ALWAYS: Mapping[int, tuple[str, str]] = {
    401: ("api.unauthorized", "Authorization: Bearer KEY is missing, wrong, expired or revoked"),
    403: ("api.scope_missing", "this key may not do this"),
    422: ("api.invalid", "the request does not fit; `fields` says where"),
    429: ("api.too_many", "too many calls; Retry-After says when to go on"),
    503: ("shop.busy", "not now; Retry-After says when to try again"),
}
OF_BODIES: Mapping[int, tuple[str, str]] = {
    400: ("api.bad_json", "the body is not JSON in UTF-8"),
    409: ("api.key_reused", "the idempotency key was used for another request before"),
    413: ("api.too_large", "the body is too large"),
}
SLOWED = (429, 503)
NO_NUL = "^[^\\u0000]*$"
IDEMPOTENCY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "同一个键再来一次，得到同样的回答，什么也不会做第二遍",
    "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]{1,128}$"},
}


def openapi(calls: Sequence[Call]) -> dict[str, Any]:
    """What a client generator, a tester or a person reads."""
    wanted: set[ModelKey] = {(Problem, "serialization")}
    for call in calls:
        wanted |= {(call.takes, "validation"), (call.gives, "serialization")}
    named, schemas = models_json_schema(sorted(wanted, key=_name_of), ref_template=REFERENCES)
    book = _Book(named, _without_nul(schemas.get("$defs", {})))
    paths: dict[str, dict[str, Any]] = {}
    for call in calls:
        paths.setdefault(PREFIX + call.path, {})[call.method.lower()] = book.operation(call)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "思域 Siyu",
            "version": "1",
            "description": "金额是分；时刻带时区，没有时区的是店铺当地时间。做法和例子见 docs/api.md。",
        },
        "tags": [{"name": area, "description": words} for area, words in AREAS.items()],
        "paths": paths,
        "components": {
            "schemas": book.schemas,
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "siyu api-key create 给的钥匙；权限：" + "、".join(scope.value for scope in Scope),
                }
            },
        },
    }


class _Book:
    """The schemas by model, and the operations that point at them."""

    def __init__(self, named: Mapping[Any, dict[str, Any]], schemas: dict[str, Any]) -> None:
        self._named, self.schemas = named, schemas

    def operation(self, call: Call) -> dict[str, Any]:
        told: dict[str, Any] = {
            "summary": call.summary,
            "tags": [call.area],
            "operationId": _operation_id(call),
            "security": [{"key": [call.scope.value]}],
            "parameters": [_part(name) for name in call.parts],
        }
        if call.method == "GET":
            told["parameters"] += self._query(call)
        else:
            told["parameters"] += [IDEMPOTENCY]
            needed = any(one.is_required() for one in call.takes.model_fields.values())  # no body is an empty one
            told["requestBody"] = {"required": needed, "content": self._json(call.takes, "validation", call.example)}
        told["responses"] = {
            "200": {"description": "done", "content": self._json(call.gives, "serialization")},
            **{str(status): self._refusal(status, told_) for status, told_ in sorted(_refusals(call).items())},
        }
        return told

    def _query(self, call: Call) -> list[dict[str, Any]]:
        schema = self._schema_of(call.takes)
        required = set(schema.get("required", ()))
        return [
            {
                "name": name,
                "in": "query",
                "required": name in required,
                "schema": _without_null(one),
                **({"example": call.example[name]} if name in call.example else {}),
            }
            for name, one in schema.get("properties", {}).items()
        ]

    def _schema_of(self, model: type[BaseModel]) -> dict[str, Any]:
        name = self._named[(model, "validation")]["$ref"].rpartition("/")[2]
        found: dict[str, Any] = self.schemas[name]
        return found

    def _refusal(self, status: int, told: Sequence[tuple[str, str]]) -> dict[str, Any]:
        content = self._json(Problem, "serialization")
        content["application/json"]["examples"] = {
            code: {"value": {"error": code, "message": words, "fields": {}, "facts": {}}} for code, words in told
        }
        described: dict[str, Any] = {
            "description": "; ".join(f"{code}: {words}" for code, words in told),
            "content": content,
        }
        if status in SLOWED:
            described["headers"] = {
                "Retry-After": {"required": True, "description": "seconds", "schema": {"type": "integer", "minimum": 1}}
            }
        if status == 401:
            described["headers"] = {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}}
        return described

    def _json(
        self, model: type[BaseModel], mode: JsonSchemaMode, example: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        return {
            "application/json": {
                "schema": dict(self._named[(model, mode)]),
                **({"example": example} if example else {}),
            }
        }


def _refusals(call: Call) -> dict[int, list[tuple[str, str]]]:
    """Every code a call may end with, by status."""
    told: defaultdict[int, list[tuple[str, str]]] = defaultdict(list)
    for status, one in {**ALWAYS, **(OF_BODIES if call.method != "GET" else {})}.items():
        told[status].append(one)
    if call.method != "GET":
        told[422].append(("api.bad_key", "an idempotency key is 1 to 128 visible ASCII characters"))
    for kind in _by_code(call.refuses):
        told[kind.status].append((kind.code, sentence(kind)))
    return told


def _by_code(kinds: Iterable[type[ShopError]]) -> list[type[ShopError]]:
    return list({kind.code: kind for kind in kinds}.values())


def _operation_id(call: Call) -> str:
    """get_members_code_card: stable, and what generated clients call it."""
    words = call.path.replace("{", "").replace("}", "").strip("/").split("/")
    return "_".join([call.method.lower(), *words])


def _part(name: str) -> dict[str, Any]:
    pattern, example, words = PARTS[name]
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": words,
        "schema": {"type": "string", "pattern": f"^{pattern}$"},
        "example": example,
    }


def _without_nul(schema: Any) -> Any:
    """No text holds a NUL character: PostgreSQL takes none, so no call does."""
    if isinstance(schema, list):
        return [_without_nul(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    told = {name: _without_nul(one) for name, one in schema.items()}
    if told.get("type") == "string" and not told.keys() & {"pattern", "enum", "const", "format"}:
        told["pattern"] = NO_NUL
    return told


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A query has no null: what may be left out is left out."""
    kinds = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    if not kinds:
        return schema
    rest = {name: value for name, value in schema.items() if name not in {"anyOf", "default"}}
    return {**rest, **kinds[0]} if len(kinds) == 1 else {**rest, "anyOf": kinds}


def _name_of(key: tuple[Any, JsonSchemaMode]) -> tuple[str, str]:
    return key[0].__name__, key[1]
