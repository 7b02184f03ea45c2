"""Every answer that a test gets from the API is held against the description: a status it names, a body it fits."""

from functools import cache
from typing import Any

import jsonschema_rs

from bot.web.api_call import PREFIX
from bot.web.api_calls import every_call
from bot.web.openapi import openapi

CALLS = every_call(None)
DESCRIPTION = openapi(CALLS)


def fits(method: str, path: str, status: int, body: Any) -> None:
    """path: below /api/v1, without its query."""
    whole = PREFIX + path
    found = [call for call in CALLS if call.method == method and call.is_at(whole)]
    assert len(found) == 1, f"{method} {path} is {len(found)} calls"
    answers = DESCRIPTION["paths"][PREFIX + found[0].path][method.lower()]["responses"]
    assert str(status) in answers, f"{method} {path} is not said to answer {status}: {body}"
    _validator(method, found[0].path, status).validate(body)


@cache
def _validator(method: str, path: str, status: int) -> Any:
    answer = DESCRIPTION["paths"][PREFIX + path][method.lower()]["responses"][str(status)]
    schema = answer["content"]["application/json"]["schema"]
    return jsonschema_rs.validator_for({**schema, "components": DESCRIPTION["components"]})
