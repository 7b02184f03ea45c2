"""The demo's campaigns, tasks, survey and visits: a folder of files like a shop's own, with days that fit today."""

import random
import tempfile
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from campaigns import coupons, files, offers, surveys
from campaigns.coupon_terms import OrderRef
from campaigns.engine import Review
from campaigns.guard_rules import Gate
from campaigns.offer_rules import Basket, Line
from campaigns.offers import Draft
from campaigns.tasks import entries, store
from crm.base.clock import SHANGHAI
from crm.base.db import Sessions

FOLDER = Path(__file__).parent / "plans"
VOTE, SURVEY = "新罐头", "这个月的看法"
VOTERS, ANSWERS = 46, 31

OFFERS: tuple[dict[str, Any], ...] = (
    {"key": "满199减30", "title": "猫粮猫砂满减", "kind": "amount", "threshold_fen": 199_00, "amount_fen": 30_00,
     "categories": ["猫粮", "猫砂"], "valid_days": 7, "stock": 500, "budget_fen": 10_000_00, "claimable": True},
    {"key": "零食八折", "title": "零食八折", "kind": "percent", "percent_bp": 2_000, "cap_fen": 20_00,
     "categories": ["零食"], "valid_days": 14, "stock": 300, "points_price": 200},
    {"key": "包邮", "title": "下单包邮", "kind": "shipping", "amount_fen": 12_00, "valid_days": 30, "stacks": True},
)  # fmt: skip
CLAIMED, USED = 34, 12  # coupons of the first offer


async def put(sessions: Sessions, members: Sequence[int], chance: random.Random, *, now: datetime) -> None:
    """Apply the files, and let some members vote and say what they think."""
    with tempfile.TemporaryDirectory() as scratch:
        for path in FOLDER.glob("*.yaml"):
            (Path(scratch) / path.name).write_text(_dated(path.read_text(encoding="utf-8"), now), encoding="utf-8")
        found = files.read_folder(Path(scratch))
    async with sessions.begin() as session:
        await files.apply(session, found, gate=Gate(), review=Review(), now=now)
        task, survey = await store.get(session, VOTE), await surveys.find(session, SURVEY)
        assert survey is not None, "the file was applied just now"
        for member_id in chance.sample(members, k=VOTERS):
            choice = chance.choices((1, 2, 3), (5, 9, 3))[0]
            await entries.answer(session, VOTE, member_id, [choice], version=task.version, channel="h5", now=now)
        for member_id in chance.sample(members, k=ANSWERS):
            score = chance.choices((10, 9, 8, 7, 6, 3), (9, 8, 5, 3, 2, 1))[0]
            await surveys.answer(session, survey.id, member_id, score, channel="h5", now=now)
    await _offer(sessions, members, chance, now=now)


async def _offer(sessions: Sessions, members: Sequence[int], chance: random.Random, *, now: datetime) -> None:
    """What the shop promises, some of which members claimed last week and used on an order."""
    then = now - timedelta(days=5)
    basket = Basket(lines=[Line(sku="CF-10KG", category="猫粮", price_fen=459_00)])
    async with sessions.begin() as session:
        first, *_ = [
            await offers.put(session, Draft.model_validate({**told, "starts_at": then}), now=then) for told in OFFERS
        ]
        for number, member_id in enumerate(chance.sample(members, k=CLAIMED)):
            coupon = await coupons.issue(session, first.id, member_id, because="claim", now=then)
            if number < USED:
                order = OrderRef("shop", f"DEMO-{coupon.code}")
                await coupons.use(session, member_id, [coupon.code], order=order, basket=basket, until=None, now=then)


def _dated(text: str, now: datetime) -> str:
    """START is last week, END the week after next, TOMORROW ten in the morning."""
    today = now.astimezone(SHANGHAI)
    tomorrow = (today + timedelta(days=1)).replace(hour=10, minute=0, second=0)
    days = {"START": today - timedelta(days=7), "END": today + timedelta(days=14), "TOMORROW": tomorrow}
    for word, at in days.items():
        text = text.replace(word, f"{at:%Y-%m-%dT%H:%M:%S}")
    return text
