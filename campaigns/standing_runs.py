"""Campaigns that always are: the product itself begins their runs, with the members and the text at hand.

So what it has to say by 企业群发 passes the same gate, is confirmed, counted and reported like everything else the shop
sends. Somebody who pauses such a campaign stops it, as they would any other.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import definition
from campaigns.definition import Definition
from campaigns.models.campaign import (
    Batch,
    Campaign,
    CampaignStatus,
    Delivery,
    DeliveryStatus,
    Kind,
    Run,
    RunStatus,
)
from crm.base.db import insert, insert_all
from crm.conditions import BUCKETS

EVERYBODY: dict[str, Any] = {"is": "bucket", "salt": "everybody", "first": 0, "end": BUCKETS}
BY = "siyu"
_deliveries: Any = Delivery.__table__


async def begin(
    session: AsyncSession, name: str, what: str, told: Definition, member_ids: Collection[int], *, now: datetime
) -> int:
    """Deliveries for these members in the open run of `what` (≤ 32 characters), or in a new one; returns its id."""
    campaign_id = await _campaign(session, name, told, now=now)
    run_id = await _run(session, campaign_id, what, told, now=now)
    alike = {"run_id": run_id, "status": DeliveryStatus.PLANNED, "variant": 0}
    await insert_all(session, _deliveries, [{**alike, "member_id": one} for one in sorted(set(member_ids))])
    session.add(Batch(run_id=run_id, after_id=min(member_ids) - 1, upto_id=max(member_ids), due_at=now))
    await session.flush()
    return run_id


async def _campaign(session: AsyncSession, name: str, told: Definition, *, now: datetime) -> int:
    """It listens for what never happens, so it is never over."""
    listens = {"kind": "triggered", "on": {"event": "Never"}, "starts_at": None}
    written = definition.write(definition.read({**definition.write(told), **listens}))
    fresh = insert(session, Campaign).values(
        name=name, kind=Kind.TRIGGERED, status=CampaignStatus.RUNNING, definition=written, version=1, created_by=BY,
        reviewed_by=BY, review_because="", paused_because="", next_fire_at=None, created_at=now, changed_at=now,
    )  # fmt: skip
    await session.execute(fresh.on_conflict_do_nothing(index_elements=["name"]))
    found = await session.scalar(sa.select(Campaign.id).where(Campaign.name == name))
    assert found is not None  # inserted above, or there before
    return found


async def _run(session: AsyncSession, campaign_id: int, what: str, told: Definition, *, now: datetime) -> int:
    known = sa.select(Run.id, Run.status).where(Run.campaign_id == campaign_id, Run.occurrence.like(f"{what}#%"))
    rows = (await session.execute(known.order_by(Run.id))).all()
    for row in rows:
        if row.status is RunStatus.SENDING:
            return int(row.id)
    run = Run(
        campaign_id=campaign_id, occurrence=f"{what}#{len(rows)}", status=RunStatus.SENDING,
        definition=definition.write(told), due_at=now, ticked_at=now, asks_because="", cursor=0, last_id=0, sent=0,
        failed=0,
    )  # fmt: skip
    session.add(run)
    await session.flush()
    return run.id
