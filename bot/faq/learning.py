"""From what was asked in vain to an article: misses are clustered, a cluster becomes a draft, a draft is published."""

import asyncio
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, TypeAlias

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.app import App
from bot.faq import clusters, questions, regression, store
from bot.faq.articles import MAX_ANSWER_BYTES, MAX_QUESTION_CHARS, Article, article_of
from bot.models.conversation import KfSend
from bot.models.faq import ClusterStatus, FaqCluster, FaqQuestion, FaqState
from bot.models.gateway import InboundMessage
from bot.wecom.kf_items import KfMessage, Origin, parse_kf_item
from crm.base.errors import NotFound
from crm.base.outbox import OutboxRow, Status

log = logging.getLogger(__name__)

ROUND = 500  # questions sorted together
SHOWN = 30  # texts that stand for a cluster
EVERY = 300.0  # seconds
ANSWERED_WITHIN = timedelta(hours=4)  # an agent's words later than this are about something else
AGENT_MESSAGES = 3
SIMILAR = 10
Spoken: TypeAlias = tuple[int, datetime, str]  # conversation, when, what a person wrote
_NUMBERS = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{0,4}\d[\d\- ]{5,}\d")  # telephone, order and parcel numbers


@dataclass(eq=False)
class ClusterNotFound(NotFound):
    """There is no such open cluster."""

    code: ClassVar[str] = "faq.no_cluster"
    cluster_id: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """A cluster as the list of articles to write shows it."""

    id: int
    label: str
    asked: int
    customers: int
    last_asked_at: datetime


@dataclass(frozen=True, slots=True)
class Draft:
    """What a cluster suggests. The article's answer is the newest of the agents', or empty: a person writes it."""

    article: Article
    examples: tuple[tuple[str, int], ...]  # text and how often, most frequent first
    agents: tuple[str, ...]  # what agents answered to these questions, newest first, numbers masked


class Learning:
    """The loop behind the list: follows, clusters, retention. Safe with several workers."""

    def __init__(self, app: App, *, kept: timedelta) -> None:
        self._app, self._kept = app, kept

    async def run(self) -> None:
        while True:
            await self.round()
            await self._app.peers.wait("faq_learning", seconds=EVERY)

    async def round(self) -> None:
        now = self._app.clock.now()
        async with self._app.sessions.begin() as session:
            await questions.settle_follows(session, now=now)
            await questions.forget(session, before=now - self._kept)
        while await self._sort(now) == ROUND:
            pass

    async def _sort(self, now: datetime) -> int:
        """Sort some unanswered questions; returns how many."""
        async with self._app.sessions.read() as session:
            waiting = await _unsorted(session)
            known = await _known(session) if waiting else {}
        articles = self._app.faq.articles.values()
        background = [wording for one in articles for wording in (one.question, *one.similar)]
        found = await asyncio.to_thread(clusters.sort, waiting, known, background)
        if found:
            async with self._app.sessions.begin() as session:
                await _keep(session, found, dict(waiting), now=now)
            log.info("faq.sorted", extra={"questions": len(waiting), "clusters": len(found)})
        return len(waiting)


async def _unsorted(session: AsyncSession) -> list[tuple[int, str]]:
    rows = await session.execute(
        sa.select(FaqQuestion.id, FaqQuestion.text)
        .where(FaqQuestion.cluster_id.is_(None), FaqQuestion.unanswered)
        .order_by(FaqQuestion.id)
        .limit(ROUND)
    )
    return [(id_, text) for id_, text in rows]


async def _known(session: AsyncSession) -> dict[int, list[str]]:
    """Texts of the clusters that take more in: open ones, and those dismissed, so that they stay dismissed."""
    rows = await session.execute(
        sa.select(FaqCluster.id, FaqCluster.label, FaqQuestion.text)
        .join(FaqQuestion, FaqQuestion.cluster_id == FaqCluster.id, isouter=True)
        .where(FaqCluster.status != ClusterStatus.WRITTEN)
        .order_by(FaqCluster.id, FaqQuestion.id.desc())
    )
    found: defaultdict[int, list[str]] = defaultdict(list)
    for id_, label, text in rows:
        if len(found[id_]) < SHOWN:
            found[id_].append(text or label)
    return dict(found)


async def _keep(
    session: AsyncSession, found: Sequence[clusters.Cluster], texts: dict[int, str], *, now: datetime
) -> None:
    """Write what was sorted. The lock lets one worker at a time write; what another has sorted meanwhile stays its."""
    await session.execute(sa.select(FaqState).with_for_update())
    open_ = sa.select(FaqQuestion.id).where(FaqQuestion.id.in_(texts), FaqQuestion.cluster_id.is_(None))
    still = set(await session.scalars(open_))
    for one in found:
        ids = [id_ for id_ in one.questions if id_ in still]
        if not ids:
            continue
        if one.id is None:
            row = FaqCluster(label=_label([texts[id_] for id_ in ids]), created_at=now)
            session.add(row)
            await session.flush()
            one.id = row.id
        await session.execute(sa.update(FaqQuestion).where(FaqQuestion.id.in_(ids)).values(cluster_id=one.id))


def _label(texts: Sequence[str]) -> str:
    return Counter(texts).most_common(1)[0][0]


# ---- the list, and what a person does with it


async def wanted(session: AsyncSession, *, limit: int = 50) -> list[Wanted]:
    """Articles to write next, the most asked first."""
    asked = sa.func.count().label("asked")
    who = sa.func.coalesce(FaqQuestion.asker, sa.cast(FaqQuestion.conversation_id, sa.String))
    rows = await session.execute(
        sa.select(
            FaqCluster.id,
            FaqCluster.label,
            asked,
            sa.func.count(sa.distinct(who)),
            sa.func.max(FaqQuestion.asked_at),
        )
        .join(FaqQuestion, FaqQuestion.cluster_id == FaqCluster.id)
        .where(FaqCluster.status == ClusterStatus.OPEN)
        .group_by(FaqCluster.id, FaqCluster.label)
        .order_by(asked.desc(), FaqCluster.id)
        .limit(limit)
    )
    return [Wanted(*row) for row in rows]


async def draft(session: AsyncSession, cluster_id: int) -> Draft:
    """What this cluster suggests to write. Raises ClusterNotFound."""
    cluster = await _open_cluster(session, cluster_id)
    asked = (
        await session.scalars(
            sa.select(FaqQuestion).where(FaqQuestion.cluster_id == cluster_id).order_by(FaqQuestion.id.desc())
        )
    ).all()
    examples = Counter(one.text for one in asked).most_common()
    agents = await _agents_answers(session, asked[:SHOWN])
    usable = [text for text, _ in examples if text != cluster.label and len(text) <= MAX_QUESTION_CHARS]
    article = Article(
        id=f"learned-{cluster_id}",
        question=cluster.label[:MAX_QUESTION_CHARS],
        similar=tuple(text.replace("|", " ") for text in usable[:SIMILAR]),
        answer=agents[0] if agents else "",
    )
    return Draft(article, tuple(examples), tuple(agents))


async def _agents_answers(session: AsyncSession, asked: Sequence[FaqQuestion]) -> list[str]:
    """What people wrote in these conversations soon after these questions, each question's words in one text."""
    places = {one.conversation_id for one in asked if one.conversation_id is not None}
    if not places:
        return []
    since = min(one.asked_at for one in asked)
    spoken = sorted(await _by_servicers(session, places, since) + await _at_desk(session, places, since))
    found = []
    for one in asked:
        until = one.asked_at + ANSWERED_WITHIN
        after = [said for where, at, said in spoken if where == one.conversation_id and one.asked_at <= at < until]
        if words := "\n".join(filter(None, map(_words, after[:AGENT_MESSAGES]))):
            found.append(words.encode()[:MAX_ANSWER_BYTES].decode(errors="ignore"))
    return list(dict.fromkeys(found))


async def _by_servicers(session: AsyncSession, conversations: Collection[int], since: datetime) -> list[Spoken]:
    """What servicers wrote in the WeCom client."""
    rows = await session.scalars(
        sa.select(InboundMessage).where(
            InboundMessage.conversation_id.in_(conversations),
            InboundMessage.origin == Origin.SERVICER,
            InboundMessage.kind == "text",
            InboundMessage.received_at >= since,
        )
    )
    items = [(row, parse_kf_item(row.body)) for row in rows]
    return [(row.conversation_id, row.received_at, item.text) for row, item in items if isinstance(item, KfMessage)]


async def _at_desk(session: AsyncSession, conversations: Collection[int], since: datetime) -> list[Spoken]:
    """What agents wrote at our desk, as far as the customer got it."""
    rows = await session.execute(
        sa.select(KfSend.conversation_id, OutboxRow.created_at, OutboxRow.body)
        .join(OutboxRow, OutboxRow.id == KfSend.outbox_id)
        .where(
            KfSend.conversation_id.in_(conversations),
            KfSend.taken_at >= since,
            KfSend.failed_type.is_(None),
            OutboxRow.status == Status.SENT,
        )
    )
    return [
        (conversation_id, at, str(body["message"].get("text", {}).get("content", "")))
        for conversation_id, at, body in rows
        if body.get("by_person")
    ]


def _words(said: str) -> str:
    """One customer's numbers are nothing for the next one."""
    return _NUMBERS.sub("〔号码〕", said.strip()).replace("{", "（").replace("}", "）")


async def accept(session: AsyncSession, cluster_id: int, article: Article, *, by: str, now: datetime) -> int:
    """Keep the edited draft as an article's newest revision, and its examples in the regression set.

    It goes live by publish.publish like any other. Returns the revision. Raises ClusterNotFound or BadArticle.
    """
    cluster = await _open_cluster(session, cluster_id)
    article_of({"question": article.question, "answer": article.answer, "similar": list(article.similar)})
    revision = await store.save(session, article, by=by, now=now, note=f"来自未答问题 {cluster_id}")
    texts = await session.scalars(sa.select(FaqQuestion.text).where(FaqQuestion.cluster_id == cluster_id))
    common = [text for text, _ in Counter(texts).most_common(SIMILAR)]
    await regression.add(session, [article.question, *common], key=article.id, by=by, now=now)
    _close(cluster, ClusterStatus.WRITTEN, by=by, now=now)
    cluster.article_key = article.id
    return revision


async def dismiss(session: AsyncSession, cluster_id: int, *, by: str, now: datetime) -> None:
    """Nothing to write here; more of the same is not listed again. Raises ClusterNotFound."""
    _close(await _open_cluster(session, cluster_id), ClusterStatus.DISMISSED, by=by, now=now)


def _close(cluster: FaqCluster, status: ClusterStatus, *, by: str, now: datetime) -> None:
    cluster.status, cluster.closed_by, cluster.closed_at = status, by, now


async def _open_cluster(session: AsyncSession, cluster_id: int) -> FaqCluster:
    """The row, locked: of two people who take it one is told that it is gone."""
    cluster = await session.get(FaqCluster, cluster_id, with_for_update=True)
    if cluster is None or cluster.status is not ClusterStatus.OPEN:
        raise ClusterNotFound(cluster_id)
    return cluster
