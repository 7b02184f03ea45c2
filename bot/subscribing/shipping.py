"""The parcels of a day: paid deliveries with what is in them and where they go."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.models.subscription import Cycle, CycleStatus, PlanTerms, Subscription
from crm import addresses
from crm.base.secrets import Vault
from crm.models.member import Member


@dataclass(frozen=True, slots=True)
class Parcel:
    """One delivery. lines: (sku, name, pieces) each. address: empty where the member told none."""

    order_no: str
    name: str
    address: str
    lines: Sequence[tuple[str, str, int]]


async def parcels(
    session: AsyncSession, vault: Vault, day: date, *, userid: str, because: str, now: datetime
) -> list[Parcel]:
    """What is to be sent on this day; whose addresses were read, by whom and why, is written down."""
    rows = await session.execute(
        sa.select(Cycle, Subscription.address_id, PlanTerms.items, Member.name)
        .join(Subscription, Subscription.id == Cycle.subscription_id)
        .join(PlanTerms, PlanTerms.id == Cycle.terms_id)
        .join(Member, Member.id == Cycle.member_id)
        .where(Cycle.due_on == day, Cycle.status == CycleStatus.PAID)
        .order_by(Cycle.id)
    )
    found = rows.all()
    wanted = {row.address_id for row in found if row.address_id is not None}
    opened = await addresses.reveal(session, vault, wanted, userid=userid, because=because, now=now)
    return [
        Parcel(
            cycle.order_no,
            name,
            opened.get(address_id, ""),
            [(item["sku"], item["name"], item["quantity"] * cycle.quantity) for item in items],
        )
        for cycle, address_id, items, name in found
    ]
