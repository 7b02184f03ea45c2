import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.faq.normalize import MAX_CHARS, fold_synonyms, normalize, says_nothing
from bot.faq.numbers import numbers
from bot.faq.synonyms import SYNONYMS

chinese = st.text(
    alphabet="你好您请问一下吗呢啊哈吧亲在不退貨款發票郵費优惠券卷猫咪狗 ，。！？Ａ1.5😀\x00\n", max_size=40
)


@given(st.one_of(st.text(max_size=600), chinese))
def test_normalising_twice_changes_nothing(text):
    assert normalize(normalize(text)) == normalize(text)


@given(st.text(max_size=600))
def test_the_result_is_short_and_holds_no_control_characters(text):
    plain = normalize(text)
    assert len(plain) <= MAX_CHARS
    assert not [char for char in plain if unicodedata.category(char).startswith("C")]


@pytest.mark.parametrize(
    ("typed", "plain"),
    [
        pytest.param("ＡＢＣ１２３", "abc123", id="width and case"),
        pytest.param("請問發票怎麼開？", "发票怎么开", id="traditional, greeting, punctuation"),
        pytest.param("你好，请问一下包邮吗😀😀", "包邮", id="fillers and emoji"),
        pytest.param("亲，哈士奇吃什么呢", "哈士奇吃什么", id="a filler's character inside a word stays"),
        pytest.param("亲戚家的猫", "戚家的猫", id="known price: 亲 goes from the front"),
        pytest.param("买1.5kg的。", "买1.5kg的", id="a decimal point stays"),
        pytest.param("满 88 元\n包邮", "满88元包邮", id="blanks and line breaks"),
        pytest.param("退\x00款\u200b多久", "退款多久", id="control and zero-width characters"),
        pytest.param("请帮我查物流可以么", "查物流可以", id="how one asks for a thing is not the thing"),
        pytest.param("请假怎么办", "请假怎么办", id="a word that begins like it stays"),
        pytest.param("退款怎么", "退款怎么", id="怎么 is no 么"),
        pytest.param("你好吗", "你好吗", id="fillers alone are kept"),
        pytest.param("？！……", "", id="punctuation alone is nothing"),
        pytest.param("", "", id="empty"),
    ],
)
def test_spelling_differences_disappear(typed, plain):
    assert normalize(typed) == plain


@pytest.mark.parametrize("text", ["", "   ", "😀", "你好", "在吗", "请问一下", "您好呀", "？"])
def test_greetings_and_signs_say_nothing(text):
    assert says_nothing(text)


@pytest.mark.parametrize("text", ["包邮吗", "退款", "猫"])
def test_a_word_with_meaning_says_something(text):
    assert not says_nothing(text)


def test_synonyms_become_one_word_and_words_are_not_folded_twice():
    assert fold_synonyms("邮费几天") == "运费多久"
    assert fold_synonyms("优惠卷用不了") == fold_synonyms("代金券不能用")
    assert fold_synonyms("没有券") == "没有券"
    assert fold_synonyms("支付宝怎么支付") == "支付宝怎么付款"


def test_every_word_counts_as_one_other():
    variants = [word for typed in SYNONYMS.values() for word in typed.split()]
    assert len(set(variants)) == len(variants)
    assert set(variants).isdisjoint(SYNONYMS)


@pytest.mark.parametrize(
    ("text", "spoken_of"),
    [
        pytest.param("6点10分的闹钟", {"6", "10"}, id="digits"),
        pytest.param("六点四十分的闹钟", {"6", "40"}, id="written"),
        pytest.param("两万三千五百块", {"23500"}, id="a large one"),
        pytest.param("满二十件减十元", {"20", "10"}, id="counting words"),
        pytest.param("1.5kg和第3次", {"1.5", "3"}, id="a fraction"),
        pytest.param("万一不一样，再来一次", set(), id="words, and 1 that counts nothing"),
    ],
)
def test_numbers_are_read_however_they_are_written(text, spoken_of):
    assert numbers(text) == spoken_of
