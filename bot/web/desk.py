"""The agents' desk: queues on the left, the conversation in the middle, who the customer is on the right."""

from datetime import timedelta
from typing import Any

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncSession

from bot.access import accounts
from bot.access.rights import Right
from bot.desk import canned, later, marks, queues, thread
from bot.desk.queues import Queue
from bot.handoff import desk
from bot.models.conversation import Conversation
from bot.models.handoff import Ticket, TicketMode, TicketStatus
from bot.web import desk_words, formats
from bot.web.language import N_
from bot.web.live import Live, State
from bot.web.screens import Deed, Screens, change, house_of, looking, render, say, who
from bot.wecom import window
from crm import card as cards
from crm.base.errors import Invalid, NotFound, ShopError
from crm.sight import SIGHT

SCREENS = Screens()
LIVE = web.AppKey("desk_live", Live)
PATH = "/desk"
SUGGESTED = 3


class TicketNotFound(NotFound):
    """There is no such ticket, or its customer was erased."""

    code = "ticket.not_found"


class WhenInvalid(Invalid):
    """The hour cannot be read."""

    code = "desk.hour_invalid"


def mine(request: web.Request) -> str:
    """As whom this account answers: their WeCom self, else the account's name."""
    account = who(request).account
    return account.userid or account.name


# ---- what is seen


@SCREENS.get(PATH, Right.DESK)
async def front(request: web.Request) -> web.Response:
    return await _desk(request, None)


@SCREENS.get(PATH + "/tickets/{id:\\d+}", Right.DESK)
async def one(request: web.Request) -> web.Response:
    return await _desk(request, int(request.match_info["id"]))


@SCREENS.get(PATH + "/list", Right.DESK)
async def lines(request: web.Request) -> web.Response:
    """The queue alone, for when something in it changed."""
    async with looking(request) as session:
        found = await _queue(request, session)
    return render(request, "desk/_list.html", **found)


@SCREENS.get(PATH + "/tickets/{id:\\d+}/thread", Right.DESK)
async def conversation(request: web.Request) -> web.Response:
    """The conversation alone."""
    async with looking(request) as session:
        found = await _ticket(request, session, int(request.match_info["id"]))
    return render(request, "desk/_thread.html", **found)


@SCREENS.get(PATH + "/live", Right.DESK)
async def live(request: web.Request) -> web.StreamResponse:
    """Server-sent numbers: when one of them changes, the page fetches what it stands for."""
    ticket = request.query.get("ticket", "")
    return await request.app[LIVE].stream(request, int(ticket) if ticket.isdigit() else 0)


@SCREENS.get(PATH + "/tickets/{id:\\d+}/transcript", Right.DESK)
async def transcript(request: web.Request) -> web.Response:
    """The whole conversation as a text file, as the agent's role sees it."""
    ticket_id, sight = int(request.match_info["id"]), SIGHT[who(request).account.role]
    async with change(request, "ticket.transcript", about=f"ticket:{ticket_id}") as deed:
        ticket = await _get(deed.session, ticket_id)
        said = await thread.read(deed.session, ticket, limit=None)
    text = "\n".join(
        f"{formats.full(one.at)} {desk_words.speaker(one)}：{sight.said(desk_words.line(one))}" for one in said
    )
    name = f"attachment; filename=ticket-{ticket_id}.txt"
    return web.Response(text=text + "\n", content_type="text/plain", headers={"Content-Disposition": name})


# ---- what is done


@SCREENS.post(PATH + "/tickets/{id:\\d+}/take", Right.CHAT)
async def take(request: web.Request) -> web.Response:
    async def work(deed: Deed, ticket_id: int) -> None:
        await desk.take(deed.session, ticket_id, staff=mine(request), policy=_policy(request), now=deed.now)

    return await _deed(request, "ticket.taken", work)


@SCREENS.post(PATH + "/tickets/{id:\\d+}/reply", Right.CHAT)
async def reply(request: web.Request) -> web.Response:
    """Say it now, or at the hour that the form names."""
    form = await request.post()
    text, key = str(form.get("text", "")), str(form.get("key", ""))[:40]
    try:
        due_at = formats.from_form(str(form.get("due_at", "")))
    except ValueError:
        raise WhenInvalid from None
    canned.check_finished(text)

    async def work(deed: Deed, ticket_id: int) -> None:
        staff = mine(request)
        if due_at is not None:
            await desk.take(deed.session, ticket_id, staff=staff, policy=_policy(request), now=deed.now)
            await later.put_off(deed.session, ticket_id, staff=staff, text=text, due_at=due_at, now=deed.now)
            deed.facts["due_at"] = due_at.isoformat()
            return
        await desk.reply(
            deed.session, ticket_id, staff=staff, text=text, key=key, policy=_policy(request), now=deed.now
        )

    return await _deed(request, "ticket.replied", work)


@SCREENS.post(PATH + "/tickets/{id:\\d+}/later/{reply:\\d+}/cancel", Right.CHAT)
async def take_back(request: web.Request) -> web.Response:
    async def work(deed: Deed, ticket_id: int) -> None:
        await later.take_back(deed.session, int(request.match_info["reply"]), ticket_id=ticket_id, now=deed.now)

    return await _deed(request, "ticket.later_cancelled", work)


@SCREENS.post(PATH + "/tickets/{id:\\d+}/note", Right.CHAT)
async def note(request: web.Request) -> web.Response:
    words = str((await request.post()).get("words", ""))

    async def work(deed: Deed, ticket_id: int) -> None:
        mentioned = [
            account.userid
            for account in await accounts.everybody(deed.session)
            if account.userid and (f"@{account.title}" in words or f"@{account.name}" in words)
        ]
        staff = mine(request)
        await desk.note(deed.session, ticket_id, staff=staff, words=words, mentioned=mentioned, now=deed.now)

    return await _deed(request, "ticket.noted", work)


@SCREENS.post(PATH + "/tickets/{id:\\d+}/pass", Right.CHAT)
async def pass_on(request: web.Request) -> web.Response:
    to = str((await request.post()).get("to", "")) or None

    async def work(deed: Deed, ticket_id: int) -> None:
        deed.facts["to"] = to
        staff = mine(request)
        await desk.pass_on(deed.session, ticket_id, staff=staff, to=to, policy=_policy(request), now=deed.now)

    return await _deed(request, "ticket.passed", work)


@SCREENS.post(PATH + "/tickets/{id:\\d+}/close", Right.CHAT)
async def close(request: web.Request) -> web.Response:
    async def work(deed: Deed, ticket_id: int) -> None:
        await desk.close(deed.session, ticket_id, staff=mine(request), policy=_policy(request), now=deed.now)

    return await _deed(request, "ticket.closed", work)


@SCREENS.post(PATH + "/tickets/{id:\\d+}/labels", Right.CHAT)
async def label(request: web.Request) -> web.Response:
    words = str((await request.post()).get("labels", ""))

    async def work(deed: Deed, ticket_id: int) -> None:
        await _get(deed.session, ticket_id)
        deed.facts["labels"] = list(await marks.label(deed.session, ticket_id, words))

    return await _deed(request, "ticket.labelled", work)


@SCREENS.post(PATH + "/tickets/{id:\\d+}/snooze", Right.CHAT)
async def snooze(request: web.Request) -> web.Response:
    """For so many hours; 0 wakes it."""
    text = str((await request.post()).get("hours", ""))
    hours = float(text) if text.replace(".", "", 1).isdigit() else 0.0

    async def work(deed: Deed, ticket_id: int) -> None:
        await _get(deed.session, ticket_id)
        until = deed.now + timedelta(hours=hours) if hours else None
        await marks.snooze(deed.session, ticket_id, until, now=deed.now)
        deed.facts["hours"] = hours

    return await _deed(request, "ticket.snoozed", work)


@SCREENS.post(PATH + "/tickets/{id:\\d+}/merge", Right.CHAT)
async def merge(request: web.Request) -> web.Response:
    text = str((await request.post()).get("into", "")).strip().removeprefix("#")
    if not text.isdigit():
        raise marks.CannotMerge

    async def work(deed: Deed, ticket_id: int) -> None:
        deed.facts["into"] = int(text)
        await marks.merge(
            deed.session, ticket_id, int(text), staff=mine(request), policy=_policy(request), now=deed.now
        )

    return await _deed(request, "ticket.merged", work)


@SCREENS.post(PATH + "/tickets/{id:\\d+}/seat", Right.CHAT)
async def sit(request: web.Request) -> web.Response:
    """I am looking at it, and typing or not; no entry in the log for that."""
    house, ticket_id, form = house_of(request), int(request.match_info["id"]), await request.post()
    now, me = house.app.clock.now(), who(request).account
    async with house.app.sessions.begin() as session:
        await _get(session, ticket_id)
        await marks.sit(session, ticket_id, me.id, types=form.get("types") == "1", now=now)
    async with looking(request) as session:
        others = await marks.colleagues(session, ticket_id, but=me.id, now=now)
    return render(request, "desk/_colleagues.html", colleagues=others)


# ---- canned replies


@SCREENS.get(PATH + "/canned", Right.DESK)
async def kept(request: web.Request) -> web.Response:
    return await _kept(request)


@SCREENS.post(PATH + "/canned", Right.CHAT)
async def keep(request: web.Request) -> web.Response:
    form = {name: str(value) for name, value in (await request.post()).items()}
    try:
        async with change(request, "canned.saved", about=f"canned:{form.get('code', '')}") as deed:
            await canned.save(
                deed.session,
                form.get("code", ""),
                title=form.get("title", ""),
                text=form.get("text", ""),
                by=who(request).account.name,
                now=deed.now,
            )
    except ShopError as refusal:
        return await _kept(request, refusal=refusal, form=form)
    return await _kept(request, said=say(request, N_("已保存。")))


@SCREENS.post(PATH + "/canned/{code}/drop", Right.CHAT)
async def drop(request: web.Request) -> web.Response:
    code = request.match_info["code"]
    async with change(request, "canned.dropped", about=f"canned:{code}") as deed:
        await canned.drop(deed.session, code)
    return await _kept(request, said=say(request, N_("已删除。")))


# ---- inside


async def _kept(request: web.Request, **more: Any) -> web.Response:
    async with looking(request) as session:
        found = await canned.everything(session)
    refusal = more.get("refusal")
    status = refusal.status if refusal is not None else 200
    return render(
        request,
        "desk/canned.html",
        **{"form": {}, **more},
        status=status,
        replies=found,
        variables=canned.VARIABLES,
    )


async def _deed(request: web.Request, action: str, work: Any) -> web.Response:
    """Do it, then show the conversation as it is now: a piece for htmx, the whole desk otherwise."""
    ticket_id, peers = int(request.match_info["id"]), house_of(request).app.peers
    async with change(request, action, about=f"ticket:{ticket_id}") as deed:
        await work(deed, ticket_id)
    for topic in ("send", "dialogue", "sla"):
        peers.tap(topic)
    if "HX-Request" in request.headers:
        async with looking(request) as session:
            found = await _ticket(request, session, ticket_id)
        return render(request, "desk/_ticket.html", **found)
    return web.Response(status=303, headers={"Location": f"{PATH}/tickets/{ticket_id}"})


async def _desk(request: web.Request, ticket_id: int | None) -> web.Response:
    async with looking(request) as session:
        found = await _queue(request, session)
        if ticket_id is not None:
            found |= await _ticket(request, session, ticket_id)
    return render(request, "desk/desk.html", **{"ticket": None, **found})


async def _queue(request: web.Request, session: AsyncSession) -> dict[str, Any]:
    wanted, label = request.query.get("queue", ""), request.query.get("label", "")
    queue = Queue(wanted) if wanted in set(Queue) else Queue.MINE
    now, staff = house_of(request).app.clock.now(), mine(request)
    counts = await queues.counts(session, staff=staff, now=now)
    if not wanted and not counts[Queue.MINE]:
        queue = Queue.UNASSIGNED if counts[Queue.UNASSIGNED] else Queue.ALL
    return {
        "queue": queue,
        "queues": desk_words.QUEUES,
        "counts": counts,
        "lines": await queues.lines(session, queue, staff=staff, label=label, now=now),
        "label": label,
        "reasons": desk_words.REASONS,
        "opened_id": int(request.match_info.get("id", "0") or 0),
    }


async def _ticket(request: web.Request, session: AsyncSession, ticket_id: int) -> dict[str, Any]:
    house, me = house_of(request), who(request).account
    now, app = house.app.clock.now(), house.app
    ticket = await _get(session, ticket_id)
    talk = await session.get_one(Conversation, ticket.conversation_id)
    card = None
    if ticket.member_id is not None:
        card = await cards.read(session, ticket.member_id, role=me.role, vault=house.vault, now=now)
    asked = await thread.last_question(session, talk.id)
    match = app.faq.matcher.match(asked, keep=SUGGESTED) if asked else None
    facts = {
        "客户": card.name if card is not None else "",
        "我": me.title,
        "店名": app.shop.name,
        "等级": card.level.level if card is not None and card.level is not None else "",
        "积分": str(card.points.active) if card is not None and card.points is not None else "",
    }
    return {
        "ticket": ticket,
        "card": card,
        "talk": await thread.read(session, ticket),
        "window": await window.of(session, talk, now=now),
        "mark": await marks.of(session, ticket_id),
        "later": await later.waiting(session, ticket_id),
        "colleagues": await marks.colleagues(session, ticket_id, but=me.id, now=now),
        "people": [one for one in await accounts.everybody(session) if one.disabled_at is None],
        "asked": asked,
        "suggested": [(app.faq.articles.get(hit.article_id), hit.score) for hit in match.hits] if match else [],
        "canned": [
            {"code": one.code, "title": one.title, "text": canned.filled(one.text, facts)}
            for one in await canned.everything(session)
        ],
        "new_key": f"{app.chance.getrandbits(64):016x}",
        "is_open": ticket.status is not TicketStatus.CLOSED,
        "at_desk": ticket.mode is TicketMode.DESK,
        "mine": mine(request),
        "reasons": desk_words.REASONS,
        "speaker": desk_words.speaker,
        "line": desk_words.line,
        "states": desk_words.STATES,
        "decisions": desk_words.DECISIONS,
        "opened_id": ticket_id,
    }


async def _get(session: AsyncSession, ticket_id: int) -> Ticket:
    ticket = await session.get(Ticket, ticket_id, populate_existing=True)
    if ticket is None:
        raise TicketNotFound
    return ticket


def _policy(request: web.Request) -> Any:
    return house_of(request).app.handoff


def live_of(app: Any) -> Live:
    """What the desk's browsers watch: the open tickets as a whole (0), or with one conversation."""

    async def look(ticket_id: int) -> State:
        async with app.sessions.read() as session:
            now = app.clock.now()
            counts = await queues.counts(session, staff="", now=now)
            state: State = {"list": [*counts.values(), await queues.newest_step(session)]}
            ticket = await session.get(Ticket, ticket_id) if ticket_id else None
            if ticket is not None:
                state["thread"] = list(await thread.marks(session, ticket))
                others = await marks.colleagues(session, ticket_id, but=0, now=now)
                state["seats"] = [[one.name, one.types] for one in others]
            return state

    return Live(look)
