"""/cgi-bin/msgaudit: who holds a licence for the chat archive, and who has agreed to be in it."""

from bot.simulator.api.core import Answer, Call, post
from bot.simulator.refusals import Refusal


@post("msgaudit/get_permit_user_list", empty={"ids": []})
def permit_users(call: Call) -> Answer:
    _licensed(call)
    setup = call.world.archive.setup
    return {"ids": sorted(setup.seats) if setup else []}


@post("msgaudit/check_room_agree", empty={"agreeinfo": []})
def check_room_agree(call: Call) -> Answer:
    _licensed(call)
    return {"agreeinfo": call.world.archive.room_agreements(call.body.get("roomid"))}


def _licensed(call: Call) -> None:
    if call.world.archive.setup is None:
        raise Refusal(48002)
