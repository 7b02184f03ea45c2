"""Messages no article is about: floods, walls of text, emoji alone, orders to the machine, other languages."""

import re
import unicodedata
from datetime import timedelta

from bot import texts
from bot.dialogue.router import Router, from_customer, is_text
from bot.dialogue.turn import Reply, Turn
from bot.handoff import triggers

flood = Router("flood")
before = Router("oddities")  # before the articles are asked
after = Router("foreign")  # after them: an article may well be asked for in English

FLOOD_MESSAGES, FLOOD_TIME = 30, timedelta(minutes=1)
WALL_CHARS = 400
_ORDERS = re.compile(
    r"忽略(?:以上|之前|前面|上面)|无视(?:以上|之前|前面)|系统提示词|提示词是|你(?:现在)?(?:扮演|是一个.{0,12}(?:模型|助手))|越狱"
    r"|ignore (?:all |the )?(?:previous|above)|system prompt|jailbreak|developer mode|<\|?(?:im_start|system)|\bDAN\b",
    re.IGNORECASE,
)
_CJK = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_FOREIGN = re.compile(r"[\u0400-\u04ff\u0590-\u06ff\u0900-\u0e7f\u3040-\u30ff\uac00-\ud7af]")
_ENGLISH = re.compile(
    r"\b(?:the|is|are|do|does|can|how|what|when|where|why|my|your|you|please|order|ship|shipping|refund|return|price)\b",
    re.IGNORECASE,
)


@flood.on(from_customer)
async def too_many(turn: Turn) -> Reply | None:
    """Past thirty messages in a minute by the customer's clock: one notice, then silence until it calms down.

    Whoever asks for a person still gets one.
    """
    conversation, at = turn.conversation, turn.inbound.sent_at
    since = conversation.flood_since
    if since is None or not since <= at < since + FLOOD_TIME:
        conversation.flood_since, conversation.flood_count = at, 0
    conversation.flood_count = min(conversation.flood_count + 1, FLOOD_MESSAGES + 2)
    a_person_comes = conversation.human_wanted_at is not None or triggers.asks_for_person(turn.text)
    if conversation.flood_count <= FLOOD_MESSAGES or a_person_comes:
        return None
    return Reply.text(texts.FLOOD) if conversation.flood_count == FLOOD_MESSAGES + 1 else Reply()


@before.on(from_customer, is_text)
async def odd(turn: Turn) -> Reply | None:
    if has_no_words(turn.text):
        return Reply.text(texts.EMOJI)
    if gives_orders(turn.text):
        return Reply.text(texts.PROMPT_LIKE.format(shop=turn.app.shop.name))
    return Reply.text(texts.WALL) if len(turn.text) > WALL_CHARS else None


@after.on(from_customer, is_text)
async def foreign(turn: Turn) -> Reply | None:
    """Another script, or plain English; pinyin was the articles' matter."""
    return Reply.text(texts.NOT_CHINESE) if is_foreign(turn.text) else None


def has_no_words(text: str) -> bool:
    """Emoji and punctuation alone."""
    return not any(unicodedata.category(char)[0] in "LN" for char in text)


def gives_orders(text: str) -> bool:
    """Words that would change what a language model is told to do."""
    return _ORDERS.search(text) is not None


def is_foreign(text: str) -> bool:
    return _FOREIGN.search(text) is not None or (not _CJK.search(text) and len(_ENGLISH.findall(text)) >= 2)
