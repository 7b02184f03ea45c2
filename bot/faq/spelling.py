"""Questions typed in pinyin, read in the words of the knowledge base."""

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

from bot.faq import pinyin
from bot.faq.grams import GramSpace

HOMOPHONES = 12  # characters tried for a syllable, the usual ones first


class Spelling:
    """Which characters a shop writes for which syllables, and which of them it writes together."""

    def __init__(self, grams: GramSpace) -> None:
        self._grams = grams
        written: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
        for code in grams.characters():
            for sound in set(map(pinyin.fold, pinyin.readings(chr(code)))):
                written[sound].append((grams.holders(code), chr(code)))
        self._written = {
            sound: [char for _, char in sorted(chars, reverse=True)[:HOMOPHONES]] for sound, chars in written.items()
        }

    def read(self, text: str) -> str:
        """A normalised `text` with its runs of pinyin turned into the shop's own words: youhuiquan 优惠券."""
        for begin, end, syllables in reversed(pinyin.spelled_out(text)):
            words = self._words([pinyin.fold(one) for one in syllables])
            text = text[:begin] + words + text[end:] if words else text
        return text

    def _words(self, sounds: Sequence[str]) -> str:
        """The likeliest characters: of all ways to write it, the one whose neighbours stand together most often."""
        choices = [self._written.get(sound, []) for sound in sounds]
        if not all(choices):
            return ""
        best = {char: (0.0, char) for char in choices[0]}
        for before, after in pairwise(choices):
            best = {
                char: max((best[one][0] + self._together(one, char), best[one][1] + char) for one in before)
                for char in after
            }
        support, words = max(best.values())
        return words if support else ""

    def _together(self, left: str, right: str) -> float:
        return math.sqrt(self._grams.holders(ord(left), ord(right)))
