"""Referral programmes among the shop's files: those that say what inviters get."""

from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import referral_programmes, referral_rules
from campaigns.file_kinds import FileKind
from campaigns.referral_rules import ProgrammeWrong, Terms
from campaigns.words import Level, Words


def _read(name: str, told: dict[str, Any]) -> Terms:
    del name
    return referral_rules.read(told)


def _mistakes(terms: Terms, words: Words) -> list[dict[str, str]]:
    refused = (one for one in words.check(terms.title) if one.level is Level.REFUSE)
    return [{"field": "title", "reason": f"“{one.text}”不能用：{one.suggest}"} for one in refused]


async def _stored(session: AsyncSession, name: str) -> dict[str, Any] | None:
    known = await referral_programmes.find(session, name)
    return None if known is None else known.terms


async def _check(session: AsyncSession, name: str, terms: Terms, *, now: datetime) -> None:
    del now
    known = await referral_programmes.find(session, name)
    committed_fen = known.committed_fen if known is not None else 0
    if wrong := await referral_programmes.check(session, terms, committed_fen=committed_fen):
        raise ProgrammeWrong(wrong)


REFERRALS = FileKind(
    field="inviter",
    read=_read,
    write=referral_rules.write,
    mistakes=_mistakes,
    stored=_stored,
    check=_check,
    put=referral_programmes.put,
)
