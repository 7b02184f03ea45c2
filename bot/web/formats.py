"""How numbers, money and instants read on the staff's pages; the same in both languages."""

from datetime import date, datetime, timedelta
from decimal import Decimal

from crm.base.clock import SHANGHAI

NONE = "—"


def yuan(fen: int | None) -> str:
    """¥1,234.50; whole yuan without the fen."""
    if fen is None:
        return NONE
    amount = Decimal(abs(fen)) / 100
    return f"{'−' if fen < 0 else ''}¥{amount:,.0f}" if fen % 100 == 0 else f"{'−' if fen < 0 else ''}¥{amount:,.2f}"


def count(number: int | None) -> str:
    return NONE if number is None else f"{number:,}"


def percent(share: float | None, digits: int = 1) -> str:
    return NONE if share is None else f"{share:.{digits}%}"


def clock(instant: datetime | None) -> str:
    """03-09 20:00, shop-local."""
    return NONE if instant is None else f"{instant.astimezone(SHANGHAI):%m-%d %H:%M}"


def full(instant: datetime | None) -> str:
    return NONE if instant is None else f"{instant.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}"


def day(when: date | datetime | None) -> str:
    if when is None:
        return NONE
    return f"{when.astimezone(SHANGHAI):%Y-%m-%d}" if isinstance(when, datetime) else f"{when:%Y-%m-%d}"


def form_instant(instant: datetime | None) -> str:
    """What <input type="datetime-local"> takes, shop-local."""
    return "" if instant is None else f"{instant.astimezone(SHANGHAI):%Y-%m-%dT%H:%M}"


def from_form(text: str) -> datetime | None:
    """The instant that such a field means, shop-local; None for an empty one. Raises ValueError."""
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI) if text.strip() else None


def lasting(span: timedelta | None) -> str:
    """2h 05m; 3d 4h; 45s."""
    if span is None:
        return NONE
    seconds = int(abs(span.total_seconds()))
    sign = "−" if span < timedelta() else ""
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{sign}{days}d {hours}h"
    if hours:
        return f"{sign}{hours}h {minutes:02d}m"
    return f"{sign}{minutes}m" if minutes else f"{sign}{seconds}s"


FILTERS = {
    "yuan": yuan,
    "count": count,
    "percent": percent,
    "clock": clock,
    "full": full,
    "day": day,
    "form_instant": form_instant,
    "lasting": lasting,
}
