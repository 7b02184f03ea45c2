"""Knowledge: articles and their history, what to write next, the regression set, and a box to try a question."""

import asyncio
from typing import Any

import sqlalchemy as sa
from aiohttp import web

from bot.access.rights import Right
from bot.faq import learning, publish, regression, store, variables
from bot.faq.articles import Article, BadArticle, article_of
from bot.faq.publish import MadeWorse
from bot.models.faq import FaqArticle, FaqQuestion
from bot.web.language import N_
from bot.web.screens import Screens, change, go, house_of, looking, may, render, say, who
from crm.base.clock import local_day
from crm.base.errors import ShopError

SCREENS = Screens()
PATH = "/console/knowledge"
SHOWN = 200
FIELDS = (
    *("question", "similar", "answer", "tags", "valid_from", "valid_to"),
    *("link_url", "link_title", "link_desc", "image", "menu", "audience"),
)
GRADES = (N_("答错"), N_("没答"), N_("给了选项"), N_("答对"))


@SCREENS.get(PATH, Right.MEMBERS)
async def articles(request: web.Request) -> web.Response:
    """All articles, drafts first; `q` looks into questions and answers."""
    words = request.query.get("q", "").strip().lower()
    async with looking(request) as session:
        live, drafts = await store.published(session), await store.drafts(session)
        shown = await _shown_lately(request, session)
    found = []
    for key in [*drafts, *(key for key in live if key not in drafts)]:
        one = (drafts.get(key) or live[key]).content
        if not words or any(words in text.lower() for text in (one.question, one.answer, *one.similar, *one.tags)):
            found.append((one, key in live, key in drafts, shown.get(key, 0)))
    return render(
        request,
        "console/knowledge.html",
        found=found[:SHOWN],
        total=len(found),
        live=len(live),
        drafts=len(drafts),
        words=words,
        matcher=house_of(request).app.faq.matcher,
    )


@SCREENS.get(PATH + "/new", Right.MANAGE)
async def new(request: web.Request) -> web.Response:
    """An empty article, or one begun with a customer's question."""
    return _editor(request, None, {"question": request.query.get("question", "")[:120]})


@SCREENS.get(PATH + "/articles/{key}", Right.MEMBERS)
async def one(request: web.Request) -> web.Response:
    return await _article(request, request.match_info["key"])


@SCREENS.post(PATH, Right.MANAGE)
async def save(request: web.Request) -> web.Response:
    """Keep it as a draft; with the other button also publish it, if the regression set does not suffer."""
    form = {name: str(value) for name, value in (await request.post()).items()}
    key, based_on = form.get("key", ""), form.get("based_on", "")
    try:
        article = article_of({**{name: form.get(name, "") for name in FIELDS}, "id": key})
        async with change(request, "article.saved", about=f"article:{article.id}") as deed:
            await store.save(
                deed.session,
                article,
                by=who(request).account.name,
                now=deed.now,
                note=form.get("note", "")[:200],
                based_on=int(based_on) if based_on.isdigit() else None,
            )
        if "publish" in form:
            return await _publish(request, article.id, despite=form.get("despite", ""))
    except ShopError as refusal:
        return _editor(request, key or None, form, refusal=refusal)
    return go(request, f"{PATH}/articles/{article.id}")


@SCREENS.post(PATH + "/articles/{key}/publish", Right.MANAGE)
async def make_live(request: web.Request) -> web.Response:
    despite = str((await request.post()).get("despite", ""))
    return await _publish(request, request.match_info["key"], despite=despite)


@SCREENS.post(PATH + "/articles/{key}/withdraw", Right.MANAGE)
async def withdraw(request: web.Request) -> web.Response:
    key, house = request.match_info["key"], house_of(request)
    now, by = house.app.clock.now(), who(request).account.name
    build = publish.judged_by(house.app.semantics)
    await publish.withdraw(house.app.sessions, [key], by=by, now=now, build=build)
    async with change(request, "article.withdrawn", about=f"article:{key}"):
        house.app.peers.tap("faq")
    return go(request, f"{PATH}/articles/{key}")


@SCREENS.post(PATH + "/articles/{key}/restore", Right.MANAGE)
async def restore(request: web.Request) -> web.Response:
    key, text = request.match_info["key"], str((await request.post()).get("revision", ""))
    async with change(request, "article.restored", about=f"article:{key}", revision=text) as deed:
        number = int(text) if text.isdigit() else 0
        await store.restore(deed.session, key, number, by=who(request).account.name, now=deed.now)
    return go(request, f"{PATH}/articles/{key}")


# ---- what to write next


@SCREENS.get(PATH + "/misses", Right.MEMBERS)
async def misses(request: web.Request) -> web.Response:
    async with looking(request) as session:
        found = await learning.wanted(session)
    return render(request, "console/misses.html", found=found)


@SCREENS.get(PATH + "/misses/{id:\\d+}", Right.MANAGE)
async def draft(request: web.Request) -> web.Response:
    """A cluster as an article to be: its examples, and what agents answered."""
    cluster_id = int(request.match_info["id"])
    async with house_of(request).app.sessions.begin() as session:  # it locks the cluster's row for a moment
        suggested = await learning.draft(session, cluster_id)
    return _editor(
        request, None, _as_form(suggested.article), cluster=cluster_id, examples=suggested.examples,
        agents=suggested.agents,
    )  # fmt: skip


@SCREENS.post(PATH + "/misses/{id:\\d+}", Right.MANAGE)
async def accept(request: web.Request) -> web.Response:
    cluster_id = int(request.match_info["id"])
    form = {name: str(value) for name, value in (await request.post()).items()}
    try:
        article = article_of({**{name: form.get(name, "") for name in FIELDS}, "id": form.get("key", "")})
        async with change(request, "article.accepted", about=f"article:{article.id}", cluster=cluster_id) as deed:
            await learning.accept(deed.session, cluster_id, article, by=who(request).account.name, now=deed.now)
        if "publish" in form:
            return await _publish(request, article.id, despite=form.get("despite", ""))
    except ShopError as refusal:
        return _editor(request, None, form, refusal=refusal, cluster=cluster_id)
    return go(request, f"{PATH}/articles/{article.id}")


@SCREENS.post(PATH + "/misses/{id:\\d+}/dismiss", Right.MANAGE)
async def dismiss(request: web.Request) -> web.Response:
    cluster_id = int(request.match_info["id"])
    async with change(request, "article.dismissed", about=f"cluster:{cluster_id}") as deed:
        await learning.dismiss(deed.session, cluster_id, by=who(request).account.name, now=deed.now)
    return go(request, PATH + "/misses")


# ---- the regression set, and a box to try


@SCREENS.get(PATH + "/regression", Right.MEMBERS)
async def checked(request: web.Request) -> web.Response:
    """The set; asked anew, of what is live or with all drafts, when the manager wants to know."""
    house, verdicts = house_of(request), None
    async with looking(request) as session:
        cases = await regression.cases(session)
    if "check" in request.query:
        verdicts = await publish.check(
            house.app.sessions,
            now=house.app.clock.now(),
            with_drafts=request.query["check"] == "drafts",
            build=publish.judged_by(house.app.semantics),
        )
    return render(request, "console/regression.html", cases=cases, verdicts=verdicts, grades=GRADES)


@SCREENS.post(PATH + "/regression", Right.MANAGE)
async def add(request: web.Request) -> web.Response:
    form = await request.post()
    questions = [line.strip() for line in str(form.get("questions", "")).splitlines() if line.strip()]
    key = str(form.get("key", "")).strip()
    async with change(request, "regression.added", about=f"article:{key}") as deed:
        by = who(request).account.name
        deed.facts["added"] = await regression.add(deed.session, questions, key=key, by=by, now=deed.now)
    return go(request, PATH + "/regression")


@SCREENS.get(PATH + "/try", Right.MEMBERS)
async def box(request: web.Request) -> web.Response:
    """What the bot would answer, with the candidates, scores and the reason."""
    house, question = house_of(request), request.query.get("question", "").strip()[:500]
    match = None
    if question:
        if house.app.semantics is not None:
            await asyncio.to_thread(house.app.semantics.think, [question])
        match = house.app.faq.matcher.match(question, local_day(house.app.clock.now()))
    page = "console/_try.html" if "HX-Request" in request.headers else "console/try.html"
    faq = house.app.faq
    tier = faq.matcher.meant if match is not None and match.tier == "semantic" else faq.matcher.calibration
    return render(request, page, question=question, match=match, articles=faq.articles, calibration=tier)


# ---- inside


async def _publish(request: web.Request, key: str, *, despite: str) -> web.Response:
    house = house_of(request)
    by, now = who(request).account.name, house.app.clock.now()
    build = publish.judged_by(house.app.semantics)
    try:
        done = await publish.publish(
            house.app.sessions, [key], by=by, now=now, despite=despite.strip()[:200], build=build
        )
    except ShopError as refusal:
        worse = refusal.worse if isinstance(refusal, MadeWorse) else ()
        return await _article(request, key, refusal=refusal, worse=worse)
    async with change(request, "article.published", about=f"article:{key}", version=done.version, despite=despite):
        house.app.peers.tap("faq")
    return await _article(request, key, said=say(request, N_("已发布，客户马上就能问到。")))


async def _article(request: web.Request, key: str, **more: Any) -> web.Response:
    async with looking(request) as session:
        newest = (await store.newest(session, [key])).get(key)
        if newest is None:
            raise store.ArticleNotFound(key)
        live = (await store.published(session)).get(key)
        history = await store.history(session, key)
    return _editor(
        request,
        key,
        _as_form(newest.content),
        revision=newest.revision,
        live=live.revision if live is not None else None,
        history=list(reversed(history)),
        **more,
    )


def _editor(request: web.Request, key: str | None, form: dict[str, Any], **more: Any) -> web.Response:
    refusal = more.get("refusal")
    defaults: dict[str, Any] = {
        "revision": form.get("based_on", ""),
        "live": None,
        "history": [],
        "cluster": None,
        "examples": (),
        "agents": (),
        "worse": (),
    }
    return render(
        request,
        "console/article.html",
        **{**defaults, **more},
        status=refusal.status if refusal is not None else 200,
        reason=refusal.reason if isinstance(refusal, BadArticle) else "",
        key=key or "",
        form=form,
        variables=list(variables.VARIABLES),
        grades=GRADES,
        may_edit=may(request, Right.MANAGE),
    )


def _as_form(article: Article) -> dict[str, str]:
    link = article.link
    return {
        "key": article.id,
        "question": article.question,
        "similar": "\n".join(article.similar),
        "answer": article.answer,
        "tags": "、".join(article.tags),
        "valid_from": article.valid_from.isoformat() if article.valid_from else "",
        "valid_to": article.valid_to.isoformat() if article.valid_to else "",
        "link_url": link.url if link else "",
        "link_title": link.title if link else "",
        "link_desc": link.desc if link else "",
        "image": article.image,
        "menu": "\n".join(article.menu),
        "audience": article.audience,
    }


async def _shown_lately(request: web.Request, session: Any) -> dict[str, int]:
    """How often each article was what the customer got, of the questions that are kept."""
    rows = await session.execute(
        sa.select(FaqQuestion.article_key, sa.func.count())
        .where(FaqQuestion.article_key.in_(sa.select(FaqArticle.key)))
        .group_by(FaqQuestion.article_key)
    )
    return {row[0]: row[1] for row in rows}
