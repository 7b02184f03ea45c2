"""The OpenAPI description is true: schemathesis asks every call what it promises, and what it does not."""

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.specs.openapi.checks import positive_data_acceptance

from bot.web.api_calls import every_call
from bot.web.openapi import openapi
from tests.bot.web.api_server import KEY, in_a_thread
from tests.bot.whole_person import VAULT
from tests.conftest import new_database

EXAMPLES = 8  # of each call and database
CALLS = every_call(VAULT)
MORE_THAN_A_SCHEMA_SAYS = {
    "post_offers",
    "post_ladders",
    "post_sales",
    "post_events",
    "post_segments_preview",
}  # fields that must fit each other, a tree of conditions: refused in words
schema = schemathesis.openapi.from_dict(openapi(CALLS))
schema.config.generation.update(deterministic=True, max_examples=EXAMPLES)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the API listens, for all calls: what one left behind the next one meets."""
    with new_database(request, tmp_path_factory.mktemp("described")) as url, in_a_thread(url, CALLS) as origin:
        yield origin


@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_what_a_call_promises_is_so(case: Case, address: str) -> None:
    has_rules = case.operation.definition.raw["operationId"] in MORE_THAN_A_SCHEMA_SAYS
    has_cursor = "after" in (case.query or {})  # any text is none of ours
    excluded = [positive_data_acceptance] if has_rules or has_cursor else []
    case.call_and_validate(base_url=address, headers={"Authorization": f"Bearer {KEY}"}, excluded_checks=excluded)
