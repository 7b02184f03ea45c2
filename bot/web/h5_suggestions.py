"""What a member may like, on their phone."""

from aiohttp import web

from bot.web.h5_site import MemberSite
from campaigns import suggestions


class SuggestionPages:
    """The page /h5/suggestions."""

    def __init__(self, site: MemberSite) -> None:
        self._site = site

    def routes(self) -> list[web.AbstractRouteDef]:
        return self._site.guarded([("GET", "/h5/suggestions", self.show)])

    async def show(self, request: web.Request) -> web.StreamResponse:
        visitor = await self._site.visitors.get(request)
        now = self._site.app.clock.now()
        async with self._site.app.sessions.read() as session:
            found = await suggestions.for_member(session, visitor.member_id, now=now, limit=10)
        return self._site.page("h5/suggestions.html", found=found)
