"""The chat archive's calls over HTTP: who has agreed to be archived. What was said comes through the vendor's SDK."""

from bot.wecom.api.call import Caller
from bot.wecom.reading import objs, text

MSGAUDIT = "/cgi-bin/msgaudit"
YES = frozenset({"Agree", "Default_Agree"})


class ArchiveApi:
    """Needs the 会话内容存档 permission for the app."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def room_agreements(self, room_id: str, *, app: str | None = None) -> dict[str, bool]:
        """Whether each customer in a group has agreed, by external_userid (the vendor spells it exteranalopenid)."""
        body = {"roomid": room_id}
        answer = await self._caller.post(f"{MSGAUDIT}/check_room_agree", body, app=app, repeatable=True)
        found = objs(answer, "agreeinfo")
        people = ((text(one, "exteranalopenid") or text(one, "external_userid"), one) for one in found)
        return {person: text(one, "agree_status") in YES for person, one in people if person}
