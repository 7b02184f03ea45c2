"""What points the shop gives, as data, and the arithmetic that follows from it."""

from datetime import date, datetime, timedelta
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, model_validator

from crm.base.clock import SHANGHAI, day_start

ONCE_BP = 10_000  # of what an order earns by itself
FEN_OF_100_YUAN = 10_000

Points = Annotated[int, Field(ge=0, le=10**9)]
Days = Annotated[int, Field(ge=0, le=3650)]


class Part(BaseModel):
    """Immutable, and a misspelt field is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CheckInRules(Part):
    """A day's check-in, and what days in a row bring besides."""

    points: Points = 2
    rewards: dict[Annotated[int, Field(ge=1)], Points] = {7: 10}  # days in a row -> extra points on that day
    cycle: Annotated[int, Field(ge=1)] | None = 7  # after so many days the count begins again; None: it goes on


class PointRules(Part):
    """How points come and go. They last lasts_days, or to the end of the year so many after; neither: for ever."""

    points_per_100_yuan: Points = 100
    refund_window_days: Days = 15  # after payment; so long what an order earned is pending
    lasts_days: Annotated[int, Field(ge=1, le=3650)] | None = None
    lasts_years: Annotated[int, Field(ge=0, le=10)] | None = 1
    daily_caps: dict[str, Points] = {}  # kind of cause -> most points a day; "any": of all kinds together
    check_in: CheckInRules | None = CheckInRules()
    warn_days: Annotated[int, Field(ge=1, le=365)] = 30  # so long before they expire their member is told

    @model_validator(mode="after")
    def _can_be_meant(self) -> Self:
        if self.lasts_days is not None and self.lasts_years is not None and "lasts_years" in self.model_fields_set:
            raise ValueError("either lasts_days or lasts_years")
        if self.lasts_days is not None and self.lasts_days <= self.refund_window_days:
            raise ValueError("lasts_days must be longer than refund_window_days")
        return self

    def of_order(self, paid_fen: int, *, multiplier_bp: int = ONCE_BP) -> int:
        """What an order earns, rounded down."""
        return paid_fen * self.points_per_100_yuan * multiplier_bp // (FEN_OF_100_YUAN * ONCE_BP)

    def expires_at(self, earned_on: date, zone: ZoneInfo = SHANGHAI) -> datetime | None:
        """The instant at which points earned on this day are gone; None: never."""
        if self.lasts_days is not None:
            return day_start(earned_on + timedelta(days=self.lasts_days), zone)
        if self.lasts_years is not None:
            return day_start(date(earned_on.year + self.lasts_years + 1, 1, 1), zone)
        return None


def still_deserved(granted: int, base_fen: int, net_fen: int) -> int:
    """What is left of the points an order earned for base_fen when net_fen of it was kept; nothing of nothing."""
    if net_fen <= 0 or base_fen <= 0:
        return 0
    return min(granted, granted * net_fen // base_fen)


def next_streak(rules: CheckInRules, last_on: date | None, last_streak: int, today: date) -> int:
    """Days in a row with today's check-in. A day missed, or a full cycle, and the count begins again."""
    if last_on != today - timedelta(days=1) or last_streak == rules.cycle:
        return 1
    return last_streak + 1


def of_check_in(rules: CheckInRules, streak: int) -> int:
    return rules.points + rules.rewards.get(streak, 0)
