"""Articles in the database: save, history, restore, and the two sets that matter: what is live and what is a draft."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.faq.articles import Article, Link
from bot.models.faq import FaqArticle, FaqPublication, FaqRevision, PublicationKind
from crm.base.errors import NotFound, Refused

TOGETHER = 500  # articles a statement asks for


@dataclass(eq=False)
class ArticleNotFound(NotFound):
    """There is no article, or no revision of it, by this name."""

    code: ClassVar[str] = "faq.not_found"
    key: str
    revision: int | None = None


@dataclass(eq=False)
class ArticleChanged(Refused):
    """Somebody saved this article since it was opened for editing."""

    code: ClassVar[str] = "faq.changed"
    key: str
    newest: int


@dataclass(frozen=True, slots=True)
class Stored:
    """An article as one of its revisions has it."""

    article_id: int
    revision: int
    content: Article


@dataclass(frozen=True, slots=True)
class Step:
    """One line of an article's history: it was saved, went live, or was taken down."""

    at: datetime
    by: str
    what: str  # saved, published or withdrawn
    revision: int | None
    note: str


# ---- reads


async def published(session: AsyncSession) -> dict[str, Stored]:
    """What customers see, by key, in the order in which the shop wrote it."""
    return await _stored(session, FaqArticle.live)


async def drafts(session: AsyncSession) -> dict[str, Stored]:
    """Newest revisions that are not live."""
    return await _stored(session, FaqArticle.newest, sa.or_(FaqArticle.live.is_(None), _has_draft()))


async def newest(session: AsyncSession, keys: Collection[str]) -> dict[str, Stored]:
    """The newest revisions of these articles; unknown keys are left out."""
    found: dict[str, Stored] = {}
    wanted = sorted(set(keys))
    for start in range(0, len(wanted), TOGETHER):
        some = FaqArticle.key.in_(wanted[start : start + TOGETHER])
        found |= await _stored(session, FaqArticle.newest, some)
    return found


async def history(session: AsyncSession, key: str) -> list[Step]:
    """Everything that happened to an article, oldest first. Raises ArticleNotFound."""
    article_id = await _id_of(session, key)
    revisions = await session.scalars(sa.select(FaqRevision).where(FaqRevision.article_id == article_id))
    publications = await session.scalars(sa.select(FaqPublication).where(FaqPublication.article_id == article_id))
    steps = [Step(one.saved_at, one.saved_by, "saved", one.number, one.note) for one in revisions]
    steps += [
        Step(one.published_at, one.published_by, one.kind.value, one.revision, one.despite or "")
        for one in publications
    ]
    order = ["saved", PublicationKind.WITHDRAWN, PublicationKind.PUBLISHED]
    return sorted(steps, key=lambda step: (step.at, order.index(step.what)))


async def unlike_live(session: AsyncSession, articles: Iterable[Article]) -> list[Article]:
    """Those that customers do not see just so: a file's published rows are measured by what is live, not by drafts."""
    live = await published(session)
    return [one for one in articles if one.id not in live or live[one.id].content != one]


# ---- verbs


async def save(
    session: AsyncSession, article: Article, *, by: str, now: datetime, note: str = "", based_on: int | None = None
) -> int:
    """Keep `article` as its newest revision, a draft until it is published; returns the revision's number.

    based_on: the revision the editor had opened. Raises ArticleChanged when there is a newer one.
    Saving what is there already changes nothing.
    """
    before = (await newest(session, [article.id])).get(article.id)
    if before is not None and based_on is not None and before.revision != based_on:
        raise ArticleChanged(article.id, before.revision)
    await save_all(session, [article], by=by, now=now, note=note)
    return (await newest(session, [article.id]))[article.id].revision


async def save_all(
    session: AsyncSession, articles: Sequence[Article], *, by: str, now: datetime, note: str = ""
) -> list[str]:
    """Keep many articles; returns the keys of those that are new or say something else than before."""
    before = await newest(session, [one.id for one in articles])
    changed = [one for one in articles if one.id not in before or before[one.id].content != one]
    fresh = {one.id: FaqArticle(key=one.id, newest=1, created_at=now) for one in changed if one.id not in before}
    session.add_all(fresh.values())
    await session.flush()
    for one in changed:
        if one.id in before:
            await _count_up(session, before[one.id])
    session.add_all(
        FaqRevision(
            article_id=before[one.id].article_id if one.id in before else fresh[one.id].id,
            number=before[one.id].revision + 1 if one.id in before else 1,
            saved_at=now,
            saved_by=by,
            note=note,
            **_values(one),
        )
        for one in changed
    )
    await session.flush()
    return [one.id for one in changed]


async def restore(session: AsyncSession, key: str, revision: int, *, by: str, now: datetime) -> int:
    """Copy an old revision to the end, as a draft; returns its new number. Raises ArticleNotFound."""
    found = await _stored(session, sa.literal(revision), FaqArticle.key == key)
    if key not in found:
        raise ArticleNotFound(key, revision)
    return await save(session, found[key].content, by=by, now=now, note=f"恢复自第 {revision} 版")


# ---- how an article lies in its tables


def _has_draft() -> sa.ColumnElement[bool]:
    return FaqArticle.newest > FaqArticle.live


async def _id_of(session: AsyncSession, key: str) -> int:
    found = await session.scalar(sa.select(FaqArticle.id).where(FaqArticle.key == key))
    if found is None:
        raise ArticleNotFound(key)
    return found


async def _count_up(session: AsyncSession, before: Stored) -> None:
    """The WHERE clause is the guard: of two editors one counts up, the other is told."""
    mine = (FaqArticle.id == before.article_id, FaqArticle.newest == before.revision)
    statement = sa.update(FaqArticle).where(*mine).values(newest=before.revision + 1).returning(FaqArticle.id)
    if await session.scalar(statement) is None:
        raise ArticleChanged(before.content.id, before.revision + 1)


async def _stored(session: AsyncSession, number: Any, *where: sa.ColumnElement[bool]) -> dict[str, Stored]:
    rows = await session.execute(
        sa.select(FaqArticle.key, FaqRevision)
        .join(FaqRevision, sa.and_(FaqRevision.article_id == FaqArticle.id, FaqRevision.number == number))
        .where(*where)
        .order_by(FaqArticle.id)
    )
    return {key: Stored(row.article_id, row.number, _content(key, row)) for key, row in rows}


def _content(key: str, row: FaqRevision) -> Article:
    return Article(
        id=key,
        question=row.question,
        similar=tuple(row.similar),
        answer=row.answer,
        tags=tuple(row.tags),
        valid_from=row.valid_from,
        valid_to=row.valid_to,
        link=Link(**row.link) if row.link else None,
        image=row.image,
        menu=tuple(row.menu),
        audience=row.audience,
    )


def _values(article: Article) -> Mapping[str, Any]:
    return {
        "question": article.question,
        "similar": list(article.similar),
        "answer": article.answer,
        "tags": list(article.tags),
        "valid_from": article.valid_from,
        "valid_to": article.valid_to,
        "link": asdict(article.link) if article.link else None,
        "image": article.image,
        "menu": list(article.menu),
        "audience": article.audience,
    }


def contents(stored: Mapping[str, Stored]) -> tuple[Article, ...]:
    return tuple(one.content for one in stored.values())
