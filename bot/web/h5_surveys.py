"""A survey on a member's phone: a score from 0 to 10, and why."""

from aiohttp import web

from bot import texts
from bot.web.h5_site import MemberSite
from bot.web.visitors import Visitor
from campaigns import surveys
from campaigns.surveys import ScoreWrong, SurveyAnsweredAlready, SurveyNotFound
from crm.base.errors import ShopError


class SurveyPages:
    """The page /h5/surveys/{key}. A campaign's link carries ?r= and the number of its run."""

    def __init__(self, site: MemberSite) -> None:
        self._site, self._app = site, site.app

    def routes(self) -> list[web.AbstractRouteDef]:
        return self._site.guarded([("GET", "/h5/surveys/{key}", self.show), ("POST", "/h5/surveys/{key}", self.answer)])

    async def show(self, request: web.Request) -> web.StreamResponse:
        return await self._page(request, await self._site.visitors.get(request))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        visitor, form = await self._site.form(request)
        score, run = form.get("score", ""), form.get("run", "")
        try:
            if not (score.isascii() and score.isdigit() and len(score) < 3):
                raise ScoreWrong(-1)
            async with self._app.sessions.begin() as session:
                survey = await surveys.find(session, request.match_info["key"])
                if survey is None:
                    raise SurveyNotFound(request.match_info["key"][:40])
                await surveys.answer(
                    session, survey.id, visitor.member_id, int(score), comment=form.get("comment", ""), channel="h5",
                    run_id=_run(run), now=self._app.clock.now(),
                )  # fmt: skip
        except SurveyAnsweredAlready:
            return await self._page(request, visitor)
        except ShopError as refusal:
            return await self._page(request, visitor, said=texts.refusal(refusal), status=refusal.status)
        return await self._page(request, visitor)

    async def _page(self, request: web.Request, visitor: Visitor, *, said: str = "", status: int = 200) -> web.Response:
        key = request.match_info["key"]
        async with self._app.sessions.read() as session:
            survey = await surveys.find(session, key)
            if survey is None:
                raise SurveyNotFound(key[:40])
            mine = await surveys.answer_of(session, survey.id, visitor.member_id)
        now = self._app.clock.now()
        is_open = survey.closed_at is None and survey.starts_at <= now and (not survey.ends_at or now < survey.ends_at)
        return self._site.page(
            "h5/survey.html", status=status, survey=survey, told=surveys.told(survey), mine=mine, is_open=is_open,
            visitor=visitor, run=_run(request.query.get("r", "")) or "", said=said,
        )  # fmt: skip


def _run(told: str) -> int | None:
    return int(told) if told.isascii() and told.isdigit() and len(told) < 16 else None
