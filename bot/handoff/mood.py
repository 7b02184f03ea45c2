"""How angry a message is: a small lexicon, scored. Made by hand from what customers say in anger, not learned.

`python -m bot.handoff.mood FILE` measures it on labelled texts (JSON lines with `text` and `negative`).
"""

import json
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

THRESHOLD = 2.0  # from here on a message is angry when one of its words is strong, a point later when none is
READ_CHARS = 2_000
NEGATION_CHARS = 3  # a negation this close before a word turns it off

# weight: what each word is worth once. Abuse alone is anger; disappointment is not, until it piles up.
LEXICON: dict[float, str] = {
    3.0: (
        "滚|去死|他妈|她妈|妈的|尼玛|你妈|特么|tmd|nmd|傻逼|傻比|傻b|煞笔|sb|脑残|智障|王八|混蛋|混账|狗屁|放屁|放你|狗东西"
        "|不要脸|无耻|缺德|丧良心|没良心|昧良心|良心被狗|丧尽天良|坑爹|坑人|(?<!是不是)骗子|骗人|骗钱|诈骗|欺诈|奸商|黑店|黑心|无良|强盗"
        "|垃圾客服|垃圾店|垃圾商家|垃圾卖家|什么玩意|什么破|破玩意|破店|什么垃圾|气死|气炸|火大|恶心|忽悠|欺骗|耍我|耍人|玩我|玩儿我|糊弄"
        "|恨死|想骂人|爆粗|忍无可忍|欺人太甚|太过分|太欺负|简直无语|不是人|人渣|呸|没天理|猪脑子"
    ),
    2.0: (
        "垃圾|太差|极差|巨差|超差|差劲|烂透|太烂|真烂|很烂|坑死|太坑|真坑|生气|愤怒|气愤|恼火|窝火|过分|离谱|敷衍|推卸|推脱|踢皮球|不负责"
        "|没人管|没人理|不理人|不理我|装死|玩失踪|没人回|态度差|态度恶劣|态度极差|态度太差|态度很差|服务差|服务太差|服务很差|服务恶劣|忍不了|受不了|受够"
        "|再也不|再不会|永远不会再|坚决不|后悔死|上当|被骗|受骗|假货|假的吧|冒牌|山寨|黑钱|抢钱|无语|什么态度|什么服务|什么质量|当我傻|把我当"
        "|给个说法|给我个说法|讨个说法|给个交代|怎么做生意|做的什么生意|倒闭|拉黑|差评|零分|负分|一星|0分|最差|从来没(?:见|遇)过这么|没见过这么"
        "|别买|千万(?:别|不要)|大家(?:别|不要)|奉劝|不值一提|狗都不|辣鸡|奇葩|可恶|可恨|讨厌|滥竽|不靠谱|太不靠谱|催了(?:好)?几(?:次|遍)|说了(?:好)?几遍|到底(?:要|想|还|能)"
    ),
    1.0: (
        "差|烂|坏|破|失望|郁闷|后悔|不满|糟糕|糟透|糟|坑|骗|假|慢死|太慢|等了(?:好久|半天|几天|这么久)|一直(?:没|不)|根本(?:没|不)|完全(?:没|不)|居然|竟然"
        "|凭什么|为什么不|为啥不|怎么还(?:没|不)|还没(?:到|发|处理)|都几天|多少天|拖了|不行|没用|不好|难用|难吃|难闻|难看|劣质|次品|残次|瑕疵|质量问题"
        "|有问题|退货|不能用|坏了|坏的|烂的|臭|变质|过期|发霉|漏|死机|卡死|掉色|起球|异味|不符|不一样|色差|欺|亏|呵呵|唉|哎|晕|汗|搞笑|可笑|什么意思|咋回事|怎么回事"
        "|不推荐|不建议|不会再|不想再|没法|白买|白花|浪费|心疼|伤心|寒心|心寒|没有诚信|不诚信|缺斤|短两|少发|漏发|发错|不处理|不解决|没解决|没处理|客服(?:不|没)"
    ),
}
_WORDS = tuple(
    (weight, re.compile(rf"(?:{words})", re.IGNORECASE if weight == 3.0 else 0)) for weight, words in LEXICON.items()
)
_NEGATIONS = re.compile(r"(?:不|没有?|并非|别|谁说|毫无|无)$")
_PRAISE = re.compile(
    r"(?:很|非常|挺|超|太|真|比较|都|蛮|十分|特别)(?:好|满意|喜欢|不错|快|赞|棒|舒服|漂亮|实惠|划算|方便|新鲜|甜|给力|喜爱)|不错|满意|推荐(?:购买|大家)|值得|好评|五星"
    r"|物美价廉|性价比高|喜欢|赞|棒|好吃|好用|感谢|谢谢|下次还|会再来|还会(?:再)?(?:买|来)|回购|正品|给力|划算|实惠"
)
_HOT = re.compile(r"[!！]{2,}|[?？]{2,}|[!！][?？]|[?？][!！]|😡|🤬|😠|💢|👎")


@dataclass(frozen=True, slots=True)
class Mood:
    """A score and the words it comes from, for the person who wonders why. strongest: weight of the worst of them."""

    score: float
    words: tuple[str, ...]
    strongest: float = 0.0

    @property
    def is_anger(self) -> bool:
        """Plain words of trouble (发霉, 退货) are no anger before there are many."""
        return self.score >= (THRESHOLD if self.strongest >= THRESHOLD else THRESHOLD + 1)


def mood_of(text: str) -> Mood:
    """Weights of the words found, each counted once, less for praise beside them; shouting adds a half each."""
    read = text[:READ_CHARS]
    found: dict[str, float] = {}
    taken: list[tuple[int, int]] = []
    for weight, pattern in _WORDS:
        for match in pattern.finditer(read):
            start, end = match.span()
            inside = any(start < other_end and end > other_start for other_start, other_end in taken)
            if not inside and not _is_negated(read, start):
                found[match.group()] = weight
                taken.append((start, end))
    shouts = min(len(_HOT.findall(read)), 2) * 0.5 if found else 0.0
    praise = len({match.group() for match in _PRAISE.finditer(read)}) * 0.75
    return Mood(sum(found.values()) + shouts - praise, tuple(found), max(found.values(), default=0.0))


def is_angry(text: str) -> bool:
    return mood_of(text).is_anger


def _is_negated(text: str, start: int) -> bool:
    return _NEGATIONS.search(text[max(0, start - NEGATION_CHARS) : start]) is not None


@dataclass(frozen=True, slots=True)
class Measured:
    """How well a rule tells negative texts from others."""

    rule: str
    precision: float
    recall: float
    f1: float
    called: int  # texts called angry, of all


def measure(rows: Iterable[tuple[str, bool]], thresholds: Iterable[float]) -> list[Measured]:
    """rows: texts, and whether each is negative. The product's own rule comes first."""
    moods = [(mood_of(text), negative) for text, negative in rows]
    found = [_tell("angry", [(mood.is_anger, negative) for mood, negative in moods])]
    for least in thresholds:
        found.append(_tell(f"score >= {least}", [(mood.score >= least, negative) for mood, negative in moods]))
    return found


def _tell(rule: str, judged: list[tuple[bool, bool]]) -> Measured:
    called = [negative for angry, negative in judged if angry]
    hits, wanted = sum(called), sum(negative for _, negative in judged)
    precision = hits / len(called) if called else 0.0
    recall = hits / wanted if wanted else 0.0
    return Measured(rule, precision, recall, 2 * hits / (len(called) + wanted) if wanted else 0.0, len(called))


def main(path: str) -> None:
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    rows = [(row["text"], bool(row["negative"])) for row in map(json.loads, lines)]
    sys.stdout.write(f"{len(rows)} texts, {sum(negative for _, negative in rows)} negative\n")
    for one in measure(rows, (1.0, 2.0, 3.0, 4.0)):
        sys.stdout.write(
            f"{one.rule:13} precision {one.precision:.3f}  recall {one.recall:.3f}"
            f"  F1 {one.f1:.3f}  called {one.called}\n"
        )


if __name__ == "__main__":
    main(sys.argv[1])
