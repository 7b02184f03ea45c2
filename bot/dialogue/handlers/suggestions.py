"""推荐: what goes with what a customer bought, and what is new where they buy."""

from bot import texts
from bot.dialogue.router import Router, from_customer, says
from bot.dialogue.turn import Reply, Turn
from campaigns import suggestions

router = Router("suggestions")
PAGE = "/h5/suggestions"


@router.on(
    from_customer, says(r"(?:给我|帮我|有什么|有没有|求)?(?:商品|好物|产品)?推荐(?:一下|点什么|什么|吗)?|猜我喜欢")
)
async def show(turn: Turn) -> Reply | None:
    """A shop that has counted nothing yet leaves the question to its articles."""
    if await suggestions.last_run(turn.session) is None:
        return None
    found = await suggestions.for_member(turn.session, turn.member.id, now=turn.now, limit=5)
    if not found:
        return Reply.text(texts.SUGGESTIONS_NONE)
    lines = [texts.SUGGESTION_LINE.format(name=one.name, why=texts.suggestion_why(one)) for one in found]
    url = turn.app.public_url
    return Reply.text("\n".join([texts.SUGGESTIONS_HEAD, *lines, *([f"{url}{PAGE}"] if url else [])]))
