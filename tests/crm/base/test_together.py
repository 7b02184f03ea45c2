"""Statements that go together: the same rows as one after the other, and on SQLite one crossing."""

from typing import Any

import pytest
import sqlalchemy as sa

from crm.base.clock import FrozenClock
from crm.base.db import Sessions, UTCDateTime, insert_told
from crm.base.onehop import OneHopConnection
from crm.base.together import Prepared, fetch, insert_alike, write

places = sa.Table(
    "seats_sold",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("seat", sa.Integer, unique=True),
    sa.Column("sold_at", UTCDateTime()),
)
SEATS = Prepared(lambda among: sa.select(places.c.seat, places.c.sold_at).where(among(places.c.id, "ids")))
ALL = Prepared(lambda _: sa.select(places.c.id).order_by(places.c.id))
MOVE = Prepared(
    lambda _: (
        sa.update(places).where(places.c.id == sa.bindparam("one")).values(seat=places.c.seat + sa.bindparam("by"))
    )
)


@pytest.fixture
async def hall(sessions: Sessions) -> Sessions:
    async with sessions.connect() as connection:
        await connection.run_sync(places.create)
    return sessions


async def test_what_goes_together_reads_and_writes_as_one_after_the_other(
    hall: Sessions, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    crossings = []
    crossed = OneHopConnection.cross

    async def counted(self: OneHopConnection, function: Any, *arguments: Any) -> Any:
        crossings.append(function)
        return await crossed(self, function, *arguments)

    async with hall.connect() as connection:
        monkeypatch.setattr(OneHopConnection, "cross", counted)
        rows = [(number, number * 10, clock.now()) for number in (1, 2, 3)]
        inserted = insert_told(connection, places, ("id", "seat", "sold_at"), rows, conflict="(id) DO NOTHING")
        moved = MOVE.told(connection.dialect, {"one": 2, "by": 5})
        assert await write(connection, [inserted, inserted, moved]) == [3, 0, 1]
        seats, everything, none = await fetch(connection, [SEATS, ALL, SEATS], ids=[2, 3, 4])
        assert sorted(seats) == [(25, clock.now()), (30, clock.now())]
        assert [tuple(row) for row in everything] == [(1,), (2,), (3,)]
        assert sorted(none) == sorted(seats)
    assert len(crossings) == (2 if hall.dialect == "sqlite" else 0)


async def test_what_the_table_refuses_is_the_error_that_everybody_knows(hall: Sessions, clock: FrozenClock) -> None:
    with pytest.raises(sa.exc.IntegrityError):
        async with hall.connect() as connection:
            rows = [(1, 10, clock.now()), (2, 10, clock.now())]
            names = ("id", "seat", "sold_at")
            await write(connection, [insert_told(connection, places, names, rows, conflict="(id) DO NOTHING")])
    async with hall.connect() as connection:
        assert await fetch(connection, [ALL]) == [[]]


async def test_rows_that_differ_in_little_are_told_the_rest_once(hall: Sessions, clock: FrozenClock) -> None:
    async with hall.connect() as connection:
        alike = {"sold_at": clock.now()}
        told = insert_alike(
            connection.dialect, places, ("id", "seat"), [(1, 10), (2, 20)], alike, conflict="DO NOTHING"
        )
        again = insert_alike(
            connection.dialect, places, ("id", "seat"), [(2, 20), (3, 30)], alike, conflict="DO NOTHING"
        )
        assert await write(connection, [told, again]) == [2, 1]
        (seats,) = await fetch(connection, [SEATS], ids=[1, 2, 3])
    assert sorted(seats) == [(10, clock.now()), (20, clock.now()), (30, clock.now())]


async def test_a_text_that_all_rows_share_is_what_it_was(sessions: Sessions) -> None:
    words = sa.Table(
        "words", sa.MetaData(), sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("said", sa.Text),
        sa.Column("count", sa.BigInteger), sa.Column("blank", sa.Text),
    )  # fmt: skip
    said = "it's '' \"quoted\"; -- 冻干 ? $1 :x %s"
    async with sessions.connect() as connection:
        await connection.run_sync(words.create)
        alike = {"said": said, "count": -7, "blank": None}
        await write(
            connection, [insert_alike(connection.dialect, words, ("id",), [(1,), (2,)], alike, conflict="DO NOTHING")]
        )
        rows = (await connection.execute(sa.select(words).order_by(words.c.id))).all()
    assert [tuple(row) for row in rows] == [(1, said, -7, None), (2, said, -7, None)]
