"""This process goes by the newest rules: read at start, and again whenever somebody changed them anywhere."""

import logging

from bot.app import App
from bot.settings import Settings
from bot.shop_rules import sheet, store
from bot.shop_rules.sheet import RulesWrong

log = logging.getLogger(__name__)

TOPIC = "rules"
LOOK_EVERY = 2.0  # seconds; a tap comes sooner


class LiveRules:
    """Watches the version and lets the App hold a newer one."""

    def __init__(self, app: App, settings: Settings) -> None:
        self._app, self._settings, self._version = app, settings, store.SERVER

    async def run(self) -> None:
        """Forever: look when tapped, and now and then in case a tap was lost."""
        while True:
            await self._app.peers.wait(TOPIC, seconds=LOOK_EVERY)
            await self.refresh()

    async def refresh(self) -> bool:
        """Hold the newest version, if it is not held yet. One that this server's settings rule out leaves all as is."""
        async with self._app.sessions.read() as session:
            found = await store.newest(session)
        if found is None or found.version == self._version:
            return False
        self._version = found.version
        try:
            sheet.read(self._settings, found.texts).hold(self._app)
        except RulesWrong as wrong:
            log.error("rules.unfit", extra={"version": found.version, "rules": sorted(wrong.by_rule)})
            return False
        log.info("rules.held", extra={"version": found.version})
        return True
