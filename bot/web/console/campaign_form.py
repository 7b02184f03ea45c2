"""A campaign as a form: what was typed as a definition, and a definition as what the form shows.

The form may show a definition only when reading it back gives the same one; see `shown`. What it cannot show stays a
file, and nothing of it is lost.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from bot.web.form_tree import Tree, part, rows, text
from campaigns import definition
from campaigns.definition import ANYBODY, CampaignWrong, Definition
from campaigns.models.campaign import Kind
from crm.base.clock import SHANGHAI

Conditions = Mapping[str, Any]  # of the saved segments, by name
SEVERAL = ("days", "tags", "owners")
LINES = ("text", "names", "own")  # what may have more than one line
UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
WAYS = {"both": ["kf", "broadcast"], "kf": ["kf"], "broadcast": ["broadcast"]}
PLAIN = ("topic", "late", "holdout_percent", "attribution_days", "pause_at_failed_percent")
WAITS = ("grace", "confirm_within", "patience", "again_after")
MONEY = ("worth_fen", "cost_fen")
PICKED = "segment:"
NEW: Tree = {
    "what": "message", "who": "all", "when": "once", "way": "both", "holdout_percent": "10", "messages": [{}],
    "every": {"rhythm": "weekly", "at": "10:00"}, "on": {"at": "10:00"},
}  # fmt: skip


def understood(tree: Tree, segments: Conditions) -> Definition:
    """The definition that was typed. Raises CampaignWrong with every mistake and its field."""
    reader = _Reader(segments)
    told = reader.whole(tree)
    try:
        plain = definition.read(told)
    except CampaignWrong as refused:
        seen = tuple(one["field"] for one in reader.wrong)
        others = [one for one in refused.mistakes if not seen or (one["field"] and not one["field"].startswith(seen))]
        raise CampaignWrong([*reader.wrong, *others]) from None
    if reader.wrong:
        raise CampaignWrong(reader.wrong)
    return plain


class _Reader:
    def __init__(self, segments: Conditions) -> None:
        self.segments, self.wrong = segments, list[dict[str, str]]()

    def whole(self, tree: Tree) -> dict[str, Any]:
        is_sequence = text(tree, "what") == "steps"
        found = self._whom(tree) | self._when(tree, is_sequence)
        for name in ("starts_at", "ends_at", *PLAIN):
            found |= {name: value} if (value := text(tree, name)) else {}
        for name in WAITS if is_sequence else WAITS[:2]:
            found |= self._duration(tree, name)
        for name in MONEY:
            found |= {name: self._fen(name, value)} if (value := text(tree, name)) else {}
        found["channels"] = ["broadcast"] if "groups" in found else WAYS.get(text(tree, "way"), WAYS["both"])
        found["words_confirmed"] = text(tree, "words_confirmed") == "1"
        some = [_duration(one) for one in rows(tree, "remind_after")]
        found["remind_after"] = [one for one in some if one is not None]
        if is_sequence:
            found["steps"] = [self._step(one, f"steps.{place}") for place, one in enumerate(rows(tree, "steps"))]
            found["goal"] = [self._happening(one) for one in rows(tree, "goal") if text(one, "event")]
            found |= {"stays": stays} if (stays := self._condition(tree, "stays", "stays")) is not None else {}
        else:
            found["messages"] = self._messages(tree)
            if "groups" not in found:
                found["tiers"] = self._tiers(tree, "")
        if "groups" in found:
            found.pop("holdout_percent", None)
        return found

    def _no(self, field: str, reason: str) -> None:
        self.wrong.append({"field": field, "reason": reason})

    def _whom(self, tree: Tree) -> dict[str, Any]:
        who = text(tree, "who")
        if who == "segment":
            if not text(tree, "segment"):
                self._no("segment", "选一个人群")
            return {"segment": text(tree, "segment")}
        if who == "own":
            return {"audience": self._json("audience", text(tree, "own"))}
        if who != "groups":
            return {"audience": ANYBODY}
        groups = part(tree, "groups")
        if text(groups, "how") == "all":
            return {"groups": {"all": True}}
        names = [line.strip() for line in text(groups, "names").split("\n") if line.strip()]
        return {"groups": {"names": names, **{one: groups[one] for one in ("tags", "owners") if groups.get(one)}}}

    def _when(self, tree: Tree, is_sequence: bool) -> dict[str, Any]:
        when = text(tree, "when")
        if when == "every":
            return {"kind": "steps" if is_sequence else "recurring", "every": self._cron(part(tree, "every"))}
        if when == "once":
            if is_sequence:
                self._no("when", "一步步发的要写什么时候进来：发生一件事、会员的日子、多久没买，或者每周几")
            if not text(tree, "starts_at"):
                self._no("starts_at", "选一个时间")
            return {"kind": "one_off"}
        on = part(tree, "on")
        kind = {"kind": "steps" if is_sequence else "triggered"}
        at = {"at": text(on, "at")} if text(on, "at") else {}
        if when == "date":
            days = {"days_before": text(on, "days_before")} if text(on, "days_before") else {}
            return {**kind, "on": {"date": text(on, "date"), **days, **at}}
        if when == "silent":
            if not text(on, "silent_days"):
                self._no("on.silent_days", "写多少天")
            return {**kind, "on": {"silent_days": text(on, "silent_days"), **at}}
        if not text(on, "event"):
            self._no("on.event", "选一件事")
        return {**kind, "on": self._happening(on) | self._duration(on, "delay")}

    def _cron(self, told: Tree) -> str:
        if text(told, "rhythm") == "own":
            return text(told, "own")
        at = re.fullmatch(r"(\d{1,2}):(\d{2})(?::00)?", text(told, "at"))
        if at is None:
            self._no("every", "写几点")
            return ""
        days = ",".join(one for one in told.get("days") or [] if isinstance(one, str))
        rhythm, day, month = text(told, "rhythm"), text(told, "day"), text(told, "month")
        if (rhythm == "weekly" and not days) or (rhythm in ("monthly", "yearly") and not day):
            self._no("every", "选哪几天")
        rest = {"weekly": f"* * {days}", "monthly": f"{day} * *", "yearly": f"{day} {month} *"}.get(rhythm, "* * *")
        return f"{int(at[2])} {int(at[1])} {rest}"

    def _step(self, row: Tree, place: str) -> dict[str, Any]:
        found: dict[str, Any] = {"name": text(row, "name"), "messages": self._messages(row)}
        begins = text(row, "begins")
        if begins == "wait":
            wait = part(row, "wait")
            found["wait"] = self._happening(wait) | self._duration(wait, "within")
            found["wait"] |= {"otherwise": text(wait, "otherwise")} if text(wait, "otherwise") else {}
        elif begins == "after":
            found |= self._duration(row, "after") or {"after": "0m"}
        else:
            found["day"] = text(row, "day") or "0"
        found |= {"at": text(row, "at")} if text(row, "at") else {}
        found |= {"only": only} if (only := self._condition(row, "only", f"{place}.only")) is not None else {}
        found |= {"channels": WAYS[text(row, "way")]} if text(row, "way") in WAYS else {}
        return found | {"tiers": self._tiers(row, f"{place}.")}

    def _tiers(self, tree: Tree, prefix: str) -> list[dict[str, Any]]:
        found = []
        for place, row in enumerate(rows(tree, "tiers")):
            field = f"{prefix}tiers.{place}.audience"
            wanted = self._condition(row, "audience", field)
            if wanted is None:
                self._no(field, "选这一档给谁")
            found.append({"name": text(row, "name"), "audience": wanted or {}, "messages": self._messages(row)})
        return found

    def _messages(self, tree: Tree) -> list[dict[str, Any]]:
        found = []
        for place, row in enumerate(rows(tree, "messages") or [{}]):
            said = {"name": text(row, "name") or chr(ord("A") + place % 26), "text": text(row, "text")}
            said |= {name: text(row, name) for name in ("share", "survey") if text(row, name)}
            link = {name: value for name, value in part(row, "link").items() if isinstance(value, str) and value}
            found.append(said | ({"link": link} if link else {}))
        return found

    def _condition(self, tree: Tree, name: str, field: str) -> dict[str, Any] | None:
        told = part(tree, name)
        pick = text(told, "pick")
        if pick == "own":
            return self._json(field, text(told, "own"))
        if not pick.startswith(PICKED):
            return None
        found: dict[str, Any] | None = self.segments.get(pick.removeprefix(PICKED))
        if found is None:
            self._no(field, "没有这个人群了，另选一个")
        return found

    def _json(self, field: str, written: str) -> dict[str, Any]:
        try:
            found = json.loads(written)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            self._no(field, "条件读不懂")
            return {}
        return found

    def _happening(self, row: Tree) -> dict[str, Any]:
        where = {text(one, "field"): _value(text(one, "value")) for one in rows(row, "where") if text(one, "field")}
        return {"event": text(row, "event")} | ({"where": where} if where else {})

    def _duration(self, tree: Tree, name: str) -> dict[str, str]:
        found = _duration(part(tree, name))
        return {name: found} if found is not None else {}

    def _fen(self, field: str, yuan: str) -> int:
        try:
            fen = Decimal(yuan) * 100
            if fen.is_finite() and fen == fen.to_integral_value() and abs(fen) < 10**15:
                return int(fen)
        except InvalidOperation:
            pass
        self._no(field, "写成元，最多两位小数")
        return 0


def _duration(told: Tree) -> str | None:
    count = text(told, "n")
    return f"{count}{text(told, 'u') or 'h'}" if count else None


def _never(name: str) -> Any:
    raise ValueError(name)


def _value(written: str) -> Any:
    """A number, a yes or a list where it is written like one in JSON; any other text is itself."""
    try:
        return json.loads(written, parse_constant=_never)
    except (ValueError, RecursionError):
        return written


# A definition as a form


def shown(plain: Definition, segments: Conditions) -> Tree | None:
    """What the form shows; None: it cannot show all of this definition."""
    tree = _tree(plain, {json.dumps(one, sort_keys=True): name for name, one in segments.items()})
    if tree is None or not _is_typable(tree):
        return None
    try:
        again = understood(tree, segments)
    except CampaignWrong:
        return None
    return tree if _meant(again) == _meant(plain) else None


def _is_typable(part: Any, name: str = "") -> bool:
    """Whether a browser gives this back as it got it: a field of one line has one."""
    if isinstance(part, dict):
        return all(_is_typable(one, key) for key, one in part.items())
    if isinstance(part, list):
        return all(_is_typable(one, name) for one in part)
    return "\r" not in part and "\0" not in part and ("\n" not in part or name in LINES)


def _meant(plain: Definition) -> Definition:
    """The same with its instants in one zone: 10:00 and 10:00+08:00 are the same to a shop."""
    instants = {"starts_at": plain.starts, "ends_at": plain.ends}
    return plain.model_copy(update={name: one.astimezone(UTC) if one else None for name, one in instants.items()})


def _tree(plain: Definition, names: Mapping[str, str]) -> Tree | None:
    is_sequence = plain.kind is Kind.STEPS
    way = next((name for name, some in WAYS.items() if some == list(plain.channels)), None)
    if way is None:
        return None
    return {
        "what": "steps" if is_sequence else "message",
        **_whom_shown(plain),
        **_when_shown(plain),
        "starts_at": _instant(plain.starts),
        "ends_at": _instant(plain.ends),
        "way": way,
        **{name: str(getattr(plain, name)) for name in PLAIN},
        **{name: _wait(getattr(plain, name)) for name in WAITS},
        **{name: f"{Decimal(getattr(plain, name)) / 100}" for name in MONEY},
        "words_confirmed": "1" if plain.words_confirmed else "",
        "remind_after": [_wait(one) for one in plain.remind_after],
        "messages": [_message(one) for one in plain.messages],
        "tiers": [_tier(one, names) for one in plain.tiers],
        "steps": [_step(one, names) for one in plain.steps],
        "goal": [_happened(one) for one in plain.goal],
        "stays": _picked(plain.stays, names),
    }


def _whom_shown(plain: Definition) -> Tree:
    if plain.groups is not None:
        some = plain.groups
        told = {"how": "all" if some.all else "some", "names": "\n".join(some.names)}
        return {"who": "groups", "groups": {**told, "tags": list(some.tags), "owners": list(some.owners)}}
    if plain.segment is not None:
        return {"who": "segment", "segment": plain.segment}
    if plain.audience == ANYBODY:
        return {"who": "all"}
    return {"who": "own", "own": json.dumps(plain.audience, ensure_ascii=False)}


def _when_shown(plain: Definition) -> Tree:
    if plain.every is not None:
        return {"when": "every", "every": _rhythm(plain.every), "on": {"at": "10:00"}}
    every = {"every": dict(NEW["every"])}
    if plain.on is None:
        return {"when": "once", "on": {"at": "10:00"}, **every}
    at = {"at": _time(plain.on.at)}
    if plain.on.date is not None:
        days = {"date": plain.on.date.value, "days_before": str(plain.on.days_before)}
        return {"when": "date", "on": {**days, **at}, **every}
    if plain.on.silent_days is not None:
        return {"when": "silent", "on": {"silent_days": str(plain.on.silent_days), **at}, **every}
    happened = plain.on.happening
    event = _happened(happened) if happened is not None else {}
    return {"when": "event", "on": {**event, "delay": _wait(plain.on.delay)}, **every}


def _rhythm(line: str) -> Tree:
    """A cron line in plain words where it has some."""
    found = re.fullmatch(r"(\d{1,2}) (\d{1,2}) (\*|\d{1,2}) (\*|\d{1,2}) (\*|[0-7](?:,[0-7])*)", line)
    if found is not None and int(found[1]) < 60 and int(found[2]) < 24:
        at, day, month, week = f"{int(found[2]):02}:{int(found[1]):02}", found[3], found[4], found[5]
        usual = {"at": at, "own": line}
        if (day, month) == ("*", "*"):
            return (
                {"rhythm": "daily", **usual} if week == "*" else {"rhythm": "weekly", "days": week.split(","), **usual}
            )
        if week == "*" and day != "*":
            return {"rhythm": "monthly" if month == "*" else "yearly", "day": day, "month": month.strip("*"), **usual}
    return {"rhythm": "own", "own": line, "at": "10:00"}


def _message(one: definition.Message) -> Tree:
    link = one.link.model_dump() if one.link is not None else {}
    return {"name": one.name, "text": one.text, "share": str(one.share), "survey": one.survey or "", "link": link}


def _tier(one: definition.Tier, names: Mapping[str, str]) -> Tree:
    said = [_message(message) for message in one.messages]
    return {"name": one.name, "audience": _picked(one.audience, names), "messages": said}


def _step(one: definition.Step, names: Mapping[str, str]) -> Tree:
    wait: Tree = {}
    if one.wait is not None:
        wait = {**_happened(one.wait), "within": _wait(one.wait.within), "otherwise": one.wait.otherwise}
    way = next((name for name, some in WAYS.items() if one.channels and some == list(one.channels)), "")
    return {
        "name": one.name,
        "begins": "wait" if one.wait else "after" if one.after is not None else "day",
        "day": "" if one.day is None else str(one.day),
        "after": _wait(one.after),
        "wait": wait,
        "at": _time(one.at),
        "only": _picked(one.only, names),
        "way": way,
        "messages": [_message(message) for message in one.messages],
        "tiers": [_tier(tier, names) for tier in one.tiers],
    }


def _picked(condition: dict[str, Any] | None, names: Mapping[str, str]) -> Tree:
    if condition is None:
        return {"pick": ""}
    name = names.get(json.dumps(condition, sort_keys=True))
    written = json.dumps(condition, ensure_ascii=False)
    return {"pick": f"{PICKED}{name}" if name is not None else "own", "own": written}


def _happened(one: definition.Happening) -> Tree:
    return {"event": one.event, "where": [{"field": name, "value": _typed(value)} for name, value in one.where.items()]}


def _typed(value: Any) -> str:
    return value if isinstance(value, str) and _value(value) == value else json.dumps(value, ensure_ascii=False)


def _wait(length: timedelta | None) -> Tree:
    if length is None:
        return {"n": "", "u": "d"}
    seconds = int(length.total_seconds())
    unit, size = next((unit, size) for unit, size in UNITS if seconds % size == 0) if seconds else ("h", 1)
    return {"n": str(seconds // size), "u": unit}


def _time(at: time | None) -> str:
    return "" if at is None else at.isoformat("minutes" if not at.second and not at.microsecond else "auto")


def _instant(at: datetime | None) -> str:
    if at is None:
        return ""
    local = at.astimezone(SHANGHAI).replace(tzinfo=None)
    return local.isoformat(timespec="minutes" if not local.second and not local.microsecond else "auto")


def blank_rows(tree: Tree) -> Tree:
    """With a row to begin with wherever there has to be one: each message, step, and tier says something."""
    for name in ("messages", "steps"):
        if not rows(tree, name):
            tree[name] = [{}]
    steps = rows(tree, "steps")
    for row in (*steps, *rows(tree, "tiers"), *(tier for step in steps for tier in rows(step, "tiers"))):
        if not rows(row, "messages"):
            row["messages"] = [{}]
    return tree
