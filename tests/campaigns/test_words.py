"""Words of advertising law: found where they are, hidden or not, and no false alarm in everyday sentences."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns import words
from campaigns.words import Level, WordsRefused, WordsUnreadable

WORDS = words.read()


def groups(text: str) -> list[str]:
    return [one.group for one in WORDS.check(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("全网最低价，闭眼入", "first"),
        ("这是最好的猫粮", "superlative"),
        ("最 佳 口 感", "superlative"),
        ("最*佳*口感", "superlative"),
        ("最\u200b佳口感", "superlative"),
        ("銷量第一的狗粮", "first"),
        ("ＮＯ．１ 品牌", "first"),
        ("国家级配方", "first"),
        ("吃了根治软便", "medical"),
        ("预防猫的糖尿病", "medical"),
        ("好评返现 5 元", "review"),
        ("转发朋友圈领取罐头", "share"),
        ("加薇信了解", "elsewhere"),
        ("vx：maoqiu2026", "elsewhere"),
        ("去淘宝搜同款", "to_elsewhere"),
        ("错过再等一年", "pressure"),
        ("拉人头就能躺赚", "finance"),
        ("国宴特供牛肉", "state"),
    ],
)
def test_what_should_be_said_differently_is_found(text: str, found: str) -> None:
    assert found in groups(text)


@pytest.mark.parametrize(
    "text",
    [
        "最近天气凉了，记得给毛孩子加餐",
        "第一次下单立减 10 元",
        "今天是活动最后一天，22:00 截止",
        "最后三件，售完下架",
        "最新到货：三文鱼罐头",
        "换粮最好分七天慢慢来",
        "第一时间为您安排发货",
        "第一步：打开链接；第二步：领券",
        "最多可领 2 张，最低消费 99 元，最高减 50 元",
        "最优惠券已自动使用",
        "本品不能替代药物，生病请看兽医",
        "请遵医嘱治疗皮肤病",
        "晒单送 50 积分，好坏都欢迎",
        "微信客服随时在，9:00–21:00",
        "唯一编号在吊牌上",
        "国家级自然保护区徒步活动",
        "VIP 会员日，满 199 减 40",
        "加一件更划算，加微笑贴纸一张",
        "完美的一天从散步开始",
        "首单包邮，首次入会送试吃",
        "邀请好友入会，双方各得 20 元券",
        "最爱的小鱼干来啦，最期待的一天",
        "冠军宠物店地址：中山路 1 号",
        "top10 热销清单",
    ],
)
def test_everyday_sentences_raise_no_alarm(text: str) -> None:
    assert WORDS.check(text) == []


def test_the_place_is_told_in_the_text_as_written() -> None:
    text = "新品上架！最 佳口感，好评返现"
    places = [(text[one.start : one.end], one.text, one.kind) for one in WORDS.check(text)]
    assert places == [("最 佳", "最 佳", "绝对化用语"), ("好评返现", "好评返现", "评价造假")]
    assert all(one.suggest for one in WORDS.check(text))


def test_a_warning_is_saved_once_it_is_confirmed_and_a_refusal_never() -> None:
    with pytest.raises(WordsRefused):
        WORDS.must_pass("错过再等一年")
    WORDS.must_pass("错过再等一年", is_confirmed=True)
    with pytest.raises(WordsRefused) as refused:
        WORDS.must_pass("错过再等一年，全网最低价", is_confirmed=True)
    assert [one.level for one in refused.value.findings] == [Level.REFUSE]


def test_a_shop_adds_words_spares_some_and_leaves_a_group_out(tmp_path: Path) -> None:
    own = tmp_path / "words.toml"
    own.write_text(
        """
        [[group]]
        id = "rivals"
        level = "refuse"
        kind = "别家的名字"
        find = ['隔壁老王']
        [[group]]
        id = "superlative"
        unless = ['最好吃小鱼干']
        [[group]]
        id = "pressure"
        off = true
        """,
        encoding="utf-8",
    )
    shop = words.read(own)
    assert [one.group for one in shop.check("隔壁老王的最好吃小鱼干，错过再等一年，最佳")] == ["rivals", "superlative"]


@pytest.mark.parametrize(
    "text", ["[[group]]\nid = 1", "[[group", '[[group]]\nid = "a"\nfind = ["("]', '[[group]]\nid="a"\nfind=[".*"]']
)
def test_a_list_that_cannot_be_read_says_why(tmp_path: Path, text: str) -> None:
    own = tmp_path / "words.toml"
    own.write_text(text, encoding="utf-8")
    with pytest.raises(WordsUnreadable) as refused:
        words.read(own)
    assert refused.value.reason


@given(st.text(alphabet="最好佳第一次 *\n，😀Ｖv信加\u200bé", max_size=60))
def test_any_text_is_read_and_places_lie_inside_it(text: str) -> None:
    for one in WORDS.check(text):
        assert text[one.start : one.end] == one.text != ""
