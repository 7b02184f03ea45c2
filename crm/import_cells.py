"""Cells as people and Excel leave them: text, amounts, instants, counts; what cannot be meant is refused in words.

Reasons are Chinese sentences: the person who keeps the file reads them beside the row.
"""

import re
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from zoneinfo import ZoneInfo

Cell = str | int | float | bool | datetime | date | None

MAX_TEXT = 2_000
MAX_FEN = 10**10  # a hundred million yuan
MAX_QUANTITY = 1_000_000
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
EXCEL_EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001  (a spreadsheet's days have no zone)
EXCEL_DAYS = range(1, 80_000)  # 1900 to 2119: a number beyond is no date
FUTURE_GRACE = timedelta(days=1)  # clocks of shop systems differ

_UNKEEPABLE = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL has no NUL, UTF-8 no half characters
_WRAPPED = re.compile(r'^="(.*)"$', re.DOTALL)  # ="0138": how exports keep leading zeros through Excel
_MONEY_SIGNS = re.compile(r"(?i)cny|rmb|[¥￥£$€元,，\s]")
_SCIENTIFIC = re.compile(r"^\d(\.\d+)?[eE]\+?\d+$")
_WHOLE = re.compile(r"^-?\d+(\.0+)?$")
_DATE = re.compile(r"^(\d{4})\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,2})\s*日?(.*)$")
_TIME = re.compile(r"^[T\s]*(\d{1,2})[:时](\d{1,2})(?:[:分](\d{1,2}))?(?:\.\d+)?[分秒]?\s*(Z|[+-]\d{2}:?\d{2})?$")
_FULL_WIDTH = str.maketrans("０１２３４５６７８９．，－＋：／（）", "0123456789.,-+:/()")


class BadCell(Exception):
    """Why a cell cannot be taken; the message is for the person who keeps the file."""


def text(cell: Cell) -> str:
    """A cell's text without the traces of Excel; "" when it is empty."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    found = str(cell).strip()
    if found.startswith("="):
        if (wrapped := _WRAPPED.match(found)) is None:
            raise BadCell(f"是公式，没有值：{found[:40]}")
        found = wrapped.group(1).strip()
    if len(found) > MAX_TEXT:
        raise BadCell(f"一格最多 {MAX_TEXT} 个字：{found[:20]}…")
    if _UNKEEPABLE.search(found):
        raise BadCell("含有不能保存的字符")
    return found


def number(cell: Cell, *, longest: int) -> str:
    """A number that names something (an order, a member, a phone): digits that Excel turned into a float come back."""
    if isinstance(cell, str) and cell.isalnum() and len(cell) <= longest and cell[1:2] not in "eE":
        return cell  # nearly all of them
    found = text(cell)
    if _SCIENTIFIC.match(found):
        raise BadCell(f"科学计数法丢了后面的数字，请把这一列设成“文本”再导出：{found}")
    if found.endswith(".0") and found[:-2].isdigit():
        found = found[:-2]
    if len(found) > longest:
        raise BadCell(f"号码太长，最多 {longest} 个字：{found[:20]}…")
    return found


def fen(cell: Cell) -> int | None:
    """An amount in yuan as fen, half a fen rounded away from zero; None when empty. May be negative."""
    if cell is None or cell == "":
        return None
    if isinstance(cell, str):
        yuan, _, rest = cell.partition(".")
        if len(rest) == 2 and len(cell) < 12 and yuan.isdigit() and rest.isdigit() and cell.isascii():
            return int(yuan) * 100 + int(rest)  # nearly all of them
    elif isinstance(cell, bool | datetime | date):
        raise BadCell(f"不是金额：{cell}")
    try:
        value = Decimal(repr(cell)) if isinstance(cell, float) else Decimal(cell)
    except InvalidOperation:
        written = _without_signs(text(cell))
        if not written:
            return None
        try:
            value = Decimal(written)
        except InvalidOperation:
            raise BadCell(f"不是金额：{str(cell)[:40]}") from None
    if not value.is_finite() or abs(value) * 100 > MAX_FEN:
        raise BadCell(f"不是合理的金额：{str(cell)[:40]}")
    return int((value * 100).to_integral_value(ROUND_HALF_UP))


def _without_signs(written: str) -> str:
    plain = _MONEY_SIGNS.sub("", written.translate(_FULL_WIDTH))
    if plain.startswith("(") and plain.endswith(")"):  # how bookkeepers write minus
        return f"-{plain[1:-1]}"
    return plain


class Instants:
    """Reads instants into UTC; without a zone they are shop-local. Dates may be text or Excel's day numbers."""

    def __init__(self, *, zone: ZoneInfo, now: datetime, earliest: datetime = EARLIEST) -> None:
        self._zone = zone
        self._earliest, self._latest = earliest, now + FUTURE_GRACE

    def read(self, cell: Cell) -> datetime | None:
        """None when it is empty."""
        if cell is None or cell == "":
            return None
        found: datetime | None
        try:
            found = datetime.fromisoformat(cell)  # type: ignore[arg-type]  # nearly all of them
        except (TypeError, ValueError):
            found = _instant(cell)
        if found is None:
            return None
        try:
            found = (found if found.tzinfo is not None else found.replace(tzinfo=self._zone)).astimezone(UTC)
        except OverflowError:
            raise BadCell(f"不是合理的时间：{cell}") from None
        if found > self._latest:
            raise BadCell(f"时间在未来：{cell}")
        if found < self._earliest:
            raise BadCell(f"时间早得不合理：{cell}")
        return found


def instant(cell: Cell, *, zone: ZoneInfo, now: datetime, earliest: datetime = EARLIEST) -> datetime | None:
    """One instant, see Instants."""
    return Instants(zone=zone, now=now, earliest=earliest).read(cell)


def _instant(cell: Cell) -> datetime | None:
    if isinstance(cell, datetime):
        return cell
    if isinstance(cell, date):
        return datetime(cell.year, cell.month, cell.day)  # noqa: DTZ001  (shop-local, see instant())
    if isinstance(cell, int | float):
        return _from_day_number(float(cell), cell)
    return _written(cell)


def _written(cell: Cell) -> datetime | None:
    found = text(cell).translate(_FULL_WIDTH)
    if not found:
        return None
    if re.fullmatch(r"\d{5}(\.\d+)?", found):
        return _from_day_number(float(found), cell)
    if re.fullmatch(r"\d{8}", found):
        found = f"{found[:4]}-{found[4:6]}-{found[6:]}"
    day = _DATE.match(found)
    rest = day.group(4).strip() if day is not None else ""
    clock = _TIME.match(rest) if rest else None
    if day is None or (rest and clock is None):
        raise BadCell(f"不是时间：{found[:40]}")
    hour, minute, second, offset = clock.groups() if clock is not None else ("0", "0", "0", None)
    try:
        year, month, date_of_month = map(int, day.groups()[:3])
        read = datetime(year, month, date_of_month, int(hour), int(minute), int(second or 0))  # noqa: DTZ001
        return datetime.fromisoformat(f"{read.isoformat()}{offset}") if offset else read
    except ValueError:
        raise BadCell(f"没有这个时间：{found[:40]}") from None


def _from_day_number(days: float, cell: Cell) -> datetime:
    if not EXCEL_DAYS.start <= days < EXCEL_DAYS.stop:
        raise BadCell(f"不是时间：{cell}")
    return EXCEL_EPOCH + timedelta(seconds=round(days * 86400))


def whole(cell: Cell) -> int | None:
    """A whole number; None when empty."""
    found = text(cell).translate(_FULL_WIDTH).replace(",", "")
    if not found:
        return None
    if not _WHOLE.match(found):
        raise BadCell(f"不是整数：{found[:40]}")
    if len(found) > 12 or abs(value := int(found.partition(".")[0])) > MAX_QUANTITY:
        raise BadCell(f"数量大得不合理：{found[:40]}")
    return value if not found.startswith("-") else -value
