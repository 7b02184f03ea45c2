"""Messages to staff (应用消息), their cards, group robots, and who the visitor of a page is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from bot.wecom.api.call import Caller
from bot.wecom.reading import Fields, Json, given, text, texts

MESSAGE = "/cgi-bin/message"


@dataclass(frozen=True, slots=True)
class SentToStaff:
    """Accepted for some of the recipients at least; above 30 a minute WeCom drops a person's messages silently."""

    msgid: str
    invalid: tuple[str, ...]  # userids it cannot reach, lower-cased by WeCom
    response_code: str = field(default="", repr=False)  # updates an interactive card once, within 72 h


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who opened a page of ours: staff, a customer, or an openid that is neither."""

    userid: str = ""
    external_userid: str = ""
    openid: str = field(default="", repr=False)


class StaffApi:
    """Calls towards staff. Every app speaks as itself: `app` decides whose name is over the message."""

    def __init__(self, caller: Caller, agent_ids: dict[str, int]) -> None:
        self._caller, self._agent_ids = caller, agent_ids

    async def send(
        self,
        userids: Sequence[str],
        message: Fields,
        *,
        repeat_guard: timedelta | None = None,
        app: str | None = None,
    ) -> SentToStaff:
        """Send `message` (msgtype and its payload) to up to 1,000 people. Raises NobodyToSendTo.

        repeat_guard: WeCom drops the same content to the same people within this time (≤ 4 h), which makes the call
        repeatable. Not for an interactive card: the answer to a dropped one has no response_code.
        """
        guarded = repeat_guard is not None and message.get("msgtype") != "template_card"
        body = given(
            **message,
            touser="|".join(userids),
            agentid=self._agent_ids[app or self._caller.default_app],
            enable_duplicate_check=1 if guarded else None,
            duplicate_check_interval=int(repeat_guard.total_seconds()) if guarded and repeat_guard else None,
        )
        answer = await self._caller.post(f"{MESSAGE}/send", body, app=app, repeatable=guarded)
        invalid = tuple(filter(None, text(answer, "invaliduser").split("|")))
        return SentToStaff(text(answer, "msgid"), invalid, text(answer, "response_code"))

    async def send_text(self, userids: Sequence[str], content: str, *, app: str | None = None) -> SentToStaff:
        """≤ 2,048 bytes; `<a href>` works."""
        return await self.send(userids, {"msgtype": "text", "text": {"content": content}}, app=app)

    async def send_markdown(self, userids: Sequence[str], content: str, *, app: str | None = None) -> SentToStaff:
        """≤ 2,048 bytes; shown in the WeCom client only."""
        return await self.send(userids, {"msgtype": "markdown", "markdown": {"content": content}}, app=app)

    async def send_textcard(
        self, userids: Sequence[str], *, title: str, description: str, url: str, app: str | None = None
    ) -> SentToStaff:
        """Title ≤ 128 bytes, description ≤ 512, url ≤ 2,048."""
        card = {"title": title, "description": description, "url": url}
        return await self.send(userids, {"msgtype": "textcard", "textcard": card}, app=app)

    async def send_template_card(self, userids: Sequence[str], card: Json, *, app: str | None = None) -> SentToStaff:
        """An interactive card needs a `task_id` that this app never used, and the app a callback address."""
        return await self.send(userids, {"msgtype": "template_card", "template_card": card}, app=app)

    async def update_template_card(
        self, userids: Sequence[str], response_code: str, change: Json, *, app: str | None = None
    ) -> tuple[str, ...]:
        """Change a sent card: `{"button": {"replace_name": …}}` or `{"template_card": {…}}`; returns whom it missed.

        Not repeatable: the code works once.
        """
        body: Json = {
            "userids": list(userids),
            "agentid": self._agent_ids[app or self._caller.default_app],
            "response_code": response_code,
            **change,
        }
        answer = await self._caller.post(f"{MESSAGE}/update_template_card", body, app=app, repeatable=False)
        return texts(answer, "invaliduser")

    async def recall(self, msgid: str, *, app: str | None = None) -> None:
        """Take a message back within 24 hours."""
        await self._caller.post(f"{MESSAGE}/recall", {"msgid": msgid}, app=app, repeatable=True)

    async def webhook_send(self, key: str, message: Fields) -> None:
        """Say something through a group robot (internal groups only); 20 a minute, never repeated by itself."""
        await self._caller.call_robot("/cgi-bin/webhook/send", key, dict(message))

    async def getuserinfo(self, code: str, *, app: str | None = None) -> Visitor:
        """Who came back from sign-in with this code. Raises OAuthCodeSpent. Not repeatable: the code works once."""
        answer = await self._caller.get("/cgi-bin/auth/getuserinfo", {"code": code}, app=app, repeatable=False)
        return Visitor(text(answer, "userid"), text(answer, "external_userid"), text(answer, "openid"))
