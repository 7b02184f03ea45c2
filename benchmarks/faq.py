"""How fast the FAQ finds one of 100,000 questions on one core, beside other ways to do it.

Seconds are those of this process, for a machine is seldom alone. A peer's p99 is of fewer questions than ours, where it
is a slow one.
"""

import random
import time
import tracemalloc
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import tantivy
from rapidfuzz import fuzz, process

from benchmarks.report import Report, Row, command, median, percentile, say
from bot.faq.articles import Article
from bot.faq.calibrate import Thresholds
from bot.faq.matcher import Matcher
from bot.faq.meanings import Meanings
from bot.faq.semantic import local_semantics

FULL, QUICK = 100_000, 20_000
ASKED, ASKED_BY_MEANING, ASKED_SLOWLY = 5_000, 300, 60
ROUNDS = 5  # ours, the limit and the quick peers take turns; the median round counts
DIMENSIONS = 384  # of e5's vectors

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
    ways: dict[str, Callable[[str], object]] = {
        "ours": matcher.match,
        "limit": lambda text: _find(matcher, text),  # finding without comparing
        **_quick_peers(questions),
    }
    rounds = [{name: _times(ask, asked[n::ROUNDS]) for name, ask in ways.items()} for n in range(ROUNDS)]
    peers = {name: _times(ask, asked[:ASKED_SLOWLY]) for name, ask in _slow_peers(questions).items()}
    report, what = Report("faq"), f"{size:,} questions"
    for title, unit, figure in FIGURES:
        found = {name: median([figure(one[name]) for one in rounds]) for name in ways}
        others = {name: one for name, one in found.items() if name not in ("ours", "limit")}
        slow = {name: figure(times) for name, times in peers.items()}
        report.rows.append(Row(f"{what}: {title}", unit, found["ours"], found["limit"], others | slow))
    report.rows += _by_meaning(matcher, size, asked)
    report.rows.append(Row(f"{what}: index built", "s", build))
    report.rows.append(Row(f"{what}: memory of the index", "MiB", _memory(articles)))
    return report


FIGURES: tuple[tuple[str, str, Callable[[Sequence[float]], float]], ...] = (
    ("p50", "ms", lambda times: 1000 * percentile(times, 50)),
    ("p99", "ms", lambda times: 1000 * percentile(times, 99)),
    ("asked one after another", "1/s", lambda times: len(times) / sum(times)),
)


def _by_meaning(matcher: Matcher, size: int, asked: Sequence[str]) -> list[Row]:
    """The semantic tier: the model reads the question, and as many vectors are compared as there are wordings.

    What the wordings mean plays no part in how long that takes, so their vectors are chance; the limit is the model.
    """
    semantics = local_semantics(None)
    if semantics is None:
        return []
    index = matcher.index
    index.meanings = Meanings(np.random.default_rng(7).normal(size=(size, DIMENSIONS)).astype(np.float32))

    def ask(text: str) -> object:
        question = index.read(text, semantics.embed_one(text))
        return question and matcher.ranking.hits(question, index.candidates(question))

    ours, limit = _times(ask, asked[:ASKED_BY_MEANING]), _times(semantics.embed_one, asked[:ASKED_BY_MEANING])
    index.meanings = None
    semantics.close()
    return [
        Row(
            f"{size:,} questions, by meaning: p{percent}",
            "ms",
            1000 * percentile(ours, percent),
            1000 * percentile(limit, percent),
        )
        for percent in (50, 99)
    ]


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


def _quick_peers(questions: Sequence[str]) -> dict[str, Callable[[str], object]]:
    return {"tantivy": Tantivy(questions).best, "rare grams, ratio": RareGrams(questions).best}


def _slow_peers(questions: Sequence[str]) -> dict[str, Callable[[str], object]]:
    return {
        "rapidfuzz ratio": lambda text: process.extractOne(text, questions, scorer=fuzz.ratio),
        "rapidfuzz WRatio": lambda text: process.extractOne(text, questions, scorer=fuzz.WRatio),
        "BM25": Bm25(questions).best,
    }


class Tantivy:
    """A search engine in Rust: BM25 over the same 1- and 2-grams, any of them, the best one read."""

    def __init__(self, questions: Sequence[str]) -> None:
        fields = tantivy.SchemaBuilder()
        fields.add_integer_field("number", stored=True)
        fields.add_text_field("grams", stored=False, tokenizer_name="spaces")
        self._schema = fields.build()
        index = tantivy.Index(self._schema)
        index.register_tokenizer("spaces", tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build())
        writer = index.writer(heap_size=100_000_000, num_threads=1)
        for number, question in enumerate(questions):
            writer.add_document(tantivy.Document(number=number, grams=" ".join(_grams(question))))
        writer.commit()
        writer.wait_merging_threads()
        index.reload()
        self._searcher = index.searcher()

    def best(self, text: str) -> int:
        grams = [tantivy.Query.term_query(self._schema, "grams", gram) for gram in set(_grams(text))]
        query = tantivy.Query.boolean_query([(tantivy.Occur.Should, gram) for gram in grams])
        hits = self._searcher.search(query, 1).hits
        return int(self._searcher.doc(hits[0][1])["number"][0]) if hits else -1


class RareGrams:
    """The leanest known way: those that share the question's rarest grams, and rapidfuzz's ratio picks one of them."""

    def __init__(self, questions: Sequence[str], reads: int = 600) -> None:
        self._questions, self._reads = questions, reads
        self._holders: dict[str, list[int]] = {}
        for number, question in enumerate(questions):
            for gram in set(_grams(question)):
                self._holders.setdefault(gram, []).append(number)

    def best(self, text: str) -> int:
        found: set[int] = set()
        for holders in sorted((self._holders.get(gram, []) for gram in set(_grams(text))), key=len):
            if found and len(found) + len(holders) > self._reads:
                break
            found.update(holders)
        numbers = list(found)
        best = process.extractOne(text, [self._questions[number] for number in numbers], scorer=fuzz.ratio)
        return numbers[best[2]] if best else -1


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
