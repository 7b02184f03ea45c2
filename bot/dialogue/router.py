"""Routers and filters: the first handler whose filter matches answers."""

import re
from collections.abc import Awaitable, Callable, Mapping

from bot.dialogue.turn import Reply, Turn
from bot.wecom.kf_items import KfItem

Arguments = Mapping[str, str]
Filter = Callable[[Turn], Arguments | None]


# Called with the turn and, by name, whatever its filter parsed. None passes the turn on to the next handler.
Handler = Callable[..., Awaitable[Reply | None]]


class Router:
    """Handlers of one subject, and routers included below them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._routes: list[tuple[tuple[Filter, ...], Handler]] = []
        self._included: list[Router] = []

    def on(self, *filters: Filter) -> Callable[[Handler], Handler]:
        """Register a handler; all filters must match, and what they parsed becomes its arguments."""

        def register(handler: Handler) -> Handler:
            self._routes.append((filters, handler))
            return handler

        return register

    def include(self, *routers: "Router") -> None:
        self._included += routers

    def is_about(self, text: str) -> bool:
        """Whether a handler here or below answers these very words (see says); others may answer them all the same."""
        own = any(
            isinstance(one, Says) and one.fits(text) is not None for filters, _ in self._routes for one in filters
        )
        return own or any(router.is_about(text) for router in self._included)

    async def reply(self, turn: Turn) -> Reply | None:
        for filters, handler in self._routes:
            parsed = _parse(filters, turn)
            if parsed is not None and (reply := await handler(turn, **parsed)) is not None:
                return reply
        for router in self._included:
            if (reply := await router.reply(turn)) is not None:
                return reply
        return None


class Says:
    """A filter on the whole text of a message."""

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(rf"\s*(?:{pattern})\s*[。！!～~.]*", re.IGNORECASE)

    def __call__(self, turn: Turn) -> Arguments | None:
        return self.fits(turn.text)

    def fits(self, text: str) -> Arguments | None:
        found = self._pattern.fullmatch(text) if text else None
        return {name: value or "" for name, value in found.groupdict().items()} if found else None


def says(pattern: str) -> Filter:
    """The whole text fits the pattern (case and spaces around it do not matter); named groups become arguments."""
    return Says(pattern)


def tapped(prefix: str) -> Filter:
    """The customer tapped a menu line whose id is `prefix:argument`."""

    def matches(turn: Turn) -> Arguments | None:
        head, _, argument = turn.menu_id.partition(":")
        return {"argument": argument} if head == prefix else None

    return matches


def is_text(turn: Turn) -> Arguments | None:
    """The customer wrote something."""
    return {} if turn.text else None


def is_event(kind: type[KfItem]) -> Filter:
    """The session reports an event of this type."""
    return lambda turn: {} if isinstance(turn.item, kind) else None


def from_customer(turn: Turn) -> Arguments | None:
    """Anything a customer sent."""
    return {} if turn.is_from_customer else None


def _parse(filters: tuple[Filter, ...], turn: Turn) -> Arguments | None:
    """What all of them parsed together; None when one does not match."""
    parsed: dict[str, str] = {}
    for one in filters:
        found = one(turn)
        if found is None:
            return None
        parsed.update(found)
    return parsed
