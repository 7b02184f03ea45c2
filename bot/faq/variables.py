"""The blanks an answer may have, such as {会员名}: which there are, and what fills them for one customer."""

import re
import unicodedata
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from bot import texts
from crm import levels, orders, points
from crm.base.clock import local_day
from crm.models.member import Member

_BLANK = re.compile(r"\{([^{}\n]{0,20})\}")
VALUE_CHARS = 200


@dataclass(frozen=True, slots=True)
class Reader:
    """For whom an answer is filled in, and when."""

    session: AsyncSession
    member: Member
    shop: str
    service_hours: str
    now: datetime


class Place(Protocol):
    """What an answer may say to anybody who reads along."""

    @property
    def shop(self) -> str: ...
    @property
    def service_hours(self) -> str: ...
    @property
    def now(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Openly:
    """A place where others read along: there is nobody in it whose name or orders could be told."""

    shop: str
    service_hours: str
    now: datetime


@dataclass(frozen=True, slots=True)
class Variable:
    value: Callable[[Reader], Awaitable[str]]
    is_personal: bool  # belongs to one customer: never said where others read along


async def _name(reader: Reader) -> str:
    return reader.member.name or texts.NAMELESS


async def _code(reader: Reader) -> str:
    return reader.member.code


async def _latest_order(reader: Reader) -> str:
    found = await orders.latest_of(reader.session, reader.member.id, limit=1)
    return texts.order_line(found[0]) if found else texts.NO_ORDER_YET


async def _points(reader: Reader) -> str:
    found = await points.balance_of(reader.session, reader.member.id, now=reader.now)
    return str(found.active)


async def _level(reader: Reader) -> str:
    return await levels.name_of(reader.session, reader.member.id) or texts.LEVEL_NONE


async def _shop(place: Place) -> str:
    return place.shop


async def _hours(place: Place) -> str:
    return place.service_hours


async def _today(place: Place) -> str:
    day = local_day(place.now)
    return f"{day.month} 月 {day.day} 日"


OPEN: Mapping[str, Callable[[Place], Awaitable[str]]] = {"店名": _shop, "人工时间": _hours, "今天": _today}
VARIABLES: Mapping[str, Variable] = {
    "会员名": Variable(_name, is_personal=True),
    "会员码": Variable(_code, is_personal=True),
    "最近订单": Variable(_latest_order, is_personal=True),
    "积分": Variable(_points, is_personal=True),
    "等级": Variable(_level, is_personal=True),
    **{name: Variable(value, is_personal=False) for name, value in OPEN.items()},
}


def unknown_in(answer: str) -> list[str]:
    """The blanks in `answer` that nothing fills."""
    return [name for name in _BLANK.findall(answer) if name not in VARIABLES]


def is_personal(answer: str) -> bool:
    """Whether `answer` says something about one customer."""
    return any(name in VARIABLES and VARIABLES[name].is_personal for name in _BLANK.findall(answer))


async def fill(answer: str, reader: Reader) -> str:
    """`answer` with its blanks filled, in one pass: what a value says is never read as a blank."""
    names = dict.fromkeys(name for name in _BLANK.findall(answer) if name in VARIABLES)
    values = {name: _printable(await VARIABLES[name].value(reader)) for name in names}
    return _BLANK.sub(lambda found: values.get(found[1], found[0]), answer)


async def fill_openly(answer: str, place: Openly) -> str:
    """`answer` for a group: personal blanks stay blanks, because nothing here could fill them."""
    names = dict.fromkeys(name for name in _BLANK.findall(answer) if name in OPEN)
    values = {name: _printable(await OPEN[name](place)) for name in names}
    return _BLANK.sub(lambda found: values.get(found[1], found[0]), answer)


def _printable(value: str) -> str:
    """A customer chooses their own name: no control, direction or private characters of it get into our words."""
    kept = (char for char in value if unicodedata.category(char)[0] != "C")
    return " ".join("".join(kept).split())[:VALUE_CHARS]
