"""An offer between the form of the browser, where money is in yuan, and `offers.Draft`, where it is in fen."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from pydantic import ValidationError

from bot.web.formats import form_instant
from bot.web.language import N_
from campaigns.models.offer import Offer, OfferKind
from campaigns.offers import Draft

MONEY = ("amount_fen", "cap_fen", "gift_fen", "threshold_fen", "budget_fen")
NUMBERS = ("valid_days", "stock", "per_member", "points_price")
LISTS = ("skus", "categories")
SWITCHES = ("stacks", "claimable")
TEXTS = ("key", "title", "kind", "gift_sku", "starts_at", "ends_at")
WRONG = N_("写得不对")
WORDS = {
    "missing": N_("要填"), "string_pattern_mismatch": N_("1 到 40 个字，不能有空格"), "string_too_short": N_("要填"),
    "string_too_long": N_("太长了"), "int_parsing": N_("要写整数"), "int_from_float": N_("要写整数"),
    "greater_than_equal": N_("太小了"), "less_than_equal": N_("太大了"), "datetime_parsing": N_("选一个时间"),
    "datetime_from_date_parsing": N_("选一个时间"), "enum": N_("选一种"), "decimal_parsing": N_("要写数字"),
}  # fmt: skip
WHOLE = {  # what Draft says of several fields at once, and beside which of them it is shown
    "减的比门槛还多": ("amount_fen", N_("减的比门槛还多")),
    "写 ends_at 或 valid_days，券要有个到期的时候": ("valid_days", N_("写几天有效，或者结束时间，券要有个到期的时候")),
    "ends_at 不在 starts_at 之后": ("ends_at", N_("要在开始之后")),
    "amount 要写 amount_fen": ("amount_fen", N_("要填")),
    "percent 要写 percent_bp": ("percent_bp", N_("要填")),
    "gift 要写 gift_sku": ("gift_sku", N_("要填")),
}


def shown(offer: Offer | None, now: datetime) -> dict[str, Any]:
    """What the form begins with."""
    if offer is None:
        usual = {"kind": OfferKind.AMOUNT.value, "valid_days": "7", "per_member": "1", "claimable": "1"}
        return usual | {"starts_at": form_instant(now)}
    form: dict[str, Any] = {name: getattr(offer, name) for name in ("key", "title", *NUMBERS)}
    form |= {name: _yuan(getattr(offer, name)) for name in MONEY}
    form |= {name: "，".join(getattr(offer, name)) for name in LISTS}
    form |= {name: "1" if getattr(offer, name) else "" for name in SWITCHES}
    form |= {"starts_at": form_instant(offer.starts_at), "ends_at": form_instant(offer.ends_at)}
    off = f"{(10_000 - offer.percent_bp) / 1_000:g}" if offer.percent_bp else ""
    return form | {"kind": offer.kind.value, "gift_sku": offer.gift_sku, "percent_bp": off}


def read(typed: Mapping[str, str]) -> Draft:
    """What was typed; an empty field has no limit. Raises pydantic.ValidationError."""
    told: dict[str, Any] = {name: typed[name] for name in (*TEXTS, *NUMBERS) if typed.get(name)}
    told |= {name: _fen(typed[name]) for name in MONEY if typed.get(name)}
    told |= {name: _several(typed[name]) for name in LISTS if typed.get(name)}
    told |= {name: typed.get(name) == "1" for name in SWITCHES}
    if typed.get("percent_bp"):
        told["percent_bp"] = _off(typed["percent_bp"])
    return Draft.model_validate({"per_member": None, **told})


def mistakes(wrong: ValidationError) -> dict[str, str]:
    """What is wrong, by field, in words that the page translates."""
    found: dict[str, str] = {}
    for error in wrong.errors():
        said = error["msg"].removeprefix("Value error, ")
        field, words = WHOLE.get(said, (str((*error["loc"], "")[0]), WORDS.get(error["type"], WRONG)))
        found.setdefault(field, words)
    return found


def _yuan(fen: int | None) -> str:
    return "" if not fen else f"{fen / 100:.2f}".rstrip("0").rstrip(".")


def _fen(text: str) -> int | str:
    """12.5 is 1250; what is no amount stays as it is, for pydantic to refuse."""
    try:
        fen = Decimal(text) * 100
    except InvalidOperation:
        return text
    return int(fen) if fen.is_finite() and fen == fen.to_integral_value() else text


def _off(text: str) -> int | str:
    """八折 is typed as 8: 2,000 basis points off."""
    try:
        off = 10_000 - Decimal(text) * 1_000
    except InvalidOperation:
        return text
    return int(off) if off.is_finite() and off == off.to_integral_value() else text


def _several(text: str) -> list[str]:
    return [one.strip() for one in text.replace("，", ",").replace("、", ",").split(",") if one.strip()]
