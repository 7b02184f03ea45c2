"""The leaves of a condition in SQL: a test on the member's own row, or rows of another table that name members.

A condition without a form here does not exist: what cannot be asked in SQL cannot be asked.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import singledispatch
from hashlib import sha256
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from crm.base.clock import day_start, local_day
from crm.base.events import EventRow
from crm.conditions import (
    CameFrom,
    Consented,
    ContactOf,
    CorpTagged,
    DateComes,
    Did,
    Grades,
    HasLevel,
    HasPoints,
    InBucket,
    InGroup,
    InStage,
    IsGender,
    Joined,
    Lifetime,
    Ordered,
    Period,
    PointsExpire,
    Rfm,
    Span,
    Tagged,
)
from crm.models.audience import MemberTag
from crm.models.consent import Consent
from crm.models.group import GroupMember
from crm.models.lifecycle import MemberDate, MemberStage
from crm.models.loyalty import LotState, MemberLevel, PointAccount, PointLot
from crm.models.member import Contact
from crm.models.order import MemberOrders, Order, OrderLine
from crm.models.rfm import MemberRfm
from crm.models.tag import ContactTag, CorpTag
from crm.rfm_rules import TIERS

Test = sa.ColumnElement[bool]
MASK = 2**31 - 1


@dataclass(frozen=True, slots=True)
class OwnRow:
    """A test on the member's own row. share: of all members, about how many pass."""

    test: Test
    share: float = 0.5
    cost: float = 0.2  # of asking it about one member; 1 is a look into an index


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of another table that name the members who pass, or with `refuses` those who do not."""

    select: sa.Select[Any]  # one column, the member's id
    member_id: Any  # that column, for asking about one member
    share: float = 0.5
    cost: float = 1.0
    leads: bool = False  # its table finds them by an index, or has a row per member
    in_order: bool = False  # each id once and ascending
    refuses: bool = False

    def about(self, member_id: sa.ColumnElement[Any], *outer: sa.FromClause) -> Test:
        found = self.select.where(self.member_id == member_id).correlate(*outer).exists()
        return ~found if self.refuses else found


@singledispatch
def compiled(leaf: Any, people: Any, now: datetime) -> OwnRow | Rows:
    """The leaf's form in SQL. `people`: the alias of Member that is asked."""
    raise NotImplementedError(type(leaf).__name__)


@compiled.register
def _(leaf: IsGender, people: Any, now: datetime) -> OwnRow:
    return OwnRow(people.gender.in_(leaf.among), 0.4 * len(leaf.among))


@compiled.register
def _(leaf: CameFrom, people: Any, now: datetime) -> OwnRow:
    return OwnRow(people.source.in_(leaf.among), 0.3 * len(leaf.among))


@compiled.register
def _(leaf: Joined, people: Any, now: datetime) -> OwnRow:
    return OwnRow(sa.and_(sa.true(), *within(people.joined_at, leaf.when, now)), 0.3)


@compiled.register
def _(leaf: InBucket, people: Any, now: datetime) -> OwnRow:
    place = bucket_of(people.id, leaf.salt)
    return OwnRow(sa.and_(place >= leaf.first, place < leaf.end), (leaf.end - leaf.first) / 10_000, cost=0.8)


@compiled.register
def _(leaf: Tagged, people: Any, now: datetime) -> Rows:
    over = aliased(MemberTag)  # expired, and not taken off yet: few, and found by an index of their own
    expired = sa.select(over.tag_id, over.member_id).where(over.ended_at.is_(None), over.expires_at <= now)
    alive = (MemberTag.ended_at.is_(None), sa.tuple_(MemberTag.tag_id, MemberTag.member_id).not_in(expired))
    rows = sa.select(MemberTag.member_id).where(_one_of(MemberTag.tag_id, leaf.any_of), *alive)
    share = min(0.05 * len(leaf.any_of), 0.9)
    return Rows(rows, MemberTag.member_id, share, leads=True, in_order=len(set(leaf.any_of)) == 1)


@compiled.register
def _(leaf: CorpTagged, people: Any, now: datetime) -> Rows:
    rows = (
        sa.select(Contact.member_id)
        .join(ContactTag, ContactTag.contact_id == Contact.id)
        .join(CorpTag, CorpTag.id == ContactTag.tag_id)
        .where(Contact.ended_at.is_(None), ContactTag.unmarked_at.is_(None), CorpTag.wecom_id.in_(leaf.any_of))
    )
    return Rows(rows, Contact.member_id, min(0.06 * len(leaf.any_of), 0.9), cost=3, leads=True)


@compiled.register
def _(leaf: Rfm, people: Any, now: datetime) -> Rows:
    segments = set(leaf.segments or TIERS) & {
        one for one, tier in TIERS.items() if tier in (leaf.tiers or TIERS.values())
    }
    rows = sa.select(MemberRfm.member_id).where(MemberRfm.r.is_not(None))
    share = 0.8
    if len(segments) < len(TIERS):
        rows = rows.where(MemberRfm.segment.in_(sorted(segments)))
        share *= len(segments) / len(TIERS)
    for column, grades in ((MemberRfm.r, leaf.r), (MemberRfm.f, leaf.f), (MemberRfm.m, leaf.m)):
        if grades is not None:
            rows = rows.where(*_between(column, grades))
            share *= (grades.most - grades.least + 1) / 5
    return Rows(rows, MemberRfm.member_id, share, cost=0.6, leads=True, in_order=True)


@compiled.register
def _(leaf: InStage, people: Any, now: datetime) -> Rows:
    rows = sa.select(MemberStage.member_id).where(_one_of(MemberStage.stage, leaf.among))
    if leaf.for_days is not None:
        rows = rows.where(MemberStage.since_on <= local_day(now) - timedelta(days=leaf.for_days))
    share = min(0.15 * len(leaf.among), 0.95)
    return Rows(rows, MemberStage.member_id, share, cost=0.6, leads=True, in_order=True)


@compiled.register
def _(leaf: Lifetime, people: Any, now: datetime) -> Rows:
    spent = MemberOrders.paid_fen - MemberOrders.refunded_fen
    fits = [*_in_span(MemberOrders.orders, leaf.orders), *_in_span(spent, leaf.spent_fen)]
    rows = sa.select(MemberOrders.member_id)
    if _lets_zero_in(leaf.orders) and _lets_zero_in(leaf.spent_fen):
        return Rows(rows.where(sa.not_(sa.and_(*fits))), MemberOrders.member_id, 0.6, cost=0.6, refuses=True)
    return Rows(rows.where(*fits), MemberOrders.member_id, 0.3, cost=0.6, leads=True, in_order=True)


@compiled.register
def _(leaf: Ordered, people: Any, now: datetime) -> Rows:
    rows = sa.select(Order.member_id).where(*counted(), *within(Order.paid_at, leaf.when, now))
    spent: Any = sa.func.sum(Order.paid_fen - Order.refunded_fen)
    if by_article := bool(leaf.skus or leaf.categories):
        article = of_article(leaf)
        rows = rows.join(OrderLine, OrderLine.order_id == Order.id).where(article)
        spent = sa.func.sum(OrderLine.quantity * OrderLine.price_fen)
    times = sa.func.count(Order.id.distinct()) if by_article else sa.func.count()
    cost = 5.0 if by_article else 2.0
    if leaf.spent_fen is None and leaf.count in (None, Span(least=1)):
        return Rows(rows, Order.member_id, 0.2, cost=cost)
    fits = [*_in_span(times, leaf.count), *_in_span(spent, leaf.spent_fen)]
    if _lets_zero_in(leaf.count) and _lets_zero_in(leaf.spent_fen):
        misses = rows.group_by(Order.member_id).having(sa.not_(sa.and_(*fits)))
        return Rows(misses, Order.member_id, 0.7, cost=cost, refuses=True)
    return Rows(rows.group_by(Order.member_id).having(sa.and_(*fits)), Order.member_id, 0.1, cost=cost)


@compiled.register
def _(leaf: Did, people: Any, now: datetime) -> Rows:
    rows = sa.select(EventRow.member_id).where(EventRow.name == leaf.event, *within(EventRow.at, leaf.when, now))
    if leaf.count == Span(least=1):
        return Rows(rows, EventRow.member_id, 0.2)
    fits = sa.and_(*_in_span(sa.func.count(), leaf.count))
    if _lets_zero_in(leaf.count):
        return Rows(rows.group_by(EventRow.member_id).having(~fits), EventRow.member_id, 0.8, refuses=True)
    return Rows(rows.group_by(EventRow.member_id).having(fits), EventRow.member_id, 0.1, cost=1.5)


@compiled.register
def _(leaf: InGroup, people: Any, now: datetime) -> Rows:
    rows = sa.select(GroupMember.member_id).where(GroupMember.left_at.is_(None), GroupMember.member_id.is_not(None))
    if leaf.any_of:
        rows = rows.where(GroupMember.group_id.in_(leaf.any_of))
    share = min(0.02 * len(leaf.any_of), 0.4) if leaf.any_of else 0.4
    return Rows(rows, GroupMember.member_id, share, leads=bool(leaf.any_of))


@compiled.register
def _(leaf: ContactOf, people: Any, now: datetime) -> Rows:
    rows = sa.select(Contact.member_id).where(Contact.ended_at.is_(None))
    if leaf.any_of:
        rows = rows.where(Contact.staff_id.in_(leaf.any_of))
    share = min(0.05 * len(leaf.any_of), 0.7) if leaf.any_of else 0.7
    return Rows(rows, Contact.member_id, share, leads=bool(leaf.any_of))


@compiled.register
def _(leaf: Consented, people: Any, now: datetime) -> Rows:
    said, later = aliased(Consent), aliased(Consent)
    about = (said.topic == leaf.topic, said.channel == leaf.channel)
    if leaf.answer == "never":
        return Rows(sa.select(said.member_id).where(*about), said.member_id, 0.5, refuses=True)
    newer = sa.exists().where(
        later.member_id == said.member_id,
        later.topic == said.topic,
        later.channel == said.channel,
        sa.or_(later.said_at > said.said_at, sa.and_(later.said_at == said.said_at, later.id > said.id)),
    )
    answered = said.granted.is_(sa.true() if leaf.answer == "yes" else sa.false())
    rows = sa.select(said.member_id).where(*about, answered, ~newer)
    return Rows(rows, said.member_id, 0.5 if leaf.answer == "yes" else 0.1, cost=1.5)


@compiled.register
def _(leaf: DateComes, people: Any, now: datetime) -> Rows:
    today = local_day(now)
    comes = MemberDate.next_on.between(today, today + timedelta(days=leaf.within_days))
    rows = sa.select(MemberDate.member_id).where(MemberDate.kind.in_(leaf.kinds), comes)
    return Rows(rows, MemberDate.member_id, min(0.003 * (leaf.within_days + 1), 0.9), leads=True)


@compiled.register
def _(leaf: HasLevel, people: Any, now: datetime) -> Rows:
    rows = sa.select(MemberLevel.member_id).where(_one_of(MemberLevel.level_id, leaf.among))
    if leaf.for_days is not None:
        rows = rows.where(MemberLevel.since_on <= local_day(now) - timedelta(days=leaf.for_days))
    share = min(0.2 * len(leaf.among), 0.95)
    return Rows(rows, MemberLevel.member_id, share, cost=0.6, leads=True)


@compiled.register
def _(leaf: HasPoints, people: Any, now: datetime) -> Rows:
    rows, fits = sa.select(PointAccount.member_id), sa.and_(*_in_span(PointAccount.active, leaf.active))
    if _lets_zero_in(leaf.active):
        return Rows(rows.where(sa.not_(fits)), PointAccount.member_id, 0.6, cost=0.6, refuses=True)
    return Rows(rows.where(fits), PointAccount.member_id, 0.3, cost=0.6, leads=True, in_order=True)


@compiled.register
def _(leaf: PointsExpire, people: Any, now: datetime) -> Rows:
    until = now + timedelta(days=leaf.within_days)
    soon = (PointLot.state == LotState.ACTIVE, PointLot.remaining > 0)
    rows = sa.select(PointLot.member_id).where(*soon, PointLot.expires_at > now, PointLot.expires_at <= until)
    fits = sa.and_(*_in_span(sa.func.sum(PointLot.remaining), leaf.points))
    if _lets_zero_in(leaf.points):
        return Rows(rows.group_by(PointLot.member_id).having(~fits), PointLot.member_id, 0.8, refuses=True)
    return Rows(rows.group_by(PointLot.member_id).having(fits), PointLot.member_id, 0.1, cost=1.5)


# Pieces


def counted() -> tuple[Test, ...]:
    """An order that counts: paid above zero and not refunded in full."""
    return Order.paid_at.is_not(None), Order.paid_fen > 0, Order.refunded_fen < Order.paid_fen


def of_article(leaf: Ordered) -> Test:
    """Whether an order's line is of these skus or categories. An empty IN is left out: it was asked of every line."""
    told = ((OrderLine.sku, leaf.skus), (OrderLine.category, leaf.categories))
    return sa.or_(*(_one_of(column, values) for column, values in told if values))


def within(instant: Any, when: Period, now: datetime) -> list[Test]:
    today = local_day(now)
    tests: list[Test] = []
    begins = today - timedelta(days=when.last_days) if when.last_days is not None else when.from_on
    if begins is not None:
        tests.append(instant >= day_start(begins))
    if when.to_on is not None:
        tests.append(instant < day_start(when.to_on + timedelta(days=1)))
    return tests


def bucket_of(member_id: Any, salt: str) -> Any:
    """The member's bucket of 10,000 for this salt: the same arithmetic for a number and for a column.

    Only + * // % on numbers below 2^62, which both databases do alike; ids that follow each other scatter.
    """
    digest = sha256(salt.encode()).digest()
    first, second, third = (int.from_bytes(digest[place : place + 4], "big") & MASK | 1 for place in (0, 4, 8))
    mixed = _fold((member_id % MASK * first + second) % MASK)
    return _fold(mixed * third % MASK) % 10_000


def _fold(number: Any) -> Any:
    """Bring the high bits down, so that the next product depends on all of them.

    This is (number + number // 2**15) % MASK with the number written once: SQL reckons a column's expression as often
    as it is spelled, and two folds of two spellings each made a plan three times as slow.
    """
    return number * (2**15 + 1) // 2**15 % MASK


def _one_of(column: Any, values: tuple[Any, ...]) -> Test:
    found: Test = column == values[0] if len(set(values)) == 1 else column.in_(values)
    return found


def _between(column: Any, grades: Grades) -> list[Test]:
    return [column >= grades.least, column <= grades.most]


def _in_span(value: Any, span: Span | None) -> list[Test]:
    if span is None:
        return []
    low = [value >= span.least] if span.least is not None else []
    return low + ([value <= span.most] if span.most is not None else [])


def _lets_zero_in(span: Span | None) -> bool:
    return span is None or 0 in span
