"""What offers take off a basket: cases by hand, and what no basket and no wallet can break."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns import offer_rules
from campaigns.models.offer import OfferKind
from campaigns.offer_rules import Basket, Line, Terms, Unfit

FOOD, TOY = Line(sku="F1", category="猫粮", price_fen=9900), Line(sku="T1", category="玩具", quantity=2, price_fen=1550)
BASKET = Basket(lines=[FOOD, TOY], shipping_fen=800)  # 9900 + 3100 + 800
TEN_OFF_100 = Terms(kind=OfferKind.AMOUNT, amount_fen=1000, threshold_fen=10_000, stacks=True)
FIFTH_OFF_FOOD = Terms(
    kind=OfferKind.PERCENT, percent_bp=2000, cap_fen=1500, categories=frozenset({"猫粮"}), stacks=True
)
FREE_SHIPPING = Terms(kind=OfferKind.SHIPPING, stacks=True)
GIFT = Terms(kind=OfferKind.GIFT, gift_sku="G1", gift_fen=500, threshold_fen=5000, stacks=True)
BIG_ALONE = Terms(kind=OfferKind.AMOUNT, amount_fen=3000)


@pytest.mark.parametrize(
    ("terms", "to_pay"),
    [
        ([TEN_OFF_100], 12_800),
        ([FIFTH_OFF_FOOD], 12_300),
        ([FREE_SHIPPING], 13_000),
        ([Terms(kind=OfferKind.SHIPPING, amount_fen=500)], 13_300),
        ([GIFT], 13_800),
        ([TEN_OFF_100, FIFTH_OFF_FOOD], 11_300),  # of 9900 - 762 a fifth is above the cap of 1500
        ([TEN_OFF_100, FIFTH_OFF_FOOD, FREE_SHIPPING, GIFT], 10_500),
        ([BIG_ALONE], 10_800),
        ([Terms(kind=OfferKind.AMOUNT, amount_fen=99_999)], 800),
        ([Terms(kind=OfferKind.PERCENT, percent_bp=10_000)], 800),
    ],
)
def test_the_price_of_a_basket(terms: list[Terms], to_pay: int) -> None:
    assert offer_rules.quote(BASKET, [(f"C{n}", one) for n, one in enumerate(terms)]).to_pay_fen == to_pay


@pytest.mark.parametrize(
    ("terms", "reason", "missing"),
    [
        (Terms(kind=OfferKind.AMOUNT, amount_fen=100, threshold_fen=20_000), "threshold", 7000),
        (Terms(kind=OfferKind.AMOUNT, amount_fen=100, threshold_fen=9901, skus=frozenset({"F1"})), "threshold", 1),
        (Terms(kind=OfferKind.AMOUNT, amount_fen=100, skus=frozenset({"X"})), "scope", 0),
        (Terms(kind=OfferKind.PERCENT, percent_bp=1, skus=frozenset({"F"}), categories=frozenset({"x"})), "scope", 0),
    ],
)
def test_a_coupon_that_does_nothing_says_why(terms: Terms, reason: str, missing: int) -> None:
    assert offer_rules.quote(BASKET, [("C", terms)]).unfit == (Unfit(code="C", reason=reason, missing_fen=missing),)


def test_one_that_does_not_stack_goes_alone_and_the_best_way_is_found() -> None:
    wallet = [("A", TEN_OFF_100), ("B", BIG_ALONE), ("C", FREE_SHIPPING)]
    quoted = offer_rules.quote(BASKET, wallet)
    assert [one.code for one in quoted.saved] == ["B"]
    assert {one.code: one.reason for one in quoted.unfit} == {"A": "not_together", "C": "not_together"}
    assert [one.code for one in offer_rules.best(BASKET, wallet).saved] == ["B"]
    assert [one.code for one in offer_rules.best(BASKET, [*wallet, ("D", FIFTH_OFF_FOOD)]).saved] == ["A", "D", "C"]
    assert offer_rules.best(BASKET, []).to_pay_fen == 13_800


amounts = st.integers(0, 30_000)
skus = st.sampled_from(["a", "b", "c"])
lines = st.builds(Line, sku=skus, category=st.sampled_from(["x", "y"]), quantity=st.integers(1, 3), price_fen=amounts)
baskets = st.builds(Basket, lines=st.lists(lines, max_size=4), shipping_fen=st.integers(0, 2000))
terms = st.builds(
    Terms,
    kind=st.sampled_from(OfferKind),
    amount_fen=amounts,
    percent_bp=st.integers(0, 10_000),
    cap_fen=st.none() | st.integers(1, 5000),
    threshold_fen=amounts,
    skus=st.frozensets(skus, max_size=2),
    categories=st.frozensets(st.sampled_from(["x", "y"]), max_size=1),
    stacks=st.booleans(),
)
wallets = st.lists(terms, max_size=5).map(lambda some: [(f"C{n}", one) for n, one in enumerate(some)])


@settings(max_examples=150, deadline=None)
@given(basket=baskets, wallet=wallets)
def test_no_wallet_makes_a_basket_cost_less_than_nothing_or_takes_more_than_its_terms(
    basket: Basket, wallet: list[tuple[str, Terms]]
) -> None:
    quoted, by_code = offer_rules.quote(basket, wallet), dict(wallet)
    assert 0 <= quoted.to_pay_fen <= quoted.goods_fen + quoted.shipping_fen
    assert sum(quoted.lines_fen) == quoted.goods_fen - sum(one.goods_fen for one in quoted.saved)
    assert all(0 <= left <= line.fen for left, line in zip(quoted.lines_fen, basket.lines, strict=True))
    assert sorted(one.code for one in (*quoted.saved, *quoted.unfit)) == sorted(by_code)
    assert all(by_code[one.code].stacks for one in quoted.saved) or len(quoted.saved) == 1
    for one in quoted.saved:
        own = by_code[one.code]
        mine = [line.fen for line in basket.lines if own.is_for(line)]
        assert mine and sum(mine) >= own.threshold_fen and one.goods_fen <= sum(mine)
        if own.kind is OfferKind.AMOUNT:
            assert one.goods_fen <= own.amount_fen
        if own.kind is OfferKind.PERCENT:
            assert one.goods_fen <= (own.cap_fen or 10**9) and one.goods_fen * 10_000 <= sum(mine) * own.percent_bp
        if own.kind in {OfferKind.GIFT, OfferKind.SHIPPING}:
            assert one.goods_fen == 0 and one.shipping_fen <= basket.shipping_fen


@settings(max_examples=80, deadline=None)
@given(basket=baskets, wallet=wallets)
def test_no_single_coupon_beats_the_best_way(basket: Basket, wallet: list[tuple[str, Terms]]) -> None:
    found = offer_rules.best(basket, wallet)
    assert all(found.to_pay_fen <= offer_rules.quote(basket, [one]).to_pay_fen for one in wallet)
    assert found.unfit == () or found.saved
