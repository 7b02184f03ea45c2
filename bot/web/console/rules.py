"""The rules: what holds, changed with a look at before and after, put back; and words tried on a text."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from aiohttp import web

from bot.access.rights import Right
from bot.shop_rules import sheet, store
from bot.shop_rules.live import TOPIC
from bot.shop_rules.sheet import RulesWrong, Sheet
from bot.shop_rules.store import RulesChanged
from bot.web.console import rule_names
from bot.web.screens import Screens, change, go, house_of, looking, may, render, who
from crm.base.clock import local_day

SCREENS = Screens()
PATH = "/console/rules"
AHEAD = 21  # days of the hours that are shown: over the next holiday and its 调休
LONGEST_TEXT = 4000
LONGEST_RULE = 20_000
IN_LOG = 200  # characters of a rule in the audit log: the whole of it is in its version


@SCREENS.get(PATH, Right.DESK)
async def show(request: web.Request) -> web.Response:
    """What holds now; who may change it gets a form."""
    async with looking(request) as session:
        version = await store.version_of(session)
        texts = await store.texts_of(session, version)
    return await _page(request, texts, seen=version)


@SCREENS.post(PATH + "/changes", Right.SETTINGS)
async def look(request: web.Request) -> web.Response:
    """What would change, before it does."""
    texts, seen = await _told(request)
    return await _before_and_after(request, texts, seen=seen)


@SCREENS.get(PATH + r"/{version:\d{1,9}}/back", Right.SETTINGS)
async def look_back(request: web.Request) -> web.Response:
    """What putting an old version back would change."""
    back_to = int(request.match_info["version"])
    async with looking(request) as session:
        texts = await store.texts_of(session, back_to)
        seen = await store.version_of(session)
    return await _before_and_after(request, texts, seen=seen, back_to=back_to)


@SCREENS.post(PATH, Right.SETTINGS)
async def save(request: web.Request) -> web.Response:
    """Let it hold: from this commit on, and in every process within seconds."""
    house, form = house_of(request), await request.post()
    texts, seen = await _told(request)
    back = str(form.get("back_to", ""))
    back_to = int(back) if back.isdigit() and len(back) < 10 else None
    async with looking(request) as session:
        before = await store.texts_of(session, await store.version_of(session))
        if back_to is not None:
            texts = await store.texts_of(session, back_to)
    changed = store.differing(house.settings, before, sheet.own(house.settings, texts))
    if not changed:
        return go(request, PATH)
    action = "rules.changed" if back_to is None else "rules.put_back"
    facts = {name: f"{_short(old)} → {_short(new)}" for name, (old, new) in changed.items()}
    try:
        async with change(request, action, about=f"rules:{seen + 1}", **facts) as deed:
            await store.change(
                deed.session, house.settings, texts, seen=seen, by=who(request).account.name, now=deed.now,
                back_to=back_to,
            )  # fmt: skip
    except (RulesWrong, RulesChanged) as refusal:
        return await _page(request, texts, seen=seen, refusal=refusal)
    async with looking(request) as session:
        (await store.in_force(session, house.settings)).hold(house.app)
    house.app.peers.tap(TOPIC)
    return go(request, PATH)


@SCREENS.post(PATH + "/preview", Right.DESK)
async def check(request: web.Request) -> web.Response:
    """A text against the lists, the product's and the shop's own."""
    text = str((await request.post()).get("text", ""))
    return render(request, "console/_rules_words.html", **_checked(request, text))


async def _told(request: web.Request) -> tuple[dict[str, str], int]:
    """The texts of the form, those it does not carry as they are, and the version they come from."""
    form = await request.post()
    async with looking(request) as session:
        held = await store.texts_of(session, await store.version_of(session))
    texts = held | {
        name: str(form[name])[:LONGEST_RULE].replace("\r\n", "\n").strip() for name in sheet.BY_NAME if name in form
    }
    if "triggers" in form or "with_triggers" in form:
        chosen = {str(one) for one in form.getall("triggers", ())}
        texts["triggers"] = " ".join(one for one in (reason.value for reason in rule_names.REASONS) if one in chosen)
    seen = str(form.get("seen", "0"))
    return texts, int(seen) if seen.isdigit() and len(seen) < 10 else 0


async def _before_and_after(
    request: web.Request, texts: Sheet, *, seen: int, back_to: int | None = None
) -> web.Response:
    house = house_of(request)
    try:
        held = sheet.read(house.settings, texts)
    except RulesWrong as refusal:
        return await _page(request, texts, seen=seen, refusal=refusal)
    async with looking(request) as session:
        before = await store.texts_of(session, await store.version_of(session))
    differs = store.differing(house.settings, before, sheet.own(house.settings, texts))
    rows = [
        (rule_names.LOOKS[name].title, *(rule_names.shown(request, name, text) for text in pair), name)
        for name, pair in differs.items()
    ]
    return render(
        request,
        "console/rules_changes.html",
        rows=rows,
        texts=texts,
        seen=seen,
        back_to=back_to,
        examples=rule_names.examples(request, held, now=house.app.clock.now()),
    )


async def _page(
    request: web.Request, texts: Sheet, *, seen: int, refusal: RulesWrong | RulesChanged | None = None
) -> web.Response:
    house = house_of(request)
    app, said = house.app, sheet.usual(house.settings)
    now = app.clock.now()
    async with looking(request) as session:
        held = await store.in_force(session, house.settings)
        versions = await store.history(session)
    wrong = refusal.by_rule if isinstance(refusal, RulesWrong) else {}
    days = [local_day(now) + timedelta(days=n) for n in range(AHEAD)]
    return render(
        request,
        "console/rules.html",
        status=refusal.status if refusal is not None else 200,
        refusal=refusal,
        groups=rule_names.GROUPS,
        reasons=rule_names.REASONS,
        texts=said | dict(texts),
        usual=said,
        settings={one.name: one.setting for one in sheet.ENTRIES},
        mistakes={name: rule_names.in_words(request, one) for name, one in wrong.items()},
        examples=rule_names.examples(request, held, now=now),
        shown=lambda name, text: rule_names.shown(request, name, text),
        looks=rule_names.LOOKS,
        days=[(day, held.handoff.hours.blocks_on(day), day in held.handoff.hours.own) for day in days],
        versions=versions,
        seen=seen if not isinstance(refusal, RulesChanged) else refusal.version,
        may_change=may(request, Right.SETTINGS),
        **_checked(request, request.query.get("text", "")),
    )


def _short(text: str) -> str:
    return text.replace("\n", " / ")[:IN_LOG] or "—"


def _checked(request: web.Request, text: str) -> Mapping[str, Any]:
    written = text[:LONGEST_TEXT]
    return {"text": written, "findings": house_of(request).app.words.check(written) if written.strip() else None}
