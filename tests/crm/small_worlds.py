"""Small random shops, written straight into the tables, and random conditions about them."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from crm.base.clock import SHANGHAI
from crm.base.events import EventRow
from crm.conditions import (
    AllOf,
    AnyOf,
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
    Not,
    Ordered,
    Period,
    PointsExpire,
    Rfm,
    Span,
    Tagged,
)
from crm.models.audience import MemberTag, Tag, TagEnd, TagGroup, TagSource
from crm.models.consent import Consent
from crm.models.group import Group, GroupMember
from crm.models.lifecycle import DateKind, MemberDate, MemberStage, Stage
from crm.models.loyalty import EntryKind, Level, LotState, MemberLevel, PointAccount, PointEntry, PointLot
from crm.models.member import Contact, ContactEnd, Gender, Member, MemberSource, Staff
from crm.models.order import MemberOrders, Order, OrderLine, OrderStatus
from crm.models.rfm import MemberRfm, Tier
from crm.models.rfm import Segment as RfmSegment
from crm.models.tag import ContactTag, CorpTag

NOW = datetime(2026, 3, 9, 2, 0, tzinfo=UTC)
TODAY = date(2026, 3, 9)
TAGS, GROUPS, STAFF, CORP_TAGS = (1, 2, 3), (1, 2), (1, 2), ("etA", "etB")
SKUS, CATEGORIES, EVENTS = ("S1", "S2"), ("猫粮", "玩具"), ("CheckedIn", "GroupJoined")
LEVELS = (1, 2, 3)
TOPICS, CHANNELS = ("marketing", "sms"), ("any", "wecom")


@dataclass
class Somebody:
    """One member with everything a condition can ask for, as tuples in the order of the tables' columns."""

    id: int
    gender: Gender
    source: MemberSource
    joined_at: datetime
    gone: bool
    tags: list[tuple[int, datetime | None, bool]] = field(default_factory=list)  # tag, expires_at, ended
    corp_tags: list[tuple[int, str, bool]] = field(default_factory=list)  # place of the contact, tag, unmarked
    rfm: tuple[int, int, int, RfmSegment] | None = None
    stage: tuple[Stage, date] | None = None
    totals: tuple[int, int, int] | None = None  # orders, paid, refunded
    orders: list[tuple[datetime | None, int, int, list[tuple[str, str, int, int]]]] = field(default_factory=list)
    events: list[tuple[str, datetime]] = field(default_factory=list)
    groups: list[tuple[int, bool]] = field(default_factory=list)  # group, left
    contacts: list[tuple[int, bool]] = field(default_factory=list)  # staff, ended
    consents: list[tuple[str, str, bool, datetime]] = field(default_factory=list)
    dates: list[tuple[DateKind, date]] = field(default_factory=list)
    level: tuple[int, date] | None = None  # level, since
    points: int | None = None  # active ones
    lots: list[tuple[LotState, int, datetime | None]] = field(default_factory=list)  # state, remaining, expires_at


def grade(chance: Random) -> int:
    return chance.randint(1, 5)


def some_instant(chance: Random) -> datetime:
    """Often near a midnight of the shop, where days begin."""
    midnight = datetime(2026, 3, 9, tzinfo=SHANGHAI) - timedelta(days=chance.randint(0, 4))
    return (midnight + timedelta(seconds=chance.choice((-1, 0, 1, 3600, -7200)))).astimezone(UTC)


def somebody(chance: Random, number: int) -> Somebody:
    contacts = [(each, chance.random() < 0.3) for each in STAFF if chance.random() < 0.5]
    return Somebody(
        id=number,
        gender=chance.choice(list(Gender)),
        source=chance.choice(list(MemberSource)),
        joined_at=some_instant(chance),
        gone=chance.random() < 0.1,
        tags=[
            (each, chance.choice((None, None, NOW, NOW + timedelta(seconds=1))), chance.random() < 0.2)
            for each in TAGS
            if chance.random() < 0.5
        ],
        corp_tags=[
            (place, each, chance.random() < 0.3)
            for place in range(len(contacts))
            for each in CORP_TAGS
            if chance.random() < 0.4
        ],
        rfm=maybe(chance, (grade(chance), grade(chance), grade(chance), chance.choice(list(RfmSegment)))),
        stage=(chance.choice(list(Stage)), TODAY - timedelta(days=chance.randint(0, 5)))
        if chance.random() < 0.8
        else None,
        totals=(chance.randint(0, 3), 100 * chance.randint(0, 3), 100 * chance.randint(0, 2))
        if chance.random() < 0.7
        else None,
        orders=[some_order(chance) for _ in range(chance.randint(0, 3))],
        events=[(chance.choice(EVENTS), some_instant(chance)) for _ in range(chance.randint(0, 3))],
        groups=[(each, chance.random() < 0.3) for each in GROUPS if chance.random() < 0.5],
        contacts=contacts,
        consents=[
            (chance.choice(TOPICS), chance.choice(CHANNELS), chance.random() < 0.5, some_instant(chance))
            for _ in range(chance.randint(0, 3))
        ],
        dates=[
            (kind, TODAY + timedelta(days=chance.randint(-1, 3)))
            for kind in list(DateKind)[:2]
            if chance.random() < 0.5
        ],
        level=maybe(chance, (chance.choice(LEVELS), TODAY - timedelta(days=chance.randint(0, 4)))),
        points=maybe(chance, chance.randint(0, 3)),
        lots=[some_lot(chance) for _ in range(chance.randint(0, 3))],
    )


def some_lot(chance: Random) -> tuple[LotState, int, datetime | None]:
    state, days = chance.choice(list(LotState)), chance.randint(0, 3)
    remaining = 0 if state is LotState.EXPIRED else chance.randint(0, 2)
    return state, remaining, maybe(chance, NOW + timedelta(days=days, seconds=chance.choice((-1, 0, 1))))


def some_order(chance: Random) -> tuple[datetime | None, int, int, list[tuple[str, str, int, int]]]:
    lines = [
        (chance.choice(SKUS), chance.choice(CATEGORIES), chance.randint(1, 2), 100 * chance.randint(0, 2))
        for _ in range(chance.randint(0, 3))
    ]
    paid_at = some_instant(chance) if chance.random() < 0.8 else None
    paid = 100 * chance.randint(0, 3) if paid_at else 0
    return paid_at, paid, chance.choice((0, 0, paid // 2, paid)), lines


async def lay_ground(session: AsyncSession) -> None:
    """What the people point to."""
    session.add_all(
        [TagGroup(id=1, name="兴趣"), *(Staff(id=each, key=f"s{each}", userid=f"s{each}") for each in STAFF)]
    )
    session.add_all([Group(id=each, chat_id=f"wr{each}") for each in GROUPS])
    session.add_all([CorpTag(id=place, wecom_id=each) for place, each in enumerate(CORP_TAGS, 1)])
    await session.flush()
    session.add_all([Level(id=each, name=f"等级{each}", rank=each, threshold_fen=each, benefits={}) for each in LEVELS])
    session.add_all([Tag(id=each, group_id=1, name=f"标签{each}", created_at=NOW) for each in TAGS])
    await session.flush()


async def write(session: AsyncSession, people: list[Somebody]) -> None:
    """Everybody's rows, straight into the tables: the world need not have come about by our verbs."""
    session.add_all(
        Member(
            id=one.id, code=f"C{one.id}", gender=one.gender, source=one.source, joined_at=one.joined_at,
            erased_at=NOW if one.gone else None,
        )
        for one in people
    )  # fmt: skip
    await session.flush()
    for one in people:
        session.add_all(_rows(one))
    await session.flush()
    for one in people:
        await _write_orders(session, one)
        await _write_lots(session, one)
        await _write_contacts(session, one)


def _rows(one: Somebody) -> list[Any]:
    rows: list[Any] = [
        MemberTag(
            member_id=one.id, tag_id=tag_id, source=TagSource.MANUAL, tagged_at=NOW, expires_at=expires_at,
            ended_at=NOW if ended else None, ended_because=TagEnd.UNTAGGED if ended else None,
        )
        for tag_id, expires_at, ended in one.tags
    ]  # fmt: skip
    if one.rfm:
        r, f, m, segment = one.rfm
        rows.append(
            MemberRfm(member_id=one.id, frequency=1, monetary_fen=1, last_paid_day=1, r=r, f=f, m=m, segment=segment)
        )
    if one.stage:
        rows.append(MemberStage(member_id=one.id, stage=one.stage[0], since_on=one.stage[1]))
    if one.totals:
        orders, paid, refunded = one.totals
        rows.append(MemberOrders(member_id=one.id, orders=orders, paid_fen=paid, refunded_fen=refunded))
    if one.level:
        rows.append(MemberLevel(member_id=one.id, level_id=one.level[0], since_on=one.level[1]))
    if one.points is not None:
        rows.append(PointAccount(member_id=one.id, active=one.points))
    rows += [EventRow(xid=0, name=name, member_id=one.id, body={}, at=at) for name, at in one.events]
    rows += [
        GroupMember(
            group_id=group, person=f"wm{one.id}", member_id=one.id, joined_at=NOW, left_at=NOW if left else None
        )
        for group, left in one.groups
    ]
    rows += [
        MemberDate(member_id=one.id, kind=kind, month=next_on.month, day=next_on.day, next_on=next_on)
        for kind, next_on in one.dates
    ]
    for topic, channel, granted, at in one.consents:
        said = Consent(member_id=one.id, topic=topic, channel=channel, granted=granted, source="chat")
        said.wording_version, said.said_at = "v1", at
        rows.append(said)
    return rows


async def _write_orders(session: AsyncSession, one: Somebody) -> None:
    for place, (paid_at, paid, refunded, lines) in enumerate(one.orders):
        status = OrderStatus.PLACED if paid_at is None else OrderStatus.PAID
        order = Order(
            member_id=one.id, source="t", external_no=f"{one.id}-{place}", status=status, total_fen=paid,
            paid_fen=paid, refunded_fen=refunded, placed_at=NOW, told_at=NOW, paid_at=paid_at,
            paid_on=paid_at.astimezone(SHANGHAI).date() if paid_at else None,
        )  # fmt: skip
        session.add(order)
        await session.flush()
        session.add_all(
            OrderLine(
                order_id=order.id, line_no=number, sku=sku, name=sku, category=category, quantity=times, price_fen=price
            )
            for number, (sku, category, times, price) in enumerate(lines, 1)
        )
        await session.flush()


async def _write_lots(session: AsyncSession, one: Somebody) -> None:
    for place, (state, remaining, expires_at) in enumerate(one.lots):
        entry = PointEntry(
            member_id=one.id, kind=EntryKind.GRANTED, points=9, cause_kind="t", cause_id=f"{one.id}-{place}",
            facts={}, at=NOW, booked_on=TODAY,
        )  # fmt: skip
        session.add(entry)
        await session.flush()
        session.add(
            PointLot(
                member_id=one.id, entry_id=entry.id, points=9, remaining=remaining, state=state, active_at=NOW,
                expires_at=expires_at,
            )
        )  # fmt: skip


async def _write_contacts(session: AsyncSession, one: Somebody) -> None:
    for place, (staff_id, ended) in enumerate(one.contacts):
        contact = Contact(
            staff_id=staff_id, member_id=one.id, external_userid=f"wm{one.id}", added_at=NOW, told_at=NOW, seen_at=NOW,
            ended_at=NOW if ended else None, ended_by=ContactEnd.STAFF if ended else None,
        )  # fmt: skip
        session.add(contact)
        await session.flush()
        borne = [(tag, unmarked) for at, tag, unmarked in one.corp_tags if at == place]
        session.add_all(
            ContactTag(
                contact_id=contact.id,
                tag_id=CORP_TAGS.index(tag) + 1,
                marked_at=NOW,
                unmarked_at=NOW if unmarked else None,
            )
            for tag, unmarked in borne
        )
        await session.flush()


# Conditions


def some_condition(chance: Random, depth: int = 3) -> Any:
    shape = chance.choice(("all", "any", "not", "leaf", "leaf")) if depth else "leaf"
    if shape == "leaf":
        return some_leaf(chance)
    if shape == "not":
        return Not(of=some_condition(chance, depth - 1))
    of = tuple(some_condition(chance, depth - 1) for _ in range(chance.randint(1, 4)))
    return AllOf(of=of) if shape == "all" else AnyOf(of=of)


def some_leaf(chance: Random) -> Any:
    return chance.choice(LEAVES)(chance)


def some(chance: Random, values: Any) -> tuple[Any, ...]:
    values = list(values)
    return tuple(chance.sample(values, chance.randint(1, min(3, len(values)))))


def some_span(chance: Random, most: int, unit: int = 1) -> Span:
    low, high = sorted(chance.randint(0, most) * unit for _ in range(2))
    return chance.choice((Span(least=low), Span(most=high), Span(least=low, most=high)))


def maybe(chance: Random, value: Any) -> Any:
    return value if chance.random() < 0.5 else None


def some_period(chance: Random) -> Period:
    first, last = sorted(TODAY - timedelta(days=chance.randint(0, 4)) for _ in range(2))
    return chance.choice(
        (Period(), Period(last_days=chance.randint(1, 4)), Period(from_on=first), Period(to_on=last),
         Period(from_on=first, to_on=last))
    )  # fmt: skip


def some_lifetime(chance: Random) -> Lifetime:
    orders, spent = some_span(chance, 3), some_span(chance, 3, 100)
    return chance.choice((Lifetime(orders=orders), Lifetime(spent_fen=spent), Lifetime(orders=orders, spent_fen=spent)))


def some_rfm(chance: Random) -> Rfm:
    grades = [maybe(chance, Grades(least=chance.randint(1, 3), most=chance.randint(3, 5))) for _ in range(3)]
    return Rfm(
        r=grades[0],
        f=grades[1],
        m=grades[2],
        segments=maybe(chance, some(chance, RfmSegment)) or (),
        tiers=maybe(chance, some(chance, Tier)) or (),
    )


LEAVES: tuple[Any, ...] = (
    lambda chance: IsGender(among=some(chance, Gender)),
    lambda chance: CameFrom(among=some(chance, MemberSource)),
    lambda chance: Joined(when=some_period(chance)),
    lambda chance: Tagged(any_of=some(chance, TAGS)),
    lambda chance: CorpTagged(any_of=some(chance, CORP_TAGS)),
    some_rfm,
    lambda chance: InStage(among=some(chance, Stage), for_days=maybe(chance, chance.randint(1, 4))),
    some_lifetime,
    lambda chance: Ordered(
        when=some_period(chance),
        skus=maybe(chance, some(chance, SKUS)) or (),
        categories=maybe(chance, some(chance, CATEGORIES)) or (),
        count=maybe(chance, some_span(chance, 3)),
        spent_fen=maybe(chance, some_span(chance, 4, 100)),
    ),
    lambda chance: Did(event=chance.choice(EVENTS), when=some_period(chance), count=some_span(chance, 3)),
    lambda chance: InGroup(any_of=maybe(chance, some(chance, GROUPS)) or ()),
    lambda chance: ContactOf(any_of=maybe(chance, some(chance, STAFF)) or ()),
    lambda chance: Consented(
        topic=chance.choice(TOPICS), channel=chance.choice(CHANNELS), answer=chance.choice(("yes", "no", "never"))
    ),
    lambda chance: DateComes(kinds=some(chance, list(DateKind)[:2]), within_days=chance.randint(0, 3)),
    lambda chance: HasLevel(among=some(chance, LEVELS), for_days=maybe(chance, chance.randint(1, 4))),
    lambda chance: HasPoints(active=some_span(chance, 3)),
    lambda chance: PointsExpire(within_days=chance.randint(1, 3), points=some_span(chance, 4)),
    lambda chance: InBucket(salt=chance.choice("ab"), first=chance.randint(0, 4000), end=chance.randint(5000, 10_000)),
)
