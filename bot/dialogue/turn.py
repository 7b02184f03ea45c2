"""One inbound message as a handler sees it, and what a handler gives back."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy.ext.asyncio import AsyncSession

from bot.app import App
from bot.models.conversation import Conversation
from bot.models.gateway import InboundMessage
from bot.wecom.kf_items import KfItem, KfMessage, Origin, parse_kf_item
from crm.base.outbox import Message
from crm.models.member import Member

TEXT_BYTES = 2048
MENU_TEXT_BYTES = 1024
ITEM_BYTES = 128
MENU_ITEMS = 10


@dataclass(frozen=True, slots=True)
class Text:
    """A text message. More than 2,048 bytes are sent as several."""

    content: str
    rating: str = field(default="", compare=False)  # the question it answers: it may be asked whether that helped


@dataclass(frozen=True, slots=True)
class Choice:
    """A line to tap in a menu: the tap comes back as a message with `id` and `content`."""

    id: str
    content: str


@dataclass(frozen=True, slots=True)
class Menu:
    """A msgmenu: a head, up to ten lines to tap, a tail."""

    head: str
    choices: tuple[Choice, ...]
    tail: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image, uploaded ahead."""

    media_id: str


@dataclass(frozen=True, slots=True)
class Card:
    """A page as a card; its picture was uploaded ahead."""

    title: str
    desc: str
    url: str
    media_id: str


Say: TypeAlias = Text | Menu | Picture | Card


@dataclass(frozen=True, slots=True)
class Reply:
    """What the customer gets, and what else leaves before and after it. Saying nothing can be the right answer."""

    says: tuple[Say, ...] = ()
    then: tuple[Message, ...] = ()
    before: tuple[Message, ...] = ()
    settles: bool = False  # it answers the lines put off before it as well

    @classmethod
    def text(cls, content: str, *then: Message) -> "Reply":
        return cls((Text(content),), then)


SILENCE = Reply()
PUT_OFF = Reply()  # nothing yet and nothing done: with the customer's next line this may become a question


@dataclass(slots=True)
class Turn:
    """One inbound message, with everything its handler may need. `now` is the turn's one instant."""

    app: App
    session: AsyncSession
    conversation: Conversation
    member: Member
    inbound: InboundMessage
    now: datetime
    earlier: tuple[str, ...] = ()  # quick lines before this one that were put off
    may_go_on: bool = False  # the customer's next line is here or may still come
    item: KfItem = field(init=False)

    def __post_init__(self) -> None:
        self.item = parse_kf_item(self.inbound.body)

    @property
    def is_from_customer(self) -> bool:
        return isinstance(self.item, KfMessage) and self.item.origin is Origin.CUSTOMER

    @property
    def text(self) -> str:
        """What the customer typed or tapped; empty for everything else."""
        return self.item.text.strip() if isinstance(self.item, KfMessage) else ""

    @property
    def menu_id(self) -> str:
        return self.item.menu_id if isinstance(self.item, KfMessage) else ""


def as_messages(says: Sequence[Say]) -> list[dict[str, Any]]:
    """kf payloads for `says`, as few as the limits allow: neighbouring texts share a message.

    A customer gets at most five messages for each of his own, so three answers had better be one.
    """
    messages: list[dict[str, Any]] = []
    gathered: list[str] = []
    for say in says:
        if isinstance(say, Text):
            gathered.append(say.content)
        else:
            messages += _texts(gathered)
            gathered = []
            messages.append(_other(say))
    return messages + _texts(gathered)


def ask_whether_it_helped(says: Sequence[Say], choices: tuple[Choice, Choice]) -> Sequence[Say]:
    """An answer that leaves alone becomes a menu of the same words with two lines to tap: it stays one message."""
    if len(says) != 1 or not isinstance(says[0], Text) or not says[0].rating:
        return says
    answer = says[0]
    if len(answer.content.encode()) > MENU_TEXT_BYTES:
        return says
    return [Menu(answer.content, tuple(Choice(f"{one.id}:{answer.rating}", one.content) for one in choices))]


def _other(say: Menu | Picture | Card) -> dict[str, Any]:
    if isinstance(say, Menu):
        return _menu(say)
    if isinstance(say, Picture):
        return {"msgtype": "image", "image": {"media_id": say.media_id}}
    link = {"title": say.title, "desc": say.desc, "url": say.url, "thumb_media_id": say.media_id}
    return {"msgtype": "link", "link": link}


def _texts(contents: Sequence[str]) -> list[dict[str, Any]]:
    packed: list[str] = []
    for piece in (piece for content in contents for piece in cut(content, TEXT_BYTES)):
        if packed and len(f"{packed[-1]}\n\n{piece}".encode()) <= TEXT_BYTES:
            packed[-1] = f"{packed[-1]}\n\n{piece}"
        else:
            packed.append(piece)
    return [{"msgtype": "text", "text": {"content": content}} for content in packed]


def _menu(menu: Menu) -> dict[str, Any]:
    lines = [
        {"type": "click", "click": {"id": cut(one.id, ITEM_BYTES)[0], "content": cut(one.content, ITEM_BYTES)[0]}}
        for one in menu.choices[:MENU_ITEMS]
    ]
    body: dict[str, Any] = {"head_content": cut(menu.head, MENU_TEXT_BYTES)[0], "list": lines}
    if menu.tail:
        body["tail_content"] = cut(menu.tail, MENU_TEXT_BYTES)[0]
    return {"msgtype": "msgmenu", "msgmenu": body}


def cut(text: str, limit: int) -> list[str]:
    """`text` in pieces of at most `limit` UTF-8 bytes, split between characters, at a line break where one is near."""
    pieces: list[str] = []
    rest = text.encode()
    while len(rest) > limit:
        end = limit
        while rest[end] & 0xC0 == 0x80:  # inside a character
            end -= 1
        line = rest.rfind(b"\n", end // 2, end)
        end = line if line > 0 else end
        pieces.append(rest[:end].decode())
        rest = rest[end:].removeprefix(b"\n")
    return [*pieces, rest.decode()]
