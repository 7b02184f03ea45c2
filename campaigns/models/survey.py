"""Tables of surveys: the question how likely somebody is to recommend the shop, and what members answered."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class Survey(Base):
    """One NPS survey, for as long as it is open."""

    __tablename__ = "surveys"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(sa.String(40), unique=True)
    title: Mapped[str] = mapped_column(sa.String(60))
    body: Mapped[dict[str, Any]]  # surveys.SurveyTold
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]  # exclusive
    closed_at: Mapped[datetime | None]
    changed_at: Mapped[datetime]


class SurveyAnswer(Base):
    """A member's answer, once. A merge leaves it with whom it was; readers count people."""

    __tablename__ = "survey_answers"
    __table_args__ = (
        sa.UniqueConstraint("survey_id", "member_id"),
        sa.Index(None, "member_id"),
        sa.CheckConstraint("score BETWEEN 0 AND 10", name="score_from_0_to_10"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    survey_id: Mapped[int] = mapped_column(sa.ForeignKey("surveys.id"))
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    run_id: Mapped[int | None] = mapped_column(sa.ForeignKey("campaign_runs.id"))  # of the campaign that asked
    score: Mapped[int]
    comment: Mapped[str] = mapped_column(default="")
    channel: Mapped[str] = mapped_column(sa.String(20))
    answered_at: Mapped[datetime]
