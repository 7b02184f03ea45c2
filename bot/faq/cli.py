"""`siyu faq …`, `siyu import faq` and `siyu export faq`: keep the knowledge base from the command line."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sqlalchemy.exc import SQLAlchemyError

from bot.commands.database import with_sessions
from bot.faq import articles, learning, publish, regression, semantic, store, transfer, trial
from bot.faq.articles import Article, BadArticle, Loaded
from bot.faq.files import BadFile
from bot.faq.learning import ClusterNotFound, Draft
from bot.faq.publish import Build, MadeWorse, QuestionTaken
from bot.faq.regression import Case, Grade, Verdict
from bot.faq.store import ArticleChanged, ArticleNotFound
from bot.settings import read_settings
from crm.base.clock import SHANGHAI, SystemClock
from crm.base.db import Sessions, open_sessions
from crm.base.errors import Busy, ShopError

cli = typer.Typer(help="知识库：检查、发布、该写哪些新答案", no_args_is_help=True)
cli.command("eval")(trial.eval_faq)
out = Console()
Found = TypeVar("Found")

By = Annotated[str, typer.Option(help="谁做的，记在历史里")]
Despite = Annotated[str, typer.Option(help="有老问题变差也要发布时，写明理由")]
GRADES = {Grade.WRONG: "答成别的", Grade.MISSED: "答不上", Grade.OFFERED: "请客户选", Grade.ANSWERED: "直接回答"}
STEPS = {"saved": "保存", "published": "发布", "withdrawn": "下架"}


def import_faq(
    file: Annotated[Path, typer.Argument(help="CSV、XLSX 或 JSONL 文件", exists=True, dir_okay=False)],
    despite: Despite = "",
    by: By = "命令行",
) -> None:
    """Articles from a file: new and changed ones are saved and published; a second run changes nothing."""
    loaded, errors = articles.load(file), file.with_name(f"{file.name}.errors.csv")
    errors.unlink(missing_ok=True)
    if loaded.refusals:
        loaded.write_refusals(errors)
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task(file.name, total=len(loaded.articles) + len(loaded.drafts))

        async def take(sessions: Sessions) -> transfer.Taken:
            return await transfer.take_in(
                sessions, loaded, by=by, now=SystemClock().now(), note=file.name, despite=despite,
                told=lambda rows: bar.advance(task, rows), build=_as_the_bot(),
            )  # fmt: skip

        taken = _run(take)
    _say_taken(file, loaded, taken, errors)


def export_faq(file: Annotated[Path, typer.Argument(help="要写的 .csv、.xlsx 或 .jsonl 文件")]) -> None:
    """All articles into a file that `siyu import faq` reads back without loss."""
    live, drafts = _run(lambda sessions: transfer.write_out(sessions, file))
    out.print(f"{file.name}：已发布 {live} 篇，草稿 {drafts} 篇。", highlight=False)


@cli.command("check")
def check(
    drafts: Annotated[bool, typer.Option(help="假设所有草稿都已发布")] = False,
    kb: Annotated[Path | None, typer.Option(help="不查数据库，检查这个知识库文件", exists=True)] = None,
    cases: Annotated[Path | None, typer.Option(help="问题,文章编号 的 CSV，与 --kb 一起用", exists=True)] = None,
) -> None:
    """Ask the regression set; ends with status 1 and the list when a question fares worse than it did."""
    if (kb is None) != (cases is None):
        raise typer.BadParameter("--kb 和 --cases 要一起用")
    if kb is not None and cases is not None:
        verdicts = _run(lambda _: _check_file(kb, cases))
        worse = [one for one in verdicts if one.grade < Grade.OFFERED]
    else:
        verdicts = _run(
            lambda all_: publish.check(all_, now=SystemClock().now(), with_drafts=drafts, build=_as_the_bot())
        )
        worse = [one for one in verdicts if one.is_worse]
    counts = "，".join(f"{words} {sum(one.grade is grade for one in verdicts)}" for grade, words in GRADES.items())
    out.print(f"回归问题 {len(verdicts)} 个：{counts}。", highlight=False)
    if worse:
        out.print(_table(worse))
        raise typer.Exit(1)


@cli.command("cases")
def cases_command(
    file: Annotated[Path, typer.Argument(help="问题,文章编号 的 CSV", exists=True, dir_okay=False)], by: By = "命令行"
) -> None:
    """Put questions into the regression set."""

    async def add(sessions: Sessions) -> int:
        added = 0
        async with sessions.begin() as session:
            for question, key in regression.read_file(file):
                added += await regression.add(session, [question], key=key, by=by, now=SystemClock().now())
        return added

    out.print(f"回归问题新增或改动 {_run(add)} 个。", highlight=False)


@cli.command("publish")
def publish_command(
    keys: Annotated[list[str], typer.Argument(help="文章编号")], despite: Despite = "", by: By = "命令行"
) -> None:
    """Bring the newest revisions of these articles live."""
    now, build = SystemClock().now(), _as_the_bot()
    done = _run(lambda all_: publish.publish(all_, keys, by=by, now=now, despite=despite, build=build))
    out.print(f"已发布 {len(done.keys)} 篇，知识库第 {done.version} 版。", highlight=False)


@cli.command()
def withdraw(
    keys: Annotated[list[str], typer.Argument(help="文章编号")], despite: Despite = "", by: By = "命令行"
) -> None:
    """Take these articles down; they stay as drafts."""
    now, build = SystemClock().now(), _as_the_bot()
    done = _run(lambda all_: publish.withdraw(all_, keys, by=by, now=now, despite=despite, build=build))
    out.print(f"已下架 {len(done.keys)} 篇，知识库第 {done.version} 版。", highlight=False)


@cli.command()
def history(key: Annotated[str, typer.Argument(help="文章编号")]) -> None:
    """Everything that happened to an article."""

    async def look(sessions: Sessions) -> list[store.Step]:
        async with sessions.read() as session:
            return await store.history(session, key)

    table = Table("时间", "谁", "做了什么", "版本", "说明")
    for step in _run(look):
        when = f"{step.at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"
        table.add_row(when, step.by, STEPS[step.what], str(step.revision or ""), step.note)
    out.print(table)


@cli.command()
def restore(
    key: Annotated[str, typer.Argument(help="文章编号")],
    revision: Annotated[int, typer.Argument(help="恢复到哪一版")],
    by: By = "命令行",
) -> None:
    """Copy an old revision to the end, as a draft."""

    async def copy(sessions: Sessions) -> int:
        async with sessions.begin() as session:
            return await store.restore(session, key, revision, by=by, now=SystemClock().now())

    out.print(f"已存为第 {_run(copy)} 版草稿，发布：siyu faq publish {key}", highlight=False)


@cli.command()
def misses(limit: int = 20) -> None:
    """Articles to write next: what customers asked in vain, the most asked first."""

    async def look(sessions: Sessions) -> list[learning.Wanted]:
        async with sessions.read() as session:
            return await learning.wanted(session, limit=limit)

    table = Table("编号", "问题", "次数", "客户数", "最近一次")
    for one in _run(look):
        when = f"{one.last_asked_at.astimezone(SHANGHAI):%m-%d %H:%M}"
        table.add_row(str(one.id), one.label, str(one.asked), str(one.customers), when)
    out.print(table if table.row_count else "没有待写的答案。")


@cli.command()
def draft(cluster: Annotated[int, typer.Argument(help="siyu faq misses 里的编号")]) -> None:
    """What a cluster suggests to write: the examples, and what agents answered."""
    found = _run(lambda sessions: _draft(sessions, cluster))
    for text, count in found.examples:
        out.print(f"{count:>4} 次  {text}", highlight=False)
    for words in found.agents:
        out.print(f"[bold]同事答过[/]：{words}", highlight=False)


@cli.command()
def accept(
    cluster: Annotated[int, typer.Argument(help="siyu faq misses 里的编号")],
    answer: Annotated[str, typer.Option(help="答案；不写就用同事最近的回答")] = "",
    by: By = "命令行",
) -> None:
    """Make a draft article of a cluster, its examples into the regression set; publish it when you have read it."""

    async def write(sessions: Sessions) -> str:
        article = (await _draft(sessions, cluster)).article
        cells = {"id": article.id, "question": article.question, "similar": list(article.similar)}
        async with sessions.begin() as session:
            ready = articles.article_of({**cells, "answer": answer or article.answer})
            await learning.accept(session, cluster, ready, by=by, now=SystemClock().now())
        return article.id

    out.print(f"已存为草稿，发布：siyu faq publish {_run(write)}", highlight=False)


@cli.command()
def dismiss(cluster: Annotated[int, typer.Argument(help="siyu faq misses 里的编号")], by: By = "命令行") -> None:
    """Nothing to write here; more of the same is not listed again."""

    async def close(sessions: Sessions) -> None:
        async with sessions.begin() as session:
            await learning.dismiss(session, cluster, by=by, now=SystemClock().now())

    _run(close)


def known_articles(file: Path | None) -> tuple[Article, ...]:
    """What the bot answers from: this file, else what is published, else the file that a start would take in."""
    if file is None:
        settings = read_settings()
        live = asyncio.run(_live(settings.database_url))
        if live or settings.faq_file is None:
            return live
        file = settings.faq_file
    return articles.load(file).articles


async def _live(database_url: str) -> tuple[Article, ...]:
    sessions = open_sessions(database_url)
    try:
        async with sessions.read() as session:
            return store.contents(await store.published(session))
    except (SQLAlchemyError, OSError):  # no database yet, or none that is up to date
        return ()
    finally:
        await sessions.close()


async def _draft(sessions: Sessions, cluster: int) -> Draft:
    async with sessions.read() as session:
        return await learning.draft(session, cluster)


async def _check_file(kb: Path, cases: Path) -> list[Verdict]:
    asked = [Case(0, question, key) for question, key in regression.read_file(cases)]
    return regression.judge(_as_the_bot()(articles.load(kb).articles, (), SystemClock().now()), asked)


def _as_the_bot() -> Build:
    """By the tiers that will answer; the first time, with many articles, the model takes a while."""
    return publish.judged_by(semantic.chosen_by(read_settings()))


def _say_taken(file: Path, loaded: Loaded, taken: transfer.Taken, errors: Path) -> None:
    saved, refused = len(taken.saved), len(loaded.refusals)
    out.print(
        f"{file.name}：新增或修改 {saved} 篇，没有变化 {taken.unchanged} 篇，拒绝 {refused} 行。", highlight=False
    )
    if taken.live is not None and taken.live.worse:
        out.print(_table(taken.live.worse))
    if loaded.refusals:
        out.print(f"每一行的原因：{errors.name}", highlight=False)
        raise typer.Exit(1)


def _table(verdicts: list[Verdict] | tuple[Verdict, ...]) -> Table:
    table = Table("问题", "应当找到", "以前", "现在", "现在找到")
    for one in verdicts:
        before = GRADES[one.case.reached] if one.case.reached is not None else ""
        table.add_row(one.case.question, one.case.expected, before, GRADES[one.grade], one.shown)
    return table


def _run(work: Callable[[Sessions], Awaitable[Found]]) -> Found:
    """Do it with the shop's database; a refusal is a sentence and status 1."""
    try:
        return with_sessions(work)
    except (ShopError, BadFile) as refusal:
        Console(stderr=True).print(_sentence(refusal), style="red", highlight=False, soft_wrap=True)
        if isinstance(refusal, MadeWorse):
            Console(stderr=True).print(_table(refusal.worse))
        raise typer.Exit(1) from None


def _sentence(refusal: Exception) -> str:
    match refusal:
        case MadeWorse():
            return f"没有发布：有 {len(refusal.worse)} 个老问题会变差。修改后再发布，或用 --despite 写明理由。"
        case QuestionTaken():
            return f"没有发布：“{refusal.question}”已经由文章 {refusal.other} 回答，{refusal.key} 请换个问法。"
        case ArticleNotFound():
            return f"没有找到文章 {refusal.key}" + (f" 的第 {refusal.revision} 版。" if refusal.revision else "。")
        case ArticleChanged():
            return f"文章 {refusal.key} 刚被别人改过（现在是第 {refusal.newest} 版），请重新来一次。"
        case ClusterNotFound():
            return f"待写清单里没有编号 {refusal.cluster_id}。"
        case Busy():
            return "别人正在发布，请过几秒再试。"
        case BadArticle() | BadFile():
            return str(refusal)
        case _:
            return f"办不了：{refusal!r}"
