"""From the outbox to the phone: once, whoever dies in between; never where a person has the talk."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.models.conversation import Conversation
from bot.wecom import lanes
from bot.wecom.api.kf import ServiceState
from bot.wecom.sender import Sender
from bot.wecom.sending import Lane, Sent
from crm.base import outbox
from crm.base.outbox import Claimed
from crm.base.peers import Peers
from tests.town import KF, Town, town

Msgid = Callable[[Claimed], str]


def of_the_row(one: Claimed) -> str:
    return one.dedupe_key


def any_new_one(_one: Claimed) -> str:
    return secrets.token_hex(16)


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    """A shop in which nobody works yet."""
    async with town(database_url, tmp_path, works=False) as opened:
        yield opened


async def put_a_message(shop: Town, customer: str, *, state: ServiceState = ServiceState.UNTREATED) -> None:
    """An answer to a customer's question, waiting in the outbox."""
    shop.says(customer, "多久发货")
    now = shop.clock.now()
    async with shop.service.app.sessions.begin() as session:
        talk = Conversation(
            open_kfid=KF, external_userid=customer, last_customer_at=now, service_state=state, created_at=now
        )
        session.add(talk)
        await session.flush()
        to = lanes.KfAddress(talk.id, KF, customer, None)
        payload = {"msgtype": "text", "text": {"content": "【发货】"}}
        await outbox.put(session, [lanes.kf_message(to, payload, because=("test",), deadline=None)], now=now)


@asynccontextmanager
async def sender(shop: Town, peers: Peers, msgid: Msgid, *, dies: bool = False) -> AsyncIterator[None]:
    """A sender at work. One that dies is gone after its first send was accepted and before it is settled."""
    app, kf = shop.service.app, shop.service.client.kf

    async def send(one: Claimed) -> Sent:
        answered = await kf.send_msg(one.body["message"], msgid=msgid(one))
        if dies:
            raise asyncio.CancelledError
        return Sent({"msgid": answered})

    working = Sender(app.sessions, peers, app.clock, random.Random(7), {lanes.KF: Lane(4, send)})
    loop = asyncio.create_task(working.run())
    try:
        yield
    finally:
        loop.cancel()
        await asyncio.wait([loop])


@pytest.mark.parametrize(("msgid", "shown"), [(of_the_row, 1), (any_new_one, 2)], ids=["same-msgid", "new-msgid"])
async def test_a_send_repeated_after_a_death_shows_twice_only_without_its_msgid(
    shop: Town, msgid: Msgid, shown: int
) -> None:
    customer = shop.customer()
    await put_a_message(shop, customer)
    gone = Peers(shop.service.app.sessions, chance=random.Random(1))  # never joined: nobody will see it alive
    async with sender(shop, gone, msgid, dies=True):
        await shop.until(lambda: shop.heard(customer))
    async with sender(shop, shop.service.app.peers, msgid):
        await shop.until(lambda: shop.calls("/cgi-bin/kf/send_msg") == 2)
        await shop.quiet()
    assert shop.heard(customer) == ["【发货】"] * shown
