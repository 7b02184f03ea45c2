"""Questions in words no article has, understood through an embedding server, over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.town import town

SENDING = ("发货", "寄", "出仓")  # what the toy model knows to be one matter


async def embeddings(request: web.Request) -> web.Response:
    asked: dict[str, Any] = await request.json()
    texts = asked["input"]
    rows = [[float(any(word in text for word in SENDING)), len(text) / 50, 0.1] for text in texts]
    return web.json_response({"data": [{"index": n, "embedding": row} for n, row in enumerate(rows)]})


@pytest.fixture
async def model() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v1/embeddings", embeddings)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    await runner.cleanup()


async def test_a_question_in_new_words_is_understood_by_its_meaning(
    database_url: str, tmp_path: Path, model: str
) -> None:
    more = {"faq_meaning": "server", "faq_embeddings_url": model, "faq_vectors": tmp_path / "vectors.npz"}
    async with town(database_url, tmp_path, **more) as shop:
        await shop.until(lambda: shop.service.app.faq.matcher.meant)
        customer = shop.customer()
        shop.says(customer, "东西哪天出仓")
        await shop.until(lambda: shop.heard(customer))
        (menu,) = [one["msgmenu"] for one in shop.phone(customer) if one["msgtype"] == "msgmenu"]
        assert "发货" in menu["list"][0]["click"]["content"]


async def test_a_model_that_is_away_costs_no_answer(database_url: str, tmp_path: Path, unused_tcp_port: int) -> None:
    away = f"http://127.0.0.1:{unused_tcp_port}/v1"
    more = {"faq_meaning": "server", "faq_embeddings_url": away, "faq_vectors": tmp_path / "vectors.npz"}
    async with town(database_url, tmp_path, **more) as shop:
        customer = shop.customer()
        shop.says(customer, "请问多久发货呀？")
        await shop.until(lambda: shop.heard(customer))
        assert shop.heard(customer) == ["【发货】付款后 48 小时内发出。"]
