"""Members, orders and offers in one line, for the decisions about them."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from campaigns import offers
from campaigns.models.offer import Offer
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from tests.factories import make

__all__ = ["make"]

Put = Callable[..., Awaitable[Offer]]


@pytest.fixture
def put_offer(sessions: Sessions, clock: FrozenClock) -> Put:
    """An offer of 20 off 100, one a member, for ten days, unless told otherwise."""

    async def put(key: str = "满100减20", **more: Any) -> Offer:
        terms = {"kind": "amount", "amount_fen": 2000, "threshold_fen": 10_000, "starts_at": clock.now(),
                 "ends_at": clock.now() + timedelta(days=10)}  # fmt: skip
        draft = offers.Draft.model_validate({"key": key, "title": key, **terms, **more})
        async with sessions.begin() as session:
            return await offers.put(session, draft, now=clock.now())

    return put
