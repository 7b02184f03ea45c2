"""A part of a benchmark in a process of its own, told what to do over a pipe."""

import asyncio
import contextlib
import gc
import inspect
import logging
import multiprocessing
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvloop

Part = Callable[..., AbstractAsyncContextManager[Any]]  # importable by name, for the new process
ANSWER_SECONDS = 900.0


class Failed(Exception):
    """A part raised; the message is its own."""


class Child:
    """`with Child(part, ...) as child:` runs the part on uvloop elsewhere; `child.ask("method", ...)` calls it."""

    def __init__(self, part: Part, *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=_run, args=(there, part, arguments), daemon=True)
        self._there = there

    def __enter__(self) -> Self:
        self._process.start()
        self._there.close()
        self._answer()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._pipe.send(None)
        self._process.join(20)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def ask(self, name: str, *arguments: Any) -> Any:
        """What the part's method returns."""
        self._pipe.send((name, arguments))
        return self._answer()

    def rss_mb(self) -> float:
        """Memory of the process that is in RAM now."""
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise Failed("no VmRSS")

    def cpu_seconds(self) -> float:
        """Processor time the process has used: the figure that other work on the machine disturbs least."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _answer(self) -> Any:
        if not self._pipe.poll(ANSWER_SECONDS):
            raise Failed(f"no answer in {ANSWER_SECONDS:.0f} s")
        try:
            found = self._pipe.recv()
        except EOFError:
            raise Failed("the process ended") from None
        if isinstance(found, Failed):
            raise found
        return found


def _run(pipe: Connection, part: Part, arguments: tuple[Any, ...]) -> None:
    logging.disable(logging.WARNING)  # errors still show
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_obey(pipe, part, arguments))


async def _obey(pipe: Connection, part: Part, arguments: tuple[Any, ...]) -> None:
    try:
        async with part(*arguments) as thing:
            gc.freeze()  # as the service does when it is up
            pipe.send(None)
            while order := await _next(pipe):
                name, values = order
                found = getattr(thing, name)(*values)
                pipe.send(await found if inspect.isawaitable(found) else found)
    except Exception as error:
        pipe.send(Failed(f"{type(error).__name__}: {error}"))
        raise


async def _next(pipe: Connection) -> Any:
    """The next order; a thread waits for it, because a loop that watches the pipe would stop it from blocking."""
    try:
        return await asyncio.to_thread(pipe.recv)
    except EOFError:
        return None
