"""Community tasks on a member's phone: what there is to do, quizzes, votes with their live result, points for coupons.

Every deed is a plain form; a result is shown in place and can be read again later.
"""

from collections.abc import Mapping
from typing import Any

from aiohttp import BodyPartReader, web
from sqlalchemy.ext.asyncio import AsyncSession

from bot import coupon_words, task_words, texts
from bot.web.h5_site import MemberSite, Pages
from bot.web.live import Live
from bot.web.visitors import Visitor
from campaigns import offers, points_shop
from campaigns.models.review import ReviewPicture
from campaigns.models.task import CommunityTask
from campaigns.tasks import board, entries, progress, reviews, store
from campaigns.tasks.board import TaskCard
from campaigns.tasks.definition import Quiz, Vote
from campaigns.tasks.entries import AlreadyDone, ChoiceWrong
from campaigns.tasks.reviews import Picture, PictureWrong
from campaigns.tasks.store import TaskNotFound
from crm import check_ins, loyalty_rules, points
from crm.base.clock import local_day
from crm.base.errors import ShopError
from crm.check_ins import CheckedInAlready

LARGEST_ID = 10**15
MOST_FIELDS, MOST_FIELD_BYTES = 10, 8_000  # of a form with pictures


class TaskPages:
    """The pages under /h5/tasks and /h5/points."""

    def __init__(self, site: MemberSite) -> None:
        self._site, self._app, self._visitors = site, site.app, site.visitors
        self.live = Live(self._tally)

    def routes(self) -> list[web.AbstractRouteDef]:
        pages: Pages = [
            ("GET", "/h5/tasks", self.overview),
            ("POST", "/h5/check-in", self.check_in),
            ("GET", "/h5/tasks/{id}", self.task),
            ("POST", "/h5/tasks/{id}", self.answer),
            ("GET", "/h5/tasks/{id}/live", self.watch),
            ("POST", "/h5/tasks/{id}/review", self.review),
            ("GET", "/h5/pictures/{id}", self.picture),
            ("GET", "/h5/points", self.points),
            ("POST", "/h5/points", self.exchange),
        ]
        return self._site.guarded(pages)

    # ---- tasks

    async def overview(self, request: web.Request) -> web.StreamResponse:
        return await self._overview(await self._visitors.get(request))

    async def _overview(
        self, visitor: Visitor, *, said: str = "", is_good: bool = False, status: int = 200
    ) -> web.Response:
        now = self._app.clock.now()
        async with self._app.sessions.read() as session:
            cards = await board.cards(session, visitor.member_id, now=now)
            rules = await loyalty_rules.of_points(session)
            last = await check_ins.newest(session, visitor.member_id)
            balance = await points.balance_of(session, visitor.member_id, now=now)
        is_checked_in = last is not None and last.checked_on >= local_day(now)
        return self._site.page(
            "h5/tasks.html", status=status, cards=cards, words=task_words, visitor=visitor, balance=balance,
            has_check_in=rules is not None and rules.check_in is not None, has_points=rules is not None,
            streak=last.streak if last is not None and is_checked_in else 0, said=said, is_good=is_good,
        )  # fmt: skip

    async def check_in(self, request: web.Request) -> web.StreamResponse:
        """Today's check-in, with what its day in the row brings."""
        visitor, _ = await self._site.form(request)
        now = self._app.clock.now()
        try:
            async with self._app.sessions.begin() as session:
                done = await check_ins.check_in(session, visitor.member_id, now=now)
                steps = await progress.follow_check_in(session, visitor.member_id, on=local_day(now), now=now)
                balance = await points.balance_of(session, visitor.member_id, now=now)
        except CheckedInAlready as already:
            said = texts.CHECKED_IN_ALREADY.format(streak=already.streak)
            return await self._overview(visitor, said=said, is_good=True)
        said = "\n".join([texts.checked_in(done, balance), *task_words.days_done(steps)])
        return await self._overview(visitor, said=said, is_good=True)

    async def task(self, request: web.Request) -> web.StreamResponse:
        visitor = await self._visitors.get(request)
        return await self._task(request, visitor)

    async def _task(
        self,
        request: web.Request,
        visitor: Visitor,
        *,
        said: str = "",
        is_good: bool = False,
        chosen: Mapping[str, str] | None = None,
        status: int = 200,
    ) -> web.Response:
        """chosen: what was sent and refused, so that nobody has to choose again."""
        now = self._app.clock.now()
        async with self._app.sessions.read() as session:
            card = await self._card(session, request, visitor)
            pictures = await reviews.pictures_of(session, [one.id for one in card.reviews])
        return self._site.page(
            "h5/task.html", status=status, card=card, pictures=pictures, told=card.told,
            words=task_words, visitor=visitor, now=now, said=said, is_good=is_good, chosen=chosen or {},
        )  # fmt: skip

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """A quiz's answers, or a vote."""
        visitor, form = await self._site.form(request)
        now = self._app.clock.now()
        try:
            async with self._app.sessions.begin() as session:
                task = await self._known(session, request)
                choices, version = _choices(task, form), _number(form.get("version", ""))
                answered = await entries.answer(
                    session, task.key, visitor.member_id, choices, version=version, channel="h5", now=now
                )
        except AlreadyDone as already:
            return await self._task(request, visitor, said=texts.refusal(already))
        except ShopError as refusal:
            said, status = texts.refusal(refusal), refusal.status
            return await self._task(request, visitor, said=said, chosen=form, status=status)
        told = store.told(answered.task)
        if isinstance(told, Quiz):
            said = task_words.graded(answered, told)
        else:
            said = "\n".join([task_words.THANKS, *task_words.got(answered.reward)])
        return await self._task(request, visitor, said=said, is_good=answered.entry.is_passed)

    async def review(self, request: web.Request) -> web.StreamResponse:
        """A review with its pictures, read part by part, so that no more is held than a review may have."""
        form, pictures = await _parts(request)
        visitor = await self._site.sender(request, form.get("token", ""))
        order_id, _, sku = form.get("article", "").partition(":")
        try:
            async with self._app.sessions.begin() as session:
                task = await self._known(session, request)
                await reviews.send(
                    session, task.key, visitor.member_id, _number(order_id), sku, pictures,
                    words=form.get("words", ""), channel="h5", now=self._app.clock.now(),
                )  # fmt: skip
        except ShopError as refusal:
            said, status = texts.refusal(refusal), refusal.status
            return await self._task(request, visitor, said=said, chosen=form, status=status)
        return await self._task(request, visitor, said=task_words.REVIEW_CAME, is_good=True)

    async def picture(self, request: web.Request) -> web.StreamResponse:
        """A picture of one's own review."""
        visitor = await self._visitors.get(request)
        async with self._app.sessions.read() as session:
            found = await session.get(ReviewPicture, _number(request.match_info["id"]))
            mine = await reviews.is_of(session, found, visitor.member_id) if found is not None else False
        if found is None or not mine or found.content is None:
            raise reviews.ReviewNotFound(0)
        return shown(found)

    async def watch(self, request: web.Request) -> web.StreamResponse:
        """A vote's result as it changes, for who may see it."""
        visitor = await self._visitors.get(request)
        async with self._app.sessions.read() as session:
            card = await self._card(session, request, visitor)
        if not card.tally:
            raise TaskNotFound(card.task.key)
        return await self.live.stream(request, card.task.id)

    async def _tally(self, task_id: int) -> dict[str, Any]:
        async with self._app.sessions.read() as session:
            task = await session.get_one(CommunityTask, task_id)
            found = await entries.tally(session, task)
        return {"votes": [one.votes for one in found]}

    async def _card(self, session: AsyncSession, request: web.Request, visitor: Visitor) -> TaskCard:
        task = await self._known(session, request)
        now = self._app.clock.now()
        if task.starts_at > now:
            raise store.not_open(task)
        return await board.card(session, task, visitor.member_id, now=now)

    async def _known(self, session: AsyncSession, request: web.Request) -> CommunityTask:
        """Raises TaskNotFound."""
        number = _number(request.match_info["id"])
        task = await session.get(CommunityTask, number)
        if task is None:
            raise TaskNotFound(str(number))
        return task

    # ---- points for coupons

    async def points(self, request: web.Request) -> web.StreamResponse:
        return await self._points(await self._visitors.get(request))

    async def _points(
        self, visitor: Visitor, *, said: str = "", is_good: bool = False, status: int = 200
    ) -> web.Response:
        now = self._app.clock.now()
        async with self._app.sessions.read() as session:
            shown = await points_shop.on_show(session, now=now)
            rules = await loyalty_rules.of_points(session)
            days = rules.warn_days if rules is not None else 30
            balance = await points.balance_of(session, visitor.member_id, now=now, within_days=days)
            lines = await points.statement_of(session, visitor.member_id, limit=10)
        return self._site.page(
            "h5/points.html", status=status, shown=[(one, coupon_words.terms(one)) for one in shown], balance=balance,
            lines=[texts.points_line(one) for one in lines], visitor=visitor, new_key=self._site.new_key, said=said,
            is_good=is_good,
        )  # fmt: skip

    async def exchange(self, request: web.Request) -> web.StreamResponse:
        """A coupon for points; the same form sent twice is one exchange."""
        visitor, form = await self._site.form(request)
        because = f"h5:{form.get('key', '')[:40] or self._site.new_key()}"
        try:
            async with self._app.sessions.begin() as session:
                now = self._app.clock.now()
                key = form.get("offer", "")[:40]
                coupon, price = await points_shop.exchange(session, key, visitor.member_id, because=because, now=now)
                offer = (await offers.get_batch(session, [coupon.offer_id]))[coupon.offer_id]
        except ShopError as refusal:
            return await self._points(visitor, said=texts.refusal(refusal), status=refusal.status)
        said = texts.EXCHANGED.format(points=price, line=coupon_words.line(coupon, offer))
        return await self._points(visitor, said=said, is_good=True)


async def _parts(request: web.Request) -> tuple[dict[str, str], list[Picture]]:
    """The fields and the pictures of a form. Raises PictureWrong for more or larger ones than a review may have."""
    form: dict[str, str] = {}
    pictures: list[Picture] = []
    if not request.content_type.startswith("multipart/"):
        return form, pictures
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader) or len(form) > MOST_FIELDS:
            break
        most = reviews.MOST_BYTES if part.name == "pictures" else MOST_FIELD_BYTES
        content = bytearray()
        while chunk := await part.read_chunk(64 * 1024):
            content += chunk
            if len(content) > most:
                raise PictureWrong("too_large")
        if part.name == "pictures":
            pictures += [Picture(content=bytes(content))] if content else []  # an empty field is no picture
        elif part.name:
            form[part.name] = content.decode(errors="replace")
        if len(pictures) > reviews.MOST_PICTURES:
            raise PictureWrong("too_many")
    return form, pictures


def shown(picture: ReviewPicture) -> web.Response:
    """A picture as a customer sent it: nothing a browser would run."""
    headers = {
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, max-age=3600",
    }
    return web.Response(body=picture.content or b"", content_type=picture.content_type, headers=headers)


def _choices(task: CommunityTask, form: Mapping[str, str]) -> list[int]:
    """What was chosen, question by question. Raises ChoiceWrong."""
    told = store.told(task)
    names = [f"q{place}" for place in range(len(told.questions))] if isinstance(told, Quiz) else ["choice"]
    if not isinstance(told, Quiz | Vote):
        raise TaskNotFound(task.key)
    chosen = [_number(form.get(name, "")) for name in names]
    if not all(chosen):
        raise ChoiceWrong(task.key)
    return chosen


def _number(told: str) -> int:
    """0 for what is no number of ours."""
    return int(told) if told.isascii() and told.isdigit() and len(told) < 16 and int(told) < LARGEST_ID else 0
