"""The command line: run it, look after it, ask it."""

import asyncio
import contextlib
import gc
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from rich.console import Console

from bot import doctor as doctor_rules
from bot import logs, schema
from bot.bootstrap import running
from bot.commands import (
    account,
    api_keys,
    bills,
    campaigns,
    coupons,
    groups,
    imports,
    member,
    newcomers,
    referral,
    rules,
    sale,
    subscriptions,
    tasks,
    webhooks,
)
from bot.commands.database import with_session
from bot.commands.loyalty import loyalty_command
from bot.commands.rfm import rfm_command
from bot.commands.segments import segment_command
from bot.commands.stop import resume_command, stop_command
from bot.commands.words import words_command
from bot.faq import cli as faq_cli
from bot.faq import trial
from bot.faq.matcher import Matcher
from bot.settings import WrongSettings, read_settings
from crm.base.clock import SystemClock, local_day
from crm.base.peers import AlreadyRunning

cli = typer.Typer(help="思域 Siyu：企业微信私域的机器人、会员与活动", no_args_is_help=True, add_completion=False)
cli.add_typer(imports.cli, name="import")
imports.cli.command("faq")(faq_cli.import_faq)
exports = typer.Typer(help="把店里的数据写成表格", no_args_is_help=True)
exports.command("faq")(faq_cli.export_faq)
cli.add_typer(exports, name="export")
cli.add_typer(member.cli, name="member")
cli.add_typer(faq_cli.cli, name="faq")
cli.command("rfm")(rfm_command)
cli.command("segment")(segment_command)
cli.add_typer(campaigns.cli, name="campaigns")
cli.add_typer(coupons.cli, name="coupons")
cli.add_typer(referral.cli, name="referral")
cli.add_typer(sale.cli, name="sale")
cli.add_typer(tasks.cli, name="tasks")
cli.add_typer(subscriptions.cli, name="subscriptions")
cli.add_typer(api_keys.cli, name="api-key")
cli.add_typer(webhooks.cli, name="webhooks")
cli.add_typer(bills.cli, name="bills")
cli.add_typer(newcomers.cli, name="newcomers")
cli.add_typer(rules.cli, name="rules")
cli.add_typer(account.cli, name="account")
cli.command("audit")(account.audit_command)
cli.add_typer(groups.cli, name="groups")
cli.command("loyalty")(loyalty_command)
cli.command("stop")(stop_command)
cli.command("resume")(resume_command)
cli.command("words")(words_command)
out = Console()


def main() -> None:
    """Entry point; what went wrong is said in a sentence, not a traceback."""
    try:
        cli()
    except (WrongSettings, AlreadyRunning) as wrong:
        Console(stderr=True).print(str(wrong), style="red", highlight=False, soft_wrap=True)
        raise SystemExit(2) from None


@cli.command()
def serve() -> None:
    """Everything in one process: callbacks, pages, and the work behind them."""
    _run_service(serves_web=True, works=True)


@cli.command()
def web() -> None:
    """Callbacks and pages only; with PostgreSQL, run as many as you need."""
    _run_service(serves_web=True, works=False)


@cli.command()
def worker() -> None:
    """The work behind the pages only; with PostgreSQL, run as many as you need."""
    _run_service(serves_web=False, works=True)


@cli.command()
def migrate() -> None:
    """Bring the database's schema up to this version."""
    settings = read_settings()
    schema.upgrade(settings.database_url)
    out.print("数据库结构已是最新。")


@cli.command()
def simulator(
    port: Annotated[int, typer.Option(help="监听端口")] = 8090,
    host: Annotated[str, typer.Option(help="监听地址")] = "127.0.0.1",
    callback: Annotated[str, typer.Option(help="你的服务接收回调的地址")] = "",
) -> None:
    """A WeCom on your laptop, alone: API, callbacks, phones and a staff client."""
    from bot.simulator.__main__ import start

    start(host, port, callback)


@cli.command()
def demo(
    port: Annotated[int, typer.Option(help="服务端口")] = 8080,
    simulator_port: Annotated[int, typer.Option(help="模拟器端口")] = 8090,
    database: Annotated[Path, typer.Option(help="演示数据库文件，每次重新生成")] = Path("var/demo.db"),
) -> None:
    """A seeded shop on a fresh database, with the simulator beside it; Ctrl-C stops both."""
    from bot.demo import play

    logs.set_up("WARNING", as_json=False)
    _run(lambda stop: play.run(port=port, simulator_port=simulator_port, database=database, stop=stop, say=_say))


@cli.command()
def ask(
    question: str,
    faq: Annotated[Path | None, typer.Option(help="知识库文件")] = None,
    tier: Annotated[trial.Tier, typer.Option(help="auto：装了语义模型就用")] = "auto",
) -> None:
    """What the bot would answer, with candidates, scores and the reason."""
    found = faq_cli.known_articles(faq)
    semantics = trial.chosen_semantics(tier, trial.VECTORS)
    matcher = Matcher(found, semantics=semantics)
    if semantics is not None:
        semantics.think([question])
    trial.say_match(found, question, matcher, matcher.match(question, local_day(SystemClock().now())))


@cli.command()
def doctor() -> None:
    """Look for what is stuck or inconsistent; ends with status 1 when something needs a person."""
    found = with_session(lambda session: doctor_rules.examine(session, now=SystemClock().now()), writes=False)
    for line in found:
        out.print(f"[red]✗[/] {line}")
    if found:
        raise typer.Exit(1)
    out.print("[green]✓[/] 一切正常")


def _say(text: str) -> None:
    out.print(text, soft_wrap=True, highlight=False)


def _run_service(*, serves_web: bool, works: bool) -> None:
    settings = read_settings()
    logs.set_up(settings.log_level, as_json=settings.log_json)

    async def until_stopped(stop: asyncio.Event) -> None:
        async with running(settings, serves_web=serves_web, works=works) as service:
            where = f"http://{settings.host}:{service.port}" if serves_web else "worker"
            gc.freeze()  # what is there now stays: looking it through for garbage stops everybody for 0.1 s
            out.print(f"思域已启动：{where}", highlight=False)
            await stop.wait()

    _run(until_stopped)


def _run(body: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run until the body ends or somebody stops us; Ctrl-C and SIGTERM stop cleanly."""

    async def wrapped() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):
                loop.add_signal_handler(name, stop.set)
        await body(stop)

    uvloop.run(wrapped())
