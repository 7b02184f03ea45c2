"""`siyu webhooks …`: addresses that hear of our events: added, tried, their log, and what to send again."""

import getpass
import json
import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncSession

from bot import outward
from bot.commands.database import with_sessions
from bot.models.webhook import DeliveryState, WebhookAttempt
from bot.settings import Settings, read_settings
from bot.webhooks import addresses, endpoints, trying
from bot.webhooks.addresses import AddressRefused
from bot.webhooks.courier import Answer, courier
from bot.webhooks.endpoints import Added, Logged, Standing, WebhookNameTaken, WebhookNotFound, WebhookWrong
from crm.base.clock import SHANGHAI, SystemClock
from crm.base.db import Sessions
from crm.base.secrets import Vault

cli = typer.Typer(help="webhook：把发生的事告诉别的系统", no_args_is_help=True)
out = Console(highlight=False, soft_wrap=True)
Found = TypeVar("Found")
Name = Annotated[str, typer.Argument(help="webhook 的名字")]
STATES = {DeliveryState.WAITING: "等着", DeliveryState.DELIVERED: "收下了", DeliveryState.GIVEN_UP: "放弃了"}


@cli.command()
def add(
    name: Name,
    url: Annotated[str, typer.Argument(help="https 地址")],
    event: Annotated[list[str] | None, typer.Option(help="只要这些事件，可以写几次；不写就是全部")] = None,
) -> None:
    """Tell an address of events from now on; its secret is printed now and never again."""

    async def work(session: AsyncSession, now: datetime, settings: Settings) -> Added:
        return await endpoints.add(
            session,
            _vault(settings),
            name,
            url,
            event or (),
            private=settings.webhooks.private,
            by=getpass.getuser(),
            now=now,
            chance=secrets.SystemRandom(),
        )

    made = _with_session(work)
    out.print(f"{name}：{'、'.join(made.webhook.events) or '全部事件'} → {url}", markup=False)
    out.print("验签的密钥只显示这一次，请马上收好：", markup=False)
    out.print(made.secret, markup=False)


@cli.command(name="list")
def list_all() -> None:
    """All webhooks and how they fare."""

    async def work(session: AsyncSession, now: datetime, settings: Settings) -> list[Standing]:
        return await endpoints.everything(session, now=now)

    found = _with_session(work, writes=False)
    table = Table("名字", "地址", "事件", "等着", "24 小时收下", "放弃了", "状态")
    for one in found:
        hook = one.webhook
        counts = (f"{one.waiting:,}", f"{one.delivered:,}", f"{one.given_up:,}")
        table.add_row(hook.name, hook.url, "、".join(hook.events) or "全部", *counts, standing(one))
    out.print(table if found else "还没有 webhook。加一个：siyu webhooks add 名字 https://…")


@cli.command()
def test(name: Name) -> None:
    """Send a test event now, signed like all others, and say what came back."""

    async def work(sessions: Sessions, settings: Settings) -> Answer:
        seconds = settings.webhooks.timeout.total_seconds()
        async with courier(SystemClock(), private=settings.webhooks.private, seconds=seconds) as carrier:
            return await trying.ping(sessions, carrier, _vault(settings), name, now=SystemClock().now())

    answer = _run(work)
    out.print(_answered(answer.status, answer.took_ms, answer.error or answer.answer), markup=False)
    if not answer.is_taken:
        raise typer.Exit(1)


@cli.command()
def log(
    name: Name,
    limit: Annotated[int, typer.Option(help="最近几件", min=1, max=1000)] = 20,
    failed: Annotated[bool, typer.Option("--failed", help="只看放弃了的")] = False,
) -> None:
    """The newest deliveries with every attempt: status, milliseconds, the first words of the answer."""

    async def work(session: AsyncSession, now: datetime, settings: Settings) -> list[Logged]:
        webhook = await endpoints.get(session, name)
        return await endpoints.log(session, webhook.id, state=DeliveryState.GIVEN_UP if failed else None, limit=limit)

    found = _with_session(work, writes=False)
    for one in found:
        delivery = one.delivery
        next_at = f"，下次 {_when(delivery.due_at)}" if delivery.state is DeliveryState.WAITING else ""
        about = f"{_when(delivery.created_at)} {delivery.event} {STATES[delivery.state]}{next_at}"
        out.print(f"#{delivery.id} {about}", markup=False)
        for attempt in one.attempts:
            out.print(f"    {_when(attempt.at)} {_attempt(attempt)}", markup=False)
    if not found:
        out.print("还没有。")


@cli.command()
def replay(
    name: Name,
    delivery: Annotated[list[int] | None, typer.Option(help="发送的号，见 siyu webhooks log；可以写几次")] = None,
    since: Annotated[datetime | None, typer.Option(help="从店铺当地的这个时候起")] = None,
    until: Annotated[datetime | None, typer.Option(help="到这个时候之前")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="只要放弃了的")] = False,
) -> None:
    """Send one again, or those of a range, with the very body they had."""
    only = DeliveryState.GIVEN_UP if failed else None
    if not (delivery or since or until or failed):
        _fail("说明要重发哪些：--delivery 号，或 --since、--until，或 --failed。")

    async def work(session: AsyncSession, now: datetime, settings: Settings) -> int:
        webhook = await endpoints.get(session, name)
        span = {"since": _local(since), "until": _local(until)}
        return await endpoints.replay(session, webhook.id, ids=delivery or (), only=only, now=now, **span)

    out.print(f"{_with_session(work):,} 件马上重发。")


@cli.command()
def enable(name: Name) -> None:
    """Switch it on again; what waited is sent."""
    count = _with_session(lambda session, now, settings: endpoints.enable(session, name, now=now))
    out.print(f"{name}：打开了，{count:,} 件等着的马上发。", markup=False)


@cli.command()
def remove(name: Name) -> None:
    """It hears nothing more; the name is not given again."""
    _with_session(lambda session, now, settings: endpoints.remove(session, name, now=now))
    out.print(f"{name}：删掉了。", markup=False)


def standing(one: Standing) -> str:
    hook = one.webhook
    if hook.disabled_at is not None:
        return f"{_when(hook.disabled_at)} 停用：{hook.disabled_because}"
    return f"{_when(hook.failing_since)} 起没有收下" if hook.failing_since is not None else "正常"


def _attempt(one: WebhookAttempt) -> str:
    return _answered(one.status, one.took_ms, one.error or one.answer)


def _answered(status: int | None, took_ms: int, words: str) -> str:
    return f"{status or '没有回答'} {took_ms} ms {json.dumps(words, ensure_ascii=False) if words else ''}".rstrip()


def _vault(settings: Settings) -> Vault:
    if settings.data_key is None:
        _fail("先设置 SIYU_DATA_KEY（openssl rand -base64 32）：验签的密钥用它加密保存。")
    return Vault(settings.data_key.get_secret_value())


def _local(at: datetime | None) -> datetime | None:
    return at if at is None or at.tzinfo else at.replace(tzinfo=SHANGHAI)


def _when(at: datetime | None) -> str:
    return f"{at.astimezone(SHANGHAI):%m-%d %H:%M:%S}" if at else "—"


def _with_session(
    work: Callable[[AsyncSession, datetime, Settings], Awaitable[Found]], *, writes: bool = True
) -> Found:
    async def run(sessions: Sessions, settings: Settings) -> Found:
        async with sessions.begin() if writes else sessions.read() as session:
            return await work(session, SystemClock().now(), settings)

    return _run(run)


def _run(work: Callable[[Sessions, Settings], Awaitable[Found]]) -> Found:
    settings = read_settings()
    try:
        return with_sessions(lambda sessions: work(sessions, settings), settings)
    except WebhookNotFound as no:
        _fail(f"没有叫“{no.name}”的 webhook。")
    except WebhookNameTaken as no:
        _fail(f"已经有过叫“{no.name}”的 webhook，换个名字。")
    except AddressRefused as no:
        _fail(addresses.why_in_words(no))
    except WebhookWrong as no:
        _fail("名字要 1 到 40 个字。" if no.field == "name" else f"没有事件 {no.value}：有 {'、'.join(outward.TOLD)}。")


def _fail(sentence: str) -> NoReturn:
    Console(stderr=True).print(sentence, style="red", highlight=False, soft_wrap=True, markup=False)
    raise typer.Exit(2)
