"""Community tasks in the words a member reads, in the chat and on the page."""

from bot import coupon_words
from bot.dialogue.turn import Choice, Menu
from bot.texts import yuan
from campaigns.models.review import ReviewStatus, TaskReview
from campaigns.models.task import CommunityTask
from campaigns.tasks.board import TaskCard
from campaigns.tasks.definition import AnyTask, Goal, Monthly, Quiz, Review, Reward, Streak, Vote
from campaigns.tasks.entries import Answered, Tally
from campaigns.tasks.reviews import Article
from campaigns.tasks.rewards import Given
from crm.base.clock import SHANGHAI

PREFIX = "task"  # of what a tap on a menu line comes back with
NONE = "现在没有进行中的任务，有新的会告诉您。回复「签到」可以领积分。"
HEAD = "进行中的任务，点一下就能参加："
TAIL = "在手机页面上看：{url}"
GONE = "这个任务已经结束了。回复「任务」看看现在有什么。"
CHANGED = "题目有更新，请重新开始：回复「任务」再点一次。"
QUESTION = "{title}（第 {number}/{count} 题）\n{ask}"
PASSED = "答完啦！{count} 题答对 {score} 题，通过。"
FAILED = "答完啦！{count} 题答对 {score} 题，要答对 {takes} 题才算通过，下次再来～"
ANSWERED = "您已经答过了：{count} 题答对 {score} 题。"
MISTAKE = "「{ask}」正确答案：{answer}。{why}"
VOTED = "投给了「{name}」，谢谢您！"
THANKS = "投票成功，谢谢您！"
VOTED_ALREADY = "您已经投给了「{name}」。"
RESULT = "现在的结果（{votes:,} 票）："
TALLY = "{name}  {votes:,} 票  {share:.0%}"
SEEN_LATER = "结果在投票结束后公布。"
POINTS = "获得 {points} 积分。"
CAPPED = "今天的积分已到上限，这次没有加。"
SPENT = "这个任务的奖励已经发完啦，下次早点来～"
COUPON = "得到一张券：{line}"
STEP_DAYS = "连续打卡 {days} 天达成！"
BY = "，{day}结束"
REVIEW_NONE = "现在没有可以晒单的商品：{days} 天内买过、还没晒过的才可以。"
REVIEW_ENOUGH = "这个月的晒单已经满 {a_month} 次啦，下个月再来～"
REVIEW_PICK = "{title}\n选一件来晒，点一下就好："
REVIEW_ASKS = "请发一张「{article}」的照片过来，直接发图片就行。"
REVIEW_ASKS_WORDS = "先写几句对「{article}」的感受（至少 {chars} 个字），再发照片。"
REVIEW_WORDS_SHORT = "再多写几句吧，至少 {chars} 个字。"
REVIEW_WORDS_KEPT = "收到～现在发一张照片过来，直接发图片就行。"
REVIEW_SENT = "收到您的晒单，同事看过之后告诉您结果{won}。还想补照片的话，继续发就行。"
REVIEW_CAME = "收到您的晒单，同事看过之后这里就能看到结果。"
REVIEW_MORE = "照片已经加到这次晒单里。"
REVIEW_FULL = "这次晒单的照片已经够多了，谢谢您！"
REVIEW_APPROVED = "您晒的「{article}」通过啦，谢谢分享！"
REVIEW_REFUSED = "您晒的「{article}」这次没有通过：{reason}。改一改可以再晒一次，回复「晒单」。"
REVIEW_STATUS = {"waiting": "等同事看", "approved": "已通过", "refused": "没有通过"}
GOALS = {
    "check_ins": ("签到", "天"),
    "orders": ("下单", "笔"),
    "spend_fen": ("消费", "元"),
    "reviews": ("晒单通过", "次"),
    "quizzes": ("答题通过", "次"),
    "votes": ("投票", "次"),
}


def prize(reward: Reward | None) -> str:
    """20 积分和一张优惠券"""
    if reward is None:
        return ""
    parts = [f"{reward.points} 积分"] if reward.points else []
    return "和".join([*parts, *(["一张优惠券"] if reward.offer else [])])


def _won(reward: Reward | None) -> str:
    """得 20 积分"""
    found = prize(reward)
    return f"得{'' if found.startswith('一') else ' '}{found}" if found else ""


def offers(told: AnyTask) -> str:
    """What it brings, in a few words; empty when it brings nothing."""
    if isinstance(told, Streak):
        return "；".join(f"连续 {days} 天{_won(told.days[days])}" for days in sorted(told.days))
    won = _won(getattr(told, "reward", None))
    if not won:
        return ""
    if isinstance(told, Quiz):
        return f"答对 {told.takes} 题{won}"
    if isinstance(told, Monthly):
        return f"做完 {told.takes} 件{won}"
    return won


def stands(card: TaskCard) -> str:
    """How far a member has come."""
    told = card.told
    if isinstance(told, Quiz):
        return "还没答" if card.entry is None else f"已答，答对 {card.entry.score}/{len(told.questions)} 题"
    if isinstance(told, Vote):
        return "还没投" if card.entry is None else f"已投给「{told.options[card.entry.choice - 1].name}」"
    if isinstance(told, Streak):
        return f"已连续 {card.days} 天"
    if isinstance(told, Review):
        waiting = sum(one.status is ReviewStatus.WAITING for one in card.reviews)
        return f"可以晒 {len(card.articles)} 件" + (f"，{waiting} 件等同事看" if waiting else "")
    if isinstance(told, Monthly) and card.month is not None:
        done = "已完成" if card.month.done >= card.month.takes else f"本月 {card.month.done}/{card.month.takes} 件"
        return f"{done}：{'、'.join(goal(one.goal, one.has) for one in card.month.goals)}"
    return ""


def goal(one: Goal, has: int) -> str:
    """签到 5/10 天"""
    what, unit = GOALS[one.what]
    if one.what == "spend_fen":
        return f"{what} {yuan(has)}/{yuan(one.takes)} {unit}"
    return f"{what} {has}/{one.takes} {unit}"


def ends(task: CommunityTask) -> str:
    if task.ends_at is None:
        return ""
    day = task.ends_at.astimezone(SHANGHAI)
    return BY.format(day=f"{day.month} 月 {day.day} 日 {day:%H:%M} ")


def listed(cards: list[TaskCard], url: str) -> Menu:
    """Every open task as a line to tap, and what each is about above them."""
    lines = []
    for card in cards:
        said = "，".join(filter(None, (stands(card), offers(card.told))))
        lines.append(f"· {card.task.title}：{said}{ends(card.task)}")
    choices = tuple(Choice(f"{PREFIX}:open:{card.task.id}", card.task.title) for card in cards)
    return Menu("\n".join([HEAD, *lines]), choices, TAIL.format(url=url) if url else "")


def question(task: CommunityTask, told: Quiz, answers: str) -> Menu:
    """The next question of a quiz; what was answered before travels along in the lines to tap."""
    asked = told.questions[len(answers)]
    head = QUESTION.format(title=task.title, number=len(answers) + 1, count=len(told.questions), ask=asked.ask)
    so_far = f"{PREFIX}:quiz:{task.id}:{task.version}:{answers}"
    return Menu(head, tuple(Choice(f"{so_far}{number}", option) for number, option in enumerate(asked.options, 1)))


def ballot(task: CommunityTask, told: Vote) -> Menu:
    lines = [task.title, told.ask, *(f"· {one.name}：{one.about}" for one in told.options if one.about)]
    choices = (
        Choice(f"{PREFIX}:vote:{task.id}:{task.version}:{number}", one.name)
        for number, one in enumerate(told.options, 1)
    )
    return Menu("\n".join(lines), tuple(choices))


def pick(task: CommunityTask, articles: list[Article]) -> Menu:
    """What there is to review, a line each."""
    choices = (Choice(f"{PREFIX}:review:{task.id}:{one.order_id}:{one.sku}", one.name) for one in articles)
    return Menu(REVIEW_PICK.format(title=task.title), tuple(choices))


def decided(review: TaskReview, given: list[str]) -> str:
    if review.status is ReviewStatus.REFUSED:
        return REVIEW_REFUSED.format(article=review.article, reason=review.reason.rstrip("。！!. "))
    return "\n".join([REVIEW_APPROVED.format(article=review.article), *given])


def graded(answered: Answered, told: Quiz) -> str:
    entry, count = answered.entry, len(told.questions)
    pattern = PASSED if entry.is_passed else FAILED
    lines = [pattern.format(count=count, score=entry.score, takes=told.takes)]
    for chosen, asked in zip(entry.choices, told.questions, strict=True):
        if chosen != asked.answer:
            lines.append(MISTAKE.format(ask=asked.ask, answer=asked.options[asked.answer - 1], why=asked.why))
    return "\n".join([*lines, *got(answered.reward)])


def tally(found: tuple[Tally, ...]) -> list[str]:
    votes = sum(one.votes for one in found)
    if not votes:
        return []
    lines = [TALLY.format(name=one.name, votes=one.votes, share=one.votes / votes) for one in found]
    return [RESULT.format(votes=votes), *lines]


def got(given: Given | None) -> list[str]:
    """What a step brought, a line each."""
    if given is None:
        return []
    if given.why:
        return [SPENT]
    lines = [POINTS.format(points=given.points)] if given.points else []
    if given.coupon is not None and given.offer is not None:
        lines.append(COUPON.format(line=coupon_words.line(given.coupon, given.offer)))
    return lines or [CAPPED]


def days_done(found: list[tuple[CommunityTask, Given]]) -> list[str]:
    """What a check-in brought by the tasks that count days in a row."""
    lines = []
    for task, given in found:
        head = f"{task.title}：{STEP_DAYS.format(days=given.step.removeprefix('days:'))}"
        lines.append(head + "".join(got(given)))
    return lines
