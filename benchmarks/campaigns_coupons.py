"""How fast a coupon is given to everybody of a segment, beside the bare statements that write the same rows."""

import time
from typing import Any

import sqlalchemy as sa

from benchmarks.report import Row, median
from campaigns import coupon_grants, coupons, offers
from campaigns.models.coupon_grant import CouponGrant
from campaigns.models.offer import Coupon, OfferTaken
from crm.base.db import Sessions, is_sqlite
from crm.base.events import EventRow

AUDIENCE = {"is": "gender", "among": ["female"]}
WHO = "FROM members WHERE gender = 'female' AND merged_into_id IS NULL AND erased_at IS NULL"
ALONE = 200  # members who get theirs in a transaction each


async def coupon_row(kind: str, sessions: Sessions, rounds: int, now: Any) -> Row:
    """Members a second who get one: by a grant, by the bare statements, and one at a time."""
    async with sessions.begin() as session:  # as every customer of the chat has: it is what a giver locks
        await session.execute(
            sa.text(
                "INSERT INTO identities (member_id, kind, value, added_at)"
                " SELECT id, 'external_userid', 'wm' || id, joined_at FROM members"
            )
        )
        await session.execute(sa.text("ANALYZE"))
    figures: dict[str, list[float]] = {"given": [], "bare": [], "one at a time": []}
    for number in range(1, rounds + 1):
        offer_id = await _offer(sessions, f"o{number}", now)
        figures["bare"].append(await _bare(sessions, offer_id, now))
        await _forget(sessions)
        figures["one at a time"].append(await _alone(sessions, offer_id, now))
        await _forget(sessions)
        figures["given"].append(await _given(sessions, number, now))
        await _forget(sessions)
    found = {what: median(rates) for what, rates in figures.items()}
    peers = {"one at a time": found["one at a time"]}
    return Row(f"{kind}, a coupon for each", "coupons/s", found["given"], found["bare"], peers)


async def _offer(sessions: Sessions, key: str, now: Any) -> int:
    terms = {"key": key, "title": key, "kind": "amount", "amount_fen": 2000, "starts_at": now, "valid_days": 7}
    async with sessions.begin() as session:
        draft = offers.Draft.model_validate({**terms, "stock": 10**8})
        return (await offers.put(session, draft, now=now)).id


async def _bare(sessions: Sessions, offer_id: int, now: Any) -> float:
    """The limit: the same rows of all three tables in three statements, nothing looked at and nothing guarded."""
    async with sessions.begin() as session:
        at = f"'{now:%Y-%m-%d %H:%M:%S}.000000'" if is_sqlite(session) else f"'{now.isoformat()}'::timestamptz"
        code = "printf('%08d', id)" if is_sqlite(session) else "lpad(id::text, 8, '0')"
        pair = "'coupon_id', id, 'offer_id', 1, 'member_id', id, 'because', 'bare'"
        body = f"json_object({pair})" if is_sqlite(session) else f"jsonb_build_object({pair})"
        xid = "0" if is_sqlite(session) else "pg_current_xact_id()::text::bigint"
        began = time.perf_counter()
        written = await session.execute(
            sa.text(
                "INSERT INTO coupons (code, offer_id, member_id, issued_to_id, because, status, issued_at, expires_at,"
                f" discount_fen) SELECT {code}, {offer_id}, id, id, 'bare', 'issued', {at}, {at}, 0 {WHO}"
            )
        )
        await session.execute(
            sa.text(f"INSERT INTO offer_taken (offer_id, member_id, taken) SELECT {offer_id}, id, 1 {WHO}")
        )
        await session.execute(
            sa.text(
                "INSERT INTO events (xid, name, member_id, body, at)"
                f" SELECT {xid}, 'CouponIssued', id, {body}, {at} {WHO}"
            )
        )
    return int(written.rowcount) / (time.perf_counter() - began)  # type: ignore[attr-defined]


async def _alone(sessions: Sessions, offer_id: int, now: Any) -> float:
    async with sessions.read() as session:
        people = list(await session.scalars(sa.text(f"SELECT id {WHO} LIMIT {ALONE}")))
    began = time.perf_counter()
    for one in people:
        async with sessions.begin() as session:
            await coupons.issue(session, offer_id, one, because="alone", now=now)
    return len(people) / (time.perf_counter() - began)


async def _given(sessions: Sessions, number: int, now: Any) -> float:
    began, goes_on = time.perf_counter(), True
    async with sessions.begin() as session:
        await coupon_grants.begin(session, f"{number}", f"o{number}", AUDIENCE, by="bench", now=now)
    while goes_on:
        async with sessions.begin() as session:
            goes_on = await coupon_grants.advance(session, now=now)
    took = time.perf_counter() - began
    async with sessions.read() as session:
        return (await coupon_grants.get(session, f"{number}")).issued / took


async def _forget(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        for table in (Coupon, OfferTaken, EventRow, CouponGrant):
            await session.execute(sa.delete(table))
    if sessions.dialect == "postgresql":
        async with sessions.writer.connect() as connection:
            autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
            await autocommit.execute(sa.text("VACUUM ANALYZE coupons, offer_taken, events"))
