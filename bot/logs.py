"""Log lines: a sentence's name for people, facts beside it for machines."""

import logging
from typing import Any

import structlog

_OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def set_up(level: str, *, as_json: bool) -> None:
    """Standard logging rendered by structlog: coloured lines for a terminal, JSON for a collector."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _take_extra,
    ]
    # Tracebacks without local variables: those hold secrets, tokens and what customers wrote.
    last: list[Any] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
        if as_json
        else [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
    )
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("aiosqlite", "asyncio", "alembic", "apscheduler"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.getLogger("apscheduler.scheduler").setLevel(logging.ERROR)  # a round longer than its beat skips one: meant


def _take_extra(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """What a caller passed as `extra` becomes fields of the line."""
    record = event.get("_record")
    if record is not None:
        event.update({name: value for name, value in record.__dict__.items() if name not in _OWN})
    return event
