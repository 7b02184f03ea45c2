"""A survey as a customer sees it in the chat."""

from bot.dialogue.turn import Choice, Menu
from campaigns.models.survey import Survey
from campaigns.surveys import SurveyTold

PREFIX = "nps"  # of what a tap comes back with
NONE = "现在没有要填的问卷，谢谢您惦记～"
TAIL = "一点都不会的话，请回复「0 分」。"
ANSWERED_ALREADY = "您已经打过分啦，谢谢！"


def question(survey: Survey, told: SurveyTold, *, run_id: int | None = None, before: str = "") -> Menu:
    """Ten lines to tap; WeCom shows no eleventh, so 0 is typed. before: what a campaign says first."""
    lines = (
        Choice(f"{PREFIX}:{survey.id}:{run_id or 0}:{score}", f"{score} 分{_END.get(score, '')}")
        for score in range(10, 0, -1)
    )
    return Menu("\n".join(filter(None, (before, told.ask))), tuple(lines), TAIL)


_END = {10: "，一定会"}
