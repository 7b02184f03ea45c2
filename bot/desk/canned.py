"""Canned replies: an answer typed as /code, with {{variables}} filled in by us and [[gaps]] by the agent."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.dialogue.turn import TEXT_BYTES
from bot.models.desk import CannedReply
from crm.base.db import insert
from crm.base.errors import Invalid, NotFound

CODE = re.compile(r"[\w\u4e00-\u9fff-]{1,20}")
VARIABLE = re.compile(r"{{\s*([^{}]+?)\s*}}")
GAP = re.compile(r"\[\[[^\[\]]*\]\]")
VARIABLES = ("客户", "我", "店名", "等级", "积分")


@dataclass(eq=False)
class CannedCodeInvalid(Invalid):
    """A code is 1 to 20 letters, digits or Chinese characters."""

    code: ClassVar[str] = "canned.code_invalid"


@dataclass(eq=False)
class CannedTextInvalid(Invalid):
    """Empty, too long for one message, or with a variable that nobody fills in."""

    code: ClassVar[str] = "canned.text_invalid"
    unknown: str = ""


@dataclass(eq=False)
class CannedNotFound(NotFound):
    """Nobody keeps an answer under this code."""

    code: ClassVar[str] = "canned.not_found"


@dataclass(eq=False)
class GapLeft(Invalid):
    """An answer with a [[gap]] in it is not finished."""

    code: ClassVar[str] = "canned.gap_left"
    gap: str


async def save(session: AsyncSession, code: str, *, title: str, text: str, by: str, now: datetime) -> None:
    """Keep an answer under a code; what was there before is replaced. Raises CannedCodeInvalid, CannedTextInvalid."""
    code, text = code.strip().removeprefix("/").lower(), text.strip()
    if not CODE.fullmatch(code):
        raise CannedCodeInvalid
    unknown = [one for one in VARIABLE.findall(text) if one not in VARIABLES]
    if not text or len(text.encode()) > TEXT_BYTES or unknown:
        raise CannedTextInvalid("、".join(unknown))
    values = {"title": title.strip()[:40] or text[:20], "text": text, "saved_by": by, "saved_at": now}
    row = insert(session, CannedReply).values(code=code, **values)
    await session.execute(row.on_conflict_do_update(index_elements=["code"], set_=values))


async def drop(session: AsyncSession, code: str) -> None:
    """Raises CannedNotFound."""
    gone = await session.scalar(sa.delete(CannedReply).where(CannedReply.code == code).returning(CannedReply.id))
    if gone is None:
        raise CannedNotFound


async def everything(session: AsyncSession) -> Sequence[CannedReply]:
    return (await session.scalars(sa.select(CannedReply).order_by(CannedReply.code))).all()


def filled(text: str, facts: Mapping[str, str]) -> str:
    """The text with its variables; one that we know nothing for becomes a gap for the agent."""
    return VARIABLE.sub(lambda found: facts.get(found[1]) or f"[[{found[1]}]]", text)


def check_finished(text: str) -> None:
    """Raises GapLeft."""
    if found := GAP.search(text):
        raise GapLeft(found[0])
