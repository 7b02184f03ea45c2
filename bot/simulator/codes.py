"""Short-lived codes that work once: welcome codes, message codes, OAuth codes, card response codes."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from bot.simulator.corp import Corp

What = TypeVar("What")
SWEEP_ABOVE = 10_000


@dataclass(slots=True)
class _Issued(Generic[What]):
    what: What
    good_until: float


class Codes(Generic[What]):
    """One pool. A code of one pool is unknown in every other."""

    def __init__(self, corp: Corp, prefix: str) -> None:
        self._corp = corp
        self._prefix = prefix
        self._issued: dict[str, _Issued[What]] = {}

    def issue(self, what: What, *, seconds: float) -> str:
        if len(self._issued) > SWEEP_ABOVE:
            self._sweep()
        code = self._corp.new_id(self._prefix, 128)
        self._issued[code] = _Issued(what, self._corp.now() + seconds)
        return code

    def find(self, code: object) -> What | None:
        """What the code stands for, or None when unknown, used or too old."""
        issued = self._issued.get(code) if isinstance(code, str) else None
        return issued.what if issued and self._corp.now() <= issued.good_until else None

    def burn(self, code: str) -> None:
        self._issued.pop(code, None)

    def _sweep(self) -> None:
        now = self._corp.now()
        self._issued = {code: issued for code, issued in self._issued.items() if issued.good_until >= now}
