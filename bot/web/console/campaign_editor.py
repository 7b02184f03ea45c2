"""The editor of a campaign: what it would do is looked at while one writes, and shown on a phone as a real member."""

import re
from datetime import datetime
from typing import Any

import sqlalchemy as sa
import yaml
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncSession

from bot.access.rights import Right
from bot.web import campaign_names
from bot.web.console.campaigns import PATH
from bot.web.language import N_, translations
from bot.web.refusals import in_words
from bot.web.screens import Screens, change, go, house_of, language_of, looking, render, say, who
from bot.wecom import lanes
from campaigns import audience, cautions, definition, engine, files, messages, overlaps, playbooks
from campaigns.definition import ANYBODY, CampaignWrong, Definition
from crm import lookup, segment_compiler
from crm.base import outbox
from crm.base.clock import SHANGHAI
from crm.base.errors import ShopError
from crm.models.audience import Segment
from crm.models.member import Member

SCREENS = Screens()
PREVIEWED = 4  # bubbles of a phone


@SCREENS.get(PATH + "/new", Right.MANAGE)
async def new(request: web.Request) -> web.Response:
    return await _page(request, None, {"when": "once", "channel": "both", "holdout": "10"})


@SCREENS.get(PATH + "/playbooks/{name}", Right.MANAGE)
async def from_playbook(request: web.Request) -> web.Response:
    """A playbook's campaigns, each as a draft to begin with."""
    book = playbooks.get(request.match_info["name"])
    wanted = request.query.get("file", "")
    campaigns = [one for one in book.files() if one.kind is None]
    chosen = next((one for one in campaigns if one.name == wanted), campaigns[0])
    text = chosen.path.read_text(encoding="utf-8")
    return await _page(request, None, {"name": chosen.name, "text": _nameless(text)}, book=book, others=campaigns)


@SCREENS.get(PATH + "/{id:\\d{1,18}}/edit", Right.MANAGE)
async def edit(request: web.Request) -> web.Response:
    campaign_id = int(request.match_info["id"])
    async with looking(request) as session:
        campaign = await engine.get(session, campaign_id)
    return await _page(request, campaign_id, {"name": campaign.name, **_form_of(campaign.definition)})


@SCREENS.post(PATH + "/check", Right.MANAGE)
async def check(request: web.Request) -> web.Response:
    """Whom it reaches now, what is wrong with it, what it overlaps, and what one member would read."""
    form = await _form(request)
    house = house_of(request)
    now, found, wrong = house.app.clock.now(), dict[str, Any](), list[dict[str, str]]()
    try:
        told = told_in(form)
        wrong += [*definition.late_schedule(told, now=now), *messages.mistakes(told, house.app.words)]
        async with looking(request) as session:
            found = await _looked(request, session, told, form, shows=not wrong)
    except CampaignWrong as refused:
        wrong += refused.mistakes
    except ShopError as refused:
        wrong.append({"field": "", "reason": in_words(refused, translations(language_of(request)))})
    return render(request, "console/_campaign_check.html", wrong=wrong, reason=campaign_names.reason, **found)


@SCREENS.post(PATH + "/test", Right.MANAGE)
async def test(request: web.Request) -> web.Response:
    """The first message to oneself, by the app."""
    form, account, app = await _form(request), who(request).account, house_of(request).app
    if not account.userid:
        return render(request, "console/_said.html", words=say(request, N_("账号没有填企业微信账号，发不了给自己。")))
    told = told_in(form)
    async with looking(request) as session:
        shown = (await _looked(request, session, told, form))["bubbles"]
    async with change(request, "campaign.tested", name=form.get("name", "")) as deed:
        for number, (title, text, missing) in enumerate(shown):
            content = f"【{say(request, N_('试发'))}】{title}\n{text or missing}"
            note = {"msgtype": "text", "text": {"content": content}}
            because = ("campaign_test", account.id, deed.now, number)
            await outbox.put(
                deed.session, [lanes.staff_message(note, because=because, userids=(account.userid,))], now=deed.now
            )
    app.peers.tap("send")
    return render(request, "console/_said.html", words=say(request, N_("发到您的企业微信了。")))


@SCREENS.post(PATH, Right.MANAGE)
async def save(request: web.Request) -> web.Response:
    """As a draft; or, when asked to, submitted as well."""
    form = await _form(request)
    campaign_id = int(form["id"]) if re.fullmatch(r"\d{1,18}", form.get("id", "")) else None
    by, house = who(request).account.name, house_of(request)
    try:
        async with change(request, "campaign.saved", name=form.get("name", "")) as deed:
            told, name = told_in(form), form.get("name", "").strip()[:60]
            if not name:
                raise CampaignWrong([{"field": "name", "reason": say(request, N_("给活动起个名字"))}])
            saved = (
                await engine.create(deed.session, name, told, by=by, now=deed.now)
                if campaign_id is None
                else await engine.change(deed.session, campaign_id, told, by=by, now=deed.now)
            )
            deed.about = f"campaign:{saved.id}"
            if form.get("then") == "submit":
                review = house.app.review
                await engine.submit(deed.session, saved.id, review=review, now=deed.now)
    except ShopError as refusal:
        mistakes = refusal.mistakes if isinstance(refusal, CampaignWrong) else []
        return await _page(request, campaign_id, form, refusal=refusal, mistakes=mistakes)
    return go(request, f"{PATH}/{saved.id}")


# The form and the definition


async def _form(request: web.Request) -> dict[str, str]:
    return {name: str(value) for name, value in (await request.post()).items()}


def told_in(form: dict[str, str]) -> Definition:
    """The definition that a form says. Raises CampaignWrong."""
    if form.get("text", "").strip():
        try:
            told = files.parse(form["text"])
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            raise CampaignWrong([{"field": "", "reason": files.unread(error)}]) from None
        told.pop("name", None)
        told.pop("draft", None)
        return definition.read(told)
    told = {"messages": _messages(form), "holdout_percent": form.get("holdout") or 0, **_when(form)}
    told |= {"segment": form["segment"]} if form.get("segment") else {"audience": ANYBODY}
    told["channels"] = {"kf": ["kf"], "broadcast": ["broadcast"]}.get(form.get("channel", ""), ["kf", "broadcast"])
    told["words_confirmed"] = form.get("words_confirmed") == "1"
    return definition.read(told)


def _messages(form: dict[str, str]) -> list[dict[str, Any]]:
    texts = [(letter, form.get(f"text_{letter}", "").strip()) for letter in ("a", "b", "c")]
    return [{"name": letter.upper(), "text": text} for letter, text in texts if text]


def _when(form: dict[str, str]) -> dict[str, Any]:
    when, at = form.get("when", ""), form.get("at") or "10:00"
    if when == "once":
        return {"kind": "one_off", "starts_at": form.get("starts_at") or None}
    if when == "weekly":
        hour, _, minute = at.partition(":")
        days = ",".join(sorted(form.get("days", "").replace("，", ",").replace(" ", "").split(","))) or "*"
        return {"kind": "recurring", "every": f"{minute} {hour} * * {days}"}
    if when == "silent":
        return {"kind": "triggered", "on": {"silent_days": form.get("number") or 30, "at": at}}
    return {"kind": "triggered", "on": {"date": when, "days_before": form.get("number") or 0, "at": at}}


def _form_of(written: dict[str, Any]) -> dict[str, str]:
    """What the form shows of a definition; the file itself where the form could not say all of it."""
    plain = definition.read(written)
    form = {
        "holdout": str(plain.holdout_percent), "segment": plain.segment or "",
        "channel": {1: plain.channels[0].value}.get(len(plain.channels), "both"),
        "words_confirmed": "1" if plain.words_confirmed else "",
        **{f"text_{letter}": one.text for letter, one in zip("abc", plain.messages, strict=False)},
    }  # fmt: skip
    if plain.starts_at is not None and plain.kind == "one_off":
        starts = plain.starts or plain.starts_at
        form |= {"when": "once", "starts_at": f"{starts.astimezone(SHANGHAI):%Y-%m-%dT%H:%M}"}
    elif plain.every is not None and (found := re.fullmatch(r"(\d+) (\d+) \* \* ([\d,*]+)", plain.every)):
        days = "" if found[3] == "*" else found[3]
        form |= {"when": "weekly", "at": f"{int(found[2]):02}:{int(found[1]):02}", "days": days}
    elif plain.on is not None and plain.on.event is None:
        at = f"{plain.on.at:%H:%M}" if plain.on.at else "10:00"
        what, number = (plain.on.date, plain.on.days_before) if plain.on.date else ("silent", plain.on.silent_days)
        form |= {"when": str(what), "number": str(number), "at": at}
    try:
        same = definition.write(told_in(form)) == written
    except ShopError:
        same = False
    whole = yaml.safe_dump(written, allow_unicode=True, sort_keys=False, width=120)
    return form if same else {"text": whole}


def _nameless(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("name:")).strip() + "\n"


# What it would do


async def _looked(
    request: web.Request, session: AsyncSession, told: Definition, form: dict[str, str], *, shows: bool = True
) -> dict[str, Any]:
    """shows: also what a member would read; of texts that cannot be filled nothing is shown."""
    house = house_of(request)
    now: datetime = house.app.clock.now()
    member = await _as_whom(request, session, told, form.get("as_member", "").strip())
    reach = close = None
    if told.groups is None:
        known = await _known(session, form)
        reach = await audience.preview(session, told, campaign_id=known, gate=house.app.gate, now=now)
        close = await overlaps.find(session, told, name=form.get("name", ""), now=now)
    careful = await cautions.find(session, told, gate=house.app.gate, now=now)
    said = [(one.name, one) for one in told.messages] or [
        (f"{step.name} · {one.name}", one) for step in told.steps for one in step.messages
    ]
    bubbles = []
    for title, message in said[:PREVIEWED] if shows else ():
        filled = (await messages.fill(session, {member.id: message}, now=now))[member.id] if member else message
        is_text = isinstance(filled, definition.Message)
        text = filled.text if isinstance(filled, definition.Message) else ""
        bubbles.append((title, text, "" if is_text else say(request, N_("这位会员缺文案里要写的资料，不会发给他。"))))
    return {
        "reach": reach, "close": close or [], "cautions": careful, "bubbles": bubbles, "member": member,
        "more": len(said) - PREVIEWED if shows else 0,
    }  # fmt: skip


async def _known(session: AsyncSession, form: dict[str, str]) -> int:
    return int(form["id"]) if re.fullmatch(r"\d{1,18}", form.get("id", "")) else 0


async def _as_whom(request: web.Request, session: AsyncSession, told: Definition, typed: str) -> Member | None:
    """The member who was named, or anybody of the audience."""
    if typed:
        named = await lookup.find(session, typed, house_of(request).vault)
        return await session.get(Member, named.id) if named is not None else None
    if told.groups is not None:
        return None
    whole = await audience.look_up(session, told)
    some = segment_compiler.member_ids(whole.condition, now=house_of(request).app.clock.now()).limit(1)
    member_id = await session.scalar(some)
    return await session.get(Member, member_id) if member_id is not None else None


async def _page(
    request: web.Request,
    campaign_id: int | None,
    form: dict[str, str],
    *,
    refusal: ShopError | None = None,
    mistakes: list[dict[str, str]] | None = None,
    book: playbooks.Playbook | None = None,
    others: Any = (),
) -> web.Response:
    async with looking(request) as session:
        segments = (await session.scalars(sa.select(Segment.name).order_by(Segment.name))).all()
    return render(
        request,
        "console/campaign_editor.html",
        status=refusal.status if refusal is not None else 200,
        refusal=refusal,
        mistakes=mistakes or [],
        id=campaign_id,
        form=form,
        segments=segments,
        book=book,
        others=others,
    )
