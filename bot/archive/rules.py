"""What a line in a customer group calls for: somebody's attention now, or an answer within a while."""

import re
from collections.abc import Sequence

from bot.handoff import triggers
from bot.handoff.triggers import Reason

ALARMING = (Reason.COMPLAINT, Reason.REFUND, Reason.ANGRY)
SHORTEST, LONGEST = 4, 120  # characters of a question; a longer text is a story
_ASKS = re.compile(
    r"[?？]|(?:吗|呢|嘛|么|不|没)[。.~～!！]*$|怎么|怎样|如何|多少|多久|几(?:点|号|天|元|块|个|时)|哪(?:里|个|些|天|款)|什么|啥|咋"
    r"|为何|为什么|能不能|可不可以|可以.{0,12}(?:吗|不)|有没有|是不是|会不会|要不要|谁知道|请问|求问|想问"
)


def looks_like_question(text: str) -> bool:
    """Whether somebody wants to know something. Chatter counts as none; the list of misses is read by people."""
    words = triggers.plain(text)
    return SHORTEST <= len(words) <= LONGEST and _ASKS.search(words) is not None


def alarm(text: str) -> Reason | None:
    """Why the group's owner should look now: a complaint, a quarrel about money, an angry word."""
    reason = triggers.detect(text, ALARMING)
    return reason if reason in ALARMING else None


def keyword(text: str, keywords: Sequence[str]) -> str:
    """The first of these words in `text`; empty when there is none."""
    words = triggers.plain(text)
    return next((one for one in keywords if triggers.plain(one) in words), "")
