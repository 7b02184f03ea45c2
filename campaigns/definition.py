"""What a campaign is told to do: a typed definition, JSON and YAML in and out, and everything that is wrong with it.

Instants without a zone are the shop's. A definition is checked whole before anything is planned: a schedule in the
past, a cron that never fires, a text too long for WeCom.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, time, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from campaigns.cron import Cron, CronWrong
from campaigns.guard_rules import Channel
from campaigns.models.campaign import Kind
from crm import conditions
from crm.base import complaints
from crm.base.clock import SHANGHAI, is_skipped
from crm.base.errors import Invalid
from crm.conditions import Condition, DefinitionWrong
from crm.models.lifecycle import DateKind

STEP_CAME = "StepCame"  # what the runs of a sequence's steps wait for; no such event is ever appended
ANYBODY = {"is": "lifetime", "orders": {"least": 0}}
TEXT_BYTES = 4000  # of one message; WeCom counts bytes
MOST_MESSAGES = 10
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class CampaignWrong(Invalid):
    """A definition cannot be meant; `mistakes` says where and why."""

    code = "campaign.wrong"

    def __init__(self, mistakes: list[dict[str, str]]) -> None:
        super().__init__("；".join(f"{one['field'] or '整份'}：{one['reason']}" for one in mistakes))
        self.mistakes = mistakes  # each {"field": "messages.0.text", "reason": …}


def _duration(value: Any) -> Any:
    found = re.fullmatch(r"(\d{1,6})\s*([smhd])", value.strip()) if isinstance(value, str) else None
    return timedelta(**{UNITS[found[2]]: int(found[1])}) if found else value


def aware(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=SHANGHAI)


def _time_of_day(value: Any) -> Any:
    """YAML reads 21:30 without quotes as sixties: 1290."""
    return time(*divmod(value, 60)) if isinstance(value, int) and 0 <= value < 24 * 60 else value


TimeOfDay = Annotated[time, BeforeValidator(_time_of_day), Field(description="店铺当地时间")]
Duration = Annotated[timedelta, BeforeValidator(_duration), Field(ge=timedelta(0), le=timedelta(days=400))]
Instant = Annotated[datetime, Field(description="没有时区就是店铺当地时间")]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]


EventName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{1,80}$")]


OfferKey = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=40)]


class Part(BaseModel):
    """Immutable, and a misspelt field is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Link(Part):
    """A card below the text that opens a page."""

    title: Annotated[str, StringConstraints(min_length=1, max_length=42)]
    url: Annotated[str, StringConstraints(pattern=r"^https?://\S+$", max_length=2048)]
    desc: str = ""
    picurl: str = ""


class Message(Part):
    """One variant of what is said. share: its weight beside the other variants."""

    name: Name = "A"
    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    link: Link | None = None
    survey: Annotated[str, StringConstraints(max_length=40)] | None = None  # in the kf chat it asks this survey
    share: Annotated[int, Field(ge=1, le=10_000)] = 1

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (size := len(self.text.encode())) > TEXT_BYTES:
            raise ValueError(f"{size} 字节，企业微信最多收 {TEXT_BYTES} 字节")
        return self


class Tier(Part):
    """Who satisfies `audience` gets these messages instead. Of several tiers the first that fits."""

    name: Name
    audience: dict[str, Any]
    messages: tuple[Message, ...] = Field(min_length=1, max_length=MOST_MESSAGES)


class Happening(Part):
    """An event about a member, such as StageMoved with to_stage: at_risk."""

    event: EventName
    where: dict[str, Any] = {}

    def fits(self, name: str, body: dict[str, Any]) -> bool:
        return name == self.event and all(body.get(field) == wanted for field, wanted in self.where.items())


class Trigger(Part):
    """What has to happen to a member. Exactly one of an event, a day of theirs, and silence.

    An event counts when it comes (delay: how long after it); the others are looked for once a day, at `at`.
    """

    event: EventName | None = None
    where: dict[str, Any] = {}
    delay: Duration = timedelta(0)
    date: DateKind | None = None  # birthday, child_birthday, pet_birthday, anniversary; 29 February comes on the 28th
    days_before: Annotated[int, Field(ge=0, le=60)] = 0  # where there is none
    silent_days: Annotated[int, Field(ge=1, le=1000)] | None = None  # since they last paid, or joined and never did
    at: TimeOfDay | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if sum(one is not None for one in (self.event, self.date, self.silent_days)) != 1:
            raise ValueError("写 event（事件）、date（会员的日子）或 silent_days（多少天没买），只写一个")
        if self.event is not None and self.at is not None:
            raise ValueError("事件随到随发，不写 at；晚一点写 delay")
        if self.event is None and (self.where or self.delay):
            raise ValueError("where 和 delay 只和 event 一起写")
        if self.days_before and self.date is None:
            raise ValueError("days_before 只和 date 一起写")
        return self

    @property
    def happening(self) -> Happening | None:
        return Happening(event=self.event, where=self.where) if self.event is not None else None

    @property
    def daily(self) -> str | None:
        """The cron line of the daily look; None: it comes with an event."""
        if self.event is not None:
            return None
        at = self.at or time(10)
        return f"{at.minute} {at.hour} * * *"


class Groups(Part):
    """Customer groups instead of members: those that satisfy each part that is given. A name may have a * in it."""

    names: tuple[Name, ...] = Field((), max_length=500)  # or chat_ids
    tags: tuple[Name, ...] = Field((), max_length=50)
    owners: tuple[Annotated[str, StringConstraints(min_length=1, max_length=64)], ...] = Field((), max_length=500)
    all: bool = False  # every living group
    made_since: Instant | None = None  # of these, only groups that were made from then on

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if self.all == bool(self.names or self.tags or self.owners):
            raise ValueError("写 names、tags、owners 里的几样，或者只写 all: true")
        return self


class Wait(Happening):
    """A step that waits for an event about the member, from the end of the step before. Too long: `otherwise`."""

    within: Annotated[Duration, Field(gt=timedelta(0))]
    otherwise: Literal["send", "skip", "leave"] = "send"


class Step(Part):
    """One message of a sequence. When: `day` since they entered, or `after` the step before came to its end, or `wait`.

    at: not before that time of day; of a later day ten o'clock unless told. only: who does not satisfy it is spared
    this step.
    """

    name: Name
    day: Annotated[int, Field(ge=0, le=365)] | None = None
    after: Duration | None = None
    wait: Wait | None = None
    at: TimeOfDay | None = None
    only: dict[str, Any] | None = None
    messages: tuple[Message, ...] = Field(min_length=1, max_length=MOST_MESSAGES)
    tiers: tuple[Tier, ...] = Field((), max_length=20)
    channels: tuple[Literal[Channel.KF, Channel.BROADCAST], ...] | None = Field(None, min_length=1)
    gives: OfferKey | None = None

    @model_validator(mode="after")
    def _says_when(self) -> Self:
        if sum(one is not None for one in (self.day, self.after, self.wait)) != 1:
            raise ValueError("写 day（进入后第几天）、after（上一步结束后多久）或 wait（等什么），只写一个")
        return self


class Definition(Part):
    """A campaign. Exactly one of starts_at (one_off), every (recurring) and on (triggered) says when.

    Of a sequence (steps) `on` or `every` says when somebody enters, and segment or audience who may.
    """

    kind: Kind
    segment: Name | None = None  # by name; or
    audience: dict[str, Any] | None = None  # the condition itself; or
    groups: Groups | None = None  # not to members, but into customer groups
    starts_at: Instant | None = None
    ends_at: Instant | None = None
    every: str | None = None  # cron, shop-local
    on: Trigger | None = None
    messages: tuple[Message, ...] = Field((), max_length=MOST_MESSAGES)
    tiers: tuple[Tier, ...] = Field((), max_length=20)
    gives: OfferKey | None = None  # everybody it writes to gets a coupon of this offer with it, once a run
    steps: tuple[Step, ...] = Field((), max_length=50)
    goal: tuple[Happening, ...] = Field((), max_length=10)  # any of these, and a member leaves the sequence
    stays: dict[str, Any] | None = None  # who does not satisfy it before a step leaves it, too
    again_after: Annotated[Duration, Field(ge=timedelta(days=1))] | None = None  # since they entered; None: once only
    patience: Duration = timedelta(days=3)  # a step that the gate holds for longer is left out
    holdout_percent: Annotated[int, Field(ge=0, le=50)] = 0
    channels: tuple[Literal[Channel.KF, Channel.BROADCAST], ...] = Field((Channel.KF, Channel.BROADCAST), min_length=1)
    topic: Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}$")] = "marketing"
    grace: Duration = timedelta(hours=2)  # a run later than this asks or is left out, see `late`
    late: Literal["ask", "skip"] = "ask"
    confirm_within: Duration = timedelta(hours=24)  # then what the staff did not send is taken back
    remind_after: tuple[Duration, ...] = Field((timedelta(hours=1), timedelta(hours=4)), max_length=3)
    attribution_days: Annotated[int, Field(ge=1, le=90)] = 7
    worth_fen: Annotated[int, Field(ge=0)] = 0  # what one delivery gives away: decides whether a second person looks
    cost_fen: Annotated[int, Field(ge=0)] = 0  # of the campaign as a whole, for the return
    words_confirmed: bool = False  # somebody has read the warnings about its words; see words.py
    pause_at_failed_percent: Annotated[int, Field(ge=1, le=100)] = 30

    @model_validator(mode="after")
    def _says_whom_and_when(self) -> Self:
        if [self.segment, self.audience, self.groups].count(None) != 2:
            raise ValueError("写 segment（人群的名字）、audience（条件）或 groups（客户群），只写一个")
        if self.groups is not None and (reason := self._unfit_for_groups()):
            raise ValueError(reason)
        if not self.is_of_groups_steps:
            self._says_when()
        if self.starts_at and self.ends_at and aware(self.ends_at) <= aware(self.starts_at):
            raise ValueError("ends_at 不在 starts_at 之后")
        return self

    def _says_when(self) -> None:
        usual = {Kind.ONE_OFF: "starts_at", Kind.RECURRING: "every", Kind.TRIGGERED: "on"}
        wanted = usual.get(self.kind) or ("every" if self.every is not None else "on")
        if getattr(self, wanted) is None:
            raise ValueError(f"{self.kind.value} 要写 {'on 或 every' if self.kind is Kind.STEPS else wanted}")
        for name in {"every", "on"} - {wanted}:
            if getattr(self, name) is not None:
                raise ValueError(f"{self.kind.value} 不写 {name}")

    def _unfit_for_groups(self) -> str:
        """What a post into groups cannot have: a group is not a person."""
        if self.kind is Kind.TRIGGERED:
            return "发到群里的活动不能由会员的事触发，kind 写 one_off、recurring 或 steps"
        if self.kind is Kind.STEPS and (self.every or self.on or self.goal or self.stays or self.again_after):
            return "群的步骤从群进入那天数起，不写 every、on、goal、stays、again_after；一个群只走一遍"
        if any(one.wait or one.only or one.tiers or one.channels or one.gives for one in self.steps):
            return "群的每一步只写 day 或 after、at 和 messages：群不是一个人，等不到事，也没有档位"
        if self.tiers or self.holdout_percent or self.gives:
            return "发到群里的活动不写 tiers、holdout_percent 和 gives：群里的人看到的是同一段话"
        return "发到群里只能走企业群发，channels 写 [broadcast]" if self.channels != (Channel.BROADCAST,) else ""

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        if self.kind is not Kind.STEPS:
            if not self.messages:
                raise ValueError("messages 至少写一条")
            for name in ("steps", "goal", "stays", "again_after"):
                if getattr(self, name):
                    raise ValueError(f"{self.kind.value} 不写 {name}")
            return self
        if not self.steps:
            raise ValueError("steps 至少写一步")
        if self.messages or self.tiers:
            raise ValueError("steps 的话写在每一步里，外面不写 messages 和 tiers")
        if self.gives:
            raise ValueError("steps 的券写在发它的那一步里，外面不写 gives")
        days = [one.day for one in self.steps if one.day is not None]
        if days != sorted(days):
            raise ValueError("steps 的 day 要从小到大")
        names = [one.name for one in self.steps]
        if len(set(names)) < len(names):
            raise ValueError("steps 里有两步叫同一个名字")
        return self

    @property
    def starts(self) -> datetime | None:
        return aware(self.starts_at) if self.starts_at else None

    @property
    def ends(self) -> datetime | None:
        return aware(self.ends_at) if self.ends_at else None

    @property
    def is_of_groups_steps(self) -> bool:
        """Whether it is groups that go through its steps, from the day each came in."""
        return self.kind is Kind.STEPS and self.groups is not None

    @property
    def listens(self) -> bool:
        """Whether it is what happens that fires it, not the clock: an event, or a group that comes."""
        return self.is_of_groups_steps or (self.on is not None and self.on.event is not None)

    @property
    def cron(self) -> str | None:
        """When it looks whether there is something to do; None: once, or when an event comes."""
        return self.every or (self.on.daily if self.on is not None else None)

    @property
    def condition(self) -> Condition:
        """Whom it is for. Only of a definition whose segment was looked up, see engine.freeze()."""
        if self.audience is None:
            raise ValueError(f"segment {self.segment!r} was not looked up")
        return conditions.read(self.audience)

    def message(self, tier: int | None, variant: int) -> Message:
        """What is said; a tier with fewer variants than the campaign has gives its last to those beyond."""
        messages = self.messages if tier is None else self.tiers[tier].messages
        return messages[min(variant, len(messages) - 1)]


def of_step(told: Definition, number: int) -> Definition:
    """What one step of a sequence sends, as the definition of a run: members come into it one by one."""
    step = told.steps[number]
    wanted = [one for one in (told.stays, step.only) if one is not None]
    return told.model_copy(
        update={
            "kind": Kind.TRIGGERED, "on": Trigger(event=STEP_CAME), "every": None, "segment": None,
            "audience": {"is": "all", "of": [*wanted, ANYBODY]}, "messages": step.messages, "tiers": step.tiers,
            "gives": step.gives,
            "channels": step.channels or told.channels, "steps": (), "goal": (), "stays": None, "again_after": None,
        }
    )  # fmt: skip


def of_group_step(told: Definition, number: int, chat_ids: Sequence[str], *, at: datetime) -> Definition:
    """What one step of a sequence posts into these groups, as the definition of a run that is due at an instant."""
    groups = Groups(names=tuple(chat_ids))
    return told.model_copy(
        update={
            "kind": Kind.ONE_OFF, "groups": groups, "starts_at": at, "ends_at": None,
            "messages": told.steps[number].messages, "steps": (),
        }
    )  # fmt: skip


def read(told: Any) -> Definition:
    """A definition from its JSON or YAML, as Python reads it. Raises CampaignWrong with every mistake."""
    try:
        found = Definition.model_validate(told)
    except ValidationError as error:
        raise CampaignWrong([_mistake(one) for one in error.errors()]) from None
    wrong = [*_conditions(found), *_cron(found)]
    if wrong:
        raise CampaignWrong(wrong)
    return found


def write(definition: Definition) -> dict[str, Any]:
    """Its JSON; reading that gives an equal definition."""
    return definition.model_dump(mode="json", exclude_none=True)


def next_fire(definition: Definition, *, after: datetime, first: bool = False) -> datetime | None:
    """When it fires next, later than `after`; None: never again, or not by time. first: a start that is past counts."""
    starts, ends = definition.starts, definition.ends
    if definition.kind is Kind.ONE_OFF:
        return starts if starts is not None and (first or starts > after) else None
    if definition.cron is None:
        return None
    came = Cron(definition.cron).next(max(after, starts - timedelta(seconds=1)) if starts else after)
    return None if came is None or (ends is not None and came >= ends) else came


def firings(definition: Definition, *, after: datetime) -> Iterator[datetime]:
    """When it fires from then on, one after the other; of a recurring one without end."""
    at = next_fire(definition, after=after)
    while at is not None:
        yield at
        at = next_fire(definition, after=at)


def late_schedule(definition: Definition, *, now: datetime) -> list[dict[str, str]]:
    """What is wrong with the schedule as seen from now: it lies in the past, or never comes."""
    for name, local in (("starts_at", definition.starts_at), ("ends_at", definition.ends_at)):
        if local is not None and local.tzinfo is None and is_skipped(local):
            return [{"field": name, "reason": f"{local:%Y-%m-%d %H:%M} 这个钟点不存在：夏令时把表拨过去了，换一个钟点"}]
    if definition.kind is Kind.ONE_OFF and definition.starts is not None and definition.starts <= now:
        return [{"field": "starts_at", "reason": "这个时间已经过去了，改成以后的时间"}]
    if definition.ends is not None and definition.ends <= now:
        return [{"field": "ends_at", "reason": "这个时间已经过去了，改成以后的，或者不写"}]
    if definition.cron is not None and next_fire(definition, after=now) is None:
        return [{"field": "every" if definition.every else "on", "reason": "在 ends_at 之前一次也不会触发"}]
    return []


def _conditions(definition: Definition) -> list[dict[str, str]]:
    asked: list[tuple[str, Any]] = [
        ("audience", definition.audience),
        ("stays", definition.stays),
        *((f"tiers.{place}.audience", tier.audience) for place, tier in enumerate(definition.tiers)),
    ]
    for number, step in enumerate(definition.steps):
        asked.append((f"steps.{number}.only", step.only))
        asked += [(f"steps.{number}.tiers.{place}.audience", one.audience) for place, one in enumerate(step.tiers)]
    wrong: list[dict[str, str]] = []
    for field, condition in asked:
        if condition is None:
            continue
        try:
            conditions.read(condition)
        except DefinitionWrong as refused:
            wrong += [
                {"field": f"{field}.{one['field']}".rstrip("."), "reason": one["reason"]} for one in refused.mistakes
            ]
    return wrong


def _cron(definition: Definition) -> list[dict[str, str]]:
    if definition.every is None:
        return []
    try:
        Cron(definition.every)
    except CronWrong as wrong:
        return [{"field": "every", "reason": wrong.reason}]
    return []


def _mistake(error: Any) -> dict[str, str]:
    where = ".".join(str(part) for part in error["loc"])
    return {"field": where, "reason": complaints.sentence(error)}
