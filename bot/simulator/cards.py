"""Template cards: what each card type must carry, which keys can be pressed, and cards given in passive replies."""

import re
from typing import Any
from xml.etree import ElementTree

from bot.simulator import checks
from bot.simulator.refusals import Refusal

NOTICES = {"text_notice", "news_notice"}
INTERACTIVE = {"button_interaction", "vote_interaction", "multiple_interaction"}
Card = dict[str, Any]


def check(card: Card, *, notices_only: bool = False) -> None:
    """Refuse a card the vendor would refuse. Uniqueness of task_id is the sender's matter."""
    kind = checks.text(card, "card_type")
    if kind not in (NOTICES if notices_only else NOTICES | INTERACTIVE):
        raise Refusal(40058, f"card_type {kind}")
    if kind in NOTICES and checks.node(card, "card_action", errcode=42045).get("type") not in (1, 2):
        raise Refusal(42045)
    for key, most in (("horizontal_content_list", 6), ("jump_list", 3), ("vertical_content_list", 4)):
        checks.nodes(card, key, most=most)
    _check_menu(card)
    if needs_task_id(card) and not checks.TASK_ID.fullmatch(checks.optional_text(card, "task_id")):
        raise Refusal(42014)
    _check_controls(card, kind)


def needs_task_id(card: Card) -> bool:
    return card.get("card_type") in INTERACTIVE or bool(card.get("action_menu"))


def _check_menu(card: Card) -> None:
    if card.get("action_menu"):
        actions = checks.nodes(checks.node(card, "action_menu"), "action_list", most=3)
        _each_has(actions, "text", "key")


def _check_controls(card: Card, kind: str) -> None:
    if kind == "button_interaction":
        buttons = checks.nodes(card, "button_list", most=6)
        _each_has(buttons, "text")
        if any(button.get("type", 0) == 0 and not button.get("key") for button in buttons):
            raise Refusal(40058, "button key is missing")
    elif kind in INTERACTIVE:
        checks.text(checks.node(card, "submit_button"), "key")
        if kind == "vote_interaction":
            checks.text(checks.node(card, "checkbox"), "question_key")
            _each_has(checks.nodes(card["checkbox"], "option_list", most=20), "id", "text")
        else:
            _each_has(checks.nodes(card, "select_list", most=3), "question_key", "option_list")


def _each_has(nodes: list[dict[str, Any]], *keys: str) -> None:
    if not nodes or any(not node.get(key) for node in nodes for key in keys):
        raise Refusal(40058, f"{' and '.join(keys)} needed in each element")


def press_keys(card: Card) -> dict[str, str]:
    """key -> the event that pressing it sends. Buttons of type 1 open a page and send nothing."""
    keys = {str(button["key"]): "template_card_event" for button in card.get("button_list") or [] if button.get("key")}
    if submit := card.get("submit_button"):
        keys[str(submit["key"])] = "template_card_event"
    for action in (card.get("action_menu") or {}).get("action_list", []):
        keys[str(action["key"])] = "template_card_menu_event"
    return keys


def from_xml(node: ElementTree.Element) -> Card:
    """A <TemplateCard> of a passive reply in the shape of the JSON cards (CardType becomes card_type)."""
    card = _plain(node)
    return card if isinstance(card, dict) else {}


def _plain(node: ElementTree.Element) -> Any:
    if not len(node):
        return node.text or ""
    found: dict[str, Any] = {}
    for child in node:
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", child.tag).lower()
        value = _plain(child)
        if name in found or name.endswith("_list"):
            found.setdefault(name, [])
            found[name].append(value)
        else:
            found[name] = value
    return found
