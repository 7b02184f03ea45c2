"""One token for all callers and all processes: asked for once, renewed early, dropped by value, never hammered."""

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa

from bot.models.wecom import WecomToken
from bot.wecom.errors import Busy, NotAllowed, OutcomeUnknown, RateLimited, SecretRefused, Unreachable
from bot.wecom.token import GETTOKEN, AppKey, TokenCache
from crm.base.clock import MovableClock
from crm.base.db import open_sessions
from tests.bot.wecom.fakes import FakeTransport, HastyClock

APPS = {"shop": AppKey(1000002, "S1"), "desk": AppKey(1000003, "S2")}


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


@pytest.fixture
async def new_cache(transport, sessions, clock):
    """Caches as separate processes would have them: each with its own memory, all on one database."""
    made = []

    def make(*, clock=clock, sessions=sessions, apps=APPS) -> TokenCache:
        made.append(TokenCache(transport, sessions, clock, "ww1", apps))
        return made[-1]

    yield make
    for cache in made:
        await cache.close()


def asked(transport: FakeTransport) -> int:
    return len(transport.to(GETTOKEN))


async def test_a_token_is_asked_for_once_and_then_remembered(new_cache, transport):
    cache = new_cache()
    assert [await cache.get("shop") for _ in range(3)] == ["T1"] * 3
    assert [request.params for request in transport.requests] == [{"corpid": "ww1", "corpsecret": "S1"}]


async def test_each_app_has_its_own_token(new_cache):
    cache = new_cache()
    assert await cache.get("shop") != await cache.get("desk")


async def test_fifty_callers_at_once_ask_once(new_cache, transport):
    cache = new_cache()
    assert set(await asyncio.gather(*(cache.get("shop") for _ in range(50)))) == {"T1"}
    assert asked(transport) == 1


async def test_a_second_process_reads_what_the_first_was_given(new_cache, transport):
    assert await new_cache().get("shop") == "T1"
    assert await new_cache().get("shop") == "T1"
    assert asked(transport) == 1


class Racing(TokenCache):
    """Looks at the shared row, and goes on when the other process has looked too: both saw that there is no token."""

    barrier: asyncio.Barrier | None = None

    async def _look(self, app):
        seen = await super()._look(app)
        barrier, self.barrier = self.barrier, None
        if barrier is not None:
            await barrier.wait()
        return seen


class RacingUnleased(Racing):
    """The twin that loses: it takes the lease and goes on whether it got it or not."""

    async def _lease(self, app, seen):
        await super()._lease(app, seen)
        return True


async def race(kind: type[Racing], transport: FakeTransport, database_url: str) -> list[str]:
    processes = [open_sessions(database_url) for _ in range(2)]
    caches = [kind(transport, sessions, MovableClock(), "ww1", APPS) for sessions in processes]
    barrier = asyncio.Barrier(2)
    for cache in caches:
        cache.barrier = barrier
    try:
        return await asyncio.gather(*(cache.get("shop") for cache in caches for _ in range(10)))
    finally:
        for cache, sessions in zip(caches, processes, strict=True):
            await cache.close()
            await sessions.close()


async def test_two_processes_racing_ask_once(database_url, transport):
    assert set(await race(Racing, transport, database_url)) == {"T1"}
    assert asked(transport) == 1


async def test_the_race_is_real_without_the_lease(database_url, transport):
    assert set(await race(RacingUnleased, transport, database_url)) == {"T1", "T2"}
    assert asked(transport) == 2


async def test_a_lease_whose_holder_died_is_taken_over(new_cache, transport, clock, sessions):
    async with sessions.begin() as session:
        session.add(WecomToken(app="shop", credentials=new_cache()._credentials("shop"), refreshing_until=clock.now()))
    assert await new_cache().get("shop") == "T1"


async def test_a_lease_is_waited_out_when_its_holder_was_killed(new_cache, transport, sessions):
    clock = HastyClock()
    cache = new_cache(clock=clock)
    until = clock.now() + timedelta(seconds=15)
    async with sessions.begin() as session:
        session.add(WecomToken(app="shop", credentials=cache._credentials("shop"), refreshing_until=until))
    assert await cache.get("shop") == "T1"
    assert sum(clock.slept) == pytest.approx(15, abs=0.2)


async def test_a_token_is_renewed_five_minutes_early_while_others_go_on_with_the_old(new_cache, transport, clock):
    cache = new_cache()
    await cache.get("shop")
    clock.advance(seconds=7200 - 301)
    assert await cache.get("shop") == "T1"
    assert asked(transport) == 1
    clock.advance(seconds=1)
    assert await cache.get("shop") == "T1"  # nobody waits for the renewal this starts
    await asyncio.gather(*cache._flights.values())
    assert await cache.get("shop") == "T2"
    assert asked(transport) == 2


async def test_an_expired_token_is_not_handed_out(new_cache, transport, clock):
    cache = new_cache()
    await cache.get("shop")
    clock.advance(seconds=7200)
    assert await cache.get("shop") == "T2"


async def test_being_given_the_same_token_again_does_not_make_us_ask_at_every_call(new_cache, transport, clock):
    transport.usual[GETTOKEN] = {"errcode": 0, "access_token": "T1", "expires_in": 200}
    cache = new_cache()
    for _ in range(20):
        assert await cache.get("shop") == "T1"
        await asyncio.gather(*cache._flights.values())
        clock.advance(seconds=1)
    assert asked(transport) == 1


async def test_a_failed_early_renewal_leaves_the_old_token_in_use(new_cache, transport, clock):
    cache = new_cache()
    await cache.get("shop")
    clock.advance(seconds=7000)
    transport.queue(GETTOKEN, Unreachable(path=GETTOKEN))
    for _ in range(5):
        assert await cache.get("shop") == "T1"
        await asyncio.gather(*cache._flights.values(), return_exceptions=True)
    assert asked(transport) == 2  # and it is not tried again at once
    clock.advance(seconds=31)
    await cache.get("shop")
    await asyncio.gather(*cache._flights.values())
    assert await cache.get("shop") == "T2"


async def test_dropping_is_by_value_so_fifty_failures_cost_one_refresh(new_cache, transport):
    cache = new_cache()
    used = await cache.get("shop")

    async def fail_and_get() -> str:
        cache.drop("shop", used)
        return await cache.get("shop")

    assert set(await asyncio.gather(*(fail_and_get() for _ in range(50)))) == {"T2"}
    cache.drop("shop", used)  # a straggler with the old token
    assert await cache.get("shop") == "T2"
    assert asked(transport) == 2


async def test_a_dropped_token_is_not_taken_back_from_the_shared_row(new_cache, transport):
    first, second = new_cache(), new_cache()
    assert await first.get("shop") == await second.get("shop") == "T1"
    first.drop("shop", "T1")
    assert await first.get("shop") == "T2"
    second.drop("shop", "T1")
    assert await second.get("shop") == "T2"  # read, not asked for
    assert asked(transport) == 2


async def test_a_refused_secret_is_not_asked_again_until_the_pause_is_over(new_cache, transport, clock):
    transport.usual[GETTOKEN] = {"errcode": 40001, "errmsg": "invalid credential, hint: [77]"}
    cache, other = new_cache(), new_cache()
    for _ in range(10):
        for process in (cache, other):
            with pytest.raises(SecretRefused) as refused:
                await process.get("shop")
            assert refused.value.hint == "77"
    assert asked(transport) == 1
    pauses = []
    for _ in range(8):
        waited = 0
        while asked(transport) == len(pauses) + 1:
            clock.advance(seconds=30)
            waited += 30
            with pytest.raises(SecretRefused):
                await cache.get("shop")
        pauses.append(waited)
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600]


async def test_a_corrected_secret_is_tried_at_once(new_cache, transport):
    transport.queue(GETTOKEN, {"errcode": 40001, "errmsg": "invalid credential"})
    with pytest.raises(SecretRefused):
        await new_cache().get("shop")
    assert await new_cache(apps={"shop": AppKey(1000002, "right")}).get("shop") == "T1"


async def test_a_token_of_the_old_secret_is_not_used_for_the_new_one(new_cache, transport):
    assert await new_cache().get("shop") == "T1"
    assert await new_cache(apps={"shop": AppKey(1000002, "new")}).get("shop") == "T2"


async def test_other_refusals_of_the_platform_pause_too(new_cache, transport):
    transport.usual[GETTOKEN] = {"errcode": 60020, "errmsg": "not allow to access from your ip"}
    cache = new_cache()
    for _ in range(5):
        with pytest.raises(NotAllowed):
            await cache.get("shop")
    assert asked(transport) == 1


async def test_throttled_by_the_platform_we_keep_still_for_an_hour(new_cache, transport, clock):
    transport.queue(GETTOKEN, {"errcode": 45009, "errmsg": "freq out of limit"})
    cache = new_cache()
    with pytest.raises(RateLimited):
        await cache.get("shop")
    clock.advance(minutes=59)
    with pytest.raises(RateLimited) as limited:
        await cache.get("shop")
    assert limited.value.retry_after == 60
    clock.advance(minutes=1)
    assert await cache.get("shop") == "T1"


@pytest.mark.parametrize("error", [OutcomeUnknown(path=GETTOKEN), Busy(-1, "busy", GETTOKEN), Unreachable()])
async def test_an_unanswered_request_can_be_made_again_at_once(new_cache, transport, error):
    transport.queue(GETTOKEN, error)
    cache = new_cache()
    with pytest.raises(Unreachable):
        await cache.get("shop")
    assert await cache.get("shop") == "T1"


async def test_a_token_that_the_platform_keeps_refusing_is_asked_for_six_times_a_minute_at_most(
    new_cache, transport, clock
):
    cache = new_cache()
    for _ in range(6):
        cache.drop("shop", await cache.get("shop"))
    with pytest.raises(RateLimited):
        await cache.get("shop")
    assert asked(transport) == 6
    clock.advance(seconds=60)
    assert await cache.get("shop") == "T7"


@pytest.mark.parametrize("answer", [{"errcode": 0}, {"access_token": "x", "expires_in": "soon"}])
async def test_an_answer_without_a_token_is_an_error_and_ends_the_lease(new_cache, transport, answer):
    transport.queue(GETTOKEN, answer)
    cache = new_cache()
    with pytest.raises(Exception, match="no token in the answer"):
        await cache.get("shop")
    assert await cache.get("shop") == "T1"


async def test_a_caller_that_gives_up_does_not_stop_the_refresh_for_the_others(new_cache, transport):
    started = asyncio.Event()

    async def slowly():
        started.set()
        await asyncio.sleep(0.05)
        return {"errcode": 0, "access_token": "T1", "expires_in": 7200}

    transport.usual[GETTOKEN] = slowly
    cache = new_cache()
    impatient, patient = asyncio.create_task(cache.get("shop")), asyncio.create_task(cache.get("shop"))
    await started.wait()
    impatient.cancel()
    assert await patient == "T1"
    assert asked(transport) == 1


async def test_secrets_and_tokens_stay_out_of_reprs(new_cache, sessions):
    cache = new_cache()
    await cache.get("shop")
    assert "S1" not in repr(APPS)
    assert "T1" not in repr(cache._held)
    async with sessions.read() as session:
        row = (await session.execute(sa.select(WecomToken))).scalar_one()
    assert "S1" not in row.credentials
    assert row.expires_at - row.fetched_at == timedelta(hours=2)
