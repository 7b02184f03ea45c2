"""One spelling for what customers type: width, case, script, punctuation, filler words and shop synonyms."""

import re
import unicodedata
from functools import cache, lru_cache

import opencc

from bot.faq.synonyms import SYNONYMS

MAX_CHARS = 500  # a question; what follows is a pasted text and cannot be matched anyway
RECENT = 256  # texts whose normal form is remembered: one question is normalised in several places

# A dot stays between digits (1.5kg is not 15kg); whatever else is neither letter, digit nor ideograph goes.
_NOISE = re.compile(r"(?<!\d)\.|\.(?!\d)|[^\w.]|_")

# Words that carry no question. Those of the second and third group are real words in other places
# (哈士奇, 亲戚, 酒吧), so they go only from the beginning or the end.
_FILLER = re.compile(
    r"请问|您好|你好|麻烦|劳驾|谢谢|一下|想问|想咨询|[呢啊吗呀哦嘛噢喔诶欸哟]"
    r"|^(?:我想问|我想|问下|咨询|请教|亲亲|亲|哈喽|哈啰|嗨|hello|hi|在吗|在不在|老板|店家|那个|嗯+)"
    r"|^(?:请?(?:能|可以|可否)?帮我|请(?![假客求]))"
    r"|(?:吧|哈|啦|咯|喽|哒|谢|不|在吗|在不在|(?<![怎什那这多])么)$"
)

# Each word stands for itself too, so that 没有 is found whole and its 没 is not replaced once more.
_CANONICAL = {variant: word for word, variants in SYNONYMS.items() for variant in (word, *variants.split())}
_VARIANT = re.compile("|".join(sorted(map(re.escape, _CANONICAL), key=len, reverse=True)))


@lru_cache(RECENT)
def normalize(text: str) -> str:
    """`text` with the spelling differences taken out: at most 500 letters, digits and ideographs.

    Idempotent: removing a word can bring two others together, so it repeats until nothing changes (twice, as a rule).
    A text of nothing but filler words keeps them; a text without letters becomes empty.
    """
    for _ in range(MAX_CHARS):  # each further round shortens the text, or is the last
        plain = letters(text)
        text = _FILLER.sub("", plain) or plain
        if text == plain:
            break
    return text


@lru_cache(RECENT)
def letters(text: str) -> str:
    """`text` with width, case, script and punctuation settled, and every word kept."""
    folded = unicodedata.normalize("NFKC", text[:MAX_CHARS]).casefold()
    simplified: str = _to_simplified().convert(_NOISE.sub("", folded))
    return simplified[:MAX_CHARS]


def says_nothing(text: str) -> bool:
    """Whether `text` asks nothing: no letters, or filler words only (你好, 请问一下)."""
    left = normalize(text)
    return not _FILLER.sub("", left)


def fold_synonyms(text: str) -> str:
    """A normalised `text` with the shop's synonyms made one word. For scoring only: two wordings stay two wordings."""
    return _VARIANT.sub(lambda found: _CANONICAL[found.group()], text)


@cache
def _to_simplified() -> opencc.OpenCC:
    return opencc.OpenCC("t2s")  # loads its dictionaries, so once
