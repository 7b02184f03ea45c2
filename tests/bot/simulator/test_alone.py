"""`python -m bot.simulator` on its own: starts, serves, and stops cleanly while a page is open."""

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def alone(port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    command = [sys.executable, "-m", "bot.simulator", "--port", str(port)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def up(origin: str) -> None:
    async with aiohttp.ClientSession() as http:
        for _ in range(100):
            try:
                async with http.get(f"{origin}/sim/clock") as response:
                    assert response.status == 200
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)
    raise AssertionError("it did not start")


async def test_it_serves_alone_and_stops_with_a_page_open() -> None:
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    async with alone(port) as process:
        await up(origin)
        async with aiohttp.ClientSession(origin) as http, http.get("/sim/phone/wmlinyue/stream") as page:
            assert page.status == 200
            process.send_signal(signal.SIGINT)
            out, err = await asyncio.wait_for(process.communicate(), 5)
    assert (process.returncode, err) == (0, b"")
    assert f"{origin}/phone" in out.decode()


async def test_a_taken_port_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        async with alone(taken.getsockname()[1]) as process:
            _, err = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 1
    assert "不能监听" in err.decode()
    assert "Traceback" not in err.decode()
