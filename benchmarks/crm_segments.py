"""A segment's preview over a large shop: five conditions, a count and ten people, beside columns in memory."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.ground import database
from benchmarks.report import Row, median, percentile, say
from crm import conditions, segments
from crm.base.db import open_sessions
from crm.conditions import Condition
from crm.models.lifecycle import Stage
from crm.models.rfm import Segment as RfmSegment

Mask = NDArray[np.bool_]
NOW = datetime(2026, 3, 9, 4, tzinfo=UTC)
DAYS = 120  # orders lie within so many days
STAGES, RFM_SEGMENTS = [stage.value for stage in Stage], [segment.value for segment in RfmSegment]
GENDERS, CATEGORIES = ["female", "male", "unknown"], ["猫粮", "狗粮", "玩具", "零食", "药品"]
TAGS = 30
INSTANT = "2025-06-01 00:00:00.000000"


@dataclass(frozen=True, slots=True)
class Size:
    members: int
    orders: int
    rounds: int


FULL = Size(1_000_000, 2_000_000, 5)
QUICK = Size(50_000, 100_000, 5)


class Shop:
    """Everything as columns, one value per member; what the database holds and what the limit is measured on."""

    def __init__(self, size: Size) -> None:
        chance, people = np.random.default_rng(7), size.members
        self.size = size
        self.gender = chance.choice(3, people, p=[0.6, 0.2, 0.2])
        self.tags = chance.integers(1, TAGS + 1, (people, 2))
        self.scores = chance.integers(1, 6, (people, 3))
        self.has_score = chance.random(people) < 0.8
        self.rfm_segment = chance.integers(0, 8, people)
        self.stage = chance.choice(7, people, p=[0.2, 0.1, 0.25, 0.1, 0.15, 0.15, 0.05])
        self.is_contact = chance.random(people) < 0.7
        self.refused = chance.random(people) < 0.05
        self.buyer = chance.integers(0, people, size.orders)
        self.days_ago = chance.integers(0, DAYS, size.orders)
        self.category = chance.integers(0, len(CATEGORIES), size.orders)

    def bought(self, category: int, days: int) -> Mask:
        found = np.zeros(self.size.members, bool)
        found[self.buyer[(self.category == category) & (self.days_ago <= days)]] = True
        return found


Asked = tuple[dict[str, Any], Callable[[Shop], Any]]  # the definition, and whom it means
WOMAN: Asked = ({"is": "gender", "among": ["female"]}, lambda shop: shop.gender == 0)
CONTACT: Asked = ({"is": "contact_of"}, lambda shop: shop.is_contact)
WILLING: Asked = ({"is": "not", "of": {"is": "consent", "answer": "no"}}, lambda shop: ~shop.refused)
RECENT: Asked = ({"is": "rfm", "r": {"least": 4}}, lambda shop: shop.has_score & (shop.scores[:, 0] >= 4))
CAT_FOOD: Asked = (
    {"is": "ordered", "categories": ["猫粮"], "when": {"last_days": 60}},
    lambda shop: shop.bought(0, 60),
)


def tagged(*tags: int) -> Asked:
    return {"is": "tagged", "any_of": list(tags)}, lambda shop: np.isin(shop.tags, tags).any(axis=1)


def stage(*places: int) -> Asked:
    return {"is": "stage", "among": [STAGES[one] for one in places]}, lambda shop: np.isin(shop.stage, places)


def rfm_segment(place: int) -> Asked:
    asked = {"is": "rfm", "segments": [RFM_SEGMENTS[place]]}
    return asked, lambda shop: shop.has_score & (shop.rfm_segment == place)


QUESTIONS: Mapping[str, tuple[Asked, ...]] = {
    "a tag leads": (tagged(3), RECENT, WOMAN, CONTACT, WILLING),
    "a tag, and what they bought": (tagged(3), stage(2, 3), CAT_FOOD, CONTACT, WILLING),
    "any of three tags": (tagged(3, 4, 5), RECENT, WOMAN, CONTACT, WILLING),
    "a stage leads": (stage(4), WOMAN, CONTACT, WILLING, CAT_FOOD),
    "two stages": (stage(2, 3), RECENT, WOMAN, CONTACT, WILLING),
    "an RFM segment leads": (rfm_segment(3), stage(4, 5), WOMAN, CONTACT, WILLING),
    "scores lead": (RECENT, stage(1, 2, 3, 6), WOMAN, CONTACT, WILLING),
    "won back, bought since": (stage(6), CAT_FOOD, RECENT, CONTACT, WILLING),
}


def measure(quick: bool) -> list[Row]:
    shop = Shop(QUICK if quick else FULL)
    with database("SQLite") as url:
        say(f"segments: {shop.size.members:,} members, {shop.size.orders:,} orders into SQLite …")
        load(Path(url.removeprefix("sqlite+aiosqlite:///")), shop)
        return asyncio.run(_previews(url, shop))


async def _previews(url: str, shop: Shop) -> list[Row]:
    sessions = open_sessions(url)
    ours: list[float] = []
    limits: list[float] = []
    rows = []
    try:
        for name, asked in QUESTIONS.items():
            condition = conditions.read({"is": "all", "of": [one for one, _ in asked]})
            taken, count = await _preview(sessions, condition, shop.size.rounds)
            limit, expected = _in_memory(shop, asked)
            assert count == expected, (name, count, expected)
            say(f"segments: {name}: {count:,} in {median(taken):.0f} ms")
            rows.append(Row(f"preview, {name}: {count:,} members", "ms", median(taken), limit))
            ours, limits = ours + taken, [*limits, limit]
    finally:
        await sessions.close()
    about = f"{shop.size.members:,} members, {len(QUESTIONS)} segments of five conditions; limit: numpy, in memory"
    return [
        Row(f"preview p50: {about}", "ms", median(ours), median(limits)),
        Row("preview p99", "ms", percentile(ours, 99), percentile(limits, 99)),
        *rows,
    ]


async def _preview(sessions: Any, condition: Condition, rounds: int) -> tuple[list[float], int]:
    taken, count = [], 0
    for _ in range(rounds):
        began = time.perf_counter()
        async with sessions.read() as session:
            count = (await segments.preview(session, condition, now=NOW)).count
        taken.append((time.perf_counter() - began) * 1e3)
    return taken, count


def _in_memory(shop: Shop, asked: tuple[Asked, ...]) -> tuple[float, int]:
    began = time.perf_counter()
    count = int(np.logical_and.reduce([mask(shop) for _, mask in asked]).sum())
    return (time.perf_counter() - began) * 1e3, count


def load(path: Path, shop: Shop) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous=OFF")
    ids = range(1, shop.size.members + 1)
    connection.execute("INSERT INTO staff (id, key, userid, name, active, follows) VALUES (1, 's', 's', '', 1, 1)")
    connection.execute("INSERT INTO tag_groups VALUES (1, '兴趣', 0)")
    connection.executemany(
        "INSERT INTO tags (id, group_id, name, mirrored, created_at) VALUES (?, 1, ?, 0, ?)",
        ((number, f"标签{number}", INSTANT) for number in range(1, TAGS + 1)),
    )
    connection.executemany(
        "INSERT INTO members (id, code, name, avatar, gender, source, joined_at)"
        f" VALUES (?, ?, '小林', 'https://wx.qlogo.cn/mmhead/0123456789abcdef', ?, 'contact', '{INSTANT}')",
        ((number, f"B{number:07d}", GENDERS[gender]) for number, gender in zip(ids, shop.gender.tolist(), strict=True)),
    )
    connection.executemany(
        f"INSERT INTO member_tags (member_id, tag_id, source, by, tagged_at) VALUES (?, ?, 'manual', '', '{INSTANT}')",
        ((number, tag) for number, tags in zip(ids, shop.tags.tolist(), strict=True) for tag in set(tags)),
    )
    connection.executemany(
        "INSERT INTO member_rfm (member_id, frequency, monetary_fen, last_paid_day, r, f, m, segment, snapshot_code)"
        " VALUES (?, 3, 26400, 20500, ?, ?, ?, ?, 0)",
        (
            (number, *scores, RFM_SEGMENTS[place])
            for number, scores, place, has in zip(
                ids, shop.scores.tolist(), shop.rfm_segment.tolist(), shop.has_score.tolist(), strict=True
            )
            if has
        ),
    )
    connection.executemany(
        "INSERT INTO member_stages (member_id, stage, since_on) VALUES (?, ?, '2026-01-01')",
        ((number, STAGES[place]) for number, place in zip(ids, shop.stage.tolist(), strict=True)),
    )
    connection.executemany(
        "INSERT INTO contacts (staff_id, member_id, external_userid, added_at, told_at, seen_at, state, remark,"
        f" description) VALUES (1, ?, ?, '{INSTANT}', '{INSTANT}', '{INSTANT}', '', '', '')",
        ((number, f"wm{number}") for number in (1 + np.flatnonzero(shop.is_contact)).tolist()),
    )
    connection.executemany(
        "INSERT INTO consents (member_id, topic, channel, granted, source, wording_version, said_at)"
        f" VALUES (?, 'marketing', 'any', 0, 'chat', 'v1', '{INSTANT}')",
        ((number,) for number in (1 + np.flatnonzero(shop.refused)).tolist()),
    )
    _load_orders(connection, shop)
    connection.commit()
    connection.close()


def _load_orders(connection: sqlite3.Connection, shop: Shop) -> None:
    days = [NOW - timedelta(days=ago) for ago in range(DAYS)]
    at, on = [f"{day:%Y-%m-%d %H:%M:%S.%f}" for day in days], [f"{day:%Y-%m-%d}" for day in days]
    connection.executemany(
        "INSERT INTO orders (id, member_id, source, external_no, status, total_fen, paid_fen, refunded_fen,"
        " placed_at, told_at, paid_at, paid_on) VALUES (?, ?, 'b', ?, 'paid', 8800, 8800, 0, ?, ?, ?, ?)",
        (
            (number, member + 1, f"N{number}", at[ago], at[ago], at[ago], on[ago])
            for number, (member, ago) in enumerate(zip(shop.buyer.tolist(), shop.days_ago.tolist(), strict=True), 1)
        ),
    )
    connection.executemany(
        "INSERT INTO order_lines (order_id, line_no, sku, name, category, quantity, price_fen)"
        " VALUES (?, 1, 'S1', '', ?, 1, 8800)",
        ((number, CATEGORIES[place]) for number, place in enumerate(shop.category.tolist(), 1)),
    )
