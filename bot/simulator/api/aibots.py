"""/cgi-bin/aibot: the active reply of an AI bot, by the address that came with a message."""

from bot.simulator.api.core import Answer, Call, post


@post("aibot/response", token=False)
def respond(call: Call) -> Answer:
    call.world.aibots.respond(call.query.get("response_code"), call.body)
    return {}
