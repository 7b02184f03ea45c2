"""How characters sound: toneless syllables, with the ones that are easily confused made one."""

import os
import re
import unicodedata
from functools import cache

os.environ.setdefault("PYPINYIN_NO_PHRASES", "true")  # we read single characters; phrases cost every start 0.2 s
from pypinyin.constants import PINYIN_DICT

_LATIN = re.compile(r"[a-zü]+")
_RETROFLEX = re.compile(r"^([zcs])h")
_NASAL = re.compile(r"([aei]n)g$")
_LONGEST = 6  # zhuang
FIRST_CODE = 0x110000  # above every code point: a syllable's number never meets a character's


@cache
def readings(char: str) -> tuple[str, ...]:
    """How an ideograph may be read, without tones, the usual reading first (还 hai, huan); none for anything else."""
    marked = unicodedata.normalize("NFD", PINYIN_DICT.get(ord(char), "")).replace("u\u0308", "v")
    plain = "".join(letter for letter in marked if letter.isascii())
    return tuple(dict.fromkeys(filter(None, plain.split(","))))


def fold(spelled: str) -> str:
    """One spelling for syllables that southern speakers and quick fingers mix up: zh and z, ang and an."""
    return _NASAL.sub(r"\1", _RETROFLEX.sub(r"\1", spelled))


def split(letters: str) -> list[str]:
    """A run of Latin letters as the fewest syllables, or nothing when it is not pinyin."""
    best: list[list[str] | None] = [[]]
    for end in range(1, len(letters) + 1):
        ways = [
            [*before, piece]
            for begin in range(max(0, end - _LONGEST), end)
            if (before := best[begin]) is not None and (piece := letters[begin:end]) in _syllables()
        ]
        best.append(min(ways, key=len) if ways else None)
    return best[-1] or []


def spelled_out(text: str) -> list[tuple[int, int, list[str]]]:
    """Where a normalised `text` is typed in pinyin: begin, end and the syllables, of runs of at least two."""
    runs = ((found.start(), found.end(), split(found.group().replace("ü", "v"))) for found in _LATIN.finditer(text))
    return [run for run in runs if len(run[2]) >= 2]


@cache
def code(folded: str) -> int:
    """A number for a folded syllable."""
    return FIRST_CODE + _numbers()[folded]


@cache
def code_of(char: str) -> int:
    """A character's sound as a number; the code point where it has none."""
    sounds = readings(char)
    return code(fold(sounds[0])) if sounds else ord(char)


@cache
def _syllables() -> frozenset[str]:
    return frozenset(sound for char in map(chr, range(0x4E00, 0x9FA6)) for sound in readings(char))


@cache
def _numbers() -> dict[str, int]:
    return {folded: number for number, folded in enumerate(sorted(set(map(fold, _syllables()))))}
