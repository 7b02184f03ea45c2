"""Cookies that say something nobody else could have said: claims with an end, under a key of ours."""

import base64
import binascii
import hmac
import json
from datetime import timedelta
from hashlib import sha256
from typing import Any

from crm.base.clock import Clock


class Seals:
    """Seals claims and opens them again. secret: the same in every process; about: keeps one purpose from another."""

    def __init__(self, secret: bytes, clock: Clock, *, about: str) -> None:
        self._key = hmac.digest(secret, about.encode(), sha256)
        self._clock = clock

    def seal(self, claims: dict[str, Any], stay: timedelta) -> str:
        until = int((self._clock.now() + stay).timestamp())
        body = base64.urlsafe_b64encode(json.dumps({**claims, "until": until}).encode()).decode()
        return f"{body}.{self.mac(body)}"

    def open(self, sealed: str) -> dict[str, Any] | None:
        """What was sealed; None when it is over, or was never ours."""
        body, _, mac = sealed.partition(".")
        if not mac or not hmac.compare_digest(mac.encode(), self.mac(body).encode()):
            return None
        try:
            claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body))
        except (ValueError, binascii.Error):
            return None
        return claims if claims["until"] > self._clock.now().timestamp() else None

    def mac(self, text: str) -> str:
        return hmac.digest(self._key, text.encode(), sha256).hex()
