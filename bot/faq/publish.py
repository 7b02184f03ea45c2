"""Going live: a draft passes the regression set, a new version is counted, and every process swaps its index."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.faq import regression, store
from bot.faq.articles import Article
from bot.faq.matcher import Match, Matcher
from bot.faq.normalize import normalize
from bot.faq.regression import Case, Find, Verdict
from bot.faq.semantic import Semantics
from bot.faq.store import ArticleNotFound, Stored
from bot.models.faq import FaqArticle, FaqPublication, FaqState, PublicationKind
from crm.base.clock import local_day
from crm.base.db import Sessions
from crm.base.errors import Busy, Refused

log = logging.getLogger(__name__)

TRIES = 5  # to be the next version, while others publish too
Build = Callable[[Sequence[Article], Sequence[Case], datetime], Find]  # asks a set of articles as the bot would


@dataclass(eq=False)
class MadeWorse(Refused):
    """Questions of the regression set would fare worse than today."""

    code: ClassVar[str] = "faq.made_worse"
    worse: tuple[Verdict, ...]


@dataclass(eq=False)
class QuestionTaken(Refused):
    """Two articles would answer the same question."""

    code: ClassVar[str] = "faq.question_taken"
    question: str
    key: str
    other: str


@dataclass(frozen=True, slots=True)
class Published:
    """What became of it. worse: what got worse and was accepted with a reason."""

    version: int
    keys: tuple[str, ...]  # those that changed for customers
    worse: tuple[Verdict, ...] = ()


@dataclass(frozen=True, slots=True)
class _Plan:
    """A next version, judged against the one it was made from."""

    seen: int
    going: Mapping[str, Stored]
    leaving: Mapping[str, Stored]
    verdicts: tuple[Verdict, ...]

    @property
    def worse(self) -> tuple[Verdict, ...]:
        return tuple(one for one in self.verdicts if one.is_worse)


def judged_by(semantics: Semantics | None) -> Build:
    """As the bot asks where it has this model, or none: but with all the time the semantic tier needs.

    That tier learns from the regression set too. Where it fails, the lexical one judges, as it will answer.
    """

    def build(articles: Sequence[Article], cases: Sequence[Case], now: datetime) -> Find:
        confirmed, today = regression.confirmed(cases, {one.id: one for one in articles}), local_day(now)
        try:
            matcher = Matcher(articles, semantics=semantics, confirmed=confirmed)
        except OSError:  # a server that is away
            log.warning("faq.meaning_failed", exc_info=True)
            matcher = Matcher(articles)

        def find(question: str) -> Match:
            if semantics is not None and not matcher.is_certain(question, today):
                with suppress(OSError):
                    semantics.think([question])
            return matcher.match(question, today)

        return find

    return build


lexical = judged_by(None)


async def publish(
    sessions: Sessions, keys: Collection[str], *, by: str, now: datetime, despite: str = "", build: Build = lexical
) -> Published:
    """Bring the newest revisions of these articles live, all or none.

    The index is built and the regression set asked outside of any transaction; if somebody else published meanwhile,
    it is done again. despite: a reason to go on although questions get worse; it is kept with the publication.
    Raises ArticleNotFound, QuestionTaken, MadeWorse, or Busy when others keep publishing.
    """
    return await _next_version(sessions, keys, PublicationKind.PUBLISHED, by=by, now=now, despite=despite, build=build)


async def withdraw(
    sessions: Sessions, keys: Collection[str], *, by: str, now: datetime, despite: str = "", build: Build = lexical
) -> Published:
    """Take articles down; they stay as drafts. Questions that expect them are not counted, others may not suffer."""
    return await _next_version(sessions, keys, PublicationKind.WITHDRAWN, by=by, now=now, despite=despite, build=build)


async def _next_version(
    sessions: Sessions,
    keys: Collection[str],
    kind: PublicationKind,
    *,
    by: str,
    now: datetime,
    despite: str,
    build: Build,
) -> Published:
    for _ in range(TRIES):
        plan = await _plan(sessions, keys, kind, now=now, build=build)
        if not plan.going and not plan.leaving:
            return Published(plan.seen, ())
        if plan.worse and not despite:
            raise MadeWorse(plan.worse)
        async with sessions.begin() as session:
            version = await _count_up(session, seen=plan.seen)
            if version is None:
                continue
            await _go_live(session, plan.going, version=version, by=by, now=now, despite=despite)
            await _take_down(session, plan.leaving, version=version, by=by, now=now, despite=despite)
            await regression.keep(session, plan.verdicts)
        log.info("faq.published", extra={"version": version, "articles": len(plan.going), "gone": len(plan.leaving)})
        return Published(version, (*plan.going, *plan.leaving), plan.worse)
    raise Busy(retry_after=2.0)


async def _plan(
    sessions: Sessions, keys: Collection[str], kind: PublicationKind, *, now: datetime, build: Build
) -> _Plan:
    async with sessions.read() as session:
        seen = await version_of(session)
        live = await store.published(session)
        newest = await store.newest(session, keys)
        cases = await regression.cases(session)
    if missing := set(keys) - set(newest):
        raise ArticleNotFound(min(missing))
    going, leaving = _changes(kind, keys, live, newest)
    if not going and not leaving:
        return _Plan(seen, {}, {}, ())
    after = {key: one for key, one in (live | going).items() if key not in leaving}
    _check_distinct(after, going)
    asked = [case for case in cases if case.expected in after]
    articles = store.contents(after)
    verdicts = await asyncio.to_thread(lambda: regression.judge(build(articles, asked, now), asked)) if asked else []
    return _Plan(seen, going, leaving, tuple(verdicts))


def _changes(
    kind: PublicationKind, keys: Collection[str], live: Mapping[str, Stored], newest: Mapping[str, Stored]
) -> tuple[dict[str, Stored], dict[str, Stored]]:
    """What goes live and what goes away: only what is not so already."""
    if kind is PublicationKind.WITHDRAWN:
        return {}, {key: live[key] for key in keys if key in live}
    return {key: newest[key] for key in keys if live.get(key) != newest[key]}, {}


def _check_distinct(after: Mapping[str, Stored], going: Mapping[str, Stored]) -> None:
    for key, other in _collisions(after, going).items():
        raise QuestionTaken(after[key].content.question, key, other)


def _collisions(after: Mapping[str, Stored], going: Collection[str]) -> dict[str, str]:
    """Articles whose question another one has; the newcomer is to blame."""
    holders: dict[str, str] = {}
    found: dict[str, str] = {}
    for key in sorted(after, key=lambda key: key in going):
        other = holders.setdefault(normalize(after[key].content.question), key)
        if other != key:
            found[key] = other
    return found


# ---- what a version is made of


async def version_of(session: AsyncSession) -> int:
    return int((await session.scalars(sa.select(FaqState.version))).one())


async def load(session: AsyncSession) -> tuple[int, tuple[Article, ...]]:
    """The version and the articles customers see."""
    return await version_of(session), store.contents(await store.published(session))


async def _count_up(session: AsyncSession, *, seen: int) -> int | None:
    statement = sa.update(FaqState).where(FaqState.version == seen).values(version=seen + 1).returning(FaqState.version)
    return await session.scalar(statement)


async def _go_live(
    session: AsyncSession, going: Mapping[str, Stored], *, version: int, by: str, now: datetime, despite: str
) -> None:
    for one in going.values():
        await session.execute(sa.update(FaqArticle).where(FaqArticle.id == one.article_id).values(live=one.revision))
    session.add_all(
        _publication(one, PublicationKind.PUBLISHED, version=version, by=by, now=now, despite=despite)
        for one in going.values()
    )


async def _take_down(
    session: AsyncSession, leaving: Mapping[str, Stored], *, version: int, by: str, now: datetime, despite: str
) -> None:
    ids = [one.article_id for one in leaving.values()]
    await session.execute(sa.update(FaqArticle).where(FaqArticle.id.in_(ids)).values(live=None))
    session.add_all(
        _publication(one, PublicationKind.WITHDRAWN, version=version, by=by, now=now, despite=despite)
        for one in leaving.values()
    )


def _publication(
    one: Stored, kind: PublicationKind, *, version: int, by: str, now: datetime, despite: str
) -> FaqPublication:
    return FaqPublication(
        article_id=one.article_id,
        kind=kind,
        revision=one.revision if kind is PublicationKind.PUBLISHED else None,
        version=version,
        published_at=now,
        published_by=by,
        despite=despite or None,
    )


async def put_live(session: AsyncSession, keys: Collection[str], *, by: str, now: datetime) -> list[str]:
    """Bring these articles live in the caller's transaction, without asking the regression set: the operator's file.

    Returns the keys that changed for customers; an article whose question another one has is left out and logged.
    """
    await session.execute(sa.select(FaqState).with_for_update())
    live = await store.published(session)
    going, _ = _changes(PublicationKind.PUBLISHED, keys, live, await store.newest(session, keys))
    for key, other in _collisions(live | going, going).items():
        log.warning("faq.question_taken", extra={"key": key, "other": other})
        going.pop(key, None)
    if going:
        seen = await version_of(session)
        version = await _count_up(session, seen=seen)
        assert version is not None, "the row is locked"
        await _go_live(session, going, version=version, by=by, now=now, despite="")
    return list(going)


# ---- the set as it stands


async def check(
    sessions: Sessions, *, now: datetime, with_drafts: bool = False, build: Build = lexical
) -> list[Verdict]:
    """Ask the regression set of what is live, or of what would be if all drafts went live."""
    async with sessions.read() as session:
        articles = await store.published(session)
        if with_drafts:
            articles |= await store.drafts(session)
        cases = await regression.cases(session)
    asked = [case for case in cases if case.expected in articles]
    return await asyncio.to_thread(lambda: regression.judge(build(store.contents(articles), asked, now), asked))
