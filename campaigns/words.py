"""Words that marketing texts should not carry: found when a text is saved, with the place and what to say instead.

The lists are data (data/words.toml) that a shop extends with a file of its own. Writers hide words with spaces, full
width and other characters; those are flattened before the search, and every place is told in the text as written.
"""

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

import opencc
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from crm.base.errors import Invalid

MOST_CHARS = 10_000  # of one text: a broadcast has 4,000 bytes
_SIMPLER = opencc.OpenCC("t2s")
_HIDING = frozenset("*·•_|~^-—=`'\"<>[]{}()（）【】「」\\/+#&丶ˊˋ")  # put between the letters of a word to hide it
_KEPT_ALONE = frozenset("+")  # means something beside a letter: +V


class Level(StrEnum):
    REFUSE = "refuse"  # such a text is not saved
    WARN = "warn"  # saved once somebody says that they know


class Group(BaseModel):
    """Expressions of one kind, and what to say instead."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1, max_length=40)
    level: Level = Level.WARN
    kind: str = ""
    find: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    suggest: str = ""
    off: bool = False  # a shop leaves the whole group out

    @field_validator("find", "unless")
    @classmethod
    def _can_be_meant(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                matches_nothing = re.compile(pattern).fullmatch("") is not None
            except re.error as error:
                raise ValueError(f"{pattern!r} is no expression: {error}") from None
            if matches_nothing:
                raise ValueError(f"{pattern!r} matches everywhere")
        return patterns

    @cached_property
    def finds(self) -> re.Pattern[str]:
        return _any_of(self.find)

    @cached_property
    def spares(self) -> re.Pattern[str]:
        return _any_of(self.unless)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    group: list[Group] = []


@dataclass(frozen=True, slots=True)
class Finding:
    """A place in a text, `start` to `end` in characters, end not included."""

    start: int
    end: int
    text: str  # as written
    group: str
    level: Level
    kind: str
    suggest: str


@dataclass(eq=False)
class WordsRefused(Invalid):
    """A text has words that must go, or that somebody has to confirm."""

    code: ClassVar[str] = "words.refused"
    findings: Sequence[Finding]


@dataclass(eq=False)
class WordsUnreadable(Invalid):
    """A shop's own list cannot be read."""

    code: ClassVar[str] = "words.unreadable"
    reason: str


class Words:
    """The groups in force."""

    def __init__(self, groups: Iterable[Group]) -> None:
        self.groups = tuple(group for group in groups if not group.off)

    def check(self, text: str) -> list[Finding]:
        """Every place that should be said differently, in the order of the text; of overlapping ones the longest."""
        flat, places = _flatten(text[:MOST_CHARS])
        found: list[Finding] = []
        for group in self.groups:
            spared = [one.span() for one in group.spares.finditer(flat)] if group.unless else []
            for one in group.finds.finditer(flat):
                if any(begin <= one.start() and one.end() <= end for begin, end in spared):
                    continue
                start, end = places[one.start()], places[one.end() - 1] + 1
                found.append(Finding(start, end, text[start:end], group.id, group.level, group.kind, group.suggest))
        found.sort(key=lambda one: (one.start, -one.end, one.level))
        return [one for place, one in enumerate(found) if all(one.start >= earlier.end for earlier in found[:place])]

    def must_pass(self, text: str, *, is_confirmed: bool = False) -> None:
        """Raises WordsRefused when the text may not be saved; with is_confirmed, warnings are let through."""
        found = [one for one in self.check(text) if one.level is Level.REFUSE or not is_confirmed]
        if found:
            raise WordsRefused(found)


@lru_cache(maxsize=8)
def read(own: Path | None = None) -> Words:
    """The product's lists with a shop's own on top. Raises WordsUnreadable with the reason."""
    ours = resources.files("campaigns").joinpath("data/words.toml").read_text(encoding="utf-8")
    groups = {group.id: group for group in _parse(ours)}
    if own is not None:
        try:
            theirs = own.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise WordsUnreadable(f"{own}: {error}") from None
        for group in _parse(theirs):
            groups[group.id] = _joined(groups.get(group.id), group)
    return Words(groups.values())


def _parse(text: str) -> list[Group]:
    try:
        return _File.model_validate(tomllib.loads(text)).group
    except tomllib.TOMLDecodeError as error:
        raise WordsUnreadable(str(error)) from None
    except ValidationError as error:
        lines = (".".join(map(str, one["loc"])) + ": " + one["msg"] for one in error.errors())
        raise WordsUnreadable("; ".join(lines)) from None


def _joined(known: Group | None, told: Group) -> Group:
    """A shop's group of a known id adds its expressions; what else it says replaces ours."""
    if known is None:
        return told
    said: dict[str, Any] = {name: getattr(told, name) for name in told.model_fields_set}
    said |= {"find": known.find + told.find, "unless": known.unless + told.unless}
    return known.model_copy(update=said)


def _any_of(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{one})" for one in patterns) or r"(?!)", re.IGNORECASE)


def _flatten(text: str) -> tuple[str, list[int]]:
    """The text as it is read, and for each of its characters the place it was written at.

    Full width becomes half, traditional simplified; what does not show, and signs between two letters, are left out.
    """
    letters: list[str] = []
    places: list[int] = []
    for place, sign in enumerate(text):
        for one in unicodedata.normalize("NFKC", sign).lower():
            if (one.isspace() and one != "\n") or unicodedata.category(one) in {"Cf", "Mn"}:
                continue
            if one in _HIDING and one not in _KEPT_ALONE:
                continue
            letters.append(one)
            places.append(place)
    written = "".join(letters)
    simpler = _SIMPLER.convert(written)
    return (simpler if len(simpler) == len(written) else written), places
