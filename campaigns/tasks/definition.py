"""What a community task is told to be: a typed definition from its file, and everything that is wrong with it."""

import json
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from campaigns.definition import CampaignWrong, Instant
from campaigns.models.task import TaskKind
from crm.base import complaints
from crm.base.clock import SHANGHAI

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Short = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=40)]
Key = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[^\s，。！？/:]{1,40}$")]
MESSAGES = {
    "union_tag_not_found": "写 task：quiz、vote、streak、review、monthly 里的一个",
    "union_tag_invalid": "task 是 quiz、vote、streak、review、monthly 里的一个",
}


class Part(BaseModel):
    """Immutable, and a misspelt field is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Reward(Part):
    """What doing it brings: points, a coupon of an offer, or both."""

    points: Annotated[int, Field(ge=1, le=100_000)] | None = None
    offer: Key | None = None  # its key

    @model_validator(mode="after")
    def _gives_something(self) -> Self:
        if self.points is None and self.offer is None:
            raise ValueError("写 points 或 offer")
        return self


class Task(Part):
    """What all tasks say."""

    FIXED: ClassVar[tuple[str, ...]] = ()  # fields that stay once somebody answered

    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
    about: Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)] = ""
    starts_at: Instant
    ends_at: Instant | None = None
    most_rewards: Annotated[int, Field(ge=0, le=10**7)] | None = None
    budget_points: Annotated[int, Field(ge=0, le=10**9)] | None = None

    @model_validator(mode="after")
    def _can_be_meant(self) -> Self:
        if self.ends is not None and self.ends <= self.starts:
            raise ValueError("ends_at 不在 starts_at 之后")
        rewards = self.rewards
        if rewards and self.most_rewards is None:
            raise ValueError("有奖励就要写 most_rewards：最多发多少份")
        if any(one.points for one in rewards) and self.budget_points is None:
            raise ValueError("奖励积分就要写 budget_points：最多发多少积分")
        return self

    @property
    def rewards(self) -> tuple[Reward, ...]:
        """All that it may bring."""
        return ()

    @property
    def starts(self) -> datetime:
        return _aware(self.starts_at)

    @property
    def ends(self) -> datetime | None:
        return _aware(self.ends_at) if self.ends_at is not None else None


class Rewarded(Task):
    """A task with one reward, or none."""

    reward: Reward | None = None

    @property
    def rewards(self) -> tuple[Reward, ...]:
        return (self.reward,) if self.reward is not None else ()


class Question(Part):
    ask: Words
    options: Annotated[tuple[Short, ...], Field(min_length=2, max_length=6)]
    answer: Annotated[int, Field(ge=1)]  # the right option's number, from 1
    why: Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)] = ""  # told with the result

    @model_validator(mode="after")
    def _has_its_answer(self) -> Self:
        if self.answer > len(self.options):
            raise ValueError(f"answer 是 1 到 {len(self.options)} 里的一个")
        if len(set(self.options)) < len(self.options):
            raise ValueError("有两个选项一样")
        return self


class Quiz(Rewarded):
    """答题：graded, once a person; the reward is for who has enough right."""

    FIXED = ("task", "questions", "pass_at", "reward", "starts_at")

    task: Literal[TaskKind.QUIZ]
    questions: Annotated[tuple[Question, ...], Field(min_length=1, max_length=20)]
    pass_at: Annotated[int, Field(ge=1)] | None = None  # right answers it takes; None: all

    @model_validator(mode="after")
    def _can_be_passed(self) -> Self:
        if self.pass_at is not None and self.pass_at > len(self.questions):
            raise ValueError(f"pass_at 大于题数 {len(self.questions)}")
        return self

    @property
    def takes(self) -> int:
        return self.pass_at or len(self.questions)


class Option(Part):
    name: Short
    about: Annotated[str, StringConstraints(strip_whitespace=True, max_length=100)] = ""
    picture: Annotated[str, StringConstraints(pattern=r"^https://\S+$", max_length=500)] | None = None


def _option(told: Any) -> Any:
    return {"name": told} if isinstance(told, str) else told


class Vote(Rewarded):
    """投票：one vote a person, the result as it stands."""

    FIXED = ("task", "ask", "options", "reward", "starts_at")

    task: Literal[TaskKind.VOTE]
    ask: Words
    options: Annotated[tuple[Annotated[Option, BeforeValidator(_option)], ...], Field(min_length=2, max_length=10)]
    shows: Literal["always", "voted", "ended"] = "voted"  # from when on a member sees the result

    @model_validator(mode="after")
    def _tells_them_apart(self) -> Self:
        names = [one.name for one in self.options]
        if len(set(names)) < len(names):
            raise ValueError("有两个选项一样")
        return self


class Streak(Task):
    """连续打卡：check-ins on so many days in a row, while the task is open; each step once a person."""

    FIXED = ("task", "days", "starts_at")

    task: Literal[TaskKind.STREAK]
    days: Annotated[dict[Annotated[int, Field(ge=1, le=366)], Reward], Field(min_length=1, max_length=20)]

    @property
    def rewards(self) -> tuple[Reward, ...]:
        return tuple(self.days.values())


class Review(Rewarded):
    """晒单：a picture of something bought, looked at by staff; once for each article of an order."""

    FIXED = ("task",)

    task: Literal[TaskKind.REVIEW]
    within_days: Annotated[int, Field(ge=1, le=365)] = 30  # after payment
    categories: Annotated[tuple[Short, ...], Field(max_length=50)] = ()  # none: all
    min_chars: Annotated[int, Field(ge=0, le=200)] = 0  # words it takes beside the picture
    a_month: Annotated[int, Field(ge=1, le=100)] = 5  # reviews of one person that are rewarded in a calendar month


class Goal(Part):
    """One of a monthly task's things to do. Exactly one of its fields says which."""

    check_ins: Annotated[int, Field(ge=1, le=31)] | None = None  # days
    orders: Annotated[int, Field(ge=1, le=100)] | None = None  # paid and not wholly refunded
    spend_fen: Annotated[int, Field(ge=1, le=10**9)] | None = None  # paid, less refunds
    reviews: Annotated[int, Field(ge=1, le=100)] | None = None  # approved
    quizzes: Annotated[int, Field(ge=1, le=100)] | None = None  # passed
    votes: Annotated[int, Field(ge=1, le=100)] | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError(f"一件事写一行，写 {'、'.join(type(self).model_fields)} 里的一个")
        return self

    @property
    def what(self) -> str:
        return next(iter(self.model_fields_set))

    @property
    def takes(self) -> int:
        return int(getattr(self, self.what))


class Monthly(Rewarded):
    """月度任务：`need` of the goals within a shop-local calendar month; the reward once a month."""

    FIXED = ("task",)

    task: Literal[TaskKind.MONTHLY]
    goals: Annotated[tuple[Goal, ...], Field(min_length=1, max_length=10)]
    need: Annotated[int, Field(ge=1)] | None = None  # None: all

    @model_validator(mode="after")
    def _can_be_done(self) -> Self:
        if self.need is not None and self.need > len(self.goals):
            raise ValueError(f"need 大于事情的件数 {len(self.goals)}")
        if len({one.what for one in self.goals}) < len(self.goals):
            raise ValueError("同一种事写了两行")
        return self

    @property
    def takes(self) -> int:
        return self.need or len(self.goals)


AnyTask = Quiz | Vote | Streak | Review | Monthly
_ADAPTER: TypeAdapter[AnyTask] = TypeAdapter(Annotated[AnyTask, Discriminator("task")])


def read(told: Any) -> AnyTask:
    """A task from its JSON or YAML, as Python reads it. Raises CampaignWrong with every mistake."""
    try:
        return _ADAPTER.validate_python(told)
    except ValidationError as error:
        raise CampaignWrong([_mistake(one) for one in error.errors()]) from None


def write(task: AnyTask) -> dict[str, Any]:
    """Its JSON; reading that gives an equal task."""
    found: dict[str, Any] = json.loads(task.model_dump_json(exclude_none=True))  # keys of JSON are texts
    return found


def _mistake(error: Any) -> dict[str, str]:
    loc = error["loc"][1:] if error["loc"] and error["loc"][0] in set(TaskKind) else error["loc"]
    reason = MESSAGES.get(error["type"], complaints.sentence(error))
    return {"field": ".".join(str(part) for part in loc), "reason": reason}


def _aware(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=SHANGHAI)
