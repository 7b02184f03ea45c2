"""Composition root: builds each long-lived object once, starts them in order, stops them in reverse."""

import asyncio
import logging
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import aiohttp
from aiohttp import web

from bot.app import App
from bot.archive.keys import PrivateKeys, WrongPrivateKey
from bot.archive.lines import ArchiveChoices
from bot.archive.reader import ArchiveReader
from bot.archive.source import Bridge
from bot.desk.later import LaterReplies
from bot.dialogue.answer import Answering
from bot.dialogue.handlers import root
from bot.digest import Digest
from bot.faq import semantic
from bot.faq.learning import Learning
from bot.faq.live import Live
from bot.faq.pictures import Pictures
from bot.flashsale.allocator import Allocator
from bot.flashsale.bills import BillWatch, Choices
from bot.flashsale.chat import ClaimLines
from bot.flashsale.newcomers import Newcomers
from bot.flashsale.watch import SaleWatch
from bot.groupbot.answering import BotPlace, Mentions, late_answers
from bot.groupbot.store import MentionInbox
from bot.groupbot.view import Bot, BotView
from bot.handoff.native import Handover
from bot.handoff.presses import CardPresses
from bot.handoff.watch import Watch
from bot.metrics import LOOPS_FAILED
from bot.nightly import Nightly
from bot.reactions import reactions as edge
from bot.referral import poster
from bot.referral.posters import Posters
from bot.referral.ways import InviterWays
from bot.retention import Retention
from bot.review_pictures import ReviewPictures
from bot.settings import Settings, WrongSettings, rfm_rule
from bot.shop_rules import sheet
from bot.shop_rules.live import LiveRules
from bot.subscribing.habits import HabitWatch
from bot.subscribing.ways import SubscriptionWatch
from bot.web.api import Api
from bot.web.api_access import Access
from bot.web.api_calls import every_call
from bot.web.api_sales import Telling
from bot.web.h5 import PayPage, SalePages
from bot.web.h5_site import MemberSite
from bot.web.h5_subscriptions import SubscriptionPages
from bot.web.h5_suggestions import SuggestionPages
from bot.web.h5_surveys import SurveyPages
from bot.web.h5_tasks import TaskPages
from bot.web.house import House
from bot.web.pay_notice import PayNotices
from bot.web.referral_h5 import ReferralPages
from bot.web.server import create_app
from bot.web.visitors import Visitors
from bot.webhooks.courier import courier
from bot.webhooks.sender import WebhookSender
from bot.wecom.callback import CallbackView, Inbox
from bot.wecom.client import WecomClient
from bot.wecom.crypto import Envelope
from bot.wecom.inbox import InboxWorker
from bot.wecom.kf_chat import KfChat
from bot.wecom.limits import Limiter
from bot.wecom.mass_sends import GROUPS, MassSends
from bot.wecom.puller import Puller
from bot.wecom.sender import Sender
from bot.wecom.sending import lane_table
from bot.wecom.sync import Sync
from bot.wecom.tag_marks import TagMarks
from bot.wecom.token import AppKey, TokenCache
from bot.wecom.transport import HttpTransport
from bot.wecom.upkeep import Upkeep
from campaigns import every_reaction
from campaigns.reactions import Reader
from campaigns.scheduler import Scheduler
from campaigns.worker import Worker
from crm.base.clock import Clock, SystemClock
from crm.base.db import open_sessions
from crm.base.peers import Peers
from crm.base.secrets import Vault

log = logging.getLogger(__name__)

CONNECTIONS = 100
STUMBLE_SECONDS = (0.2, 1.0, 5.0, 15.0)  # before a failed loop is started again
Loop = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Service:
    """A running service, for the command line and the tests."""

    settings: Settings
    app: App
    client: WecomClient
    inbox: Inbox
    allocator: Allocator
    newcomers: Newcomers
    site: web.Application | None
    port: int = 0


@asynccontextmanager
async def running(
    settings: Settings,
    *,
    clock: Clock | None = None,
    chance: random.Random | None = None,
    limiter: Limiter | None = None,
    serves_web: bool = True,
    works: bool = True,
) -> AsyncIterator[Service]:
    """The service, from first connection to clean stop. `serves_web`, `works`: which half of it this process is."""
    clock, chance = clock or SystemClock(), chance or secrets.SystemRandom()
    async with AsyncExitStack() as stack:
        sessions = open_sessions(settings.database_url)
        stack.push_async_callback(sessions.close)
        peers = Peers(sessions, chance=chance)
        await peers.join()
        stack.push_async_callback(peers.leave)
        http = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS), trust_env=False)
        )
        transport = HttpTransport(http, settings.wecom_api_url)
        keys = {name: AppKey(app.agent_id, app.secret.get_secret_value()) for name, app in settings.apps.items()}
        tokens = TokenCache(transport, sessions, clock, settings.corp_id, keys)
        stack.push_async_callback(tokens.close)
        client = WecomClient(
            transport,
            tokens,
            limiter or Limiter(clock),
            clock,
            chance,
            corp_id=settings.corp_id,
            apps=keys,
            default_app=settings.main_app,
        )
        app = App(
            clock=clock,
            chance=chance,
            sessions=sessions,
            peers=peers,
            reply_deadline=settings.reply_deadline,
            public_url=(settings.public_url or "").rstrip("/"),
            line_gap=settings.line_gap,
            inviter_ways=settings.inviter_ways,
            poster_font=poster.find_font(settings.poster_font),
            asks_usefulness=settings.faq_asks_usefulness,
            semantics=semantic.chosen_by(settings),
            vault=Vault(settings.data_key.get_secret_value()) if settings.data_key is not None else None,
        )
        sheet.read(settings, {}).hold(app)
        rules = LiveRules(app, settings)
        await rules.refresh()
        stack.push_async_callback(_stop_all, _start_all({"rules": rules.run}))
        live = Live(app)
        await live.open(settings.faq_file)
        stack.push_async_callback(_stop_all, _start_all({"faq": live.run}))
        if app.semantics is not None:
            stack.callback(app.semantics.close)
            stack.push_async_callback(_stop_all, _start_all({"faq_meaning": live.deepen}))
        inbox = Inbox(sessions, peers)
        allocator = Allocator(sessions, clock)
        await allocator.start()
        stack.push_async_callback(allocator.stop)
        secret = settings.apps[settings.main_app].secret.get_secret_value().encode()
        newcomers = Newcomers(sessions, clock, settings.newcomers.rule(), key=secret)
        await newcomers.start()
        stack.push_async_callback(newcomers.stop)
        service = Service(settings, app, client, inbox, allocator, newcomers, None)
        if works:
            stack.push_async_callback(_stop_all, _start_all(_loops(service)))
            pictures = Pictures(app, client.media, http, settings.faq_pictures)
            posters = Posters(app, client.media, http)
            more = {"pictures": pictures.run, "posters": posters.run, **_archive(service, http), **_bills(service)}
            if app.vault is not None:
                told = settings.webhooks
                carrier = await stack.enter_async_context(
                    courier(app.clock, private=told.private, seconds=told.timeout.total_seconds())
                )
                shared = (app.sessions, app.peers, app.clock, app.chance)
                hooks = WebhookSender(*shared, carrier, app.vault, supervisors=settings.handoff.supervisors)
                more["webhooks"] = hooks.run
            stack.push_async_callback(_stop_all, _start_all(more))
        if serves_web:
            await inbox.start()
            stack.push_async_callback(inbox.stop)
            await _listen(service, stack, http)
        yield service


def _loops(service: Service) -> Mapping[str, Loop]:
    """What goes on in the background of a worker."""
    app, client = service.app, service.client
    mass_sends = MassSends(client.broadcasts, app)
    group_sends = MassSends(client.broadcasts, app, GROUPS)
    sender = Sender(
        app.sessions,
        app.peers,
        app.clock,
        app.chance,
        lane_table(
            client,
            handover=Handover(client.kf, app.sessions, app.clock, lambda: app.handoff).send,
            mark_tags=TagMarks(client.tags, app.sessions, app.clock).send,
            late_answers=late_answers(client.aibot, app.sessions, app.clock),
            broadcast=mass_sends.send,
            robot_key=robot.get_secret_value() if (robot := service.settings.digest_robot) is not None else "",
            group_broadcast=group_sends.send,
        ),
        gate=lambda: app.gate,
    )
    sync = Sync(app.sessions, client, app.clock)
    shared = (app.sessions, app.peers, app.clock)
    upkeep = Upkeep(app, client, sync, main_app=service.settings.main_app)
    settings = service.settings
    sale_watch = SaleWatch(app, service.allocator)
    places = {name: BotPlace(bot.help_url or "") for name, bot in settings.bots.items()}
    return {
        "mentions": Mentions(app, places, kept=settings.faq_questions_kept).run,
        "campaigns": Reader(*shared, cursor="campaigns", table=every_reaction.table).run,
        "edge": Reader(*shared, cursor="edge", table=edge.table).run,
        "inbox": InboxWorker(app, sync, upkeep, CardPresses(app, client.kf)).run,
        "accounts": upkeep.keep_accounts,
        "sync": upkeep.keep_synced,
        "names": upkeep.keep_names,
        "review_pictures": ReviewPictures(app, client.media).run,
        "retention": Retention(*shared, kept=settings.kept, night_hour=settings.night_hour).run,
        "puller": Puller(app.sessions, client.kf, app.peers, app.clock, poll=service.settings.kf_poll).run,
        "dialogue": Answering(app, client.kf, root).run,
        "sender": sender.run,
        "nightly": Nightly(*shared, rule=rfm_rule(service.settings), night_hour=service.settings.night_hour).run,
        "sla": Watch(app).run,
        "engine": Worker(*shared, gate=lambda: app.gate, kf=KfChat()).run,
        "schedule": Scheduler(*shared).run,
        "mass_sends": mass_sends.run,
        "inviter_ways": InviterWays(app, client.ways).run,
        "group_sends": group_sends.run,
        "sales": sale_watch.run,
        "sale_sums": sale_watch.check,
        **({"digest": Digest(app, hour=settings.digest_hour).run} if settings.digest_robot is not None else {}),
        "later_replies": LaterReplies(app).run,
        "subscriptions": SubscriptionWatch(app).run,
        "habits": HabitWatch(app, night_hour=settings.night_hour).run,
        "claim_lines": ClaimLines(app, service.allocator, service.newcomers).run,
        "faq_learning": Learning(app, kept=service.settings.faq_questions_kept).run,
    }


def _archive(service: Service, http: aiohttp.ClientSession) -> Mapping[str, Loop]:
    """The reader of the chat archive, where the shop has it. Raises WrongSettings for a key file that holds none."""
    settings, chosen = service.settings, service.settings.archive
    if chosen.url is None or chosen.secret is None:
        return {}
    try:
        keys = PrivateKeys.load(chosen.private_keys)
    except WrongPrivateKey as wrong:
        raise WrongSettings(f"SIYU_ARCHIVE__PRIVATE_KEYS: {wrong}") from None
    choices = ArchiveChoices(
        chosen.keywords, chosen.unanswered_after, chosen.kept, chosen.poll, settings.handoff.supervisors
    )
    agreements = partial(service.client.archive.room_agreements, app=settings.main_app)
    bridge = Bridge(http, chosen.url, chosen.secret.get_secret_value())
    return {"archive": ArchiveReader(service.app, bridge, keys, agreements, choices).run}


def _bills(service: Service) -> Mapping[str, Loop]:
    """The reader of what was paid to the corp, where the shop wants it."""
    chosen = service.settings.bills
    if chosen.poll is None:
        return {}
    choices = Choices(chosen.poll, chosen.payees, chosen.app)
    return {"bills": BillWatch(service.app, service.client.bills, choices).run}


async def _listen(service: Service, stack: AsyncExitStack, http: aiohttp.ClientSession) -> None:
    settings, app = service.settings, service.app
    envelopes = {
        name: Envelope(one.token.get_secret_value(), one.aes_key.get_secret_value(), settings.corp_id)
        for name, one in settings.apps.items()
        if one.token is not None and one.aes_key is not None
    }
    keys = {name: key.get_secret_value() for name, key in settings.api_keys.items()}
    vault = app.vault
    access = Access(app.sessions, app.clock, keys=keys, vault=vault, calls_per_minute=settings.api_calls_per_minute)
    stack.push_async_callback(access.note)
    stack.push_async_callback(_stop_all, _start_all({"api_keys": access.run}))
    api = Api(every_call(vault, lambda: Telling(app.gate, app.words, app.public_url)), app.sessions, app.clock, access)
    mentions = MentionInbox(app.sessions, app.peers)
    await mentions.start()
    stack.push_async_callback(mentions.stop)
    routes: list[web.AbstractRouteDef] = [*CallbackView(envelopes, service.inbox, app.clock).routes(), *api.routes()]
    routes += BotView(app, _bots(settings), mentions).routes()
    main = settings.apps[settings.main_app]
    visitors = Visitors(
        app,
        service.client.staff,
        secret=main.secret.get_secret_value().encode(),
        authorize_url=settings.oauth_url,
        corp_id=settings.corp_id,
        agent_id=main.agent_id,
    )
    member_site = MemberSite(app, visitors, frames=settings.oauth_url)
    pages = SalePages(member_site, service.allocator, service.newcomers, PayPage(settings.pay_url))
    task_pages = TaskPages(member_site)
    routes += [*member_site.routes(), *pages.routes(), *task_pages.routes()]
    routes += SubscriptionPages(member_site, pay_url=settings.pay_url).routes()
    routes += [*SuggestionPages(member_site).routes(), *SurveyPages(member_site).routes()]
    routes += [*member_site.routes(), *pages.routes()]
    routes += ReferralPages(member_site, service.client, http).routes()
    if settings.pay_key is not None:
        routes += PayNotices(app, settings.pay_key.get_secret_value().encode()).routes()
    service.site = create_app(app, routes, House(app, settings, service.client, service.allocator, vault))
    runner = web.AppRunner(service.site, access_log=None, shutdown_timeout=5.0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    stack.push_async_callback(task_pages.live.stop)
    stack.push_async_callback(pages.live.stop)  # before the server waits for its answers to end
    site = web.TCPSite(runner, settings.host, settings.port)
    await site.start()
    service.port = runner.addresses[0][1]


def _bots(settings: Settings) -> dict[str, Bot]:
    return {
        name: Bot(Envelope(one.token.get_secret_value(), one.aes_key.get_secret_value(), ""), one.display_name)
        for name, one in settings.bots.items()
    }


def _start_all(loops: Mapping[str, Loop]) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(_keep_going(name, loop), name=name) for name, loop in loops.items()]


async def _stop_all(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _keep_going(name: str, loop: Loop) -> None:
    """Run `loop` for ever: when it stumbles, say so and start it again a little later."""
    stumbles = 0
    while True:
        began = asyncio.get_running_loop().time()
        try:
            await loop()
        except Exception:
            LOOPS_FAILED.labels(name).inc()
            log.exception("loop.failed", extra={"loop": name})
        lasted = asyncio.get_running_loop().time() - began
        stumbles = 0 if lasted > 60 else min(stumbles + 1, len(STUMBLE_SECONDS) - 1)
        await asyncio.sleep(STUMBLE_SECONDS[stumbles])
