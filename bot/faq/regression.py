"""The regression set: questions whose article is known, asked of every edit before it goes live."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.faq import files
from bot.faq.articles import Article
from bot.faq.matcher import Match
from bot.faq.normalize import normalize
from bot.faq.store import ArticleNotFound
from bot.models.faq import FaqArticle, FaqCase
from crm.base.db import insert

Find = Callable[[str], Match]


class Grade(IntEnum):
    """How well a question of the set fares, worst first: a wrong answer costs more than none."""

    WRONG = 0  # another article is sent
    MISSED = 1  # nothing is sent, or a menu without it
    OFFERED = 2  # it is in the menu
    ANSWERED = 3


@dataclass(frozen=True, slots=True)
class Case:
    id: int
    question: str
    expected: str  # the article's key
    reached: Grade | None = None  # at the last publication


@dataclass(frozen=True, slots=True)
class Verdict:
    case: Case
    grade: Grade
    shown: str  # key of the article that came first, or nothing

    @property
    def is_worse(self) -> bool:
        return self.case.reached is not None and self.grade < self.case.reached


def judge(find: Find, cases: Iterable[Case]) -> list[Verdict]:
    """Ask every question of the set."""
    return [_verdict(case, find(case.question)) for case in cases]


def _verdict(case: Case, match: Match) -> Verdict:
    shown = [hit.article_id for hit in match.hits] if match.kind != "miss" else []
    first = shown[0] if shown else ""
    if match.kind == "answer":
        return Verdict(case, Grade.ANSWERED if first == case.expected else Grade.WRONG, first)
    return Verdict(case, Grade.OFFERED if case.expected in shown else Grade.MISSED, first)


def read_file(path: Path) -> list[tuple[str, str]]:
    """Questions and the keys of their articles, from a CSV file with a header. Raises BadFile."""
    names = {"问题": "question", "文章编号": "expected", "id": "expected"}
    rows = files.read(
        path.read_bytes(), path.name, column=lambda name: names.get(name.strip(), name.strip()),
        needed=("question", "expected"),
    )  # fmt: skip
    found = [(str(row.cells.get("question") or ""), str(row.cells.get("expected") or "")) for row in rows]
    return [(question.strip(), key.strip()) for question, key in found if question.strip()]


async def cases(session: AsyncSession) -> list[Case]:
    """The whole set, in the order in which it grew."""
    rows = await session.execute(
        sa.select(FaqCase.id, FaqCase.question, FaqArticle.key, FaqCase.reached)
        .join(FaqArticle, FaqArticle.id == FaqCase.article_id)
        .order_by(FaqCase.id)
    )
    return [Case(id_, asked, key, None if got is None else Grade(got)) for id_, asked, key, got in rows]


def confirmed(cases: Iterable[Case], articles: Mapping[str, Article]) -> list[tuple[str, str]]:
    """What staff said means the same: a question of the set, and its article's. The semantic tier learns from it."""
    return [(case.question, articles[case.expected].question) for case in cases if case.expected in articles]


async def add(session: AsyncSession, questions: Sequence[str], *, key: str, by: str, now: datetime) -> int:
    """Put questions into the set, to be found by the article `key`; returns how many are new.

    A question that is in the set already moves to this article, and counts from the next publication on. Raises
    ArticleNotFound.
    """
    article_id = await session.scalar(sa.select(FaqArticle.id).where(FaqArticle.key == key))
    if article_id is None:
        raise ArticleNotFound(key)
    wanted = {normalize(question): question for question in questions if normalize(question)}
    added = 0
    for normalized, question in wanted.items():
        statement = insert(session, FaqCase).values(
            question=question, normalized=normalized, article_id=article_id, added_at=now, added_by=by
        )
        moved = statement.on_conflict_do_update(
            index_elements=["normalized"],
            set_={"article_id": article_id, "reached": None},
            where=FaqCase.article_id != article_id,
        )
        added += len((await session.scalars(moved.returning(FaqCase.id))).all())
    return added


async def keep(session: AsyncSession, verdicts: Iterable[Verdict]) -> None:
    """Write down what was reached, so that the next edit is measured by it."""
    for one in verdicts:
        if one.grade != one.case.reached:
            await session.execute(sa.update(FaqCase).where(FaqCase.id == one.case.id).values(reached=int(one.grade)))
