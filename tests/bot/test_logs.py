"""Log lines: facts for machines, tracebacks for people, and no secrets in either."""

import json
import logging
from collections.abc import Iterator

import pytest

from bot import logs


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def fail() -> None:
    secret = "".join(["not-for", "-the-log"])
    raise ValueError(len(secret))


@pytest.mark.parametrize("as_json", [False, True])
def test_a_traceback_shows_no_local_variables(as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("INFO", as_json=as_json)
    try:
        fail()
    except ValueError:
        logging.getLogger("test").exception("loop.failed", extra={"loop": "sender"})
    said = capsys.readouterr().err
    assert "loop.failed" in said and "ValueError" in said and "sender" in said
    assert "not-for-the-log" not in said


def test_json_lines_carry_their_facts(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("INFO", as_json=True)
    logging.getLogger("test").info("sale.sold_out", extra={"item": "猫粮"})
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["item"], line["level"]) == ("sale.sold_out", "猫粮", "info")
