"""Tables of the knowledge base: articles with their revisions, what is live, what was asked, and what to write next."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class FaqArticle(Base):
    """One article: which of its revisions customers see, and which is the newest. Rows stay for good."""

    __tablename__ = "faq_articles"

    id: Mapped[int] = mapped_column(primary_key=True)  # also the order in which the shop wrote them
    key: Mapped[str] = mapped_column(sa.String(64), unique=True)  # as in the shop's file
    newest: Mapped[int]  # number of the newest revision; above `live` it is a draft
    live: Mapped[int | None]  # number of the published revision; None: a draft, or withdrawn
    created_at: Mapped[datetime]


class FaqRevision(Base):
    """What an article said from one edit to the next. Never changed: restoring an old one copies it to the end."""

    __tablename__ = "faq_revisions"
    __table_args__ = (sa.UniqueConstraint("article_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    article_id: Mapped[int] = mapped_column(sa.ForeignKey("faq_articles.id"))
    number: Mapped[int]  # from 1, without gaps
    question: Mapped[str]
    similar: Mapped[list[str]]
    answer: Mapped[str]
    tags: Mapped[list[str]]
    valid_from: Mapped[date | None]
    valid_to: Mapped[date | None]
    link: Mapped[dict[str, Any] | None]  # url, title, desc, picture
    image: Mapped[str]  # address or file of a picture sent after the text
    menu: Mapped[list[str]]  # keys of the articles offered below the answer
    audience: Mapped[str]  # name of a corp tag; empty: everyone
    saved_at: Mapped[datetime]
    saved_by: Mapped[str] = mapped_column(sa.String(64))
    note: Mapped[str]  # why, or where it came from


class PublicationKind(StrEnum):
    PUBLISHED = "published"
    WITHDRAWN = "withdrawn"


class FaqPublication(Base):
    """An article went live, or was taken down: who did it, when, and against which warnings."""

    __tablename__ = "faq_publications"
    __table_args__ = (sa.Index(None, "article_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    article_id: Mapped[int] = mapped_column(sa.ForeignKey("faq_articles.id"))
    kind: Mapped[PublicationKind]
    revision: Mapped[int | None]
    version: Mapped[int]  # of the knowledge base, which this made
    published_at: Mapped[datetime]
    published_by: Mapped[str] = mapped_column(sa.String(64))
    despite: Mapped[str | None]  # reason given for going on although old questions got worse


class FaqState(Base):
    """The knowledge base as a whole: one row. Whoever publishes locks it, so versions come one after another."""

    __tablename__ = "faq_state"
    __table_args__ = (sa.CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    version: Mapped[int]  # grows with every publication; a process that holds an older one reloads
    file_sha256: Mapped[str | None] = mapped_column(sa.String(64))  # of the file last taken in at start


class FaqCase(Base):
    """A question of the regression set and the article that has to be found for it."""

    __tablename__ = "faq_cases"

    id: Mapped[int] = mapped_column(primary_key=True)
    question: Mapped[str]
    normalized: Mapped[str] = mapped_column(unique=True)
    article_id: Mapped[int] = mapped_column(sa.ForeignKey("faq_articles.id"), index=True)
    reached: Mapped[int | None] = mapped_column(sa.SmallInteger)  # Grade at the last publication
    added_at: Mapped[datetime]
    added_by: Mapped[str] = mapped_column(sa.String(64))


class Follow(StrEnum):
    """What the customer did after the bot's decision."""

    TAPPED = "tapped"  # a line of the menu
    ASKED_AGAIN = "asked_again"
    ASKED_PERSON = "asked_person"
    USEFUL = "useful"
    USELESS = "useless"


class FaqQuestion(Base):
    """One question as a customer put it, what the bot decided, on which evidence, and what came next."""

    __tablename__ = "faq_questions"
    __table_args__ = (
        sa.Index(None, "conversation_id", "id"),
        sa.Index(None, "asked_at"),
        sa.Index(
            "ix_faq_questions_unsorted",
            "id",
            sqlite_where=sa.text("cluster_id IS NULL AND unanswered"),
            postgresql_where=sa.text("cluster_id IS NULL AND unanswered"),
        ),
        sa.Index(None, "cluster_id"),
        sa.Index(None, "asker"),
        sa.CheckConstraint("(inbound_id IS NULL) = (conversation_id IS NULL)", name="said_in_its_conversation"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    conversation_id: Mapped[int | None] = mapped_column(sa.ForeignKey("conversations.id"))  # None: asked in a group
    inbound_id: Mapped[int | None] = mapped_column(sa.ForeignKey("inbound_messages.id"), unique=True)
    mention_id: Mapped[int | None] = mapped_column(sa.ForeignKey("bot_mentions.id"), unique=True)
    archived_msgid: Mapped[str | None] = mapped_column(sa.String(128), unique=True)  # asked in a customer group
    asker: Mapped[str | None] = mapped_column(sa.String(64))  # in a group: userid or external_userid
    text: Mapped[str]  # several quick lines are one question
    decision: Mapped[str] = mapped_column(sa.String(16))  # answer, suggest or miss
    hits: Mapped[list[Any]]  # [article key, score, closest wording], best first
    article_key: Mapped[str | None] = mapped_column(sa.String(64))  # what was shown in the end, tapped or sent
    follow: Mapped[Follow | None]
    unanswered: Mapped[bool]  # a miss, or an answer called useless: somebody should write something
    cluster_id: Mapped[int | None] = mapped_column(sa.ForeignKey("faq_clusters.id"))
    asked_at: Mapped[datetime]
    followed_at: Mapped[datetime | None]


class ClusterStatus(StrEnum):
    OPEN = "open"
    WRITTEN = "written"  # became an article
    DISMISSED = "dismissed"  # nothing to write; more of the same is sorted in here too


class FaqCluster(Base):
    """Unanswered questions that mean the same, waiting for an article."""

    __tablename__ = "faq_clusters"

    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str]  # the question that stands for the others
    status: Mapped[ClusterStatus] = mapped_column(default=ClusterStatus.OPEN, index=True)
    article_key: Mapped[str | None] = mapped_column(sa.String(64))
    created_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    closed_by: Mapped[str | None] = mapped_column(sa.String(64))


class FaqPicture(Base):
    """A picture of an article, uploaded ahead: WeCom's media_id lives three days."""

    __tablename__ = "faq_pictures"

    source: Mapped[str] = mapped_column(sa.String(500), primary_key=True)  # address or file
    media_id: Mapped[str | None] = mapped_column(sa.String(255))
    uploaded_at: Mapped[datetime | None]
    tried_at: Mapped[datetime]
    error: Mapped[str | None]
