"""How fast the FAQ's lexical tier finds one of 100,000 questions on one core, beside other ways to do it."""

import random
import time
import tracemalloc
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from rapidfuzz import fuzz, process

from benchmarks.report import Report, Row, command, percentile, say
from bot.faq.articles import Article
from bot.faq.calibrate import Thresholds
from bot.faq.matcher import Matcher

FULL, QUICK = 100_000, 20_000
ASKED, ASKED_SLOWLY = 2_000, 60

# A question is put together from these: some 40 million different ones.
WHO = [
    "", "我", "我们", "请问", "老板", "家里人", "朋友", "新会员", "老会员", "金卡会员",
]  # fmt: skip
WHERE = [
    "", "今天", "昨天", "上个月", "双十一", "春节期间", "在小程序里", "在公众号里", "用微信", "用支付宝", "在北京",
    "在新疆", "在香港", "晚上", "第二次", "买了三件", "满一百", "用手机", "换了号码", "搬家以后", "过了七天",
    "开封以后", "没拆封", "退了一半", "分期付款", "送朋友", "给公司", "在群里", "直播间", "扫码以后", "登录以后",
    "注销以后", "升级以后", "付款以后", "下单以后", "签收以后", "活动结束",
]  # fmt: skip
THINGS = [
    "优惠券", "积分", "会员卡", "订单", "快递", "包裹", "退款", "退货", "换货", "发票", "运费", "地址", "赠品",
    "猫粮", "狗粮", "猫砂", "零食", "罐头", "疫苗", "驱虫药", "周期购", "秒杀", "拼团", "礼品卡", "余额", "密码",
    "手机号", "验证码", "群聊", "门店", "客服", "评价", "保价", "定金", "尾款", "预售", "库存", "颜色", "尺寸",
    "保质期",
]  # fmt: skip
DOES = [
    "怎么用", "怎么退", "怎么换", "怎么查", "怎么改", "怎么取消", "怎么合并", "怎么转让", "在哪里看", "在哪里领",
    "为什么不到账", "为什么用不了", "为什么变少", "什么时候到", "什么时候过期", "什么时候发货", "多久处理",
    "可以叠加", "可以延期", "能不能补", "需要多少钱", "少了一个", "坏了", "丢了", "被冻结", "显示异常", "没有收到",
    "收到两次",
]  # fmt: skip


def measure(quick: bool) -> Report:
    size = QUICK if quick else FULL
    chance = random.Random(7)
    questions = _questions(size, chance)
    asked = [_reworded(chance.choice(questions), chance) for _ in range(ASKED)]
    articles = [Article(str(number), question, (), "") for number, question in enumerate(questions)]
    began = time.process_time()
    matcher = Matcher(articles, Thresholds())
    build = time.process_time() - began
    say(f"{size} questions indexed in {build:.2f} s")
    ours = _times(lambda text: matcher.match(text), asked)
    peers = {name: _times(ask, asked[:ASKED_SLOWLY]) for name, ask in _peers(questions).items()}
    limit = _times(lambda text: _find(matcher, text), asked)  # finding without comparing
    report = Report("faq")
    what = f"{size:,} questions"
    for percent in (50, 99):
        report.rows.append(
            Row(
                f"{what}: p{percent}",
                "ms",
                1000 * percentile(ours, percent),
                1000 * percentile(limit, percent),
                {name: 1000 * percentile(times, percent) for name, times in peers.items()},
            )
        )
    report.rows.append(
        Row(
            f"{what}: asked one after another",
            "1/s",
            len(ours) / sum(ours),
            len(limit) / sum(limit),
            {name: len(times) / sum(times) for name, times in peers.items()},
        )
    )
    report.rows.append(Row(f"{what}: index built", "s", build))
    report.rows.append(Row(f"{what}: memory of the index", "MiB", _memory(articles)))
    return report


def _find(matcher: Matcher, text: str) -> object:
    question = matcher.index.read(text)
    return question and matcher.index.candidates(question)


def _questions(size: int, chance: random.Random) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < size:
        found[
            chance.choice(WHO)
            + chance.choice(WHERE)
            + chance.choice(THINGS)
            + chance.choice(("", "的" + chance.choice(THINGS)))
            + chance.choice(DOES)
        ] = None
    return list(found)


def _reworded(question: str, chance: random.Random) -> str:
    """As a customer would: a character lost, another one added."""
    at = chance.randrange(len(question))
    return question[:at] + question[at + 1 :] + chance.choice(("呢", "呀", "一下", "啊", ""))


def _times(ask: Callable[[str], object], asked: Sequence[str]) -> list[float]:
    """Seconds of this process per question, the first ones left out."""
    times = []
    for text in (*asked[:20], *asked):
        began = time.process_time()
        ask(text)
        times.append(time.process_time() - began)
    return times[20:]


def _memory(articles: Sequence[Article]) -> float:
    tracemalloc.start()
    kept = Matcher(articles, Thresholds())
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept
    return used / 2**20


def _peers(questions: Sequence[str]) -> dict[str, Callable[[str], object]]:
    bm25 = Bm25(questions)
    return {
        "rapidfuzz ratio": lambda text: process.extractOne(text, questions, scorer=fuzz.ratio),
        "rapidfuzz WRatio": lambda text: process.extractOne(text, questions, scorer=fuzz.WRatio),
        "BM25": bm25.best,
    }


class Bm25:
    """Okapi BM25 over 1- and 2-grams in numpy: every posting of every gram is read."""

    def __init__(self, questions: Sequence[str], k1: float = 1.2, b: float = 0.75) -> None:
        lengths = np.array([2 * len(question) - 1 for question in questions], np.float64)
        holders: dict[str, list[int]] = {}
        for number, question in enumerate(questions):
            for gram in set(_grams(question)):
                holders.setdefault(gram, []).append(number)
        self._size = len(questions)
        self._holders = {gram: np.array(numbers) for gram, numbers in holders.items()}
        self._gain = (k1 + 1) / (1 + k1 * (1 - b + b * lengths / lengths.mean()))

    def best(self, text: str) -> int:
        scores = np.zeros(self._size)
        for gram in set(_grams(text)):
            if (numbers := self._holders.get(gram)) is not None:
                rarity = np.log(1 + (self._size - len(numbers) + 0.5) / (len(numbers) + 0.5))
                scores[numbers] += rarity * self._gain[numbers]
        return int(np.argmax(scores))


def _grams(text: str) -> list[str]:
    return [*text, *map("".join, pairwise(text))]


if __name__ == "__main__":
    command(measure, __doc__ or "")
