"""A customer's first conversation, over HTTP through the simulator, ending with what the phone shows."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.town import KF, SERVICER, Town, town, words


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with town(database_url, tmp_path) as opened:
        yield opened


async def test_a_question_is_answered_on_the_phone(shop: Town) -> None:
    customer = shop.customer()
    shop.says(customer, "请问多久发货呀？")
    await shop.until(lambda: shop.heard(customer))
    assert shop.heard(customer) == ["【发货】付款后 48 小时内发出。"]


async def test_whoever_opens_the_chat_is_greeted_once_with_a_menu_that_works(shop: Town) -> None:
    customer = shop.customer()
    shop.simulator.world.customer_enters(customer, KF)
    await shop.until(lambda: shop.phone(customer))
    (greeting,) = [one for one in shop.phone(customer) if one["msgtype"] == "msgmenu"]
    first = greeting["msgmenu"]["list"][0]["click"]
    shop.says(customer, first["content"], first["id"])
    await shop.until(lambda: len(shop.heard(customer)) == 2)
    assert shop.heard(customer)[1] == "【发货】付款后 48 小时内发出。"


async def test_a_new_contact_is_greeted_by_the_employee_they_added(shop: Town) -> None:
    customer = shop.customer()
    shop.simulator.world.add_contact(SERVICER, customer, silent=False)
    await shop.until(lambda: [one for one in shop.phone(customer, SERVICER) if "毛球小铺" in words(one)])
