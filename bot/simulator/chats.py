"""What people see: every conversation as a list of messages, and which customer and employee looks at it."""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from bot.simulator.corp import Corp
from bot.simulator.refusals import NotPossible, Unknown

Kind = Literal["kf", "staff", "group", "internal"]
SenderKind = Literal["customer", "staff", "bot", "system"]


@dataclass(slots=True)
class Message:
    seq: int
    sender_kind: SenderKind
    sender: str  # external_userid, userid, open_kfid; empty for the system
    at: int
    msgtype: str
    payload: dict[str, Any]
    msgid: str = ""
    recalled: bool = False


@dataclass(slots=True)
class Chat:
    """One conversation. `ref` is what the phone calls it: open_kfid, userid or group chat_id."""

    kind: Kind
    ref: str
    customer: str = ""  # external_userid; empty for a group
    messages: list[Message] = field(default_factory=list)
    members: set[str] = field(default_factory=set)  # of a group: external_userids who have it on their phone
    watchers: set[str] = field(default_factory=set)  # userids whose client shows it
    read_to: dict[str, int] = field(default_factory=dict)  # external_userid -> seq

    def after(self, seq: int, limit: int) -> list[Message]:
        """Up to `limit` messages newer than `seq`; with seq 0 the newest ones."""
        if seq <= 0:
            return self.messages[-limit:] if limit else []
        start = bisect_right(self.messages, seq, key=_seq)
        return self.messages[start : start + limit]

    def unread(self, viewer: str) -> int:
        return len(self.messages) - bisect_right(self.messages, self.read_to.get(viewer, 0), key=_seq)


def _seq(message: Message) -> int:
    return message.seq


class Chats:
    """All conversations. `post` is the only way a message appears on anybody's screen."""

    def __init__(self, corp: Corp) -> None:
        self._corp = corp
        self._private: dict[tuple[str, str], Chat] = {}  # (external_userid, open_kfid or userid)
        self._groups: dict[str, Chat] = {}
        self._of_customer: dict[str, dict[str, Chat]] = {}
        self._names: dict[str, tuple[str, str]] = {}  # kf accounts and groups: ref -> (name, avatar)
        self.seq = 0
        self.listeners: list[Callable[[Chat, Message], None]] = []  # told of every message when it appears

    # finding

    def private(self, kind: Kind, external_userid: str, ref: str) -> Chat:
        """The 1:1 conversation of a customer with a kf account or an employee; opened when new."""
        chat = self._private.get((external_userid, ref))
        if chat is None:
            chat = self._private[(external_userid, ref)] = Chat(kind, ref, external_userid)
            self._of_customer.setdefault(external_userid, {})[ref] = chat
        return chat

    def group(self, chat_id: str) -> Chat:
        chat = self._groups.get(chat_id)
        if chat is None:
            chat = self._groups[chat_id] = Chat("group", chat_id)
        return chat

    def internal(self, chat_id: str) -> Chat:
        """A conversation among staff: an internal group, or one with a bot."""
        chat = self._groups.get(chat_id)
        if chat is None:
            chat = self._groups[chat_id] = Chat("internal", chat_id)
        return chat

    def of_customer(self, external_userid: str) -> list[Chat]:
        return list(self._of_customer.get(external_userid, {}).values())

    def find(self, external_userid: str, ref: str) -> Chat:
        chat = self._of_customer.get(external_userid, {}).get(ref)
        if chat is None:
            raise Unknown("这个会话还没有开始")
        return chat

    def join(self, chat_id: str, external_userid: str) -> None:
        chat = self.group(chat_id)
        chat.members.add(external_userid)
        chat.read_to.setdefault(external_userid, self.seq)
        self._of_customer.setdefault(external_userid, {})[chat_id] = chat
        self._corp.feed.publish(f"phone:{external_userid}", "chats", {})

    def part(self, chat_id: str, external_userid: str) -> None:
        self.group(chat_id).members.discard(external_userid)
        self._of_customer.get(external_userid, {}).pop(chat_id, None)
        self._corp.feed.publish(f"phone:{external_userid}", "chats", {})

    # writing

    def post(
        self, chat: Chat, sender_kind: SenderKind, sender: str, msgtype: str, payload: dict[str, Any], msgid: str = ""
    ) -> Message:
        """Append a message and show it at once on the phones and clients that have the chat open."""
        self.seq += 1
        message = Message(self.seq, sender_kind, sender, int(self._corp.now()), msgtype, payload, msgid)
        if sender_kind == "customer":
            chat.read_to[sender] = self.seq
        chat.messages.append(message)
        self._show(chat, message)
        for listener in self.listeners:
            listener(chat, message)
        return message

    def recall(self, chat: Chat, seq: int, *, by: str) -> Message:
        index = bisect_right(chat.messages, seq, key=_seq) - 1
        if index < 0 or chat.messages[index].seq != seq or chat.messages[index].sender != by:
            raise NotPossible("只能撤回自己发的消息")
        message = chat.messages[index]
        message.recalled = True
        self._show(chat, message)
        return message

    def renew(self, chat: Chat, message: Message, payload: dict[str, Any]) -> None:
        """A message says something else from now on, such as a stream that has grown."""
        message.payload = payload
        self._show(chat, message)

    def read(self, chat: Chat, external_userid: str) -> None:
        chat.read_to[external_userid] = self.seq

    # showing

    def name(self, ref: str, name: str, avatar: str = "") -> None:
        """What a kf account or a group is called on the screens."""
        self._names[ref] = (name, avatar)

    def title(self, ref: str) -> tuple[str, str]:
        member = self._corp.find_staff(ref)
        return (member.name, member.avatar) if member else self._names.get(ref, (ref, ""))

    def shown(self, chat: Chat, message: Message) -> dict[str, Any]:
        """A message as the pages read it."""
        return {
            "seq": message.seq,
            "chat_id": chat.ref,
            "customer": chat.customer,
            "from": self._from(chat, message),
            "at": message.at,
            "msgid": message.msgid,
            "msgtype": message.msgtype,
            message.msgtype: {} if message.recalled else _with_media_url(message.payload),
            "recalled": message.recalled,
        }

    def _from(self, chat: Chat, message: Message) -> dict[str, str]:
        if message.sender_kind == "customer":
            person = self._corp.customers.get(message.sender)
            name, avatar = (person.name, person.avatar) if person else (message.sender, "")
        elif message.sender_kind == "system":
            name, avatar = "系统", ""
        else:
            name, avatar = self.title(message.sender)
        return {"kind": message.sender_kind, "id": message.sender, "name": name, "avatar": avatar}

    def _show(self, chat: Chat, message: Message) -> None:
        feed = self._corp.feed
        viewers = chat.members if chat.kind in ("group", "internal") else (chat.customer,)
        channels = [f"phone:{viewer}" for viewer in viewers] + [f"staff:{userid}" for userid in chat.watchers]
        listening = [channel for channel in channels if feed.wanted(channel)]
        if listening:
            shown = self.shown(chat, message)
            for channel in listening:
                feed.publish(channel, "message", shown)


def _with_media_url(payload: dict[str, Any]) -> dict[str, Any]:
    media_id = payload.get("media_id") or payload.get("thumb_media_id") or payload.get("pic_media_id")
    return {**payload, "media_url": f"/sim/media/{media_id}"} if media_id else payload


def last_line(message: Message) -> str:
    """What the chat list shows under the name."""
    if message.recalled:
        return "[撤回了一条消息]"
    content = message.payload.get("content") or message.payload.get("head_content") or message.payload.get("title")
    marks = {"image": "[图片]", "voice": "[语音]", "video": "[视频]", "file": "[文件]", "location": "[位置]"}
    return marks.get(message.msgtype) or str(content or "[消息]")
