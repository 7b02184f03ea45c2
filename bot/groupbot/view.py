"""The addresses /wecom/aibot/{bot}: GET verifies the URL, POST is answered at once with what there is so far."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from bot import texts
from bot.app import App
from bot.faq import questions
from bot.groupbot import store, subjects
from bot.groupbot.store import Arrival, MentionInbox
from bot.metrics import CALLBACKS
from bot.wecom import aibot
from bot.wecom.aibot import BotEvent, ChatEntered, Mention, NotText, Rated, Rating, StreamRefresh
from bot.wecom.callback import Outcome, body_of, refuse, signed
from bot.wecom.crypto import BadEnvelope, Envelope, Flaw
from bot.wecom.reading import Json
from crm.base.errors import Busy
from crm.base.ids import dedupe_key

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bot:
    """One bot's callback secrets, and the name by which people mention it."""

    envelope: Envelope
    display_name: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """What a callback came to, for the counter, and the reply; None is an empty answer."""

    outcome: str
    reply: Json | None = None


class BotView:
    """Everything that can be wrong with a delivery is a 4xx and a counter, as it is for an app's callbacks.

    A refresh is a read: its envelope may come again and does no harm.
    """

    def __init__(self, app: App, bots: Mapping[str, Bot], inbox: MentionInbox) -> None:
        self._app, self._bots, self._inbox = app, bots, inbox

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/wecom/aibot/{bot}", self.verify), web.post("/wecom/aibot/{bot}", self.deliver)]

    async def verify(self, request: web.Request) -> web.Response:
        name, bot = self._bot(request)
        now = self._app.clock.now()
        try:
            echo = bot.envelope.verify_echo(*signed(request), request.query.get("echostr", ""), now=now)
        except BadEnvelope as bad:
            return refuse(name, bad.reason)
        CALLBACKS.labels(name, "verified").inc()
        return web.Response(body=echo, content_type="text/plain")

    async def deliver(self, request: web.Request) -> web.Response:
        name, bot = self._bot(request)
        signature, timestamp, nonce = signed(request)
        try:
            content = await body_of(request)
            payload = aibot.open_packet(bot.envelope, content, (signature, timestamp, nonce), now=self._app.clock.now())
            event = aibot.parse(payload, bot_name=bot.display_name)
            told = await self._react(request.match_info["bot"], signature, event)
        except BadEnvelope as bad:
            return refuse(name, bad.reason)
        except Busy as busy:
            CALLBACKS.labels(name, "busy").inc()
            return web.Response(status=503, headers={"Retry-After": f"{busy.retry_after:.0f}"})
        CALLBACKS.labels(name, told.outcome).inc()
        if told.reply is None:
            return web.Response()
        stamp = int(self._app.clock.now().timestamp())
        packet = aibot.seal_packet(bot.envelope, told.reply, timestamp=stamp, nonce=nonce)
        return web.Response(body=packet, content_type="application/json")

    def _bot(self, request: web.Request) -> tuple[str, Bot]:
        """The bot and what the counters call it."""
        name = request.match_info["bot"]
        if name not in self._bots:
            raise web.HTTPNotFound
        return f"aibot/{name}", self._bots[name]

    async def _react(self, bot: str, signature: str, event: BotEvent) -> Told:
        now = self._app.clock.now()
        if isinstance(event, Mention):
            return await self._mentioned(Arrival(bot, signature, event, now))
        if isinstance(event, StreamRefresh):
            return Told("refreshed", await self._stream(bot, event.stream_id))
        if isinstance(event, NotText):
            words = texts.GROUP_NOT_TEXT.format(kind=texts.KINDS.get(event.kind, "消息"))
            return Told("not_text", aibot.stream(dedupe_key("stream", bot, event.sender.msgid), words, finish=True))
        if isinstance(event, ChatEntered):
            return Told("greeted", aibot.words_only(subjects.greeting(self._app, now=now)))
        if isinstance(event, Rated):
            await self._rated(bot, event)
            return Told("rated")
        log.info("aibot.unknown", extra={"bot": bot, "kind": event.kind})
        return Told("unknown")

    async def _mentioned(self, arrival: Arrival) -> Told:
        """Stored first. The answer is another loop's work, so what goes back now is the stream's id."""
        outcome = await self._inbox.put(arrival)
        if outcome is Outcome.REPLAYED:
            raise BadEnvelope(Flaw.REPLAYED)
        if outcome is Outcome.DUPLICATE:
            return Told(outcome.value, await self._stream(arrival.bot, arrival.stream_id, is_first=True))
        rated_as = arrival.stream_id
        return Told(
            outcome.value, aibot.stream(arrival.stream_id, texts.GROUP_LOOKING, finish=False, rated_as=rated_as)
        )

    async def _stream(self, bot: str, stream_id: str, *, is_first: bool = False) -> Json:
        """is_first: the id for feedback goes with the first reply to a message, also when that is repeated."""
        found = await store.progress(self._app.sessions, bot, stream_id, now=self._app.clock.now())
        return aibot.stream(stream_id, found.words, finish=found.is_done, rated_as=stream_id if is_first else "")

    async def _rated(self, bot: str, event: Rated) -> None:
        """A bad answer joins the list of articles to write."""
        if event.rating is None:
            return
        useful = {Rating.ACCURATE: True, Rating.INACCURATE: False, Rating.TAKEN_BACK: None}[event.rating]
        now = self._app.clock.now()
        async with self._app.sessions.begin() as session:
            mention_id = await store.rate(session, bot, event.feedback_id, feedback=int(event.rating))
            if mention_id is not None:
                await questions.rated_mention(session, mention_id, useful=useful, now=now)
