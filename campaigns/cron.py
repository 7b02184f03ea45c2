"""Cron in the shop's time, on APScheduler's trigger: which instants a line means, and lines that mean none."""

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger

from crm.base.clock import SHANGHAI
from crm.base.errors import Invalid

DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


RANGES = (("分", 0, 59), ("时", 0, 23), ("日", 1, 31), ("月", 1, 12), ("星期", 0, 7))


class CronWrong(Invalid):
    """A cron line cannot be read, or never comes."""

    code = "cron.wrong"

    def __init__(self, line: str, reason: str) -> None:
        super().__init__(f"{line!r}: {reason}")
        self.line, self.reason = line, reason


class Cron:
    """Five fields: minute, hour, day of month, month, day of week (0 and 7 are Sunday). Raises CronWrong."""

    def __init__(self, line: str, zone: ZoneInfo = SHANGHAI) -> None:
        fields = line.split()
        if len(fields) != 5:
            raise CronWrong(line, "要五段：分 时 日 月 星期，例如每周六十点写 0 10 * * 6")
        try:
            minute, hour, day, month, weekday = fields
            self._trigger = CronTrigger(
                minute=minute, hour=hour, day=day, month=month, day_of_week=_weekdays(weekday), timezone=zone
            )
        except ValueError as error:
            raise CronWrong(line, _why(fields, str(error))) from None
        if self.next(datetime(2026, 1, 1, tzinfo=UTC)) is None:
            raise CronWrong(line, "这个时间永远不会到：没有这样的日子")

    def next(self, after: datetime) -> datetime | None:
        """The first instant later than `after`, in UTC."""
        came: datetime | None = self._trigger.get_next_fire_time(after, after)
        return came.astimezone(UTC) if came is not None else None


def _why(fields: list[str], error: str) -> str:
    """Which of the fields cannot be, and what can."""
    for (name, first, last), field in zip(RANGES, fields, strict=True):
        told = [int(number) for number in re.findall(r"\d+", field.split("/")[0])]
        if any(not first <= number <= last for number in told):
            return f"{name}“{field}”写不得：只能是 {first} 到 {last}"
    return f"读不懂：{error}"


def _weekdays(field: str) -> str:
    """Numbers as names: APScheduler counts from Monday, cron from Sunday."""
    return ",".join(_some_weekdays(part) for part in field.split(","))


def _some_weekdays(part: str) -> str:
    found = re.fullmatch(r"([0-7])(?:-([0-7]))?", part)
    if found is None:
        return part
    first, last = int(found[1]), int(found[2] or found[1])
    if first > last:
        raise ValueError(f"星期 {part} 前大后小")
    return ",".join(DAYS[day % 7] for day in range(first, last + 1))
