"""This process's index, kept at the newest version: loaded at start, rebuilt in a thread, swapped between two turns."""

import asyncio
import hashlib
import logging
from pathlib import Path

import sqlalchemy as sa

from bot.app import App, Faq
from bot.faq import articles, publish, regression, store
from bot.metrics import ARTICLES
from bot.models.faq import FaqState

log = logging.getLogger(__name__)

DEEPEN_EVERY = 1.0  # seconds between looks for an index without vectors
LOOK_EVERY = 2.0  # seconds; a tap comes sooner
FROM_FILE = "file"  # who saved what came from SIYU_FAQ_FILE


class Live:
    """Watches the version and swaps `app.faq` when there is a newer one."""

    def __init__(self, app: App, *, look_every: float = LOOK_EVERY) -> None:
        self._app, self._look_every = app, look_every
        self._unmeasured = False  # the operator's file is in, and the regression set was not asked yet

    async def open(self, file: Path | None) -> None:
        """What customers see, before the first of them asks; `file` is taken in when it has changed."""
        if file is not None:
            await self._take_in(file)
        await self.refresh()

    async def run(self) -> None:
        """Forever: look when tapped, and now and then in case a tap was lost."""
        while True:
            await self._app.peers.wait("faq", seconds=self._look_every)
            await self.refresh()

    async def deepen(self) -> None:
        """Forever: give the newest index its vectors of meaning. Until they are there, the lexical tier answers."""
        while self._app.semantics is not None:
            shallow = self._app.faq
            if shallow.matcher.meant is None and shallow.articles:
                articles, version = tuple(shallow.articles.values()), shallow.version
                async with self._app.sessions.read() as session:
                    confirmed = regression.confirmed(await regression.cases(session), shallow.articles)
                deep = await asyncio.to_thread(Faq, articles, version, self._app.semantics, confirmed)
                if self._app.faq is shallow:  # else a newer one came meanwhile: deepen that
                    self._app.faq = deep
                    await self._measure()
                    log.info("faq.deepened", extra={"version": version})
                continue
            await asyncio.sleep(DEEPEN_EVERY)

    async def refresh(self) -> bool:
        """Swap the index if the database has a newer version. Turns go on with the old one meanwhile."""
        async with self._app.sessions.read() as session:
            if await publish.version_of(session) == self._app.faq.version:
                return False
            version, found = await publish.load(session)
        self._app.faq = await asyncio.to_thread(Faq, found, version)
        ARTICLES.set(len(found))
        log.info("faq.swapped", extra={"version": version, "articles": len(found)})
        return True

    async def _take_in(self, file: Path) -> None:
        """The operator's file: what it says goes live, unless this very file was taken in before."""
        content = await asyncio.to_thread(file.read_bytes)
        sha256, now = hashlib.sha256(content).hexdigest(), self._app.clock.now()
        async with self._app.sessions.begin() as session:
            state = (await session.scalars(sa.select(FaqState).with_for_update())).one()
            if state.file_sha256 == sha256:
                return
            loaded = await asyncio.to_thread(articles.load, content, file.name)
            for refusal in loaded.refusals:
                log.warning("faq.row_refused", extra={"row": refusal.row_number, "reason": refusal.reason})
            new = await store.unlike_live(session, loaded.articles)
            await store.save_all(session, new, by=FROM_FILE, now=now, note=file.name)
            await publish.put_live(session, [one.id for one in new], by=FROM_FILE, now=now)
            await store.save_all(session, loaded.drafts, by=FROM_FILE, now=now, note=file.name)
            await session.refresh(state)
            state.file_sha256 = sha256
        self._unmeasured = True
        if self._app.semantics is None:
            await self._measure()  # else it waits for the tier that will answer

    async def _measure(self) -> None:
        """What the operator's file made worse is told; from here on its level is the one to hold."""
        if not self._unmeasured:
            return
        self._unmeasured = False
        verdicts = await publish.check(
            self._app.sessions, now=self._app.clock.now(), build=publish.judged_by(self._app.semantics)
        )
        for one in (one for one in verdicts if one.is_worse):
            log.warning("faq.got_worse", extra={"question": one.case.question, "expected": one.case.expected})
        async with self._app.sessions.begin() as session:
            await regression.keep(session, verdicts)
