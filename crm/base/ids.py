"""Public codes, stable hash buckets, dedupe keys."""

import hashlib
import random

CODE_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # 32, no 0/O/1/I: people read codes aloud


def code(chance: random.Random, length: int = 8) -> str:
    """A code a person can type. `chance`: secrets.SystemRandom() in production, random.Random(7) in tests."""
    drawn = chance.getrandbits(5 * length)  # at once: the system's own chance costs 1 µs each time it is asked
    return "".join(CODE_ALPHABET[drawn >> 5 * place & 31] for place in range(length))


def bucket(*parts: object, buckets: int = 10_000) -> int:
    """A stable bucket 0 … buckets-1 for these parts, the same in every process and year."""
    return int.from_bytes(_digest(parts)[:8], "big") % buckets


def dedupe_key(*parts: object) -> str:
    """32 characters of [0-9a-f] that stand for these parts; fits WeCom's msgid (32 bytes of [0-9a-zA-Z_-])."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:32]


def _digest(parts: tuple[object, ...]) -> bytes:
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
