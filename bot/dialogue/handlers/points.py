"""积分, 签到, 会员等级: what a customer has, and one more day in a row."""

from bot import task_words, texts
from bot.dialogue.router import Router, from_customer, says
from bot.dialogue.turn import Reply, Turn
from campaigns.tasks import progress
from crm import check_ins, level_standing, levels, loyalty_rules, points
from crm.base.clock import local_day
from crm.check_ins import CheckedInAlready

router = Router("points")

LOOK = r"(?:帮我)?(?:查看?|看看?|查询)?(?:一?下)?"
MY_LEVEL = rf"{LOOK}(?:我的?)?(?:会员)?等级|{LOOK}我的会员|我是什么(?:会员|等级)|我现在(?:是)?(?:几级|什么等级)"


@router.on(from_customer, says(rf"{LOOK}(?:我的?)?(?:会员)?积分(?:余额|查询)?|{LOOK}我(?:现在|还)?有多少积分[呀啊呢]?"))
async def mine(turn: Turn) -> Reply | None:
    """The balance; a shop without points leaves the question to its articles."""
    rules = await loyalty_rules.of_points(turn.session)
    if rules is None:
        return None
    found = await points.balance_of(turn.session, turn.member.id, now=turn.now, within_days=rules.warn_days)
    return Reply.text(texts.points_balance(found))


@router.on(from_customer, says(rf"{LOOK}(?:我的?)?积分(?:明细|记录|流水)"))
async def statement(turn: Turn) -> Reply | None:
    if await loyalty_rules.of_points(turn.session) is None:
        return None
    found = await points.statement_of(turn.session, turn.member.id, limit=8)
    lines = [texts.points_line(entry) for entry in found]
    return Reply.text("\n".join([texts.POINTS_STATEMENT, *lines]) if lines else texts.POINTS_NO_STATEMENT)


@router.on(from_customer, says(r"(?:我要|每日|今日|今天)?(?:签到|打卡)(?:领积分)?[啦了]?"))
async def check_in(turn: Turn) -> Reply | None:
    rules = await loyalty_rules.of_points(turn.session)
    if rules is None or rules.check_in is None:
        return None
    try:
        done = await check_ins.check_in(turn.session, turn.member.id, now=turn.now)
    except CheckedInAlready as already:
        return Reply.text(texts.CHECKED_IN_ALREADY.format(streak=already.streak))
    steps = await progress.follow_check_in(turn.session, turn.member.id, on=local_day(turn.now), now=turn.now)
    found = await points.balance_of(turn.session, turn.member.id, now=turn.now)
    return Reply.text("\n".join([texts.checked_in(done, found), *task_words.days_done(steps)]))


@router.on(
    from_customer,
    says(MY_LEVEL),
)
async def level(turn: Turn) -> Reply | None:
    await levels.begin(turn.session, among=[turn.member.id], now=turn.now)  # who has just come asks at once
    found = await level_standing.standing_of(turn.session, turn.member.id, now=turn.now)
    return None if found is None else Reply.text(texts.level(found))
