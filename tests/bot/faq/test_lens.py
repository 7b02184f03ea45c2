import json

import numpy as np
import pytest

from bot.faq import lens
from bot.faq.articles import Article
from bot.faq.evaluate import read
from bot.faq.index import Index
from bot.faq.lens import Subjects

SIGNAL, NOISE = 8, 24  # of a vector: what tells subjects apart, and what does not


def _wordings(subjects, each, seed):
    """Vectors of length 1 in which most of what is there says nothing about the subject."""
    chance = np.random.default_rng(seed)
    said = np.repeat(chance.normal(size=(subjects, SIGNAL)), each, axis=0)
    vectors = np.hstack([said, chance.normal(size=(subjects * each, NOISE))]).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.repeat(np.arange(subjects), each).tolist()


def _found(vectors, subjects):
    """The share of wordings whose closest other wording is of their subject."""
    close = vectors @ vectors.T / np.linalg.norm(vectors, axis=1)
    np.fill_diagonal(close, -9)
    return float(np.mean([subjects[best] == mine for best, mine in zip(close.argmax(axis=1), subjects, strict=True)]))


def test_what_was_learnt_from_some_subjects_helps_with_others(monkeypatch):
    monkeypatch.setattr(lens, "STEP", 3e-3)  # 32 dimensions need larger steps than 384
    seen = lens.fit(*_wordings(120, 3, seed=1))
    vectors, subjects = _wordings(120, 3, seed=2)
    assert _found(vectors @ seen, subjects) > _found(vectors, subjects) + 0.05


def test_the_same_wordings_make_the_same_lens():
    assert np.array_equal(lens.fit(*_wordings(40, 2, seed=1)), lens.fit(*_wordings(40, 2, seed=1)))


@pytest.mark.parametrize(
    ("subjects", "each"), [(0, 1), (200, 1), (lens.FEWEST - 1, 3)], ids=["none", "no pairs", "few pairs"]
)
def test_from_too_little_nothing_is_learnt(subjects, each):
    assert lens.fit(*_wordings(subjects, each, seed=1)) is None


def test_subjects_join_in_any_order():
    subjects = Subjects()
    for left, right in (("a", "b"), ("c", "d"), ("e", "e"), ("b", "c"), ("d", "a")):
        subjects.join(left, right)
    assert len({subjects.of(one) for one in "abcd"}) == 1
    assert subjects.of("e") not in {subjects.of("a"), subjects.of("f")}


def _embedded(texts):
    """Vectors made of the texts alone."""
    return np.array([np.random.default_rng(list(text.encode())).normal(size=16) for text in texts], np.float32).reshape(
        len(texts), 16
    )


ARTICLES = [Article(str(n), f"第{n}号问题怎么办", (f"{n}号的事如何处理",), "好的。") for n in range(70)]


def test_a_wording_is_judged_by_a_lens_that_never_saw_it():
    index = Index(ARTICLES, _embedded)
    number = next(n for n, entry in enumerate(index.entries) if entry.article.id == "3")
    judging = index.judging(number).meanings
    without = [
        n for n, entry in enumerate(index.entries) if index.judging(n).meanings is judging and entry.article.id != "3"
    ]
    assert judging is not index.meanings
    assert 0 < len(without) < len(index.entries) - 2  # others are judged by the other lens


def test_few_wordings_are_judged_as_they_are():
    index = Index(ARTICLES[:5], _embedded)
    assert index.judging(0) is index


def test_what_people_confirmed_teaches_where_articles_have_one_wording():
    single = [Article(one.id, one.question, (), "") for one in ARTICLES]
    confirmed = [(one.question, one.similar[0]) for one in ARTICLES]
    untaught, taught = Index(single, _embedded), Index(single, _embedded, confirmed)
    asked = _embedded([ARTICLES[5].similar[0]])[0]
    numbers = np.arange(len(single))
    assert len(taught.entries) == len(untaught.entries)
    assert not np.allclose(
        untaught.meanings.closeness(asked, numbers), taught.meanings.closeness(asked, numbers), atol=1e-4
    )


def test_no_pair_with_a_question_that_is_asked_teaches(tmp_path):
    files = {
        "kb": [{"id": 1, "question": "怎么退货"}],
        "queries": [{"query": "想退货，怎么弄？", "answer_id": 1}],
        "out_of_scope": [{"query": "今天天气"}],
        "pairs": [
            {"a": "想退货 怎么弄", "b": "怎么退货", "same": 1},
            {"a": "退货的流程", "b": "怎么退货", "same": 1},
            {"a": "今天天气", "b": "天气如何", "same": 1},
            {"a": "怎么退货", "b": "怎么换货", "same": 0},
        ],
    }
    for name, rows in files.items():
        (tmp_path / name).write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    assert read(*(tmp_path / name for name in files)).confirmed == [("退货的流程", "怎么退货")]
