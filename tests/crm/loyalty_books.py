"""What must be true of every ledger, at any instant, whatever led there."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm.models.loyalty import EntryKind, LotState, PointAccount, PointEntry, PointLot, PointUse


async def faults(session: AsyncSession) -> list[str]:
    """Every way in which the rows contradict each other; none, if the books are right."""
    found: list[str] = []
    entries = list(await session.scalars(sa.select(PointEntry).execution_options(populate_existing=True)))
    lots = list(await session.scalars(sa.select(PointLot).execution_options(populate_existing=True)))
    uses = list(await session.scalars(sa.select(PointUse).execution_options(populate_existing=True)))
    accounts = await session.scalars(sa.select(PointAccount).execution_options(populate_existing=True))
    for lot in lots:
        if lot.remaining != lot.points + sum(use.points for use in uses if use.lot_id == lot.id):
            found.append(f"lot {lot.id} holds {lot.remaining}")
        if lot.state is LotState.EXPIRED and lot.remaining:
            found.append(f"lot {lot.id} expired and holds {lot.remaining}")
    for entry in entries:
        moved = sum(use.points for use in uses if use.entry_id == entry.id)
        brings = entry.kind in (EntryKind.EARNED, EntryKind.GRANTED)
        if not brings and entry.kind is not EntryKind.PARTED and entry.points != moved - entry.owed:
            found.append(f"entry {entry.id} {entry.kind} of {entry.points} moved {moved} and owes {entry.owed}")
    for account in accounts:
        mine = [lot for lot in lots if lot.member_id == account.member_id]
        sums = {
            state: sum(lot.remaining for lot in mine if lot.state is state)
            for state in (LotState.ACTIVE, LotState.PENDING)
        }
        owed = sum(entry.owed for entry in entries if entry.member_id == account.member_id)
        booked = sum(entry.points for entry in entries if entry.member_id == account.member_id)
        says = (account.active, account.pending, account.owed)
        if says != (sums[LotState.ACTIVE], sums[LotState.PENDING], owed):
            found.append(f"account {account.member_id} says {says}, its rows {sums} and {owed}")
        if booked != account.active + account.pending - account.owed:
            found.append(f"account {account.member_id} says {says}, its entries add up to {booked}")
        if account.owed and account.active:
            found.append(f"account {account.member_id} owes {account.owed} and has {account.active}")
    return found
