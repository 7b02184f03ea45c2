"""The sheet of rules: which there are, their texts by the server's settings, and what they come to when they are read.

The server's settings are what holds until somebody writes otherwise; only what differs from them is kept.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from bot.app import App, Shop
from bot.handoff.hours import WorkingHours
from bot.handoff.policy import Policy
from bot.settings import HandoffSettings, Settings
from bot.shop_rules.kinds import (
    Hour,
    HoursInWords,
    Kind,
    Number,
    OwnDays,
    Phrases,
    Span,
    Triggers,
    Unfit,
    Wrong,
    YesNo,
    Yuan,
)
from campaigns import words
from campaigns.engine import Review
from campaigns.guard_rules import Gate
from campaigns.words import Group, Level, Words
from crm.base.errors import Invalid

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
OWN_GROUP = "console"  # of the words that staff added on the page
Sheet = Mapping[str, str]  # rule -> text


@dataclass(frozen=True, slots=True)
class Entry:
    """One rule. setting: where the server says it, without SIYU_; empty: only the page knows it."""

    name: str
    setting: str
    kind: Kind


ENTRIES = (
    Entry("service_hours", "SERVICE_HOURS", HoursInWords()),
    Entry("own_days", "", OwnDays()),
    Entry("triggers", "HANDOFF__TRIGGERS", Triggers()),
    Entry("first_response", "HANDOFF__FIRST_RESPONSE", Span(MINUTE, 1, 1_440)),
    Entry("resolution", "HANDOFF__RESOLUTION", Span(HOUR, 1, 240)),
    Entry("complaint_first_response", "HANDOFF__COMPLAINT_FIRST_RESPONSE", Span(MINUTE, 1, 1_440)),
    Entry("complaint_resolution", "HANDOFF__COMPLAINT_RESOLUTION", Span(HOUR, 1, 240)),
    Entry("silence", "HANDOFF__SILENCE", Span(MINUTE, 1, 1_440)),
    Entry("capacity", "HANDOFF__CAPACITY", Number(1, 500)),
    Entry("asks_rating", "HANDOFF__ASKS_RATING", YesNo()),
    Entry("quiet_from", "GATE__QUIET_FROM", Hour(may_lack=True)),
    Entry("quiet_to", "GATE__QUIET_TO", Hour()),
    Entry("per_day", "GATE__PER_DAY", Number(0, 20, may_lack=True)),
    Entry("per_week", "GATE__PER_WEEK", Number(0, 100, may_lack=True)),
    Entry("broadcasts_per_day", "GATE__BROADCASTS_PER_DAY", Number(0, 10, may_lack=True)),
    Entry("broadcasts_per_week", "GATE__BROADCASTS_PER_WEEK", Number(0, 70, may_lack=True)),
    Entry("broadcasts_per_month", "GATE__BROADCASTS_PER_MONTH", Number(0, 310, may_lack=True)),
    Entry("needs_opt_in", "GATE__NEEDS_OPT_IN", YesNo()),
    Entry("review_members", "CAMPAIGN_REVIEW_MEMBERS", Number(0, 10_000_000)),
    Entry("review_yuan", "CAMPAIGN_REVIEW_FEN", Yuan(100_000_000)),
    Entry("banned", "", Phrases()),
    Entry("spared", "", Phrases()),
)
BY_NAME = {one.name: one for one in ENTRIES}


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong with the text of one rule."""

    wrong: Wrong
    facts: Mapping[str, Any]


@dataclass(eq=False)
class RulesWrong(Invalid):
    """These rules cannot hold. by_rule: each mistake beside its rule."""

    code: ClassVar[str] = "rules.wrong"
    by_rule: Mapping[str, Mistake]


@dataclass(frozen=True, slots=True)
class InForce:
    """What the rules come to, as the rest of the house takes it."""

    shop: Shop
    handoff: Policy
    gate: Gate
    words: Words
    review: Review

    def hold(self, app: App) -> None:
        """From the next turn, page and round on, this process goes by them."""
        app.shop, app.handoff, app.gate, app.words, app.review = (
            self.shop, self.handoff, self.gate, self.words, self.review
        )  # fmt: skip


def usual(settings: Settings) -> dict[str, str]:
    """The sheet as the server's settings say it."""
    return {one.name: one.kind.write(_told(settings, one)) for one in ENTRIES}


def own(settings: Settings, texts: Sheet) -> dict[str, str]:
    """Of these texts what differs from the server's settings."""
    said = usual(settings)
    return {name: text for name, text in texts.items() if name in said and text != said[name]}


def read(settings: Settings, texts: Sheet) -> InForce:
    """What `texts` over the server's settings come to. Raises RulesWrong with every mistake."""
    values: dict[str, Any] = {}
    mistakes: dict[str, Mistake] = {}
    for name, said in usual(settings).items():
        text = texts.get(name, said)
        try:
            values[name] = _told(settings, BY_NAME[name]) if text == said else BY_NAME[name].kind.read(text)
        except Unfit as unfit:
            mistakes[name] = Mistake(unfit.wrong, unfit.facts)
    mistakes |= {name: one for name, one in _together(values).items() if name not in mistakes}
    if mistakes:
        raise RulesWrong(mistakes)
    return _come_to(settings, values)


def _together(values: Mapping[str, Any]) -> dict[str, Mistake]:
    """What each rule alone would not tell."""
    found = {}
    if "quiet_from" in values and values["quiet_from"] == values.get("quiet_to"):
        found["quiet_to"] = Mistake(Wrong.SAME, {})
    for smaller, larger in (
        ("first_response", "resolution"),
        ("complaint_first_response", "complaint_resolution"),
        ("per_day", "per_week"),
        ("broadcasts_per_day", "broadcasts_per_week"),
        ("broadcasts_per_week", "broadcasts_per_month"),
    ):
        less, more = values.get(smaller), values.get(larger)
        if less is not None and more is not None and less > more:
            found[larger] = Mistake(Wrong.ORDER, {})
    return found


def _told(settings: Settings, entry: Entry) -> Any:
    """What the server's settings say of a rule."""
    if not entry.setting:
        return {} if entry.name == "own_days" else ()
    found: Any = settings
    for part in entry.setting.lower().split("__"):
        found = getattr(found, part)
    return found


def _come_to(settings: Settings, values: Mapping[str, Any]) -> InForce:
    hours = WorkingHours.read(values["service_hours"], own=values["own_days"])
    handoff = {name: values[name] for name in HandoffSettings.model_fields if name in values}
    gate = {name: values[name] for name in type(settings.gate).model_fields if name in values}
    listed = _with_own(words.read(settings.words_file), values["banned"], values["spared"])
    return InForce(
        Shop(settings.shop_name, hours.words),
        settings.handoff.model_copy(update=handoff | {"triggers": values["triggers"]}).policy(hours),
        settings.gate.model_copy(update=gate).policy(),
        listed,
        Review(values["review_members"], values["review_yuan"], listed),
    )


def _with_own(listed: Words, banned: tuple[str, ...], spared: tuple[str, ...]) -> Words:
    """The lists with what staff added on the page: their words are refused, their exceptions spared by every list."""
    if not banned and not spared:
        return listed
    plain = {one: re.escape(one) for one in (*banned, *spared)}
    mine = Group(id=OWN_GROUP, level=Level.REFUSE, kind="本店不用的词", find=tuple(plain[one] for one in banned))
    groups = (*listed.groups, mine) if banned else listed.groups
    exceptions = tuple(plain[one] for one in spared)
    # made anew: a copy would keep the compiled expressions of what it was copied from
    return Words(Group(**one.model_dump() | {"unless": one.unless + exceptions}) for one in groups)
