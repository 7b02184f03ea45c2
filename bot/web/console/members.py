"""Members: the list, one person's card, their tags, a logged look at their phone, two who are one."""

from typing import Any

from aiohttp import web

from bot.access.rights import Right
from bot.web.language import N_
from bot.web.screens import Screens, change, go, house_of, looking, render, say, who
from crm import card as cards
from crm import directory, lookup, member_tags, merges, rfm_history, segments, sight
from crm.base.errors import Invalid, NotFound, Refused, ShopError
from crm.models.audience import TagSource
from crm.models.lifecycle import Stage
from crm.models.rfm import Segment

SCREENS = Screens()
PATH = "/console/members"


class NobodyFound(NotFound):
    """Nobody goes by this code, phone or id."""

    code = "member.not_found"


class NoKey(Refused):
    """This shop seals nothing, so there is nothing to open."""

    code = "account.no_data_key"


class TagMissing(Invalid):
    """No tag was chosen."""

    code = "tag.missing"


@SCREENS.get(PATH, Right.MEMBERS)
async def everybody(request: web.Request) -> web.Response:
    query, house = request.query, house_of(request)
    wanted = directory.Wanted(
        words=query.get("q", "").strip()[:100],
        tag_id=_number(query.get("tag", "")),
        stage=Stage(query["stage"]) if query.get("stage", "") in set(Stage) else None,
        r=_grade(query.get("r", "")),
        f=_grade(query.get("f", "")),
        rfm=Segment(query["rfm"]) if query.get("rfm", "") in set(Segment) else None,
    )
    now = house.app.clock.now()
    async with looking(request) as session:
        before = _number(query.get("before", ""))
        rows = await directory.page(session, wanted, vault=house.vault, before_id=before, now=now)
        tags = await member_tags.every(session)
    more = rows[directory.PAGE - 1].id if len(rows) > directory.PAGE else None
    shown = rows[: directory.PAGE]
    return render(
        request, "console/members.html", rows=shown, more=more, wanted=wanted, tags=tags, segments=list(Segment)
    )


@SCREENS.get(PATH + "/{id:\\d+}", Right.MEMBERS)
async def one(request: web.Request) -> web.Response:
    return await _page(request)


@SCREENS.post(PATH + "/{id:\\d+}/tags", Right.MANAGE)
async def tag(request: web.Request) -> web.Response:
    member_id, tag_id = int(request.match_info["id"]), _number(str((await request.post()).get("tag", "")))
    if tag_id is None:
        raise TagMissing
    async with change(request, "member.tagged", about=f"member:{member_id}", tag=tag_id) as deed:
        by = who(request).account.name
        await member_tags.tag(deed.session, [member_id], tag_id, source=TagSource.MANUAL, by=by, now=deed.now)
    return go(request, f"{PATH}/{member_id}")


@SCREENS.post(PATH + "/{id:\\d+}/tags/{tag:\\d+}/drop", Right.MANAGE)
async def untag(request: web.Request) -> web.Response:
    member_id, tag_id = int(request.match_info["id"]), int(request.match_info["tag"])
    async with change(request, "member.untagged", about=f"member:{member_id}", tag=tag_id) as deed:
        await member_tags.untag(deed.session, [member_id], tag_id, now=deed.now)
    return go(request, f"{PATH}/{member_id}")


@SCREENS.post(PATH + "/{id:\\d+}/reveal", Right.MEMBERS)
async def reveal(request: web.Request) -> web.Response:
    """The phone in plain text, once, on the answer to this form; who and why is kept."""
    member_id, me = int(request.match_info["id"]), who(request).account
    because = str((await request.post()).get("because", ""))
    try:
        vault = house_of(request).vault
        if vault is None:
            raise NoKey
        async with change(request, "member.revealed", about=f"member:{member_id}", because=because[:200]) as deed:
            plain = await sight.reveal(
                deed.session, vault, member_id, role=me.role, userid=me.name, because=because, now=deed.now
            )
    except ShopError as refusal:
        return await _page(request, refusal=refusal)
    return await _page(request, plain=plain)


@SCREENS.post(PATH + "/{id:\\d+}/merge", Right.MANAGE)
async def merge(request: web.Request) -> web.Response:
    member_id, typed = int(request.match_info["id"]), str((await request.post()).get("other", ""))
    try:
        async with change(request, "member.merged", about=f"member:{member_id}") as deed:
            other = await lookup.find(deed.session, typed, house_of(request).vault)
            if other is None or other.id == member_id:
                raise NobodyFound
            because = f"console:{who(request).account.name}"
            kept = await merges.merge(deed.session, member_id, other.id, because=because, now=deed.now)
            deed.facts |= {"other": other.id, "kept": kept}
    except ShopError as refusal:
        return await _page(request, refusal=refusal)
    return go(request, f"{PATH}/{kept}")


@SCREENS.post(PATH + "/{id:\\d+}/unmerge", Right.MANAGE)
async def unmerge(request: web.Request) -> web.Response:
    """Within a day, while nothing was built on it."""
    absorbed = _number(str((await request.post()).get("absorbed", ""))) or 0
    try:
        async with change(request, "member.unmerged", about=f"member:{absorbed}") as deed:
            await merges.undo(deed.session, absorbed, now=deed.now)
    except ShopError as refusal:
        return await _page(request, refusal=refusal)
    return await _page(request, said=say(request, N_("合并已撤销。")))


async def _page(request: web.Request, **more: Any) -> web.Response:
    house, me, member_id = house_of(request), who(request).account, int(request.match_info["id"])
    now = house.app.clock.now()
    async with looking(request) as session:
        card = await cards.read(session, member_id, role=me.role, vault=house.vault, now=now)
        held = await segments.holding(session, card.member_id)
        tags = await member_tags.every(session)
        scores = await rfm_history.history_of(session, card.member_id)
        merges = await directory.undoable_merges(session, card.member_id, now=now)
    refusal = more.get("refusal")
    return render(
        request,
        "console/member.html",
        **{"plain": None, **more},
        status=refusal.status if refusal is not None else 200,
        card=card,
        held=held,
        tags=tags,
        scores=scores[:12],
        merges=merges,
    )


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() and len(text) < 19 else None


def _grade(text: str) -> int | None:
    return int(text) if text in {"1", "2", "3", "4", "5"} else None
