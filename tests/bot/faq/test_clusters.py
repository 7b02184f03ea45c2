import pytest

from bot.faq.clusters import sort

SAME = [
    ("可以寄到新疆吗", "新疆能寄吗", "寄新疆可以不"),
    ("猫粮开封了能放多久", "开封后的猫粮可以放几天", "猫粮开封能放多久呀"),
    ("你们有实体店吗", "实体店在哪里", "有没有实体店可以去"),
]
BACKGROUND = ["多久发货", "满多少包邮", "怎么退货", "积分怎么用", "可以开发票吗", "猫粮怎么选", "可以用优惠券吗"]


def sorted_texts(texts, known=None):
    found = sort(list(enumerate(texts)), known or {}, BACKGROUND)
    return [[texts[id_] for id_ in cluster.questions] for cluster in found]


def test_questions_that_mean_the_same_gather_and_others_stay_apart():
    mixed = [text for several in zip(*SAME, strict=True) for text in several]
    assert sorted(map(sorted, sorted_texts(mixed))) == sorted(map(sorted, map(list, SAME)))


@pytest.mark.parametrize(
    ("one", "other"), [("可以寄到新疆吗", "可以开发票吗"), ("猫粮怎么选", "狗粮能放多久"), ("几点关门", "几天发货")]
)
def test_what_only_shares_common_words_does_not_gather(one, other):
    assert sorted_texts([one, other]) == [[one], [other]]


def test_a_known_cluster_takes_more_of_the_same():
    (cluster,) = sort([(1, "新疆能寄到吗")], {7: ["可以寄到新疆吗"], 8: ["你们有实体店吗"]}, BACKGROUND)
    assert (cluster.id, cluster.questions) == (7, [1])


def test_sorting_is_the_same_every_time_and_nothing_is_lost():
    texts = [text for several in SAME for text in several] + ["", "？？", "🐱", "a"]
    assert sorted_texts(texts) == sorted_texts(texts)
    assert sum(map(len, sorted_texts(texts))) == len(texts)


def test_no_questions_are_no_clusters():
    assert sort([], {1: ["可以寄到新疆吗"]}, BACKGROUND) == []
