"""What a segment or a rule may ask about a member: a typed tree, JSON in and out.

Every leaf has a form in SQL (segment_compiler.py), words (segment_words.py) and a meaning, said here. Days are the
shop's. A member who was merged into another or erased is in no segment.
"""

from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, model_validator
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind

from crm.base import complaints
from crm.base.errors import Invalid
from crm.models.lifecycle import DateKind, Stage
from crm.models.member import Gender, MemberSource
from crm.models.rfm import Segment as RfmSegment
from crm.models.rfm import Tier

MOST_CONDITIONS = 100
DEEPEST = 12
BUCKETS = 10_000

Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Whole = Annotated[int, Field(ge=0, le=10**15)]
Id = Annotated[int, Field(ge=1, le=2**62)]
Days = Annotated[int, Field(ge=1, le=36_500)]
Grade = Annotated[int, Field(ge=1, le=5)]


class DefinitionWrong(Invalid):
    """A definition cannot be meant; `mistakes` says where and why."""

    code = "segment.definition_wrong"

    def __init__(self, mistakes: list[dict[str, str]]) -> None:
        super().__init__(f"{len(mistakes)} mistakes in a definition")
        self.mistakes = mistakes  # each {"field": "of.0.count", "reason": …}


class Part(BaseModel):
    """Any node of the tree: immutable, and a misspelt field is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Span(Part):
    """From least to most, both inclusive; left out is open."""

    least: Whole | None = None
    most: Whole | None = None

    @model_validator(mode="after")
    def _is_a_span(self) -> Self:
        if self.least is None and self.most is None:
            raise ValueError("写 least、most 或两个都写")
        if self.least is not None and self.most is not None and self.least > self.most:
            raise ValueError("least 比 most 大")
        return self

    def __contains__(self, value: int) -> bool:
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


class Grades(Part):
    """Scores from least to most, both inclusive."""

    least: Grade = 1
    most: Grade = 5

    @model_validator(mode="after")
    def _is_a_span(self) -> Self:
        if self.least > self.most:
            raise ValueError("least 比 most 大")
        return self


class Period(Part):
    """Since the beginning of the day last_days ago; or from a day to a day, both inclusive, either left open."""

    last_days: Days | None = None
    from_on: date | None = None
    to_on: date | None = None

    @model_validator(mode="after")
    def _is_a_period(self) -> Self:
        if self.last_days is not None and (self.from_on or self.to_on):
            raise ValueError("写 last_days，或者 from_on 和 to_on")
        if self.from_on and self.to_on and self.from_on > self.to_on:
            raise ValueError("from_on 在 to_on 之后")
        return self


EVER = Period()
ONCE = Span(least=1)


class IsGender(Part):
    is_: Literal["gender"] = Field("gender", alias="is")
    among: tuple[Gender, ...] = Field(min_length=1)


class CameFrom(Part):
    """How we first met them."""

    is_: Literal["source"] = Field("source", alias="is")
    among: tuple[MemberSource, ...] = Field(min_length=1)


class Joined(Part):
    """When they became a member."""

    is_: Literal["joined"] = Field("joined", alias="is")
    when: Period


class Tagged(Part):
    """Bears one of our tags, any of these."""

    is_: Literal["tagged"] = Field("tagged", alias="is")
    any_of: tuple[Id, ...] = Field(min_length=1, max_length=200)


class CorpTagged(Part):
    """Somebody of the staff marked them with one of these corp tags (WeCom ids)."""

    is_: Literal["corp_tagged"] = Field("corp_tagged", alias="is")
    any_of: tuple[Name, ...] = Field(min_length=1, max_length=200)


class Rfm(Part):
    """Their score of now; who has none is out. Scores, segments and tiers that are given must all fit."""

    is_: Literal["rfm"] = Field("rfm", alias="is")
    r: Grades | None = None
    f: Grades | None = None
    m: Grades | None = None
    segments: tuple[RfmSegment, ...] = ()
    tiers: tuple[Tier, ...] = ()


class InStage(Part):
    """Where they stand in the lifecycle; with for_days, for at least so long."""

    is_: Literal["stage"] = Field("stage", alias="is")
    among: tuple[Stage, ...] = Field(min_length=1)
    for_days: Days | None = None


class Lifetime(Part):
    """Over all time: counted orders, and what they paid less refunds. Who never ordered has 0 of both."""

    is_: Literal["lifetime"] = Field("lifetime", alias="is")
    orders: Span | None = None
    spent_fen: Span | None = None

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if self.orders is None and self.spent_fen is None:
            raise ValueError("写 orders、spent_fen 或两个都写")
        return self


class Ordered(Part):
    """Counted orders (paid above zero, not refunded in full) with an article among these skus or categories.

    count: so many of them. spent_fen: what they paid for them less refunds; with skus or categories, the price of
    those articles. At least one order unless count or spent_fen lets zero in.
    """

    is_: Literal["ordered"] = Field("ordered", alias="is")
    when: Period = EVER
    skus: tuple[Name, ...] = Field((), max_length=500)
    categories: tuple[Name, ...] = Field((), max_length=500)
    count: Span | None = None
    spent_fen: Span | None = None


class Did(Part):
    """So many events of this name are about them, such as CheckedIn, GroupJoined, OptedOut."""

    is_: Literal["did"] = Field("did", alias="is")
    event: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{1,80}$")]
    when: Period = EVER
    count: Span = ONCE


class InGroup(Part):
    """Is in one of these customer groups now; in any, if none is named."""

    is_: Literal["in_group"] = Field("in_group", alias="is")
    any_of: tuple[Id, ...] = Field((), max_length=200)


class ContactOf(Part):
    """Is in the contacts of one of these staff now; of anybody, if none is named."""

    is_: Literal["contact_of"] = Field("contact_of", alias="is")
    any_of: tuple[Id, ...] = Field((), max_length=200)


class Consented(Part):
    """Their newest word on a topic and channel; "never" if they never spoke."""

    is_: Literal["consent"] = Field("consent", alias="is")
    topic: Name = "marketing"
    channel: Name = "any"
    answer: Literal["yes", "no", "never"]


class DateComes(Part):
    """A day of theirs, such as a birthday, comes within so many days; 0 is today."""

    is_: Literal["date_comes"] = Field("date_comes", alias="is")
    kinds: tuple[DateKind, ...] = Field(min_length=1)
    within_days: Annotated[int, Field(ge=0, le=366)]


class HasLevel(Part):
    """Has one of these levels (our ids) now; with for_days, for at least so long."""

    is_: Literal["level"] = Field("level", alias="is")
    among: tuple[Id, ...] = Field(min_length=1, max_length=50)
    for_days: Days | None = None


class HasPoints(Part):
    """So many points they can spend now; who never had any has 0."""

    is_: Literal["points"] = Field("points", alias="is")
    active: Span


class PointsExpire(Part):
    """So many of their points that can be spent expire within so many days, counted by the hour."""

    is_: Literal["points_expire"] = Field("points_expire", alias="is")
    within_days: Days = 30
    points: Span = ONCE


class InBucket(Part):
    """A stable share of everybody: buckets from `first` up to, not including, `end` of 10,000. Each salt deals anew."""

    is_: Literal["bucket"] = Field("bucket", alias="is")
    salt: Name
    first: Annotated[int, Field(ge=0, lt=BUCKETS)] = 0
    end: Annotated[int, Field(gt=0, le=BUCKETS)]

    @model_validator(mode="after")
    def _is_a_share(self) -> Self:
        if self.first >= self.end:
            raise ValueError("first 要小于 end")
        return self


class AllOf(Part):
    is_: Literal["all"] = Field("all", alias="is")
    of: tuple["Condition", ...] = Field(min_length=1)


class AnyOf(Part):
    is_: Literal["any"] = Field("any", alias="is")
    of: tuple["Condition", ...] = Field(min_length=1)


class Not(Part):
    is_: Literal["not"] = Field("not", alias="is")
    of: "Condition"


Leaf = (
    IsGender | CameFrom | Joined | Tagged | CorpTagged | Rfm | InStage | Lifetime | Ordered | Did | InGroup | ContactOf
    | Consented | DateComes | HasLevel | HasPoints | PointsExpire | InBucket
)  # fmt: skip
Condition = Annotated[Leaf | AllOf | AnyOf | Not, Field(discriminator="is_")]

for _branch in (AllOf, AnyOf, Not):
    _branch.model_rebuild()
_CONDITION: TypeAdapter[Any] = TypeAdapter(Condition)
KINDS = frozenset(kind.model_fields["is_"].default for kind in (*get_args(Leaf), AllOf, AnyOf, Not))


class _Schema(GenerateJsonSchema):
    """The tree names itself, and inside such a loop pydantic leaves the discriminator's map out: `is` says it too."""

    ignored_warning_kinds: set[JsonSchemaWarningKind] = {"skipped-discriminator"}  # noqa: RUF012  (pydantic's own way)


def read(definition: Any) -> Condition:
    """A condition from its JSON, as Python reads it. Raises DefinitionWrong with every mistake."""
    if _depth(definition) > DEEPEST:
        raise DefinitionWrong([{"field": "", "reason": f"条件套得太深：最多 {DEEPEST} 层"}])
    try:
        condition: Condition = _CONDITION.validate_python(definition)
    except ValidationError as error:
        raise DefinitionWrong([_mistake(one) for one in error.errors()]) from None
    if (count := sum(1 for _ in leaves(condition))) > MOST_CONDITIONS:
        raise DefinitionWrong([{"field": "", "reason": f"{count} 个条件，最多 {MOST_CONDITIONS} 个"}])
    return condition


def write(condition: Condition) -> dict[str, Any]:
    """Its JSON; reading that gives an equal condition."""
    written: dict[str, Any] = _CONDITION.dump_python(condition, mode="json", by_alias=True, exclude_none=True)
    return written


def schema() -> dict[str, Any]:
    """The JSON schema of a definition."""
    return _CONDITION.json_schema(schema_generator=_Schema)


def leaves(condition: Condition) -> Iterator[Leaf]:
    """The questions of a tree, from left to right."""
    if isinstance(condition, AllOf | AnyOf):
        for part in condition.of:
            yield from leaves(part)
    elif isinstance(condition, Not):
        yield from leaves(condition.of)
    else:
        yield condition


def _depth(definition: Any) -> int:
    """How many conditions lie inside each other; stops counting when it is too many. JSON may nest without end."""
    depth, level = 0, [definition]
    while level and depth <= DEEPEST:
        inner = [one["of"] for one in level if isinstance(one, dict) and "of" in one]
        level = [part for of in inner for part in (of if isinstance(of, list) else [of])]
        depth += 1
    return depth


def _mistake(error: Any) -> dict[str, str]:
    where = [str(part) for part in error["loc"] if part not in KINDS]
    return {"field": ".".join(where), "reason": complaints.sentence(error)}
