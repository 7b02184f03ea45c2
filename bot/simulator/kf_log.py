"""What sync_msg reads: one log per kf account with opaque cursors and three days' retention, and the msg tokens."""

from dataclasses import dataclass, field
from typing import Any

from bot.simulator.corp import DAY, Corp
from bot.simulator.refusals import Refusal

RETENTION = 3 * DAY
TOKEN_LIFE = 600.0
MAX_PAGE = 1000


@dataclass(slots=True)
class SyncLog:
    """Items in order of arrival. A cursor is the account's key and the place of the next item, counted from ever."""

    key: str
    items: list[dict[str, Any]] = field(default_factory=list)
    arrived: list[float] = field(default_factory=list)
    dropped: int = 0  # items already forgotten; items[0] has place `dropped`
    dead: int = 0  # items at the head past retention, not cut off yet

    def append(self, item: dict[str, Any], now: float) -> None:
        self.items.append(item)
        self.arrived.append(now)

    def page(self, cursor: str, limit: int, now: float) -> tuple[list[dict[str, Any]], str, bool]:
        """(items, next cursor, whether more wait). An empty cursor starts three days ago."""
        self._forget(now)
        first = self.dropped + self.dead
        start = max(first, self._place(cursor) if cursor else first) - self.dropped
        page = self.items[start : start + limit]
        end = start + len(page)
        return page, self.cursor(self.dropped + end), end < len(self.items)

    def cursor(self, place: int) -> str:
        return f"{self.key}{place:x}"

    def _place(self, cursor: str) -> int:
        try:
            place = int(cursor.removeprefix(self.key), 16) if cursor.startswith(self.key) else -1
        except ValueError:
            place = -1
        if not 0 <= place <= self.dropped + len(self.items):
            raise Refusal(40058, "invalid cursor")
        return place

    def _forget(self, now: float) -> None:
        """Step over what is too old; cut it off only when it is half of the list, so that the cost stays constant."""
        while self.dead < len(self.items) and self.arrived[self.dead] < now - RETENTION:
            self.dead += 1
        if self.dead > 1_000 and self.dead * 2 > len(self.items):
            del self.items[: self.dead], self.arrived[: self.dead]
            self.dropped, self.dead = self.dropped + self.dead, 0


class MsgTokens:
    """The tokens that kf callbacks carry: good for one account and ten minutes, for any number of pulls."""

    def __init__(self, corp: Corp) -> None:
        self._corp = corp
        self._issued: dict[str, tuple[str, float]] = {}  # in order of issue

    def issue(self, open_kfid: str) -> str:
        now = self._corp.now()
        while self._issued and next(iter(self._issued.values()))[1] < now - TOKEN_LIFE:
            del self._issued[next(iter(self._issued))]
        token = self._corp.new_id("ENC", 160)
        self._issued[token] = (open_kfid, now)
        return token

    def check(self, token: str, open_kfid: str) -> None:
        owner, issued_at = self._issued.get(token, ("", 0.0))
        if owner != open_kfid or self._corp.now() - issued_at > TOKEN_LIFE:
            raise Refusal(95007)
