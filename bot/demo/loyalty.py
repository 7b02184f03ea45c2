"""The demo shop's points and levels, as its articles tell them, and what its customers have of both when it opens."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm import check_ins, level_changes, level_programme, levels, loyalty_rules, points, rule_tags
from crm.base.db import Sessions
from crm.level_programme import LevelTold, ProgrammeTold
from crm.models.order import MemberOrders
from crm.point_ledger import Cause
from crm.point_rules import PointRules

POINTS = PointRules(daily_caps={"review": 60})
LEVELS = ProgrammeTold(
    levels=[
        LevelTold(name="普通", threshold_fen=0),
        LevelTold(name="银卡", threshold_fen=50_000, benefits={"每月免邮券": 1, "生日券": "满 100 减 15"}),
        LevelTold(
            name="金卡",
            threshold_fen=200_000,
            benefits={"每月免邮券": 2, "生日券": "满 100 减 25", "秒杀提前分钟": 5},
        ),
        LevelTold(
            name="黑卡",
            threshold_fen=500_000,
            benefits={"每月免邮券": 4, "生日券": "满 100 减 40", "秒杀提前分钟": 10, "专属客服": True},
        ),
    ]
)
TOGETHER = 20
STREAK = 6  # days in a row of the one whose phone is looked at first: the next check-in brings the reward


async def open_programme(session: AsyncSession, *, now: datetime) -> None:
    """Levels are shown to staff a moment later, by hand_out()."""
    await loyalty_rules.set_points(session, POINTS, by="dianzhang", now=now)
    await level_programme.define(session, LEVELS.model_copy(update={"mirrored": False}), by="dianzhang", now=now)


async def hand_out(sessions: Sessions, members: Sequence[int], *, now: datetime) -> None:
    """What the old shop system knew: everybody's balance; and levels by what they spent, judged at once.

    Last, everybody's level is marked in WeCom: some hundred calls, which need not come before the first words.
    """
    first = members[0]
    async with sessions.begin() as session:
        for days in range(STREAK, 0, -1):
            await check_ins.check_in(session, first, now=now - timedelta(days=days))
        spent = await _spent(session, members)
    for some in (
        spent[at : at + TOGETHER] for at in range(0, len(spent), TOGETHER)
    ):  # who chats meanwhile need not wait for all of them
        async with sessions.begin() as session:
            for member_id, yuan in some:
                cause, by = Cause("import", f"opening/{member_id}"), "dianzhang"
                await points.grant(session, member_id, yuan, cause=cause, reason="旧系统的积分余额", by=by, now=now)
    async with sessions.begin() as session:
        while await levels.review(session, now=now):
            pass
        black = (await levels.ladder(session))[-1].id
        best = await session.scalar(sa.select(MemberOrders.member_id).order_by(MemberOrders.paid_fen.desc()).limit(1))
        await level_changes.set_by_hand(
            session, best or first, black, reason="消费最多的老客，店长特批", by="dianzhang", now=now
        )
        await rule_tags.refresh(session, now=now)
        await level_programme.define(session, LEVELS, by="dianzhang", now=now)


async def _spent(session: AsyncSession, members: Sequence[int]) -> list[tuple[int, int]]:
    """Whole yuan each of these members ever paid, of those who paid any; half of it has been used since."""
    rows = await session.execute(
        sa.select(MemberOrders.member_id, MemberOrders.paid_fen)
        .where(MemberOrders.member_id.in_(members), MemberOrders.paid_fen >= 200)
        .order_by(MemberOrders.member_id)
    )
    return [(member_id, paid_fen // 200) for member_id, paid_fen in rows]
