"""The one call of an AI bot in callback mode: a late answer by the address that came with the message."""

from bot.wecom.api.call import Caller

RESPONSE = "/cgi-bin/aibot/response"


class AibotApi:
    """No token: the code is the right to answer, once and within the hour."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def respond(self, response_code: str, markdown: str) -> None:
        """Say `markdown` in the chat the code belongs to. A second answer by the same code is refused by WeCom."""
        body = {"msgtype": "markdown", "markdown": {"content": markdown}}
        await self._caller.call_open(RESPONSE, {"response_code": response_code}, body, limited="aibot")
