"""The service as processes of its own, which a test may kill at any instant."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from bot.simulator.corp import CallbackTarget
from bot.simulator.simulator import CallLog, Simulator
from tests.town import AES_KEY, AGENT_ID, CORP_ID, FAQ, SECRET, TOKEN

ROOT = Path(__file__).parent.parent.parent
# Imports the service once and forks for each command read: a process to kill then costs 30 ms instead of two seconds.
NURSERY = """
import os, signal, sys, bot.cli
for command in sys.stdin:
    if child := os.fork():
        print(child, flush=True)
        continue
    sys.argv, sys.stdin = ["siyu", command.strip()], open(os.devnull)
    os.dup2(2, 1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    bot.cli.main()
    os._exit(0)
"""
READY_SECONDS = 30.0


def environment(database_url: str, simulator: str, folder: Path, port: int) -> dict[str, str]:
    """What an operator would export to run the town's shop."""
    faq = folder / "faq.csv"
    faq.write_text(FAQ, encoding="utf-8")
    own = {
        "SIYU_DATABASE_URL": database_url,
        "SIYU_WECOM_API_URL": simulator,
        "SIYU_CORP_ID": CORP_ID,
        "SIYU_APPS__MAIN__AGENT_ID": str(AGENT_ID),
        "SIYU_APPS__MAIN__SECRET": SECRET,
        "SIYU_APPS__MAIN__TOKEN": TOKEN,
        "SIYU_APPS__MAIN__AES_KEY": AES_KEY,
        "SIYU_PORT": str(port),
        "SIYU_SHOP_NAME": "毛球小铺",
        "SIYU_FAQ_FILE": str(faq),
        "SIYU_KF_POLL": "PT1S",
        "SIYU_LOG_LEVEL": "WARNING",
        "SIYU_LOG_JSON": "true",
    }
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **own}


@dataclass(frozen=True)
class Process:
    """One `siyu COMMAND`."""

    command: str
    pid: int


class Crew:
    """The running processes, and the address at which the web process answers."""

    def __init__(self, variables: Mapping[str, str], folder: Path, port: int) -> None:
        self.running: list[Process] = []
        self.kills = 0
        self.port, self._log = port, folder / "processes.log"
        with self._log.open("ab") as said:
            self._nursery = subprocess.Popen(
                [sys.executable, "-c", f"import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN){NURSERY}"],
                env=dict(variables),
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )

    def start(self, command: str) -> None:
        assert self._nursery.stdin is not None and self._nursery.stdout is not None
        print(command, file=self._nursery.stdin, flush=True)
        self.running.append(Process(command, int(self._nursery.stdout.readline())))

    def kill(self, process: Process) -> str:
        """SIGKILL, which leaves no time for anything; returns, after its death, which command it ran."""
        os.kill(process.pid, signal.SIGKILL)  # raises when it ended by itself, which it never should
        with contextlib.suppress(ProcessLookupError):
            while True:
                os.kill(process.pid, 0)
                time.sleep(0.001)
        self.running.remove(process)
        self.kills += 1
        return process.command

    def kill_first(self) -> None:
        self.kill(self.running[0])

    def replace(self, chance: random.Random) -> None:
        """Kill one of them, whichever, and start another of its kind."""
        self.start(self.kill(chance.choice(self.running)))

    async def ready(self) -> None:
        """Until the web process answers."""
        end = asyncio.get_running_loop().time() + READY_SECONDS
        async with aiohttp.ClientSession() as http:
            while not await self._answers(http):
                assert asyncio.get_running_loop().time() < end, f"not ready:\n{self.said()}"
                await asyncio.sleep(0.02)

    async def _answers(self, http: aiohttp.ClientSession) -> bool:
        try:
            async with http.get(f"http://127.0.0.1:{self.port}/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    def said(self) -> str:
        """The last of what the processes logged."""
        return self._log.read_text(errors="replace")[-4000:]

    def end(self) -> None:
        for process in list(self.running):
            self.kill(process)
        self._nursery.communicate()


@asynccontextmanager
async def crew(database_url: str, simulator: Simulator, folder: Path, commands: Sequence[str]) -> AsyncIterator[Crew]:
    """These commands, running, and their callback address saved without a check; what runs at the end is killed."""
    port = free_port()
    opened = Crew(environment(database_url, simulator.origin, folder, port), folder, port)
    try:
        for command in commands:
            opened.start(command)
        if commands:
            await opened.ready()
        url = f"http://127.0.0.1:{port}/wecom/callback/main"
        simulator.world.corp.apps[AGENT_ID].callback = CallbackTarget(url, TOKEN, AES_KEY)
        yield opened
    finally:
        opened.end()


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


class Tripwire(CallLog):
    """The simulator's log of calls, with something that happens the instant a chosen call has been acted on.

    The caller has no answer yet at that instant, and if it is killed it never gets one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._path, self._left = "", 0
        self._action: Callable[[], None] = lambda: None

    def set(self, path: str, nth: int, action: Callable[[], None]) -> None:
        """At the `nth` call of `path` from now, do this."""
        self._path, self._left, self._action = path, nth, action

    @property
    def is_set(self) -> bool:
        return self._left > 0

    def add(self, at: float, path: str, agentid: int | None, request: Any, response: Any) -> None:
        super().add(at, path, agentid, request, response)
        if path == self._path and self._left > 0:
            self._left -= 1
            if not self._left:
                self._action()
