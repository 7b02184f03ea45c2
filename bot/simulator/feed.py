"""Live news for the pages: channels of small events, one bounded queue per open page."""

import asyncio
from typing import Any

QUEUE = 1_000  # a page that falls this far behind is cut off; it reconnects and catches up with after=SEQ

News = tuple[str, dict[str, Any]]


class Feed:
    """Fan-out from the world to pages. Publishing to a channel nobody reads costs one dictionary lookup."""

    def __init__(self) -> None:
        self._readers: dict[str, set[asyncio.Queue[News | None]]] = {}
        self._closed = False

    def wanted(self, channel: str) -> bool:
        return channel in self._readers

    def publish(self, channel: str, event: str, data: dict[str, Any]) -> None:
        for queue in tuple(self._readers.get(channel, ())):
            try:
                queue.put_nowait((event, data))
            except asyncio.QueueFull:
                self._cut_off(channel, queue)

    def subscribe(self, channel: str) -> "asyncio.Queue[News | None]":
        """A queue of (event, data); None ends it."""
        queue: asyncio.Queue[News | None] = asyncio.Queue(QUEUE)
        if self._closed:
            queue.put_nowait(None)
        else:
            self._readers.setdefault(channel, set()).add(queue)
        return queue

    def unsubscribe(self, channel: str, queue: "asyncio.Queue[News | None]") -> None:
        readers = self._readers.get(channel, set())
        readers.discard(queue)
        if not readers:
            self._readers.pop(channel, None)

    def close(self) -> None:
        """End every stream, so that the server can stop."""
        self._closed = True
        for channel, queues in list(self._readers.items()):
            for queue in tuple(queues):
                self._cut_off(channel, queue)

    def _cut_off(self, channel: str, queue: "asyncio.Queue[News | None]") -> None:
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(None)
        self.unsubscribe(channel, queue)
