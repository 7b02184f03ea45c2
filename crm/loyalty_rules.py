"""The rules of the loyalty programme in force: rows of data, the newest of a kind counts."""

from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from crm.base import complaints
from crm.base.errors import Invalid
from crm.level_rules import LevelRules
from crm.models.loyalty import LoyaltyRule, RuleKind
from crm.point_rules import Part, PointRules

Rules = TypeVar("Rules", bound=Part)


class RulesWrong(Invalid):
    """Rules cannot be meant; `mistakes` says where and why."""

    code = "loyalty.rules_wrong"

    def __init__(self, mistakes: list[dict[str, str]]) -> None:
        super().__init__(f"{len(mistakes)} mistakes in the rules")
        self.mistakes = mistakes  # each {"field": "check_in.cycle", "reason": …}


async def of_points(session: AsyncSession) -> PointRules | None:
    """None: the shop has no points."""
    body = await _newest(session, RuleKind.POINTS)
    return None if body is None else PointRules.model_validate(body)


async def of_levels(session: AsyncSession) -> LevelRules:
    """What the shop chose, or the usual."""
    return LevelRules.model_validate(await _newest(session, RuleKind.LEVELS) or {})


async def set_points(session: AsyncSession, rules: PointRules, *, by: str = "", now: datetime) -> None:
    """From now on points come by these rules; what was given stays as it is. The same again writes nothing."""
    await _set(session, RuleKind.POINTS, rules, by=by, now=now)


async def set_levels(session: AsyncSession, rules: LevelRules, *, by: str = "", now: datetime) -> None:
    await _set(session, RuleKind.LEVELS, rules, by=by, now=now)


def read(kind: type[Rules], body: Any) -> Rules:
    """Rules from JSON. Raises RulesWrong with every mistake."""
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise RulesWrong(
            [{"field": ".".join(map(str, one["loc"])), "reason": complaints.sentence(one)} for one in error.errors()]
        ) from None


async def _newest(session: AsyncSession, kind: RuleKind) -> dict[str, Any] | None:
    newest = sa.select(LoyaltyRule.body).where(LoyaltyRule.kind == kind).order_by(LoyaltyRule.id.desc()).limit(1)
    found: dict[str, Any] | None = await session.scalar(newest)
    return found


async def _set(session: AsyncSession, kind: RuleKind, rules: Part, *, by: str, now: datetime) -> None:
    body = rules.model_dump(mode="json", exclude_unset=True)
    if await _newest(session, kind) != body:
        session.add(LoyaltyRule(kind=kind, body=body, set_at=now, by=by))
        await session.flush()
