"""How fast a campaign is planned, judged and put on its way, beside the bare statements that write the same rows."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from benchmarks.campaigns_coupons import coupon_row
from benchmarks.ground import DATABASES, database
from benchmarks.report import Report, Row, command, median, say
from campaigns import audience, definition, deliveries, sieve, ticks
from campaigns.draining import NoKf
from campaigns.guard_rules import Channel, Gate
from campaigns.models.campaign import Batch, Campaign, CampaignStatus, Delivery, DeliveryStatus, Kind, Run, RunStatus
from campaigns.models.gate import PassState, Touch
from crm.base.db import Sessions, insert_all, is_sqlite, open_sessions
from crm.models.consent import Consent

NOW = datetime(2026, 3, 9, 4, tzinfo=UTC)  # noon in the shop: no quiet hours
BARE = 0  # the run whose deliveries are written by the bare statement; real runs come after it, as the newest does
MARKED_TOGETHER = 1_000
STAFF = 20
TOLD = definition.read(
    {
        "kind": "one_off",
        "audience": {"is": "gender", "among": ["female"]},
        "starts_at": "2026-03-09T12:00:00",
        "messages": [{"name": "A", "text": "满 199 减 30"}, {"name": "B", "text": "满 199 送猫条"}],
        "holdout_percent": 5,
        "channels": ["broadcast"],
    }
)


@dataclass(frozen=True, slots=True)
class Size:
    members: int
    rounds: int
    databases: Sequence[str] = DATABASES


FULL = Size(1_000_000, 3)
QUICK = Size(50_000, 3)


def measure(quick: bool, size: Size | None = None) -> Report:
    size = size or (QUICK if quick else FULL)
    report = Report("campaigns")
    for kind in size.databases:
        with database(kind) as url:
            report.rows += asyncio.run(_measure(kind, url, size))
    return report


async def _measure(kind: str, url: str, size: Size) -> list[Row]:
    sessions = open_sessions(url)
    try:
        say(f"campaigns: {size.members:,} members into {kind} …")
        await _load(sessions, size.members)
        figures: dict[str, list[float]] = {}
        for number in range(1, size.rounds + 1):
            for what, rate in (await _round(sessions, number)).items():
                figures.setdefault(what, []).append(rate)
        await _remember(sessions, size.members)
        for number in range(1, size.rounds + 1):
            figures.setdefault("with history", []).append(await _planned_and_judged(sessions, number + 200))
        say(f"campaigns: a coupon for each, {kind} …")
        given = await coupon_row(kind, sessions, size.rounds, NOW)
    finally:
        await sessions.close()
    found = {what: median(rates) for what, rates in figures.items()}
    rows = [
        Row(f"{kind}, planned", "rows/s", found["planned"], found["insert select"]),
        Row(f"{kind}, planned and judged", "rows/s", found["planned and judged"], found["insert select"]),
        Row(
            f"{kind}, planned and judged, a tenth has a history",
            "rows/s",
            found["with history"],
            found["insert select"],
        ),
        Row(f"{kind}, on their way", "deliveries/s", found["drained"], found["marked"]),
        given,
    ]
    if "drained by two" in found:
        rows.append(Row(f"{kind}, on their way, two workers", "deliveries/s", found["drained by two"], found["marked"]))
    return rows


async def _round(sessions: Sessions, number: int) -> dict[str, float]:
    """Every figure once, one after the other, on runs of their own."""
    bare, count = await _insert_select(sessions)
    marked = await _mark(sessions)
    run_id = await _begin(sessions, number)
    planned = await _timed(_plan(sessions))
    judged = await _timed(_judge(sessions, run_id))
    drained = await _timed(_drain(sessions))
    found = {
        "insert select": count / bare,
        "marked": count / marked,
        "planned": count / planned,
        "planned and judged": count / (planned + judged),
        "drained": count / drained,
    }
    if sessions.dialect == "postgresql":
        await _begin(sessions, number + 100)
        await _plan(sessions)
        found["drained by two"] = count / await _timed(asyncio.gather(_drain(sessions), _drain(sessions)))
    await _forget(sessions)
    return found


async def _planned_and_judged(sessions: Sessions, number: int) -> float:
    """Members of the segment a second, from nothing to a delivery with the gate's answer."""
    run_id = await _begin(sessions, number)
    took = await _timed(_plan(sessions)) + await _timed(_judge(sessions, run_id))
    async with sessions.read() as session:
        count = await session.scalar(sa.select(sa.func.count()).select_from(Delivery).where(Delivery.run_id == run_id))
    await _forget(sessions)
    return (count or 0) / took


async def _timed(work: Any) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def _insert_select(sessions: Sessions) -> tuple[float, int]:
    """The limit: the rows of everybody in one statement, without holdout, gate or anything to go on from."""
    statement = sa.text(
        f"INSERT INTO deliveries (run_id, member_id, status, variant)"
        f" SELECT {BARE}, id, 'planned', 0 FROM members WHERE gender = 'female'"
        f" AND merged_into_id IS NULL AND erased_at IS NULL"
    )
    began = time.perf_counter()
    async with sessions.begin() as session:
        written = await session.execute(statement)
    took = time.perf_counter() - began
    return took, int(written.rowcount)  # type: ignore[attr-defined]


async def _mark(sessions: Sessions) -> float:
    """The limit of the other: claim a range, mark its rows, a transaction each thousand."""
    async with sessions.read() as session:
        last = await audience.newest_member(session)
    began = time.perf_counter()
    for after in range(0, last, MARKED_TOGETHER):
        async with sessions.begin() as session:
            marked = sa.update(Delivery).where(
                Delivery.run_id == BARE, Delivery.member_id > after, Delivery.member_id <= after + MARKED_TOGETHER
            )
            await session.execute(
                marked.values(status=DeliveryStatus.QUEUED).execution_options(synchronize_session=False)
            )
    return time.perf_counter() - began


async def _begin(sessions: Sessions, number: int) -> int:
    async with sessions.begin() as session:
        written = definition.write(TOLD)
        campaign = Campaign(
            name=f"{number}", kind=Kind.ONE_OFF, status=CampaignStatus.RUNNING, definition=written, created_by="bench",
            created_at=NOW, changed_at=NOW,
        )  # fmt: skip
        session.add(campaign)
        await session.flush()
        run = Run(
            campaign_id=campaign.id, occurrence="1", status=RunStatus.PLANNING, definition=written, due_at=NOW,
            ticked_at=NOW, last_id=await audience.newest_member(session),
        )  # fmt: skip
        session.add(run)
        await session.flush()
        return run.id


async def _plan(sessions: Sessions) -> None:
    goes_on = True
    while goes_on:
        async with sessions.begin() as session:
            goes_on = await ticks.plan(session, now=NOW)


async def _judge(sessions: Sessions, run_id: int) -> None:
    """The gate over what was planned, window by window, as a drain asks it, its answers written down."""
    waits = (DeliveryStatus.PLANNED,)
    async with sessions.read() as session:
        last = await audience.newest_member(session)
    for after in range(0, last, audience.WINDOW):
        upto = after + audience.WINDOW
        asked = deliveries.waiting(run_id, after, upto, waits)
        async with sessions.begin() as session:
            said = await sieve.sift(session, Gate(), asked, after, upto, channel=Channel.BROADCAST, now=NOW)
            await deliveries.decide(session, run_id, said.refused)


async def _remember(sessions: Sessions, members: int) -> None:
    """Something to look at: of a hundred members eight had a message yesterday, two opted out, chance says who."""
    chance = random.Random(7)
    some = chance.sample(range(1, members + 1), members // 10)
    touched, out = some[members // 50 :], some[: members // 50]
    at = NOW - timedelta(hours=20)
    about = {"ref": "yesterday", "channel": "broadcast", "topic": "marketing", "state": PassState.SENT, "at": at}
    said = {"topic": "marketing", "channel": "any", "granted": False, "source": "chat", "wording_version": "1"}
    touches: Any = Touch.__table__
    consents: Any = Consent.__table__
    async with sessions.begin() as session:
        await insert_all(session, touches, [{"member_id": one, **about, "code": ""} for one in sorted(touched)])
        await insert_all(session, consents, [{"member_id": one, **said, "said_at": at} for one in sorted(out)])
        await session.execute(sa.text("ANALYZE"))


async def _drain(sessions: Sessions) -> None:
    goes_on = True
    while goes_on:
        async with sessions.begin() as session:
            goes_on = await ticks.drain(session, Gate(), NoKf(), now=NOW)


async def _forget(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        for table in ("broadcast_copies", "deliveries"):
            await session.execute(sa.text(f"DELETE FROM {table}"))
        await session.execute(sa.delete(Batch))
        await session.execute(sa.delete(Run))
        await session.execute(sa.delete(Campaign))
    if sessions.dialect == "postgresql":  # or every round would walk over the dead rows of the one before
        async with sessions.writer.connect() as connection:
            autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
            await autocommit.execute(sa.text("VACUUM ANALYZE deliveries, broadcast_copies"))


async def _load(sessions: Sessions, members: int) -> None:
    """Members with one contact each, made inside the database; three in five are of the segment."""
    async with sessions.begin() as session:
        numbers = (
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {members}) SELECT i FROM n"
            if is_sqlite(session)
            else f"SELECT i FROM generate_series(1, {members}) AS n(i)"
        )
        at = "'2025-06-01 00:00:00.000000'" if is_sqlite(session) else "'2025-06-01 00:00:00+00'::timestamptz"
        code = "printf('%08d', i)" if is_sqlite(session) else "lpad(i::text, 8, '0')"
        for statement in (
            f"INSERT INTO members (id, code, name, avatar, gender, source, joined_at)"
            f" SELECT i, {code}, '', '', CASE WHEN i % 5 < 3 THEN 'female' ELSE 'male' END, 'import', {at}"
            f" FROM ({numbers}) AS numbers",
            f"INSERT INTO staff (id, key, userid, name, active, follows)"
            f" SELECT i, 's' || i, 's' || i, '', {'1' if is_sqlite(session) else 'true'},"
            f" {'1' if is_sqlite(session) else 'true'} FROM ({numbers}) AS numbers WHERE i <= {STAFF}",
            f"INSERT INTO contacts (staff_id, member_id, external_userid, added_at, told_at, seen_at, state, remark,"
            f" description) SELECT i % {STAFF} + 1, i, 'wm' || i, {at}, {at}, {at}, '', '', ''"
            f" FROM ({numbers}) AS numbers",
        ):
            await session.execute(sa.text(statement))
        await session.execute(sa.text("ANALYZE"))


if __name__ == "__main__":
    command(measure, __doc__ or "")
