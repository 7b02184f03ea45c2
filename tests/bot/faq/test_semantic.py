import asyncio
import threading

import numpy as np
import pytest

from bot.faq.articles import Article
from bot.faq.matcher import Matcher
from bot.faq.semantic import Semantics

SUBJECTS = ("退 还 换", "邮 快 送", "券 优 惠")  # a toy model: one axis per subject


class Toy:
    """Knows three subjects by their characters."""

    name = "toy"

    def __init__(self):
        self.asked = 0
        self.may_go = threading.Event()
        self.may_go.set()

    def embed(self, texts):
        self.may_go.wait(5)
        self.asked += len(texts)
        rows = [[sum(char in text for char in subject.split()) for subject in SUBJECTS] for text in texts]
        return np.array(rows, np.float32) + 0.01


ARTICLES = (
    Article("return", "不想要了能退吗", (), "七天内可以。"),
    Article("delivery", "快递什么时候送到", (), "两三天。"),
    Article("coupon", "优惠券在哪", (), "在卡包里。"),
)


@pytest.fixture
def toy():
    return Toy()


async def test_what_the_words_do_not_tell_the_meaning_does(toy):
    semantics = Semantics(toy)
    matcher = Matcher(ARTICLES, semantics=semantics)
    asked = "东西想换可还"
    assert matcher.match(asked).tier == "lexical"
    await semantics.think_of([asked])
    match = matcher.match(asked)
    assert (match.tier, match.hits[0].article_id) == ("semantic", "return")
    semantics.close()


async def test_the_lexical_answer_stands_when_the_model_is_late(toy):
    semantics = Semantics(toy, limit_seconds=0.01)
    matcher = Matcher(ARTICLES, semantics=semantics)
    toy.may_go.clear()
    await semantics.think_of(["东西想换可还"])
    assert matcher.match("东西想换可还").tier == "lexical"
    toy.may_go.set()
    semantics.close()


async def test_no_queue_builds_up_before_a_slow_model(toy):
    semantics = Semantics(toy, limit_seconds=0.01)
    toy.may_go.clear()
    for number in range(20):
        await semantics.think_of([f"第{number}个问题"])
    toy.may_go.set()
    await asyncio.to_thread(semantics.close, wait=True)
    assert toy.asked == 1


async def test_a_model_that_fails_leaves_the_lexical_answer():
    class Broken(Toy):
        def embed(self, texts):
            raise ConnectionError

    semantics = Semantics(Broken())
    await semantics.think_of(["东西想换可还"])
    assert semantics.thought_of("东西想换可还") is None
    semantics.close()


def test_vectors_are_kept_by_content_and_survive_a_restart(toy, tmp_path):
    file = tmp_path / "vectors.npz"
    first = Semantics(toy, file=file).vectors([one.question for one in ARTICLES])
    asked = toy.asked
    again = Semantics(toy, file=file).vectors([one.question for one in reversed(ARTICLES)])
    assert toy.asked == asked
    assert np.allclose(again[::-1], first, atol=1e-3)


def test_a_torn_file_of_vectors_is_only_a_cache_lost(toy, tmp_path):
    file = tmp_path / "vectors.npz"
    Semantics(toy, file=file).vectors(["快递到哪了"])
    file.write_bytes(file.read_bytes()[:100])
    assert Semantics(toy, file=file).vectors(["快递到哪了"]).shape == (1, 3)


def test_the_same_wording_needs_no_meaning(toy):
    matcher = Matcher(ARTICLES, semantics=Semantics(toy))
    assert matcher.is_certain("优惠券在哪？")
    assert not matcher.is_certain("东西想换可还")
