"""access_token: one per app and secret, the same until it expires; forced expiry, revocation, and the secret's ban."""

from dataclasses import dataclass

from bot.simulator.corp import HOUR, App, Corp
from bot.simulator.refusals import Refusal, Unknown

WRONG_SECRETS_BEFORE_BAN = 10
BAN = HOUR


@dataclass(slots=True)
class _Issued:
    app: App
    good_until: float


class Tokens:
    def __init__(self, corp: Corp) -> None:
        self._corp = corp
        self._issued: dict[str, _Issued] = {}
        self._current: dict[int, str] = {}
        self._wrong: dict[str, list[float]] = {}  # caller's address -> when it used a wrong secret
        self.lifetime = 7200
        self.issued_count = 0

    def get(self, corpid: str, secret: str, address: str) -> tuple[str, int]:
        """(token, seconds left). Secret before corpid, as the vendor checks."""
        if not secret:
            raise Refusal(41004)
        if not corpid:
            raise Refusal(41002)
        wrong = self._recent_wrong(address)
        if len(wrong) >= WRONG_SECRETS_BEFORE_BAN:
            raise Refusal(45009, "too many wrong secrets from this ip")
        if corpid != self._corp.corpid:
            raise Refusal(40013)
        app = next((app for app in self._corp.apps.values() if app.secret == secret), None)
        if app is None:
            wrong.append(self._corp.now())
            raise Refusal(40001)
        return self._current_or_new(app)

    def check(self, token: str | None) -> App:
        if not token:
            raise Refusal(41001)
        issued = self._issued.get(token)
        if issued is None:
            raise Refusal(40014)
        if self._corp.now() >= issued.good_until:
            raise Refusal(42001)
        return issued.app

    def expire(self, agentid: int | None = None) -> None:
        """The next call with the current token gets 42001."""
        for token in self._tokens_of(agentid):
            self._issued[token].good_until = self._corp.now()

    def revoke(self, agentid: int | None = None) -> None:
        """The next call with the current token gets 40014."""
        for token in self._tokens_of(agentid):
            del self._issued[token], self._current[self._agentid(token)]

    def _current_or_new(self, app: App) -> tuple[str, int]:
        now, token = self._corp.now(), self._current.get(app.agentid, "")
        issued = self._issued.get(token)
        if issued is None or now >= issued.good_until:
            token = self._corp.new_id("tok", 256)
            self._issued[token] = issued = _Issued(app, now + self.lifetime)
            self._current[app.agentid] = token
            self.issued_count += 1
        return token, int(issued.good_until - now)

    def _tokens_of(self, agentid: int | None) -> list[str]:
        if agentid is not None and agentid not in self._corp.apps:
            raise Unknown(f"没有应用 {agentid}")
        return [token for owner, token in self._current.items() if agentid in (None, owner)]

    def _agentid(self, token: str) -> int:
        return next(agentid for agentid, current in self._current.items() if current == token)

    def _recent_wrong(self, address: str) -> list[float]:
        since = self._corp.now() - BAN
        recent = [at for at in self._wrong.get(address, []) if at > since]
        self._wrong[address] = recent
        return recent
