"""A sale told in its groups: ahead of time, each group with its own link, by tasks that their owners confirm.

A mass send carries one content, so a group with a link of its own has a task of its own. Nothing here sends: the
posts are campaigns/group_posts.py, and *sent* is what WeCom says.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.flashsale import announce_words, board, sales
from bot.flashsale.announce_words import Outlook
from bot.flashsale.terms import SaleInvalid
from bot.models.sale import Claim, ClaimStatus, Sale, SaleGroup, SaleItem, SaleStatus
from campaigns import group_posts, guards
from campaigns.definition import Message
from campaigns.group_posts import Progress, Target, Told
from campaigns.guard_rules import Gate
from campaigns.models.campaign import DeliveryStatus
from campaigns.models.group_post import GroupPost, PostStatus
from campaigns.words import Level, Words
from crm.base.clock import SHANGHAI
from crm.base.db import is_among
from crm.models.group import Group

BEFORE_QUIET = timedelta(hours=1)  # owners get the tasks of a late-night sale so long before quiet hours begin
RECAP_WITHIN = timedelta(hours=16)  # later nobody wants to read how it went
GRACE = timedelta(hours=2)
OVER = (SaleStatus.SOLD_OUT, SaleStatus.CLOSED, SaleStatus.SETTLED)


def ref(sale_id: int) -> str:
    return f"sale:{sale_id}:announce"


def recap_ref(sale_id: int) -> str:
    return f"sale:{sale_id}:recap"


# Reads


def announce_at(sale: Sale, gate: Gate, *, now: datetime) -> datetime:
    """When the owners get their tasks: so long ahead of the first claim, but in the evening before quiet hours.

    A rule. A late-night sale (深夜场) would else be announced when nobody may be woken, or the morning after.
    """
    at = max(now, (sale.early_at or sale.opens_at) - timedelta(seconds=sale.ahead_seconds))
    if gate.quiet is None or gate.quiet.until(at, zone=gate.zone) is None:
        return at
    local = at.astimezone(gate.zone)
    begins = datetime.combine(local.date(), gate.quiet.begins, tzinfo=gate.zone)
    if begins > local:
        begins -= timedelta(days=1)
    return max(now, (begins - BEFORE_QUIET).astimezone(at.tzinfo))


async def outlook(session: AsyncSession, sale: Sale, gate: Gate, *, now: datetime) -> Outlook:
    """Which groups would be told and when, and which the gate keeps back: said before anybody says yes."""
    ids = await session.scalars(sa.select(SaleGroup.group_id).where(SaleGroup.sale_id == sale.id))
    return await outlook_of(session, sale, list(ids), gate, now=now)


async def outlook_of(
    session: AsyncSession, sale: Sale, group_ids: Collection[int], gate: Gate, *, now: datetime
) -> Outlook:
    """The same of a sale that is not saved yet."""
    at = announce_at(sale, gate, now=now)
    chosen = sa.select(Group.id, Group.name, Group.owner_id).where(is_among(session, Group.id, group_ids))
    groups = (await session.execute(chosen.order_by(Group.id))).all()
    owned = [row.id for row in groups if row.owner_id is not None]
    ownerless = [row.id for row in groups if row.owner_id is None]
    judged = await guards.judge_groups(session, gate, owned, now=at)
    return Outlook(at, {row.id: row.name for row in groups}, ownerless, judged)


async def progress(session: AsyncSession, sale_id: int) -> Progress | None:
    """How far the announcement is, group by group; None: not asked for yet."""
    return await group_posts.progress(session, ref(sale_id))


async def check_words(session: AsyncSession, sale: Sale, words: Words) -> None:
    """Raises SaleInvalid when its announcement says what no marketing text may."""
    said = announce_words.announcement(sale, await board.items(session, sale.id), has_link=True)
    for one in words.check(said):
        if one.level is Level.REFUSE:
            raise SaleInvalid(f"公告里“{one.text}”不能用（{one.kind}）：{one.suggest}")


async def unsent(session: AsyncSession, *, now: datetime) -> list[tuple[Sale, Progress]]:
    """Sales that opened within the last minute, with announcements that some owners have not confirmed."""
    just = (Sale.status.in_(sales.RUNNING), Sale.opens_at <= now, Sale.opens_at > now - timedelta(minutes=1))
    found = []
    for sale in (await session.scalars(sa.select(Sale).where(*just))).all():
        known = await progress(session, sale.id)
        if known is not None and known.waiting:
            found.append((sale, known))
    return found


# Verbs


async def announce(
    session: AsyncSession, sale: Sale, *, gate: Gate, words: Words, public_url: str, now: datetime
) -> bool:
    """Members may see it, and its groups are told when it is time; whether this call did anything.

    One whose announcement stopped because the service slept goes on. Raises SaleInvalid for words it may not say.
    """
    await check_words(session, sale, words)
    moved = await sales.announce(session, sale.id)
    if not moved and not await group_posts.go_on(session, ref(sale.id), now=now):
        return False
    await session.refresh(sale)
    await _post_if_due(session, sale, gate, public_url, now=now)
    return True


async def follow(session: AsyncSession, *, gate: Gate, public_url: str, now: datetime) -> int:
    """The clock's part: posts that are due are made, those of sales that are over are taken back, recaps follow.

    Returns how much was done. Any number of workers may call it: a post's reference makes it once.
    """
    done = 0
    known = sa.select(GroupPost.id).where(GroupPost.ref == _ref_column("announce"))
    told_in = sa.exists().where(SaleGroup.sale_id == Sale.id)
    coming = sa.select(Sale).where(Sale.status.in_(sales.RUNNING), Sale.closes_at > now, told_in, ~known.exists())
    for sale in (await session.scalars(coming)).all():
        done += await _post_if_due(session, sale, gate, public_url, now=now)
    living = known.where(GroupPost.status.in_(group_posts.LIVING)).exists()
    for sale in (await session.scalars(sa.select(Sale).where(Sale.status.in_(OVER), living))).all():
        done += await group_posts.stop(session, ref(sale.id), PostStatus.CANCELLED, now=now)
    recapped = sa.select(GroupPost.id).where(GroupPost.ref == _ref_column("recap"))
    settled = (Sale.status == SaleStatus.SETTLED, Sale.settled_at > now - RECAP_WITHIN, Sale.recaps)
    for sale in (await session.scalars(sa.select(Sale).where(*settled, ~recapped.exists()))).all():
        done += await _recap(session, sale, now=now)
    return done


def _ref_column(what: str) -> sa.ColumnElement[str]:
    return sa.literal("sale:") + sa.cast(Sale.id, sa.String(20)) + sa.literal(f":{what}")


async def _post_if_due(session: AsyncSession, sale: Sale, gate: Gate, public_url: str, *, now: datetime) -> bool:
    at = announce_at(sale, gate, now=now)
    if at > now:
        return False
    groups = (await session.scalars(sa.select(SaleGroup).where(SaleGroup.sale_id == sale.id))).all()
    if not groups:
        return False
    page = f"{public_url}/h5/sales/{sale.code}" if public_url else ""
    items = await board.items(session, sale.id)
    told = Told(
        messages=(announce_words.message(sale, items, page),),
        grace=GRACE,
        confirm_within=max(sale.closes_at - now, timedelta(minutes=1)),
        remind_after=reminders(sale.opens_at - now),
        until=sale.closes_at,
        note=announce_words.note(sale, page),
    )
    targets = [Target(one.group_id, url=f"{page}?g={one.code}" if page else "") for one in groups]
    return await group_posts.put(session, ref(sale.id), sale.name, told, targets, due_at=now, now=now) is not None


def reminders(ahead: timedelta) -> tuple[timedelta, ...]:
    """How long after the task its owner hears of it again: the nearer the opening, the oftener. Pure.

    WeCom allows three in 24 hours.
    """
    if ahead >= timedelta(hours=1):
        return ahead / 2, ahead * 3 / 4, ahead * 11 / 12
    return (ahead / 2, ahead) if ahead >= timedelta(minutes=10) else (timedelta(minutes=5),)


async def _recap(session: AsyncSession, sale: Sale, *, now: datetime) -> bool:
    """Into the groups that read of it and bought: elsewhere it would spend a group's post of the day for nothing."""
    known = await progress(session, sale.id)
    told = {one.group_id for one in known.groups if one.status is DeliveryStatus.SENT} if known else set()
    paid = sa.select(Claim.member_id, Claim.quantity).join(SaleItem, SaleItem.id == Claim.item_id)
    bought = (await session.execute(paid.where(SaleItem.sale_id == sale.id, Claim.status == ClaimStatus.PAID))).all()
    if not bought:
        told = set()
    text = announce_words.recap(
        sale,
        people=len({row.member_id for row in bought}),
        units=sum(row.quantity for row in bought),
        is_sold_out=all(one.sold == one.stock for one in await board.items(session, sale.id)),
        next_at=await _next_session(session, sale, now=now),
    )
    until = (sale.settled_at or now) + RECAP_WITHIN
    post = Told(messages=(Message(text=text),), grace=GRACE, until=until, note=announce_words.recap_note(sale))
    targets = [Target(one) for one in sorted(told)]
    name = f"{sale.name}（小结）"
    return await group_posts.put(session, recap_ref(sale.id), name, post, targets, due_at=now, now=now) is not None


async def _next_session(session: AsyncSession, sale: Sale, *, now: datetime) -> datetime | None:
    if sale.series is None:
        return None
    later = sa.select(Sale.opens_at).where(Sale.series == sale.series, Sale.opens_at > now)
    found: datetime | None = await session.scalar(later.order_by(Sale.opens_at).limit(1))
    return found.astimezone(SHANGHAI) if found is not None else None
