"""评分: how likely a customer is to recommend the shop, and why, where they say it."""

from bot import survey_words
from bot.dialogue import state
from bot.dialogue.router import Router, from_customer, is_text, says, tapped
from bot.dialogue.turn import Reply, Turn
from campaigns import surveys
from campaigns.surveys import SurveyAnsweredAlready

router = Router("surveys")
TOPIC = "nps_comment"  # asked why, a moment ago


@router.on(from_customer, says(r"(?:我要|去)?(?:评分|打分|填问卷|问卷(?:调查)?|满意度(?:调查)?)"))
async def ask(turn: Turn) -> Reply | None:
    """The survey that is open; a shop without one leaves the question to its articles."""
    survey = await surveys.on_now(turn.session, now=turn.now)
    if survey is None:
        return None
    if await surveys.answer_of(turn.session, survey.id, turn.member.id) is not None:
        return Reply.text(survey_words.ANSWERED_ALREADY)
    return Reply((survey_words.question(survey, surveys.told(survey)),))


@router.on(from_customer, tapped(survey_words.PREFIX))
async def scored(turn: Turn, argument: str) -> Reply | None:
    parts = argument.split(":")
    if len(parts) != 3 or not all(one.isdecimal() and len(one) < 18 for one in parts):
        return None
    survey_id, run_id, score = map(int, parts)
    return await _answered(turn, survey_id, score, run_id=run_id or None)


@router.on(from_customer, says(r"(?:我(?:给|打))?(?P<score>10|\d)\s*分"))
async def typed(turn: Turn, score: str) -> Reply | None:
    """A score that is typed belongs to the survey that is open and that they have not answered."""
    survey = await surveys.on_now(turn.session, now=turn.now)
    if survey is None or await surveys.answer_of(turn.session, survey.id, turn.member.id) is not None:
        return None
    return await _answered(turn, survey.id, int(score))


async def _answered(turn: Turn, survey_id: int, score: int, *, run_id: int | None = None) -> Reply:
    try:
        answer = await surveys.answer(
            turn.session, survey_id, turn.member.id, score, run_id=run_id, channel="chat", now=turn.now
        )
    except SurveyAnsweredAlready:
        return Reply.text(survey_words.ANSWERED_ALREADY)
    told = surveys.told(await surveys.get(turn.session, survey_id))
    state.set_topic(turn.conversation, TOPIC, {"answer_id": answer.id, "thanks": told.thanks}, now=turn.now)
    return Reply.text(told.ask_why)


@router.on(from_customer, is_text)
async def commented(turn: Turn) -> Reply | None:
    """The next words belong to the score, once, unless the shop has an answer of its own for them."""
    if turn.menu_id or state.topic_of(turn.conversation, now=turn.now) != TOPIC:
        return None
    data = turn.conversation.topic_data or {}
    await surveys.add_comment(turn.session, data["answer_id"], turn.member.id, turn.text)
    state.set_topic(turn.conversation, None, None, now=turn.now)
    return Reply.text(data["thanks"])
