"""Follow-up visits (定期回访): staff are told whom to ask, by when, and write down what came of it."""

import json
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import audience
from campaigns.definition import CampaignWrong
from campaigns.file_kinds import FileKind
from campaigns.models.follow_up import FollowUp, FollowUpResult, FollowUpRule
from campaigns.words import Words
from crm import conditions, segment_compiler
from crm.base import complaints, events
from crm.base.clock import SHANGHAI, local_day
from crm.base.db import insert
from crm.base.errors import NotFound, Refused
from crm.conditions import DefinitionWrong
from crm.models.member import Contact, Member, Staff

NOTE_CHARS = 500
BEGINS_AT = 9  # o'clock, shop-local: from when on a day's visits are handed out


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUpsMade:
    """One of the staff got visits for today. Appended by hand_out()."""

    userid: str
    rule: str
    made_on: date
    visits: int
    due_on: date


@dataclass(eq=False)
class FollowUpNotFound(NotFound):
    """No visit has this number."""

    code: ClassVar[str] = "follow_up.not_found"
    follow_up_id: int


@dataclass(eq=False)
class FollowUpIsDone(Refused):
    """Somebody wrote its result down already."""

    code: ClassVar[str] = "follow_up.done"
    by: str


class RuleTold(BaseModel):
    """A rule as its file tells it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    follow_up: Literal["visits"]
    audience: dict[str, Any]
    every_days: Annotated[int, Field(ge=7, le=730)] = 90  # so long after a visit they are not visited again
    within_days: Annotated[int, Field(ge=1, le=60)] = 7  # a visit is due so many days after it was handed out
    most_a_day: Annotated[int, Field(ge=1, le=500)] = 20
    ask: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)] = "问问最近用得怎么样。"


@dataclass(frozen=True, slots=True)
class ByStaff:
    """What one of the staff did of their visits."""

    userid: str
    open: int
    overdue: int
    done: int
    late: int  # done after the day they were due
    results: dict[FollowUpResult, int]


# Reads


async def everything(session: AsyncSession) -> list[FollowUpRule]:
    rows = await session.scalars(sa.select(FollowUpRule).order_by(FollowUpRule.id))
    return list(rows)


async def open_ones(session: AsyncSession, *, limit: int = 100) -> list[tuple[FollowUp, Member, FollowUpRule]]:
    """Visits to be made, those due first at the top."""
    rows = await session.execute(
        sa.select(FollowUp, Member, FollowUpRule)
        .join(Member, Member.id == FollowUp.member_id)
        .join(FollowUpRule, FollowUpRule.id == FollowUp.rule_id)
        .where(FollowUp.done_at.is_(None))
        .order_by(FollowUp.due_on, FollowUp.id)
        .limit(limit)
    )
    return [(one, member, rule) for one, member, rule in rows]


async def by_staff(session: AsyncSession, *, since: date, now: datetime) -> list[ByStaff]:
    """What everybody did of what was handed out since that day."""
    rows = await session.execute(
        sa.select(FollowUp.userid, FollowUp.due_on, FollowUp.done_at, FollowUp.result).where(FollowUp.made_on >= since)
    )
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(row.userid, []).append(row)
    today = local_day(now)
    return [
        ByStaff(
            userid,
            sum(one.done_at is None for one in some),
            sum(one.done_at is None and one.due_on < today for one in some),
            sum(one.done_at is not None for one in some),
            sum(one.done_at is not None and local_day(one.done_at) > one.due_on for one in some),
            {result: sum(one.result is result for one in some) for result in FollowUpResult},
        )
        for userid, some in sorted(found.items())
    ]


def told(rule: FollowUpRule) -> RuleTold:
    return RuleTold.model_validate(rule.body)


# Verbs


async def put(session: AsyncSession, key: str, rule: RuleTold, *, now: datetime) -> None:
    values = {"body": write(rule), "closed_at": None, "changed_at": now}
    row = insert(session, FollowUpRule).values(key=key, **values)
    await session.execute(row.on_conflict_do_update(index_elements=["key"], set_=values))


async def hand_out(session: AsyncSession, *, now: datetime) -> int:
    """Make today's visits, once a day from the morning on; returns how many rules had theirs.

    The WHERE clause is the guard: of two workers one gets the day.
    """
    if now.astimezone(SHANGHAI).hour < BEGINS_AT:
        return 0
    today = local_day(now)
    rules = await session.scalars(
        sa.update(FollowUpRule)
        .where(
            FollowUpRule.closed_at.is_(None),
            sa.or_(FollowUpRule.handed_on.is_(None), FollowUpRule.handed_on < today),
        )
        .values(handed_on=today)
        .returning(FollowUpRule)
        .execution_options(populate_existing=True)
    )
    found = rules.all()
    for rule in found:
        await _of_rule(session, rule, now=now)
    return len(found)


async def _of_rule(session: AsyncSession, rule: FollowUpRule, *, now: datetime) -> None:
    said, today = told(rule), local_day(now)
    people = await _due(session, rule, said, now=now, limit=said.most_a_day)
    senders = await audience.senders(session, people)
    of_staff = sa.select(Staff.id, Staff.userid).where(Staff.id.in_({one.staff_id for one in senders.values()}))
    names = {row.id: row.userid for row in await session.execute(of_staff)}
    rows = [
        {"rule_id": rule.id, "member_id": one, "userid": names[senders[one].staff_id], "made_on": today,
         "due_on": today + timedelta(days=said.within_days), "note": "", "done_by": ""}
        for one in people if one in senders
    ]  # fmt: skip
    if not rows:
        return
    fresh = insert(session, FollowUp).values(rows).on_conflict_do_nothing().returning(FollowUp.userid)
    got: dict[str, int] = {}
    for userid in await session.scalars(fresh):
        got[userid] = got.get(userid, 0) + 1
    news = [
        FollowUpsMade(userid=userid, rule=rule.key, made_on=today, visits=visits, due_on=rows[0]["due_on"])
        for userid, visits in sorted(got.items())
    ]
    await events.append_all(session, news, now=now)


async def _due(session: AsyncSession, rule: FollowUpRule, said: RuleTold, *, now: datetime, limit: int) -> list[int]:
    """Members of the audience whom nobody visits now or did lately; who was never visited comes first."""
    person = sa.func.coalesce(Member.merged_into_id, Member.id)
    visits = (
        sa.select(person.label("person"), sa.func.max(FollowUp.made_on).label("last"),
                  sa.func.count().filter(FollowUp.done_at.is_(None)).label("open"))
        .join(FollowUp, FollowUp.member_id == Member.id)
        .where(FollowUp.rule_id == rule.id)
        .group_by(person)
        .subquery()
    )  # fmt: skip
    ids = segment_compiler.member_ids(conditions.read(said.audience), now=now).subquery()
    rows = await session.scalars(
        sa.select(ids.c[0])
        .outerjoin(visits, visits.c.person == ids.c[0])
        .where(
            sa.or_(
                visits.c.person.is_(None),
                sa.and_(visits.c.open == 0, visits.c.last <= local_day(now) - timedelta(days=said.every_days)),
            )
        )
        .where(ids.c[0].in_(_with_staff()))
        .order_by(visits.c.last.is_not(None), visits.c.last, ids.c[0])
        .limit(limit)
    )
    return list(rows)


def _with_staff() -> sa.Select[int]:
    """Members whom somebody of the staff can write to."""
    active = sa.select(Staff.id).where(Staff.active)
    return sa.select(Contact.member_id).where(Contact.ended_at.is_(None), Contact.staff_id.in_(active))


async def done(
    session: AsyncSession, follow_up_id: int, result: FollowUpResult, *, note: str = "", by: str, now: datetime
) -> FollowUp:
    """Write down what came of a visit, once. Raises FollowUpNotFound, FollowUpIsDone."""
    note = " ".join(note.split())[:NOTE_CHARS]
    written: FollowUp | None = await session.scalar(
        sa.update(FollowUp)
        .where(FollowUp.id == follow_up_id, FollowUp.done_at.is_(None))
        .values(result=result, note=note, done_by=by, done_at=now)
        .returning(FollowUp)
        .execution_options(populate_existing=True)
    )
    if written is None:
        known = await session.get(FollowUp, follow_up_id)
        if known is None:
            raise FollowUpNotFound(follow_up_id)
        raise FollowUpIsDone(known.done_by)
    return written


# Files


def write(rule: RuleTold) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(rule.model_dump_json(exclude_none=True))
    return found


def _read(name: str, said: dict[str, Any]) -> RuleTold:
    del name
    try:
        found = RuleTold.model_validate(said)
        conditions.read(found.audience)
    except ValidationError as error:
        wrong = [
            {"field": ".".join(map(str, one["loc"])), "reason": complaints.sentence(one)} for one in error.errors()
        ]
        raise CampaignWrong(wrong) from None
    except DefinitionWrong as error:
        wrong = [{"field": f"audience.{one['field']}", "reason": one["reason"]} for one in error.mistakes]
        raise CampaignWrong(wrong) from None
    return found


def _mistakes(rule: RuleTold, words: Words) -> list[dict[str, str]]:
    """Nothing of it is read by members."""
    del rule, words
    return []


async def _stored(session: AsyncSession, name: str) -> dict[str, Any] | None:
    body: dict[str, Any] | None = await session.scalar(sa.select(FollowUpRule.body).where(FollowUpRule.key == name))
    return body


async def _check(session: AsyncSession, name: str, rule: RuleTold, *, now: datetime) -> None:
    """Everything about a rule may change."""


FOLLOW_UPS = FileKind(
    field="follow_up", read=_read, write=write, mistakes=_mistakes, stored=_stored, check=_check, put=put
)  # fmt: skip
