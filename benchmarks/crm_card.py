"""Member cards out of a large shop, one after the other, beside the card's own statements on a bare connection."""

import asyncio
import random
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.crm_segments import NOW, Shop, Size, load
from benchmarks.ground import database
from benchmarks.report import Row, median, percentile, say
from crm import card
from crm.base.db import Sessions, open_sessions
from crm.sight import Role

FULL, QUICK = Size(1_000_000, 2_000_000, 1_000), Size(50_000, 100_000, 300)
EVENTS = ("MemberEnrolled", "OrderPaid", "StageMoved", "MemberTagged", "ContactAdded")
BODIES = {
    "MemberEnrolled": '{"source":"kf"}',
    "OrderPaid": '{"order_id":1,"paid_fen":8800}',
    "StageMoved": '{"from_stage":"new","to_stage":"active"}',
    "MemberTagged": '{"tag_id":1}',
    "ContactAdded": '{"staff_id":1}',
}
Statement = tuple[str, Sequence[Any]]


def measure(quick: bool, size: Size | None = None) -> list[Row]:
    size = size or (QUICK if quick else FULL)
    with database("SQLite") as url:
        path = Path(url.removeprefix("sqlite+aiosqlite:///"))
        say(f"cards: {size.members:,} members, {size.orders:,} orders, {len(EVENTS) * size.members:,} events …")
        load(path, Shop(size))
        load_more(path, size)
        return asyncio.run(_cards(url, path, size))


async def _cards(url: str, path: Path, size: Size) -> list[Row]:
    chosen = random.Random(7).sample(range(1, size.members + 1), size.rounds)
    sessions = open_sessions(url)
    try:
        await _read(sessions, chosen[0])  # statements are compiled once in a process's life
        ours = [await _timed(sessions, member_id) for member_id in chosen]
        sent = [await _statements(sessions, member_id) for member_id in chosen[: len(chosen) // 2]]
    finally:
        await sessions.close()
    bare = _bare(path, sent)
    about = f"{size.members:,} members, {len(sent[0])} statements; limit: the statements alone"
    return [
        Row(f"card p50: {about}", "ms", median(ours), median(bare)),
        Row("card p99", "ms", percentile(ours, 99), percentile(bare, 99)),
    ]


async def _read(sessions: Sessions, member_id: int) -> card.Card:
    async with sessions.read() as session:
        return await card.read(session, member_id, role=Role.AGENT, now=NOW)


async def _timed(sessions: Sessions, member_id: int) -> float:
    began = time.perf_counter()
    found = await _read(sessions, member_id)
    assert len(found.timeline) == len(EVENTS)
    return (time.perf_counter() - began) * 1e3


async def _statements(sessions: Sessions, member_id: int) -> list[Statement]:
    """What a card asks the database."""
    sent: list[Statement] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        sent.append((statement, parameters))

    sa.event.listen(sessions.reader.sync_engine, "before_cursor_execute", note)
    try:
        await _read(sessions, member_id)
    finally:
        sa.event.remove(sessions.reader.sync_engine, "before_cursor_execute", note)
    return sent


def _bare(path: Path, cards: Sequence[Sequence[Statement]]) -> list[float]:
    connection = sqlite3.connect(path, isolation_level=None)
    taken = []
    for statements in cards:
        began = time.perf_counter()
        for statement, parameters in statements:
            connection.execute(statement, parameters).fetchall()
        connection.execute("ROLLBACK")
        taken.append((time.perf_counter() - began) * 1e3)
    connection.close()
    return taken


def load_more(path: Path, size: Size) -> None:
    """What a card shows beyond a segment's questions."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous=OFF")
    ids, at = range(1, size.members + 1), f"{NOW:%Y-%m-%d %H:%M:%S.%f}"
    for kind, prefix in (("external_userid", "wm"), ("unionid", "un")):
        connection.executemany(
            "INSERT INTO identities (member_id, kind, value, added_at) VALUES (?, ?, ?, ?)",
            ((number, kind, f"{prefix}{number}", at) for number in ids),
        )
    connection.execute(
        "INSERT INTO customer_groups (id, chat_id, name, notice, member_version) VALUES (1, 'wr', '群', '', '')"
    )
    connection.executemany(
        "INSERT INTO group_members (group_id, person, member_id, joined_at, invited_by, state, nickname)"
        " VALUES (1, ?, ?, ?, '', '', '')",
        ((f"wm{number}", number, at) for number in ids if number % 3 == 0),
    )
    connection.executemany(
        "INSERT INTO member_dates (member_id, kind, whose, month, day, next_on)"
        " VALUES (?, 'birthday', '', 5, 1, '2026-05-01')",
        ((number,) for number in ids if number % 2 == 0),
    )
    connection.executemany(
        "INSERT INTO stage_moves (member_id, to_stage, reason, facts, moved_at) VALUES (?, 'lead', 'joined', '{}', ?)",
        ((number, at) for number in ids),
    )
    connection.executemany(
        "INSERT INTO events (xid, name, member_id, body, at) VALUES (0, ?, ?, ?, ?)",
        ((name, number, BODIES[name], at) for name in EVENTS for number in ids),
    )
    connection.execute(
        "INSERT INTO member_orders (member_id, orders, paid_fen, refunded_fen, first_paid_at, last_paid_at,"
        " last_paid_on) SELECT member_id, count(*), sum(paid_fen), 0, min(paid_at), max(paid_at), max(paid_on)"
        " FROM orders GROUP BY member_id"
    )
    connection.commit()
    connection.close()


def _fill(connection: sqlite3.Connection, statement: str, rows: Any) -> None:
    connection.executemany(statement, rows)
