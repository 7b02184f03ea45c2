"""How a receiver knows that a webhook is ours and new: an HMAC over the time and the very bytes of the body."""

import hmac
from hashlib import sha256

HEADER = "Siyu-Signature"
TOLERANCE_SECONDS = 300  # how old a receiver should let a signature be


def sign(secret: str, body: bytes, *, at: int) -> str:
    """The header's value. at: seconds since 1970, when this attempt is made: a repeated one is signed anew."""
    return f"t={at},v1={_mac(secret, body, at)}"


def is_ours(secret: str, body: bytes, header: str, *, now: int, tolerance: int = TOLERANCE_SECONDS) -> bool:
    """What a receiver does: the same computation, compared in constant time, and not too old."""
    told = dict(part.partition("=")[::2] for part in header.split(","))
    if not told.get("t", "").isdigit() or abs(now - int(told["t"])) > tolerance:
        return False
    return hmac.compare_digest(_mac(secret, body, int(told["t"])), told.get("v1", ""))


def _mac(secret: str, body: bytes, at: int) -> str:
    return hmac.new(secret.encode(), f"{at}.".encode() + body, sha256).hexdigest()
