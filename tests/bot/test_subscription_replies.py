"""What members write about a subscription, as they write it."""

import pytest

from bot.subscribing.replies import Reply, Wish, is_yes, read

W = Wish


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("确认", W.CONFIRM),
        ("确认订购", W.CONFIRM),
        ("好的，确认发货", W.CONFIRM),
        ("照常发吧", W.CONFIRM),
        ("跳过", W.SKIP),
        ("这期跳过吧", W.SKIP),
        ("这个月先不要了", W.SKIP),
        ("下个月再发", W.SKIP),
        ("暂停订阅", W.PAUSE),
        ("我想暂停一下", W.PAUSE),
        ("恢复订阅", W.RESUME),
        ("取消订阅", W.CANCEL),
        ("我要取消我的订阅", W.CANCEL),
        ("不想订了", W.CANCEL),
        ("改地址", W.ADDRESS),
        ("地址要换", W.ADDRESS),
        ("改个日子", W.POSTPONE),
        ("推迟", W.POSTPONE),
    ],
)
def test_a_plain_word_is_understood(text: str, wish: Wish) -> None:
    found = read(text)
    assert found is not None and found.wish is wish


@pytest.mark.parametrize(
    ("text", "days", "months"),
    [
        ("推迟一周", 7, None),
        ("推迟 10 天", 10, None),
        ("麻烦晚两周发", 14, None),
        ("往后推半个月", 15, None),
        ("推迟一个月吧", 30, 1),
        ("暂停三个月", 90, 3),
        ("推迟", None, None),
    ],
)
def test_how_long_is_read_from_it(text: str, days: int | None, months: int | None) -> None:
    found = read(text)
    assert found is not None and (found.days, found.months) == (days, months)


@pytest.mark.parametrize(
    ("text", "wishes"),
    [
        ("确认取消", {W.CONFIRM, W.CANCEL}),
        ("取消", {W.SKIP, W.PAUSE, W.CANCEL}),
        ("不要了", {W.SKIP, W.PAUSE, W.CANCEL}),
        ("推迟一周或者跳过", {W.SKIP, W.POSTPONE}),
        ("先别取消", {W.CONFIRM, W.CANCEL}),
        ("退订", {W.CANCEL, W.UNPUSH}),
        ("改一下", {W.ADDRESS, W.POSTPONE, W.SKIP}),
        ("暂停还是取消好呢", {W.PAUSE, W.CANCEL}),
    ],
)
def test_what_means_two_things_is_asked_about(text: str, wishes: set[Wish]) -> None:
    found = read(text)
    assert found is not None and found.wish is None
    assert set(found.wishes) == wishes


@pytest.mark.parametrize(
    "text",
    ["", "多久发货", "怎么取消订单", "确认收货后多久能退", "帮我看看订单", "取消订单", "我家猫不爱吃这个粮怎么办"],
)
def test_other_lines_are_left_to_others(text: str) -> None:
    assert read(text) is None


def test_an_address_comes_along() -> None:
    assert read("改地址：上海市浦东新区世纪大道 100 号 8 楼") == Reply(
        (Wish.ADDRESS,), rest="上海市浦东新区世纪大道 100 号 8 楼"
    )


@pytest.mark.parametrize(
    ("text", "yes"), [("好的", True), ("可以呀", True), ("OK", True), ("好的吗？", False), ("好", True)]
)
def test_a_yes_is_a_yes(text: str, yes: bool) -> None:
    assert is_yes(text) is yes
