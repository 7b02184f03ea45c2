"""Who may see an article: everyone, or the customers who bear a corp tag (企业标签) or have a level of that name."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncSession

from bot.faq.articles import Article
from bot.faq.matcher import Match
from bot.handoff import standing


async def tags_of(session: AsyncSession, member_id: int) -> frozenset[str]:
    """Names of the corp tags which any of the staff has put on this member, and of their level."""
    return await standing.names_of(session, member_id)


def of(articles: Mapping[str, Article], match: Match) -> dict[str, str]:
    """The audience of each article in `match`; empty for everyone. Articles that are gone meanwhile are left out."""
    return {hit.article_id: articles[hit.article_id].audience for hit in match.hits if hit.article_id in articles}


def narrow(match: Match, audiences: Mapping[str, str], tags: Collection[str]) -> Match:
    """`match` as somebody with these tags sees it.

    When the best article is not for them, the next one is offered and not sent: it was never sure by itself.
    """
    kept = tuple(hit for hit in match.hits if (needed := audiences.get(hit.article_id, "")) == "" or needed in tags)
    if kept == match.hits or match.kind == "miss":
        return replace(match, hits=kept)
    if not kept:
        return replace(match, kind="miss", hits=())
    return replace(match, kind=match.kind if kept[0] == match.hits[0] else "suggest", hits=kept)
