"""An article as one customer gets it: blanks filled, with its link, picture and menu."""

from bot import texts
from bot.dialogue.turn import Card, Choice, Menu, Picture, Say, Text, Turn
from bot.faq import audience, pictures, variables
from bot.faq.articles import Article
from bot.faq.matcher import Match
from bot.faq.variables import Reader
from crm.base.clock import local_day


async def says_of(turn: Turn, article: Article, *, rating: str = "") -> tuple[Say, ...]:
    """What is said, in order. A picture that is not uploaded yet is left out; its link is written out instead."""
    shop = turn.app.shop
    reader = Reader(turn.session, turn.member, shop.name, shop.service_hours, turn.now)
    words = await variables.fill(article.answer, reader)
    media = await pictures.uploaded(turn.session, [article], now=turn.now)
    link, image = article.link, media.get(article.image)
    card = media.get(link.picture) if link else None
    if link and card is None:
        words += f"\n{texts.LINK.format(title=link.title, url=link.url)}"
    choices = menu_of(turn, article.menu)
    says: list[Say] = [Menu(words, choices) if choices else Text(words, "" if card or image else rating)]
    if link and card is not None:
        says.append(Card(link.title, link.desc, link.url, card))
    if image is not None:
        says.append(Picture(image))
    return tuple(says)


def menu_of(turn: Turn, keys: tuple[str, ...]) -> tuple[Choice, ...]:
    """Lines to tap for those of these articles that anybody may see today."""
    today, articles = local_day(turn.now), turn.app.faq.articles
    found = [articles[key] for key in keys if key in articles]
    return tuple(Choice(f"faq:{one.id}", one.question) for one in found if one.is_valid(today) and not one.audience)


async def may_see(turn: Turn, article: Article) -> bool:
    """Whether it is valid today and meant for this customer."""
    if not article.is_valid(local_day(turn.now)):
        return False
    return not article.audience or article.audience in await audience.tags_of(turn.session, turn.member.id)


async def meant_for(turn: Turn, match: Match) -> Match:
    """`match` without the articles that are not meant for this customer; asks for tags only if one is restricted."""
    audiences = audience.of(turn.app.faq.articles, match)
    if not any(audiences.values()):
        return match
    return audience.narrow(match, audiences, await audience.tags_of(turn.session, turn.member.id))
