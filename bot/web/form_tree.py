"""A form with rows in rows as a tree: `steps.1.messages.0.text` names a place in it, and rows come, go and move.

What comes from a browser is anybody's: names that cannot be meant are left out, rows and depth are bounded.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from multidict import MultiMapping

Tree = dict[str, Any]

NAME = re.compile(r"[a-z_]{1,30}(?:\.(?:[a-z_]{1,30}|\d{1,3})){0,8}")
ACT = re.compile(r"(add|drop|up|down) ([a-z_0-9.]{1,120})")
MOST_ROWS = 100


def read(posted: MultiMapping[Any], several: Sequence[str] = ()) -> Tree:
    """The tree that was posted. several: last parts of names that are lists of what was ticked."""
    tree: Tree = {}
    for name in dict.fromkeys(posted):
        if not NAME.fullmatch(name):
            continue
        *to, last = name.split(".")
        at: Any = tree
        for part in to:
            at = at.setdefault(part, {}) if isinstance(at, dict) else None
        if not isinstance(at, dict) or isinstance(at.get(last), dict):
            continue
        values = [str(one).replace("\r\n", "\n").replace("\r", "\n") for one in posted.getall(name)]
        at[last] = values if last in several else values[-1]
    found: Tree = _rows(tree)
    return found


def _rows(part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    inner = {name: _rows(one) for name, one in part.items()}
    if inner and all(name.isdigit() for name in inner):
        return [inner[name] for name in sorted(inner, key=int)][:MOST_ROWS]
    return inner


def rows(part: Mapping[str, Any], name: str) -> list[Tree]:
    """The rows of this name; whatever else stands there is none."""
    found = part.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def part(tree: Mapping[str, Any], name: str) -> Tree:
    found = tree.get(name)
    return found if isinstance(found, dict) else {}


def text(tree: Mapping[str, Any], name: str) -> str:
    found = tree.get(name)
    return found.strip() if isinstance(found, str) else ""


def act(tree: Tree, told: str) -> None:
    """Add a row (`add steps`), take one out (`drop steps.1`), move it (`up steps.1`, `down steps.1`)."""
    if not (found := ACT.fullmatch(told)):
        return
    *to, last = found[2].split(".")
    if found[1] == "add":
        at = _at(tree, to)
        if isinstance(at, dict):
            some = rows(at, last)
            at[last] = [*some, {}] if len(some) < MOST_ROWS else some
        return
    some = _at(tree, to)
    if not isinstance(some, list) or not last.isdigit() or int(last) >= len(some):
        return
    place = int(last)
    row = some.pop(place)
    if found[1] != "drop":
        some.insert(max(0, place + (1 if found[1] == "down" else -1)), row)


def _at(tree: Any, to: Sequence[str]) -> Any:
    for one in to:
        if isinstance(tree, list):
            tree = tree[int(one)] if one.isdigit() and int(one) < len(tree) else None
        else:
            tree = tree.get(one) if isinstance(tree, dict) else None
    return tree
