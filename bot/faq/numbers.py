"""Which numbers a text speaks of: 六点 and 十点 are two questions, 24 and 二十四 are one number."""

import re

_DIGITS = {digit: value for value, digit in enumerate("零一二三四五六七八九")} | {"两": 2}
_UNITS = {"十": 10, "百": 100, "千": 1_000, "万": 10_000}
_WRITTEN = f"[{''.join((*_DIGITS, *_UNITS))}]+"
# A written number counts something or stands after 第 and the like; 万一 and 一样 are words.
_NUMBER = re.compile(
    rf"\d+(?:\.\d+)?|{_WRITTEN}(?=[点号日天月年岁块元次个分度折期倍乘加减除级楼层米斤件包袋盒])|(?<=[第乘加减周期]){_WRITTEN}"
)


def numbers(text: str) -> frozenset[str]:
    """The numbers in a normalised `text`, as digits. Not 1, which 一个 and 一次 say without counting."""
    return frozenset(map(_as_digits, _NUMBER.findall(text))) - {"1"}


def _as_digits(number: str) -> str:
    if number[0].isdecimal():
        return number
    whole = current = 0
    for char in number:
        unit = _UNITS.get(char)
        if unit is None:
            current = _DIGITS[char]
        elif unit == 10_000:
            whole, current = (whole + current) * unit, 0
        else:
            whole, current = whole + (current or 1) * unit, 0
    return str(whole + current)
