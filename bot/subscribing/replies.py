"""What a member's line about a subscription asks for. One that means two things means neither: the bot asks back."""

import re
from dataclasses import dataclass
from enum import StrEnum

LONGEST = 40  # a longer line is a question, not a reply


class Wish(StrEnum):
    CONFIRM = "confirm"
    SKIP = "skip"
    POSTPONE = "postpone"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    ADDRESS = "address"
    UNPUSH = "unpush"  # no marketing any more: 退订 may mean it


@dataclass(frozen=True, slots=True)
class Reply:
    """wishes: one, or those that the bot asks about. days, months: how long, where it is said."""

    wishes: tuple[Wish, ...]
    days: int | None = None
    months: int | None = None
    rest: str = ""  # of an address

    @property
    def wish(self) -> Wish | None:
        return self.wishes[0] if len(self.wishes) == 1 else None


NUMBERS = {word: number for number, word in enumerate("一二三四五六七八九十", 1)} | {"两": 2, "俩": 2, "半": 0}
_COUNT = r"(?:(\d{1,3}|[一二两俩三四五六七八九十])\s*个?\s*(天|日|周|星期|礼拜|月))"
_TIME = re.compile(rf"半个?月|{_COUNT}")
_CORE = {
    Wish.CONFIRM: r"确认|照常|按时发|发吧|发货吧|可以发",
    Wish.SKIP: r"跳过|(?:这|本)一?(?:期|次|个月|回|单)(?:就|先)?(?:不要|不发|不用|不需要|算)了?"
    r"|下(?:一?期|次|个月)再(?:发|要|说)|先不(?:要|发)",
    Wish.POSTPONE: r"推迟|延后|延迟|延期|往后推|晚一?(?:点|些)|晚(?=[\d一二两三半])|改(?:个|一下)?(?:时间|日子|日期)",
    Wish.PAUSE: r"暂停|停一(?:下|停|段时间|阵子?)",
    Wish.RESUME: r"恢复|继续(?:订|发)|重新开始",
    Wish.CANCEL: r"取消(?!\s*(?:订单|下单))|不(?:想)?订了|终止|停掉|退掉",
    Wish.ADDRESS: r"(?:改|换|修改|更换|变更)一?(?:下|个)?(?:收货|送货)?地址"
    r"|(?:收货|送货)?地址(?:要?改|要?换|变了|写错了)|搬家了",
}
_FINDS = {wish: re.compile(core) for wish, core in _CORE.items()}
_BEFORE = r"(?:你好|您好|我想要?|我要|想要?|帮我|给我|麻烦|请|那就|那|先|把|好的?|嗯|[，,、：:！!。 \s])*"
_AFTER = (
    r"(?:一下|这一?期|本期|这次|下一?期|的|我的|订阅|套餐|订购|下单|发货|发|订单|吧|了|哦|啊|哈|谢谢|谢|一个|"
    rf"{_TIME.pattern}|再|[，,、：:！!。～~ \s])*"
)
_WHOLE = {
    wish: re.compile(rf"{_BEFORE}(?:我的|订阅|这一?期|下一?期)*(?:{core}){_AFTER}") for wish, core in _CORE.items()
}
_MOVE_TO = re.compile(rf"(?:{_CORE[Wish.ADDRESS]})[成为到：:，,\s]*")
_NOT = re.compile(r"(?:不|别|不要|不用|没有?|没说)(?:要|想|用)?(?:确认|跳过|推迟|暂停|恢复|取消)")
_VAGUE = re.compile(rf"{_BEFORE}(?:取消(?!\s*(?:订单|下单))|不要了?|不用了|算了|停了?|停止|都?不需要了?){_AFTER}")
_UNSUBSCRIBE = re.compile(rf"{_BEFORE}(?:退订|td)[吧了 。！!]*", re.IGNORECASE)
_CHANGE = re.compile(rf"{_BEFORE}(?:改|改一下|修改|换|换一下|变更)[吧了 。！!]*")
_YES = re.compile(r"(?:好的?|可以|要的?|嗯+|行|是的?|ok|没问题|同意)[呀啊哦的吧了 。！!～~]*", re.IGNORECASE)
ENDING = (Wish.SKIP, Wish.PAUSE, Wish.CANCEL)


def read(text: str) -> Reply | None:
    """What it asks for; None when it is about something else."""
    line = text.strip()
    if (found := _MOVE_TO.match(line)) and len(line) - found.end() >= 8:  # an address follows, of any length
        return Reply((Wish.ADDRESS,), rest=line[found.end() :].strip())
    if not line or len(line) > LONGEST:
        return None
    if _UNSUBSCRIBE.fullmatch(line):
        return Reply((Wish.CANCEL, Wish.UNPUSH))
    if _CHANGE.fullmatch(line):
        return Reply((Wish.ADDRESS, Wish.POSTPONE, Wish.SKIP))
    named = tuple(wish for wish, core in _FINDS.items() if core.search(line))
    if len(named) > 1:
        return Reply(named)
    if _NOT.search(line):
        return Reply((Wish.CONFIRM, *(wish for wish in named if wish is not Wish.CONFIRM)))
    if _VAGUE.fullmatch(line) and "订阅" not in line:
        return Reply(ENDING)
    if len(named) == 1 and _WHOLE[named[0]].fullmatch(line):
        days, months = _how_long(line)
        return Reply(named, days=days, months=months)
    return None


def is_yes(text: str) -> bool:
    """好的, 可以: a yes to what was asked last, and to nothing else."""
    return _YES.fullmatch(text.strip()) is not None


def _how_long(line: str) -> tuple[int | None, int | None]:
    found = _TIME.search(line)
    if found is None:
        return None, None
    if found[0].startswith("半"):
        return 15, None
    count = int(found[1]) if found[1].isdecimal() else NUMBERS[found[1]]
    if found[2] == "月":
        return count * 30, count
    return count * (7 if found[2] in ("周", "星期", "礼拜") else 1), None
