"""NPS surveys: how likely members are to recommend the shop, from 0 to 10; asked by campaigns, answered once a person.

Who says 9 or 10 is a promoter, 0 to 6 a detractor; the score is the share of the first less that of the others.
"""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from math import sqrt
from typing import Annotated, Any, ClassVar, Literal, Self

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError, model_validator
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.definition import CampaignWrong, Instant
from campaigns.file_kinds import FileKind
from campaigns.models.campaign import Campaign, Delivery, DeliveryStatus, Run
from campaigns.models.survey import Survey, SurveyAnswer
from campaigns.tasks import rewards
from campaigns.tasks.rewards import theirs
from campaigns.words import Level, Words
from crm.base import complaints, events
from crm.base.clock import SHANGHAI
from crm.base.db import insert
from crm.base.errors import Invalid, NotFound, Refused
from crm.models.member import Member

COMMENT_CHARS = 500
PROMOTERS, DETRACTORS = 9, 6  # from here up; from here down
SURE = 1.96  # standard deviations of a 95 % interval
KEY = re.compile(r"[^\s，。！？/:]{1,40}")
Said = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyAnswered:
    """A member said how likely they are to recommend the shop. Appended by answer()."""

    member_id: int
    survey_id: int
    score: int


@dataclass(eq=False)
class SurveyNotFound(NotFound):
    """No survey has this number or key."""

    code: ClassVar[str] = "survey.not_found"
    key: str


@dataclass(eq=False)
class SurveyNotOpen(Refused):
    """Not yet, or no longer."""

    code: ClassVar[str] = "survey.not_open"
    key: str


@dataclass(eq=False)
class SurveyAnsweredAlready(Refused):
    """Once a person is enough."""

    code: ClassVar[str] = "survey.already_answered"
    key: str


@dataclass(eq=False)
class ScoreWrong(Invalid):
    """A score is a whole number from 0 to 10."""

    code: ClassVar[str] = "survey.score_wrong"
    score: int


class SurveyTold(BaseModel):
    """A survey as its file tells it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    survey: Literal["nps"]
    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
    ask: Said = "您有多大可能把我们推荐给朋友？0 是完全不会，10 是一定会。"
    ask_why: Said = "谢谢您！方便说说为什么打这个分吗？直接回复就行。"
    thanks: Said = "谢谢您告诉我们。"
    starts_at: Instant
    ends_at: Instant | None = None

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.ends is not None and self.ends <= self.starts:
            raise ValueError("ends_at 不在 starts_at 之后")
        return self

    @property
    def starts(self) -> datetime:
        return _aware(self.starts_at)

    @property
    def ends(self) -> datetime | None:
        return _aware(self.ends_at) if self.ends_at is not None else None


@dataclass(frozen=True, slots=True)
class Nps:
    """What a survey found. low, high: of the score, with 95 % confidence; None while nobody answered."""

    answers: int
    promoters: int
    passives: int
    detractors: int

    @property
    def score(self) -> float | None:
        """From -100 to 100."""
        return 100 * (self.promoters - self.detractors) / self.answers if self.answers else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Adjusted Wald: one promoter and one detractor added, so that few answers do not look sure.

        Source: Bonett and Price, Adjusted Wald Confidence Interval for a Difference of Binomial Proportions (2012).
        """
        if not self.answers:
            return None
        n = self.answers + 2
        up, down = (self.promoters + 1) / n, (self.detractors + 1) / n
        middle, spread = up - down, SURE * sqrt((up + down - (up - down) ** 2) / n)
        return 100 * max(middle - spread, -1.0), 100 * min(middle + spread, 1.0)


@dataclass(frozen=True, slots=True)
class Asked:
    """One campaign's share of a survey: to how many it went, and what they answered."""

    campaign: str  # "" of those who came by themselves
    sent: int
    nps: Nps


# Reads


async def find(session: AsyncSession, key: str) -> Survey | None:
    found: Survey | None = await session.scalar(
        sa.select(Survey).where(Survey.key == key.strip()).execution_options(populate_existing=True)
    )
    return found


async def get(session: AsyncSession, survey_id: int) -> Survey:
    """Raises SurveyNotFound."""
    found = await session.get(Survey, survey_id)
    if found is None:
        raise SurveyNotFound(str(survey_id))
    return found


async def everything(session: AsyncSession) -> list[Survey]:
    rows = await session.scalars(sa.select(Survey).order_by(Survey.starts_at.desc(), Survey.id.desc()))
    return list(rows)


async def on_now(session: AsyncSession, *, now: datetime) -> Survey | None:
    """The survey that is open; of several the one that began last."""
    found: Survey | None = await session.scalar(
        sa.select(Survey).where(*open_at(now)).order_by(Survey.starts_at.desc(), Survey.id.desc()).limit(1)
    )
    return found


def open_at(now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    """SQL for a survey that takes answers at `now`."""
    return (
        Survey.closed_at.is_(None),
        Survey.starts_at <= now,
        sa.or_(Survey.ends_at.is_(None), Survey.ends_at > now),
    )


def told(survey: Survey) -> SurveyTold:
    return SurveyTold.model_validate(survey.body)


async def answer_of(session: AsyncSession, survey_id: int, member_id: int) -> SurveyAnswer | None:
    """This person's answer: of several that became one person, the first."""
    mine = (SurveyAnswer.survey_id == survey_id, SurveyAnswer.member_id.in_(theirs(member_id)))
    found: SurveyAnswer | None = await session.scalar(
        sa.select(SurveyAnswer).where(*mine).order_by(SurveyAnswer.id).limit(1)
    )
    return found


async def result(session: AsyncSession, survey_id: int) -> Nps:
    """One answer a person."""
    rows = await session.execute(_people(survey_id))
    return _counted([row.score for row in rows])


async def by_campaign(session: AsyncSession, survey_id: int) -> list[Asked]:
    """The same for each campaign that asked, the biggest first; last those who came by themselves."""
    people = _people(survey_id).subquery()
    rows = await session.execute(
        sa.select(Campaign.id, Campaign.name, people.c.score)
        .select_from(people)
        .outerjoin(Run, Run.id == people.c.run_id)
        .outerjoin(Campaign, Campaign.id == Run.campaign_id)
    )
    scores: dict[tuple[int | None, str], list[int]] = {}
    for campaign_id, name, score in rows:
        scores.setdefault((campaign_id, name or ""), []).append(score)
    sent = sa.select(Run.campaign_id, sa.func.count()).join(Delivery, Delivery.run_id == Run.id)
    of_them = sent.where(
        Run.campaign_id.in_([one for one, _ in scores if one is not None]), Delivery.status == DeliveryStatus.SENT
    ).group_by(Run.campaign_id)
    reached = {row.campaign_id: row[1] for row in await session.execute(of_them)}
    found = [Asked(name, reached.get(number, 0), _counted(some)) for (number, name), some in scores.items()]
    return sorted(found, key=lambda one: (not one.campaign, -one.nps.answers, one.campaign))


async def comments(session: AsyncSession, survey_id: int, *, limit: int = 50) -> list[SurveyAnswer]:
    """What people added, the unhappiest first."""
    rows = await session.scalars(
        sa.select(SurveyAnswer)
        .where(SurveyAnswer.survey_id == survey_id, SurveyAnswer.comment != "")
        .order_by(SurveyAnswer.score, SurveyAnswer.id.desc())
        .limit(limit)
    )
    return list(rows)


# Verbs


async def put(session: AsyncSession, key: str, survey: SurveyTold, *, now: datetime) -> Survey:
    """Write a survey down, or change the known one of this key."""
    values = {
        "title": survey.title,
        "body": write(survey),
        "starts_at": survey.starts,
        "ends_at": survey.ends,
        "closed_at": None,
        "changed_at": now,
    }
    row = insert(session, Survey).values(key=key, **values)
    await session.execute(row.on_conflict_do_update(index_elements=["key"], set_=values))
    found = await find(session, key)
    if found is None:
        raise SurveyNotFound(key)
    return found


async def answer(
    session: AsyncSession, survey_id: int, member_id: int, score: int, *, run_id: int | None = None, comment: str = "",
    channel: str, now: datetime,
) -> SurveyAnswer:  # fmt: skip
    """A person's answer, the first counts. Raises SurveyNotFound, SurveyNotOpen, SurveyAnsweredAlready, ScoreWrong."""
    if not 0 <= score <= 10:
        raise ScoreWrong(score)
    member_id = await rewards.hold(session, member_id)
    survey = await get(session, survey_id)
    if await answer_of(session, survey_id, member_id) is not None:
        raise SurveyAnsweredAlready(survey.key)
    if await session.scalar(sa.select(Survey.id).where(Survey.id == survey_id, *open_at(now))) is None:
        raise SurveyNotOpen(survey.key)
    if run_id is not None and await session.get(Run, run_id) is None:
        run_id = None
    row = insert(session, SurveyAnswer).values(
        survey_id=survey_id, member_id=member_id, run_id=run_id, score=score, comment=_clean(comment), channel=channel,
        answered_at=now,
    )  # fmt: skip
    written: SurveyAnswer | None = await session.scalar(row.on_conflict_do_nothing().returning(SurveyAnswer))
    if written is None:
        raise SurveyAnsweredAlready(survey.key)
    await events.append(session, SurveyAnswered(member_id=member_id, survey_id=survey_id, score=score), now=now)
    return written


async def add_comment(session: AsyncSession, answer_id: int, member_id: int, words: str) -> None:
    """What a person adds to their answer."""
    mine = (SurveyAnswer.id == answer_id, SurveyAnswer.member_id.in_(theirs(member_id)))
    await session.execute(sa.update(SurveyAnswer).where(*mine).values(comment=_clean(words)))


# Files


def write(survey: SurveyTold) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(survey.model_dump_json(exclude_none=True))
    return found


def _read(name: str, said: dict[str, Any]) -> SurveyTold:
    if not KEY.fullmatch(name):
        raise CampaignWrong([{"field": "name", "reason": "1 到 40 个字，不能有空格和标点"}])
    try:
        return SurveyTold.model_validate({"title": name, **said})
    except ValidationError as error:
        wrong = [(".".join(map(str, one["loc"])), complaints.sentence(one)) for one in error.errors()]
        raise CampaignWrong([{"field": field, "reason": reason} for field, reason in wrong]) from None


def _mistakes(survey: SurveyTold, words: Words) -> list[dict[str, str]]:
    fields = ("title", "ask", "ask_why", "thanks")
    found = ((field, one) for field in fields for one in words.check(getattr(survey, field)))
    return [
        {"field": field, "reason": f"“{one.text}”不能用（{one.kind}）：{one.suggest}"}
        for field, one in found
        if one.level is Level.REFUSE
    ]


async def _stored(session: AsyncSession, name: str) -> dict[str, Any] | None:
    known = await find(session, name)
    return known.body if known is not None else None


async def _check(session: AsyncSession, name: str, survey: SurveyTold, *, now: datetime) -> None:
    """Everything about a survey may change."""


SURVEYS = FileKind(
    field="survey", read=_read, write=write, mistakes=_mistakes, stored=_stored, check=_check, put=put
)  # fmt: skip


# Pieces


def _people(survey_id: int) -> sa.Select[Any]:
    """One answer a person, their first, with its run."""
    person = sa.func.coalesce(Member.merged_into_id, Member.id)
    place = sa.func.row_number().over(partition_by=person, order_by=SurveyAnswer.id)
    answers = (
        sa.select(SurveyAnswer.score, SurveyAnswer.run_id, place.label("place"))
        .join(Member, Member.id == SurveyAnswer.member_id)
        .where(SurveyAnswer.survey_id == survey_id)
        .subquery()
    )
    return sa.select(answers.c.score, answers.c.run_id).where(answers.c.place == 1)


def _counted(scores: list[int]) -> Nps:
    promoters = sum(one >= PROMOTERS for one in scores)
    detractors = sum(one <= DETRACTORS for one in scores)
    return Nps(len(scores), promoters, len(scores) - promoters - detractors, detractors)


def _clean(words: str) -> str:
    return " ".join(words.split())[:COMMENT_CHARS]


def _aware(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=SHANGHAI)
