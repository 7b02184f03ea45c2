"""The same decision in Redis, for benchmarks/flashsale.py: a Lua script that decrements, durable before each answer."""

import asyncio
import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.ground import folder
from benchmarks.report import say

CONNECTIONS = 64
TOGETHER = 500  # claims in a pipeline
SCRIPT = (
    "if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1 then return 0 end "
    "if tonumber(redis.call('GET', KEYS[1])) < 1 then return -1 end "
    "redis.call('DECR', KEYS[1]) redis.call('SADD', KEYS[2], ARGV[1]) return 1"
)


def measure(claims: int) -> tuple[float, float] | None:
    """Claims per second, one at a time on each connection and pipelined; None where no Redis is installed."""
    if shutil.which("redis-server") is None:
        say("Redis: not measured, no redis-server is installed here")
        return None
    with _server() as socket:
        return asyncio.run(_measure(socket, claims))


@contextlib.contextmanager
def _server() -> Iterator[Path]:
    with folder() as scratch:
        socket = scratch / "redis.sock"
        options = {"port": "0", "unixsocket": str(socket), "dir": str(scratch), "appendonly": "yes", "save": ""}
        told = [part for name, value in options.items() for part in (f"--{name}", value)]
        server = subprocess.Popen(
            ["redis-server", *told, "--appendfsync", "always"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            end = time.monotonic() + 10
            while not socket.exists():
                if time.monotonic() > end:
                    raise RuntimeError("redis-server did not start")
                time.sleep(0.02)
            yield socket
        finally:
            server.terminate()
            server.wait(10)


async def _measure(socket: Path, claims: int) -> tuple[float, float]:
    lines = [await asyncio.open_unix_connection(str(socket)) for _ in range(CONNECTIONS)]
    reader, writer = lines[0]
    writer.write(_command("SET", "left", "100000000") + _command("SCRIPT", "LOAD", SCRIPT))
    await reader.readline()
    await reader.readline()
    digest = (await reader.readline()).decode().strip()
    share = claims // CONNECTIONS

    async def one_by_one(number: int) -> None:
        mine, out = lines[number]
        for claim in range(share):
            out.write(_claim(digest, f"a{number}-{claim}"))
            if await mine.readline() != b":1\r\n":
                raise RuntimeError("Redis refused")

    began = time.perf_counter()
    await asyncio.gather(*(one_by_one(number) for number in range(CONNECTIONS)))
    alone = share * CONNECTIONS / (time.perf_counter() - began)
    began = time.perf_counter()
    for start in range(0, claims, TOGETHER):
        writer.write(b"".join(_claim(digest, f"b{claim}") for claim in range(start, start + TOGETHER)))
        answers = await reader.readexactly(TOGETHER * len(b":1\r\n"))
        if answers.count(b":1\r\n") != TOGETHER:
            raise RuntimeError("Redis refused")
    pipelined = -(-claims // TOGETHER) * TOGETHER / (time.perf_counter() - began)
    for _, out in lines:
        out.close()
    return alone, pipelined


def _claim(digest: str, member: str) -> bytes:
    return _command("EVALSHA", digest, "2", "left", "members", member)


def _command(*parts: str) -> bytes:
    told = [f"${len(part.encode())}\r\n{part}\r\n" for part in parts]
    return f"*{len(parts)}\r\n{''.join(told)}".encode()
