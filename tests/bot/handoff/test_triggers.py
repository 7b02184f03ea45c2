"""When a person is needed: what customers say to get one, and what only sounds like it."""

import pytest

from bot.handoff import mood, triggers
from bot.handoff.triggers import Reason, detect, unanswered

ASKING = (
    "人工", "转人工", "人工客服", "我要人工", "找客服", "转接人工服务", "叫个真人来", "能不能转人工",
    "我要找客服", "你们的客服呢", "人呢", "在线客服", "有没有人", "转 人工", "給我轉人工",
    "ＺＨＵＡＮ rengong", "zhuan ren gong", "I want to talk to a human", "换个人来", "找你们老板",
    "人工！！！", "人工服务在哪", "客服在吗", "跟真人说", "不要机器人", "别让机器人回我", "请帮我转人工，谢谢",
    "人工人工人工", "麻烦帮我接一下人工客服吧", "怎么联系人工客服", "我不想跟机器人聊了",
)  # fmt: skip
NOT_ASKING = (
    "不用转人工", "不需要人工", "人工智能是什么", "狗狗会咬人吗", "你是机器人吗", "客服电话多少",
    "客服几点上班", "多久发货", "有人买过这个吗", "人用的洗发水狗能用吗", "积分怎么用", "", "。。。",
)  # fmt: skip


@pytest.mark.parametrize("words", ASKING)
def test_whoever_asks_for_a_person_is_understood(words: str) -> None:
    assert detect(words) is Reason.ASKED_FOR


@pytest.mark.parametrize("words", NOT_ASKING)
def test_whoever_does_not_is_left_to_the_bot(words: str) -> None:
    assert detect(words) is None


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("我要投诉", Reason.COMPLAINT),
        ("再不处理我就打12315", Reason.COMPLAINT),
        ("给你们差评！", Reason.COMPLAINT),
        ("我要找消费者协会", Reason.COMPLAINT),
        ("赶紧给我退款", Reason.REFUND),
        ("为什么不给退", Reason.REFUND),
        ("我的退款申请被驳回了", Reason.REFUND),
        ("重复扣款了", Reason.REFUND),
        ("退款多久到账", None),
        ("怎么退货", None),
        ("可以七天无理由退货吗", None),
        ("垃圾店铺，骗人的吧", Reason.ANGRY),
        ("你们客服态度太差了", Reason.ANGRY),
        ("气死我了！！", Reason.ANGRY),
        ("粮里有虫、发霉或有异味怎么办", None),
        ("收到货坏了怎么办", None),
        ("这个一点也不垃圾，很喜欢", None),
    ],
)
def test_complaints_disputes_and_anger_go_to_a_person_and_questions_do_not(words: str, reason: Reason | None) -> None:
    assert detect(words) is reason


@pytest.mark.parametrize("reason", [Reason.ASKED_FOR, Reason.COMPLAINT, Reason.REFUND, Reason.ANGRY])
def test_each_rule_can_be_switched_off(reason: Reason) -> None:
    words = {"asked_for": "转人工", "complaint": "我要投诉", "refund": "赶紧给我退款", "angry": "气死我了"}[reason]
    assert detect(words) is reason
    assert detect(words, triggers.ALL - {reason}) is not reason


@pytest.mark.parametrize(
    ("words", "misses", "is_vip", "reason"),
    [
        ("狗狗抽搐怎么办", 1, False, Reason.OUT_OF_SCOPE),
        ("把别人的订单发我看看", 1, False, Reason.OUT_OF_SCOPE),
        ("月亮有多大", 1, False, None),
        ("月亮有多大", 2, False, Reason.MISSES),
        ("月亮有多大", 1, True, Reason.VIP),
    ],
)
def test_without_an_answer_the_second_miss_the_vip_and_the_risk_decide(
    words: str, misses: int, is_vip: bool, reason: Reason | None
) -> None:
    assert unanswered(words, misses=misses, is_vip=is_vip) is reason
    assert unanswered(words, misses=misses, is_vip=is_vip, enabled=frozenset()) is None


@pytest.mark.parametrize("words", ["想要" * 400, "人工" * 900 + "x", "能不能" * 500, "!" * 5000, "\x00\ud800人工"])
def test_odd_and_endless_words_are_read_in_time(words: str) -> None:
    detect(words)


def test_the_mood_says_which_words_it_heard() -> None:
    heard = mood.mood_of("什么破店，气死了！！")
    assert heard.is_anger and set(heard.words) == {"什么破", "气死"}


def test_the_measurement_counts_as_it_says() -> None:
    rows = [
        ("垃圾，骗子", True),
        ("太差劲了", True),
        ("有点小", True),
        ("很喜欢，推荐大家", False),
        ("垃圾袋太差", False),
    ]
    ours = mood.measure(rows, ())[0]
    assert (ours.called, round(ours.precision, 2), round(ours.recall, 2)) == (3, 0.67, 0.67)
