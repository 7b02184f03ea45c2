"""The gate: who is let through, who is not and why, asked again when it leaves, in few queries."""

import inspect
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from campaigns import brakes, gate_words, guard_rules, guards
from campaigns.guard_rules import Channel, Decision, Gate, PlatformQuota, Verdict
from campaigns.models.gate import PassState, Touch
from crm import consents, identities, merges
from crm.base import outbox
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.base.outbox import MarketingMessage, Message, OutboxRow
from crm.models.member import Member, MemberSource
from tests.factories import Make

GATE = Gate(quiet=None)


async def admit(
    sessions: Sessions,
    clock: FrozenClock,
    wanted: Mapping[int, str],
    *,
    channel: Channel = Channel.KF,
    gate: Gate = GATE,
    topic: str = consents.MARKETING,
) -> dict[int, Decision]:
    async with sessions.begin() as session:
        return await guards.admit(session, gate, wanted, channel=channel, topic=topic, now=clock.now())


async def recheck(sessions: Sessions, clock: FrozenClock, *refs: str, gate: Gate = GATE) -> dict[str, Decision]:
    async with sessions.begin() as session:
        return await guards.recheck(session, gate, refs, now=clock.now())


async def mark_sent(sessions: Sessions, clock: FrozenClock, ref: str) -> None:
    async with sessions.begin() as session:
        for statement in guards.sent(ref, at=clock.now()):
            await session.execute(statement)


async def code_of(sessions: Sessions, clock: FrozenClock, member: Member, ref: str, **more: object) -> str:
    return (await admit(sessions, clock, {member.id: ref}, **more))[member.id].code  # type: ignore[arg-type]


async def test_a_cap_counts_what_was_sent_and_what_may_still_be(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    member = await make.member()
    assert await code_of(sessions, clock, member, "a") == ""
    assert await code_of(sessions, clock, member, "a") == ""  # the same touch, not a second one
    assert await code_of(sessions, clock, member, "b") == "gate.frequency"
    clock.advance(hours=30)  # still pending: it may be sent this very moment
    assert await code_of(sessions, clock, member, "b") == "gate.frequency"
    await mark_sent(sessions, clock, "a")
    assert await code_of(sessions, clock, member, "a") == "gate.already_sent"
    held = (await admit(sessions, clock, {member.id: "b"}))[member.id]
    assert (held.verdict, held.until) == (Verdict.HELD, clock.now() + timedelta(days=1))
    clock.advance(hours=24)
    assert await code_of(sessions, clock, member, "b") == ""


async def test_what_is_released_or_cancelled_counts_no_longer(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    member = await make.member()
    await admit(sessions, clock, {member.id: "a"})
    async with sessions.begin() as session:
        await guards.release(session, "a")
    assert await code_of(sessions, clock, member, "b") == ""
    async with sessions.begin() as session:
        offer = MarketingMessage(lane="kf", dedupe_key="b", body={}, member_id=member.id, gate_ref="b")
        await outbox.put(session, [offer], now=clock.now())
        await outbox.cancel(session, OutboxRow.dedupe_key == "b", reason="a person takes over", now=clock.now())
    assert await code_of(sessions, clock, member, "a") == ""


async def test_an_opt_out_of_one_topic_leaves_the_others(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    gate, member, now = Gate(quiet=None, caps=()), await make.member(), clock.now()

    async def says(granted: bool, topic: str) -> None:
        say = consents.opt_in if granted else consents.opt_out
        async with sessions.begin() as session:
            await say(session, member.id, topic=topic, source="test", wording_version="1", now=clock.now())
        clock.advance(seconds=1)

    async def codes() -> list[str]:
        topics = ("toys", "food")
        return [await code_of(sessions, clock, member, f"{now}", gate=gate, topic=topic) for topic in topics]

    await says(False, "toys")
    assert await codes() == ["gate.opted_out", ""]
    await says(False, consents.MARKETING)
    assert await codes() == ["gate.opted_out", "gate.opted_out"]
    await says(True, consents.MARKETING)
    assert await codes() == ["gate.opted_out", ""]
    strict = Gate(quiet=None, caps=(), needs_opt_in=True)
    assert await code_of(sessions, clock, member, "x", gate=strict) == ""
    assert await code_of(sessions, clock, await make.member(), "x", gate=strict) == "gate.no_opt_in"


async def test_a_broadcast_waits_for_the_day_that_has_quota_and_groups_have_their_own(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    gate = Gate(quiet=None, caps=(), quota=PlatformQuota(per_day=1, per_month=2))
    member, group = await make.member(), await make.group()
    for ref in ("a", "b"):
        assert await code_of(sessions, clock, member, ref, gate=gate, channel=Channel.BROADCAST) == ""
        await mark_sent(sessions, clock, ref)
        again = (await admit(sessions, clock, {member.id: "c"}, gate=gate, channel=Channel.BROADCAST))[member.id]
        assert again.code == "gate.quota"
        clock.advance(days=1)
    assert again.until == datetime(2026, 3, 31, 16, 0, tzinfo=UTC)  # April in Shanghai
    assert await code_of(sessions, clock, member, "c", gate=gate, channel=Channel.KF) == ""
    async with sessions.begin() as session:
        first = await guards.admit_groups(session, gate, {group.id: "g1"}, now=clock.now())
        second = await guards.admit_groups(session, gate, {group.id: "g2"}, now=clock.now())
    assert (first[group.id].code, second[group.id].code) == ("", "gate.quota")
    assert (await recheck(sessions, clock, "g1", gate=gate))["g1"].is_allowed


async def test_what_wecom_says_of_its_quota_counts(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    gate, member = Gate(quiet=None, caps=()), await make.member()
    assert await code_of(sessions, clock, member, "a", gate=gate, channel=Channel.BROADCAST) == ""
    async with sessions.begin() as session:
        await guards.platform_refused(session, "a", [member.id], now=clock.now())
    assert await code_of(sessions, clock, member, "b", gate=gate, channel=Channel.BROADCAST) == "gate.quota"


async def test_an_open_complaint_keeps_marketing_away_until_it_is_closed(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    member = await make.member()
    async with sessions.begin() as session:
        await brakes.hold_member(session, member.id, ref="ticket:1", reason=brakes.COMPLAINT, now=clock.now())
    assert await code_of(sessions, clock, member, "a") == "gate.complaint"
    async with sessions.begin() as session:
        await brakes.lift(session, "ticket:1", now=clock.now())
        until = clock.now() + timedelta(days=3)
        await brakes.hold_member(session, member.id, ref="m", reason=brakes.MANUAL, until=until, now=clock.now())
    held = (await admit(sessions, clock, {member.id: "a"}))[member.id]
    assert (held.code, held.until) == ("gate.on_hold", until)
    clock.advance(days=3)
    assert await code_of(sessions, clock, member, "a") == ""


async def test_the_brake_holds_everything_and_is_pulled_once(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    member = await make.member()
    await admit(sessions, clock, {member.id: "a"})
    async with sessions.begin() as session:
        pulled = [await brakes.stop(session, by="adou", reason="写错了价", now=clock.now()) for _ in range(2)]
    assert pulled == [True, False]
    assert await code_of(sessions, clock, await make.member(), "b") == "gate.stopped"
    assert (await recheck(sessions, clock, "a"))["a"].code == "gate.stopped"
    async with sessions.begin() as session:
        let_go = [await brakes.resume(session, by="adou", now=clock.now()) for _ in range(2)]
    assert let_go == [True, False]
    assert (await recheck(sessions, clock, "a"))["a"].is_allowed


async def test_a_merged_person_is_judged_as_one(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    one, other = await make.member(), await make.member()
    await admit(sessions, clock, {one.id: "a", other.id: "a"})
    async with sessions.begin() as session:
        kept = await merges.merge(session, one.id, other.id, because="manual", now=clock.now())
    absorbed = other.id if kept == one.id else one.id
    found = await admit(sessions, clock, {kept: "b", absorbed: "b", 10**9: "b"})
    assert [found[who].code for who in (kept, absorbed, 10**9)] == ["gate.frequency", "gate.merged", "gate.unknown"]
    assert (await recheck(sessions, clock, "a"))["a"].is_allowed
    async with sessions.read() as session:
        assert len(await guards.going(session, "a")) == 1  # one person gets one copy


async def test_a_message_to_many_goes_to_those_who_may_still_be_contacted(
    sessions: Sessions, make: Make, clock: FrozenClock
) -> None:
    stays, leaves, complains = [await make.member() for _ in range(3)]
    ids = [stays.id, leaves.id, complains.id]
    await admit(sessions, clock, dict.fromkeys(ids, "cast"), channel=Channel.BROADCAST)
    async with sessions.begin() as session:
        await consents.opt_out(session, leaves.id, source="test", wording_version="1", now=clock.now())
        await brakes.hold_member(session, complains.id, ref="t", reason=brakes.COMPLAINT, now=clock.now())
    assert (await recheck(sessions, clock, "cast"))["cast"].is_allowed
    async with sessions.read() as session:
        assert await guards.going(session, "cast") == [stays.id]
        released = sa.select(Touch.code).where(Touch.state == PassState.RELEASED).order_by(Touch.member_id)
        assert list(await session.scalars(released)) == ["gate.opted_out", "gate.complaint"]


async def test_a_marketing_row_without_the_gate_cannot_be_written_and_a_made_up_one_does_not_leave(
    sessions: Sessions, clock: FrozenClock
) -> None:
    assert (await recheck(sessions, clock, "made up"))["made up"].code == "gate.no_pass"
    for purpose, ref in (("marketing", None), ("service", "a")):
        with pytest.raises(IntegrityError):
            async with sessions.begin() as session:
                await outbox.put(session, [Message(lane="kf", dedupe_key="x", body={})], now=clock.now())
                await session.execute(sa.update(OutboxRow).values(purpose=purpose, gate_ref=ref))


async def test_a_thousand_members_cost_a_handful_of_queries(sessions: Sessions, clock: FrozenClock) -> None:
    people = [identities.wechat_person(f"wm{n}") for n in range(1000)]
    async with sessions.begin() as session:
        ids = await identities.enrol_batch(session, people, source=MemberSource.IMPORT, now=clock.now())
    asked: list[str] = []
    engine = sessions.writer.sync_engine

    def note(*arguments: object) -> None:
        asked.append(str(arguments[2]))

    sa.event.listen(engine, "before_cursor_execute", note)
    decisions = await admit(sessions, clock, dict.fromkeys(ids, "w"), channel=Channel.BROADCAST)
    sa.event.remove(engine, "before_cursor_execute", note)
    assert sum(one.is_allowed for one in decisions.values()) == 1000
    assert len([one for one in asked if "BEGIN" not in one]) <= 12


def test_every_code_has_words() -> None:
    source = "".join(inspect.getsource(module) for module in (guards, guard_rules))
    codes = set(re.findall(r'"(gate\.\w+)"', source))
    assert codes == set(gate_words.WORDS)
