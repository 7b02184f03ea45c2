"""Templates of marketing texts: read strictly when they are saved, filled for one member, never half filled.

A template is jinja2 of which only the harmless part is allowed: text, fields, a few filters, conditions. There are no
loops, calls, attributes or arithmetic, so no template can run long or look where it should not; what is left is
rendered in jinja2's sandbox all the same. A field that nobody has is refused when the template is saved; one that
this member lacks is refused when it is filled, unless the template says what to write instead.
"""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, ClassVar

import jinja2
from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, UndefinedError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import fields
from campaigns.fields import Value
from campaigns.words import Words
from crm.base.errors import Invalid, Refused

MOST_CHARS = 4_000  # of a template
MOST_NODES = 400
MOST_BYTES = 4_000  # of a filled text: what 企业群发 takes (wecom-api.md §4.5)
DEEPEST = 20

_ALLOWED = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Filter, nodes.If,
    nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.CondExpr, nodes.Test,
)  # fmt: skip
_TESTS = frozenset({"defined", "undefined"})


@dataclass(eq=False)
class TemplateWrong(Invalid):
    """A template cannot be meant. reason: syntax, not_allowed, unknown_field, too_long, empty."""

    code: ClassVar[str] = "template.wrong"
    reason: str
    line: int = 1
    what: str = ""  # the word that is wrong
    nearest: tuple[str, ...] = ()  # fields that may have been meant


@dataclass(eq=False)
class FieldMissing(Refused):
    """This member has no such field, so this text cannot go to them."""

    code: ClassVar[str] = "template.field_missing"
    names: tuple[str, ...]


@dataclass(eq=False)
class TextTooLong(Refused):
    """Filled in for this member it is longer than WeCom takes."""

    code: ClassVar[str] = "template.too_long"
    bytes_: int


@dataclass(frozen=True, slots=True)
class Template:
    """A template that may be filled. `fields`: what it asks of a member or of the caller."""

    source: str
    fields: frozenset[str]
    compiled: jinja2.Template = field(repr=False, compare=False)


def _yuan(fen: int) -> str:
    """12000 → 120, 1250 → 12.5"""
    return f"{fen / 100:.2f}".rstrip("0").rstrip(".")


def _day(value: date | datetime | str) -> str:
    return value if isinstance(value, str) else fields.day_words(value)


def _default(value: Any, instead: str = "") -> Any:
    return instead if isinstance(value, StrictUndefined) or value == "" else value


def _written(value: Any) -> Any:
    return _day(value) if isinstance(value, date) else value


FILTERS = {"元": _yuan, "日期": _day, "没有就写": _default, "default": _default}
_environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False, finalize=_written)
_environment.filters = dict(FILTERS)
_environment.globals.clear()


def compile_(source: str, *, also: Collection[str] = ()) -> Template:
    """Read a template strictly. also: fields the caller will give beside the member's own, such as 券码.

    Raises TemplateWrong with the line and, for a field nobody has, the ones that may have been meant.
    """
    if not source.strip():
        raise TemplateWrong("empty")
    if len(source) > MOST_CHARS:
        raise TemplateWrong("too_long", what=str(len(source)))
    try:
        tree = _environment.parse(source)
    except TemplateSyntaxError as error:
        raise TemplateWrong("syntax", error.lineno, error.message or "") from None
    except RecursionError:
        raise TemplateWrong("not_allowed", what="嵌套太深") from None
    known = {*fields.SOURCES, *fields.ALWAYS, *also}
    names: set[str] = set()
    count = 0
    level: list[nodes.Node] = [tree]
    for _ in range(DEEPEST):
        count += len(level)
        for node in level:
            _check(node, known)
            if isinstance(node, nodes.Name):
                names.add(node.name)
        level = [child for node in level for child in node.iter_child_nodes()]
        if not level:
            break
    if level or count > MOST_NODES:
        raise TemplateWrong("not_allowed", what="太复杂")
    return Template(source, frozenset(names), _environment.from_string(source))


def _check(node: nodes.Node, known: set[str]) -> None:
    if not isinstance(node, _ALLOWED):
        raise TemplateWrong("not_allowed", node.lineno, type(node).__name__)
    if isinstance(node, nodes.Name) and node.name not in known:
        nearest = difflib.get_close_matches(node.name, known, n=3, cutoff=0.4)
        raise TemplateWrong("unknown_field", node.lineno, node.name, tuple(nearest))
    if isinstance(node, nodes.Filter) and (node.name not in FILTERS or node.node is None):
        raise TemplateWrong("not_allowed", node.lineno, node.name)
    if isinstance(node, nodes.Test) and node.name not in _TESTS:
        raise TemplateWrong("not_allowed", node.lineno, node.name)


def save(source: str, words: Words, *, also: Collection[str] = (), is_confirmed: bool = False) -> Template:
    """What every save of a marketing text goes through: it can be filled, and it says nothing it must not.

    Raises TemplateWrong or words.WordsRefused; is_confirmed lets the warnings among the words through.
    """
    template = compile_(source, also=also)
    words.must_pass(source, is_confirmed=is_confirmed)
    return template


def render(template: Template, values: Mapping[str, Value]) -> str:
    """The text for one member. Raises FieldMissing or TextTooLong; there is no half-filled text."""
    try:
        text = template.compiled.render(values)
    except UndefinedError:
        raise FieldMissing(tuple(sorted(name for name in template.fields if name not in values))) from None
    except (TemplateError, TypeError, ValueError) as error:  # a filter over a value of another kind
        raise TemplateWrong("not_allowed", what=str(error)) from None
    text = text.strip()
    if not text:
        raise TemplateWrong("empty")
    if (size := len(text.encode())) > MOST_BYTES:
        raise TextTooLong(size)
    return text


async def fill(
    session: AsyncSession,
    template: Template,
    member_ids: Collection[int],
    *,
    given: Mapping[int, Mapping[str, Value]] | None = None,
    now: datetime,
) -> dict[int, str | FieldMissing | TextTooLong]:
    """The text for each of these members, or why there is none. given: the caller's own fields, by member."""
    known = await fields.read(session, template.fields, member_ids, now=now)
    filled: dict[int, str | FieldMissing | TextTooLong] = {}
    for member_id in member_ids:
        try:
            filled[member_id] = render(template, {**known[member_id], **(given or {}).get(member_id, {})})
        except (FieldMissing, TextTooLong) as refusal:
            filled[member_id] = refusal
    return filled


async def preview(
    session: AsyncSession,
    template: Template,
    member_id: int,
    *,
    given: Mapping[str, Value] | None = None,
    now: datetime,
) -> str:
    """What this real member would read. Raises FieldMissing or TextTooLong."""
    text = (await fill(session, template, [member_id], given={member_id: given or {}}, now=now))[member_id]
    if isinstance(text, FieldMissing | TextTooLong):
        raise text
    return text
