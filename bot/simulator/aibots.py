"""AI bots (智能机器人) and the internal groups they are in: mentions, streams, feedback, and one answer by URL.

Nobody but staff is in an internal group, and no bot gets into a customer group: that is how the vendor has it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bot.simulator.chats import Chat, Chats, Message
from bot.simulator.codes import Codes
from bot.simulator.corp import HOUR, SHOP_ZONE, CallbackTarget, Corp
from bot.simulator.refusals import NotPossible, Refusal, Unknown

STREAM_SECONDS = 360.0
MAX_CONTENT = 20_480
MAX_IMAGES = 10
MAX_FEEDBACK_ID = 256
RATINGS = (1, 2, 3)


@dataclass(slots=True)
class AiBot:
    id: str
    name: str
    avatar: str = ""
    callback: CallbackTarget | None = None


@dataclass(slots=True)
class Room:
    """An internal group, or a single chat with a bot. `chat_id` is no customer group's and no appchat's."""

    chat_id: str
    name: str
    members: list[str]  # userids
    bots: list[str] = field(default_factory=list)
    single: bool = False


@dataclass(slots=True)
class BotCall:
    """Something a bot has to be told. asked_at: when the user's message came, from which the stream's time runs."""

    bot: AiBot
    room: Room
    payload: dict[str, Any]
    asked_at: float
    response_code: str = ""  # of a message: one active reply within the hour
    shown: Message | None = None  # the bot's message on the screens, once it has answered


class AiBots:
    """`listener(call)` carries a call to the bot's address; `take` gets what came back."""

    def __init__(self, corp: Corp, chats: Chats) -> None:
        self.corp = corp
        self.chats = chats
        self.all: dict[str, AiBot] = {}
        self.rooms: dict[str, Room] = {}
        self.listener: Callable[[BotCall], None] = lambda _call: None
        self._codes: Codes[tuple[AiBot, Room]] = Codes(corp, "")
        self._entered: dict[str, str] = {}  # chat_id of a single chat -> the last day somebody opened it

    # the admin console

    def add(self, name: str, bot_id: str | None = None, avatar: str = "") -> AiBot:
        bot = AiBot(bot_id or self.corp.new_id("aib", 64), name, avatar)
        self.all[bot.id] = bot
        self.chats.name(bot.id, name, avatar)
        return bot

    def get(self, bot_id: str) -> AiBot:
        if bot_id not in self.all:
            raise Unknown("没有这个智能机器人")
        return self.all[bot_id]

    def add_room(self, name: str, members: list[str], bots: list[str], chat_id: str | None = None) -> Room:
        """An internal group of staff; customers cannot be in it."""
        people = [self.corp.get_staff(userid).userid for userid in members]
        if len(people) < 2:
            raise NotPossible("内部群至少要有两位员工")
        room = Room(chat_id or self.corp.new_id("in", 64), name, people, [self.get(each).id for each in bots])
        return self._open(room)

    # what staff do

    def find(self, chat_id: str, userid: str) -> Room:
        room = self.rooms.get(chat_id)
        if room is None or userid not in room.members:
            raise Unknown("没有这个群")
        return room

    def of_member(self, userid: str) -> list[Room]:
        return [room for room in self.rooms.values() if userid in room.members]

    def enter(self, userid: str, bot_id: str) -> Room:
        """Open the single chat with a bot; the first time a day the bot is told."""
        bot = self.get(bot_id)
        chat_id = f"single-{bot.id}-{userid}"
        room = self.rooms.get(chat_id) or self._open(Room(chat_id, bot.name, [userid], [bot.id], single=True))
        today = f"{self.corp.clock.now().astimezone(SHOP_ZONE):%F}"
        if self._entered.get(chat_id) != today:
            self._entered[chat_id] = today
            self._tell(bot, room, userid, {"msgtype": "event", "event": {"eventtype": "enter_chat"}}, event=True)
        return room

    def say(
        self, userid: str, chat_id: str, msgtype: str, payload: dict[str, Any], quote: int | None = None
    ) -> Message:
        """A member writes. In a group a bot hears only what mentions it by name."""
        room = self.find(chat_id, userid)
        message = self.chats.post(self.chats.internal(chat_id), "staff", userid, msgtype, payload)
        words = str(payload.get("content", ""))
        quoted = self._quoted(room, quote)
        for bot in (self.all[each] for each in room.bots):
            if room.single or f"@{bot.name}" in words:
                self._tell(bot, room, userid, {"msgtype": msgtype, msgtype: payload, **quoted})
        return message

    def rate(self, userid: str, chat_id: str, seq: int, kind: int, words: str = "") -> None:
        """Accurate or not: a word on a bot's message, or taking that back."""
        room = self.find(chat_id, userid)
        message = self._message(room, seq)
        feedback_id = message.payload.get("feedback") if message else None
        if message is None or not feedback_id:
            raise NotPossible("这条消息不能评价")
        if kind not in RATINGS:
            raise NotPossible("type 要是 1（准确）、2（不准确）或 3（收回）")
        told = {"id": feedback_id, "type": kind, "content": words, "inaccurate_reason_list": []}
        event = {"eventtype": "feedback_event", "feedback_event": told}
        self._tell(self.all[message.sender], room, userid, {"msgtype": "event", "event": event}, event=True)
        self._show(room, message, {**message.payload, "rating": 0 if kind == 3 else kind})

    # what a bot does

    def stream(self, call: BotCall, stream: dict[str, Any]) -> bool:
        """Show a stream reply, new or grown; returns whether it is finished. NotPossible: it breaks a rule."""
        content, finish = stream.get("content", ""), stream.get("finish")
        images = stream.get("msg_item") or []
        if not isinstance(stream.get("id"), str) or not stream["id"]:
            raise NotPossible("stream.id 缺失")
        if not isinstance(content, str) or len(content.encode()) > MAX_CONTENT:
            raise NotPossible(f"stream.content 超过 {MAX_CONTENT} 字节")
        if not isinstance(finish, bool):
            raise NotPossible("stream.finish 要是 true 或 false")
        if images and (not finish or len(images) > MAX_IMAGES):
            raise NotPossible("图片只能在 finish=true 时发，最多 10 张")
        known = call.shown.payload if call.shown else {}
        if known and known["stream"] != stream["id"]:
            raise NotPossible("刷新时换了 stream.id")
        feedback = self._feedback_id(stream) or known.get("feedback", "")
        shown = {"stream": stream["id"], "content": content, "finish": finish, "feedback": feedback}
        if call.shown is None:
            call.shown = self.chats.post(self.chats.internal(call.room.chat_id), "bot", call.bot.id, "stream", shown)
        elif shown != {name: known.get(name) for name in shown}:
            self._show(call.room, call.shown, {**known, **shown})
        return finish

    def close(self, call: BotCall) -> None:
        """Six minutes are over: what is shown stays, and nobody asks any more."""
        if call.shown is not None:
            self._show(call.room, call.shown, {**call.shown.payload, "finish": True, "timed_out": True})

    def speak(self, call: BotCall, msgtype: str, payload: dict[str, Any]) -> None:
        """The greeting after enter_chat."""
        self.chats.post(self.chats.internal(call.room.chat_id), "bot", call.bot.id, msgtype, payload)

    def respond(self, code: object, body: dict[str, Any]) -> None:
        """The active reply: once by its code, within the hour."""
        found = self._codes.find(code)
        if found is None:
            raise Refusal(40029, "response_code")
        bot, room = found
        msgtype = body.get("msgtype")
        payload = body.get(str(msgtype))
        if msgtype not in ("markdown", "template_card") or not isinstance(payload, dict):
            raise Refusal(40008, str(msgtype))
        if msgtype == "template_card" and not room.single:
            raise Refusal(40008, "template_card in a group")
        content = payload.get("content", "")
        if msgtype == "markdown" and (not isinstance(content, str) or not 0 < len(content.encode()) <= MAX_CONTENT):
            raise Refusal(40058, "markdown.content")
        self._codes.burn(str(code))
        self.chats.post(self.chats.internal(room.chat_id), "bot", bot.id, str(msgtype), payload)

    # inside

    def _open(self, room: Room) -> Room:
        self.rooms[room.chat_id] = room
        self.chats.name(room.chat_id, room.name)
        self.chats.internal(room.chat_id).watchers.update(room.members)
        for userid in room.members:
            self.corp.changed(userid, "groups")
        return room

    def _tell(self, bot: AiBot, room: Room, userid: str, said: dict[str, Any], *, event: bool = False) -> None:
        now = self.corp.now()
        payload: dict[str, Any] = {"msgid": self.corp.new_id("CAIQ", 128), "aibotid": bot.id}
        if event:
            payload["create_time"] = int(now)
        if not room.single:
            payload["chatid"] = room.chat_id
        payload |= {"chattype": "single" if room.single else "group", "from": {"userid": userid}}
        code = "" if event else self._codes.issue((bot, room), seconds=HOUR)
        self.listener(BotCall(bot, room, {**payload, **said}, now, code))

    def _quoted(self, room: Room, seq: int | None) -> dict[str, Any]:
        message = self._message(room, seq) if seq is not None else None
        if message is None or message.msgtype not in ("text", "stream"):
            return {}
        return {"quote": {"msgtype": "text", "text": {"content": message.payload.get("content", "")}}}

    def _message(self, room: Room, seq: int) -> Message | None:
        chat: Chat = self.chats.internal(room.chat_id)
        return next((each for each in chat.messages if each.seq == seq), None)

    def _show(self, room: Room, message: Message, payload: dict[str, Any]) -> None:
        self.chats.renew(self.chats.internal(room.chat_id), message, payload)

    def _feedback_id(self, stream: dict[str, Any]) -> str:
        given = stream.get("feedback")
        known = given.get("id") if isinstance(given, dict) else ""
        if not isinstance(known, str) or len(known.encode()) > MAX_FEEDBACK_ID:
            raise NotPossible(f"feedback.id 超过 {MAX_FEEDBACK_ID} 字节")
        return known
