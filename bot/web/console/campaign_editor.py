"""The editor of a campaign: a form or a file over one definition, and what it would do looked at while one writes."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
import yaml
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncSession

from bot.access.rights import Right
from bot.web import campaign_names, form_tree
from bot.web.console import campaign_form, campaign_outlook
from bot.web.console.campaign_form import Conditions
from bot.web.console.campaigns import PATH
from bot.web.console.webhooks import EVENTS
from bot.web.form_tree import Tree, text
from bot.web.language import N_, translations
from bot.web.refusals import in_words
from bot.web.screens import Screens, change, go, house_of, language_of, looking, render, say, who
from bot.wecom import lanes
from campaigns import definition, engine, files, gifts, messages, playbooks
from campaigns.definition import CampaignWrong, Definition
from crm import conditions, directory, segment_words
from crm.base import outbox
from crm.base.errors import ShopError
from crm.models.audience import Segment
from crm.models.group import Group, GroupTag
from crm.models.member import Staff

SCREENS = Screens()
HAPPEN = (
    "ContactAdded", "MemberEnrolled", "GroupJoined", "GroupLeft", "OrderPlaced", "OrderPaid", "OrderRefunded",
    "OrderCancelled", "StageMoved", "LevelMoved", "PointsMoved", "CheckedIn", "MemberTagged", "SegmentEntered",
    "SegmentLeft", "OptedIn", "CouponIssued", "CouponRedeemed", "CouponExpiring",
)  # fmt: skip
FOUND = 8  # members that a search for a name offers
SLOTLESS = re.compile(r"(?:^|\.)(?:csrf|id|as|as_member|n|u|pick|own|days|tags|owners|where(?:\..*)?)$")
Mistakes = Sequence[Mapping[str, str]]


@SCREENS.get(PATH + "/new", Right.MANAGE)
async def new(request: web.Request) -> web.Response:
    tree: Tree = json.loads(json.dumps(campaign_form.NEW))
    if request.query.get("kind") == "steps":
        tree |= {"what": "steps", "when": "event", "on": {"event": "ContactAdded", "delay": {}}, "messages": []}
    return await _page(request, tree)


@SCREENS.get(PATH + "/playbooks/{name}", Right.MANAGE)
async def from_playbook(request: web.Request) -> web.Response:
    """A playbook's campaigns, each to begin with."""
    book = playbooks.get(request.match_info["name"])
    wanted = request.query.get("file", "")
    campaigns = [one for one in book.files() if one.kind is None]
    chosen = next((one for one in campaigns if one.name == wanted), campaigns[0])
    async with looking(request) as session:
        tree = _shown(chosen.told, await _saved(session)) if chosen.told is not None else None
    tree = tree or {"as": "file", "text": _nameless(chosen.path.read_text(encoding="utf-8"))}
    return await _page(request, tree | {"name": chosen.name}, book=book, others=campaigns)


@SCREENS.get(PATH + "/{id:\\d{1,18}}/edit", Right.MANAGE)
async def edit(request: web.Request) -> web.Response:
    campaign_id = int(request.match_info["id"])
    async with looking(request) as session:
        campaign = await engine.get(session, campaign_id)
        plain = definition.read(campaign.definition)
        tree = _shown(plain, await _saved(session)) or _file(plain, hidden=True)
    return await _page(request, tree | {"name": campaign.name, "id": str(campaign_id)})


@SCREENS.post(PATH + "/form", Right.MANAGE)
async def form(request: web.Request) -> web.Response:
    """The form as it was typed, with a row more, less or moved, or the other way to write it."""
    tree = await _typed(request)
    do = text(tree, "do")
    form_tree.act(tree, do)
    mistakes: Mistakes = []
    if do in ("as_file", "as_form"):
        try:
            async with looking(request) as session:
                saved = await _saved(session)
            plain = _told(tree, saved)
            other = _file(plain) if do == "as_file" else _shown(plain, saved)
            tree = {"name": text(tree, "name"), "id": text(tree, "id"), **(other or _file(plain, hidden=True))}
        except CampaignWrong as wrong:
            mistakes = wrong.mistakes
    return await _page(request, tree, mistakes=mistakes)


@SCREENS.get(PATH + "/members", Right.MANAGE)
async def members(request: web.Request) -> web.Response:
    """Members of this name, number or code, to look at the messages as one of them."""
    typed, found = request.query.get("who", "").strip()[:60], list[Any]()
    if typed:
        async with looking(request) as session:
            house = house_of(request)
            wanted = directory.Wanted(words=typed)
            found = [*await directory.page(session, wanted, vault=house.vault, now=house.app.clock.now())][:FOUND]
    return render(request, "console/_campaign_members.html", found=found, typed=typed)


@SCREENS.post(PATH + "/check", Right.MANAGE)
async def check(request: web.Request) -> web.Response:
    """Whom it reaches now, when it fires, what is wrong and where, what it overlaps, what one member would read."""
    tree = await _typed(request)
    house = house_of(request)
    now, found = house.app.clock.now(), dict[str, Any]()
    wrong: list[Mapping[str, str]] = []
    try:
        async with looking(request) as session:
            told = _told(tree, await _saved(session))
            wrong = [*definition.late_schedule(told, now=now), *messages.mistakes(told, house.app.words)]
            asked = campaign_outlook.Asked(text(tree, "name"), _number(text(tree, "id")), text(tree, "as_member"))
            wrong += await gifts.check(session, told, now=now)
            found = await campaign_outlook.look(request, session, told, asked)
    except CampaignWrong as refused:
        wrong = [*refused.mistakes]
    except ShopError as refused:
        wrong = [{"field": "", "reason": in_words(refused, translations(language_of(request)))}]
    places = [] if text(tree, "as") == "file" else [one for one in _places(tree) if not SLOTLESS.search(one)]
    return render(
        request, "console/_campaign_check.html", wrong=wrong, beside=_beside(wrong, places), places=places,
        where=campaign_names.place, reason=campaign_names.reason, **found,
    )  # fmt: skip


@SCREENS.post(PATH + "/test", Right.MANAGE)
async def test(request: web.Request) -> web.Response:
    """The first messages to oneself, by the app."""
    tree, account, app = await _typed(request), who(request).account, house_of(request).app
    if not account.userid:
        return render(request, "console/_said.html", words=say(request, N_("账号没有填企业微信账号，发不了给自己。")))
    async with looking(request) as session:
        told = _told(tree, await _saved(session))
        most, as_member = campaign_outlook.TESTED, text(tree, "as_member")
        _, bubbles = await campaign_outlook.read(request, session, told, as_member, most=most)
    async with change(request, "campaign.tested", name=text(tree, "name")) as deed:
        for number, one in enumerate(bubbles):
            content = f"【{say(request, N_('试发'))}】{one.title}\n{one.text or one.missing}"
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
    tree = await _typed(request)
    campaign_id, name = _number(text(tree, "id")), text(tree, "name")[:60]
    by, house = who(request).account.name, house_of(request)
    try:
        async with change(request, "campaign.saved", name=name) as deed:
            told = _told(tree, await _saved(deed.session))
            if not name:
                raise CampaignWrong([{"field": "name", "reason": say(request, N_("给活动起个名字"))}])
            saved = (
                await engine.create(deed.session, name, told, by=by, now=deed.now)
                if not campaign_id
                else await engine.change(deed.session, campaign_id, told, by=by, now=deed.now)
            )
            deed.about = f"campaign:{saved.id}"
            if text(tree, "then") == "submit":
                await engine.submit(deed.session, saved.id, review=house.app.review, now=deed.now)
    except ShopError as refusal:
        mistakes = refusal.mistakes if isinstance(refusal, CampaignWrong) else []
        return await _page(request, tree, refusal=refusal, mistakes=mistakes)
    return go(request, f"{PATH}/{saved.id}")


# The form, the file and the definition


async def _typed(request: web.Request) -> Tree:
    return form_tree.read(await request.post(), campaign_form.SEVERAL)


def _number(written: str) -> int:
    return int(written) if re.fullmatch(r"\d{1,18}", written) else 0


def _told(tree: Tree, saved: Conditions) -> Definition:
    """The definition that was written. Raises CampaignWrong."""
    if text(tree, "as") != "file":
        return campaign_form.understood(tree, saved)
    try:
        told = files.parse(text(tree, "text"))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise CampaignWrong([{"field": "", "reason": files.unread(error)}]) from None
    told.pop("name", None)
    told.pop("draft", None)
    return definition.read(told)


def _shown(plain: Definition, saved: Conditions) -> Tree | None:
    tree = campaign_form.shown(plain, saved)
    return campaign_form.blank_rows(tree) if tree is not None else None


def _file(plain: Definition, *, hidden: bool = False) -> Tree:
    """As a file. hidden: because the form cannot show all of it."""
    told = plain.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    written = yaml.safe_dump({"kind": plain.kind.value} | told, allow_unicode=True, sort_keys=False, width=120)
    return {"as": "file", "text": written, "hidden": "1" if hidden else ""}


def _nameless(written: str) -> str:
    return "\n".join(line for line in written.splitlines() if not line.startswith("name:")).strip() + "\n"


async def _saved(session: AsyncSession) -> Conditions:
    rows = await session.execute(sa.select(Segment.name, Segment.condition).order_by(Segment.name))
    return {row.name: row.condition for row in rows}


def _places(tree: Any, at: str = "") -> list[str]:
    """Every place of the form that a mistake may stand beside."""
    if isinstance(tree, dict):
        inner = [(f"{at}.{name}" if at else name, one) for name, one in tree.items()]
    elif isinstance(tree, list) and any(isinstance(one, dict) for one in tree):
        inner = [(f"{at}.{place}", one) for place, one in enumerate(tree)]
    else:
        return [at]
    return [*([at] if at else []), *(place for name, one in inner for place in _places(one, name))]


def _beside(wrong: Mistakes, places: Sequence[str]) -> dict[str, list[str]]:
    """What is said beside which field; a mistake inside a condition stands beside the condition."""
    found: dict[str, list[str]] = {}
    for one in wrong:
        at = one["field"]
        while at and at not in places:
            at = at.rpartition(".")[0]
        found.setdefault(at, []).append(one["reason"])
    return found


async def _page(
    request: web.Request,
    tree: Tree,
    *,
    refusal: ShopError | None = None,
    mistakes: Mistakes = (),
    book: playbooks.Playbook | None = None,
    others: Any = (),
) -> web.Response:
    """The editor; for htmx only the fields."""
    async with looking(request) as session:
        saved = await _saved(session)
        tags = list(await session.scalars(sa.select(GroupTag.tag).distinct().order_by(GroupTag.tag)))
        owned = sa.select(Group.owner_id).where(Group.dismissed_at.is_(None))
        owners = await session.execute(
            sa.select(Staff.userid, Staff.name).where(Staff.id.in_(owned)).order_by(Staff.name)
        )
        people = [(userid, name or userid) for userid, name in owners]
        own = await _own_in_words(session, tree)
    places = _places(campaign_form.blank_rows(tree) if text(tree, "as") != "file" else tree)
    piece = "HX-Request" in request.headers and refusal is None
    answer = render(
        request, "console/_campaign_fields.html" if piece else "console/campaign_editor.html",
        status=refusal.status if refusal is not None else 200, refusal=refusal, form=tree, book=book, others=others,
        mistakes=mistakes, beside=_beside(mistakes, [*places, "name"]), where=campaign_names.place,
        segments=list(saved), tags=tags, owners=people, own=own,
        happen={name: say(request, EVENTS[name]) for name in HAPPEN}, fields=campaign_names.EVENT_FIELDS,
    )  # fmt: skip
    if piece:
        answer.headers["HX-Trigger-After-Settle"] = "recheck"
    return answer


async def _own_in_words(session: AsyncSession, tree: Any) -> dict[str, str]:
    """Conditions of the campaign's own, by their JSON, in words."""
    found: dict[str, str] = {}
    for written in _owned(tree):
        try:
            condition = conditions.read(json.loads(written))
        except (ShopError, ValueError, RecursionError):
            continue
        found[written] = segment_words.in_words(condition, await segment_words.names_in(session, condition))
    return found


def _owned(tree: Any) -> list[str]:
    if isinstance(tree, list):
        return [one for row in tree for one in _owned(row)]
    if not isinstance(tree, dict):
        return []
    mine = tree.get("own")
    found = [mine] if isinstance(mine, str) and mine.startswith("{") else []
    return [*found, *(written for one in tree.values() for written in _owned(one))]
