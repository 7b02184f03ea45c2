"""`siyu faq eval` and `siyu ask`: what the matcher would do, and how well it does it."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from bot.faq.articles import Article
from bot.faq.evaluate import evaluate, read
from bot.faq.matcher import Match, Matcher
from bot.faq.semantic import Semantics, local_semantics

out = Console()

Tier = Literal["auto", "lexical", "semantic"]
VECTORS = Path("var/faq-vectors.npz")
VERDICTS = {"answer": "直接回答", "suggest": "请客户选择", "miss": "没有把握，不答"}
TIERS = {"lexical": "字面", "semantic": "语义"}

File = typer.Option(exists=True, dir_okay=False)


def eval_faq(
    kb: Annotated[Path, File],
    queries: Annotated[Path, File],
    out_of_scope: Annotated[Path, File],
    pairs: Annotated[
        Path | None, typer.Option(help="人说过意思相同的问句：语义层从中学；被问的句子先去掉", exists=True)
    ] = None,
    tier: Annotated[Tier, typer.Option(help="auto：装了语义模型就用")] = "auto",
    vectors: Annotated[Path, typer.Option(help="向量缓存文件")] = VECTORS,
    as_json: Annotated[bool, typer.Option("--json", help="一个 JSON 对象")] = False,
) -> None:
    """Recall, refusal and speed on questions with known answers (JSON lines)."""
    figures = evaluate(read(kb, queries, out_of_scope, pairs), chosen_semantics(tier, vectors))
    if as_json:
        typer.echo(json.dumps(figures, ensure_ascii=False))
        return
    table = Table("指标", "数值")
    for name, value in figures.items():
        table.add_row(name, f"{value:.3f}" if isinstance(value, float) else str(value))
    out.print(table)


def say_match(articles: tuple[Article, ...], question: str, matcher: Matcher, match: Match) -> None:
    """The decision, its reason, and the candidates."""
    calibration = matcher.meant if match.tier == "semantic" and matcher.meant else matcher.calibration
    answer, suggest = calibration.thresholds.answer, calibration.thresholds.suggest
    out.print(f"[bold]{VERDICTS[match.kind]}[/]（知识库 {len(articles)} 篇，{TIERS[match.tier]}层）")
    out.print(f"把握 {match.confidence:.3f}，直接回答要 {answer:.3f}；{why(match, suggest)}", highlight=False)
    if calibration.foreign_share is not None:
        out.print(f"在这个设置下，知识库之外的问题约有 {calibration.foreign_share:.1%} 会得到回答。", highlight=False)
    if match.kind == "answer":
        out.print(next(one.answer for one in articles if one.id == match.hits[0].article_id))
    table = Table("得分", "语义", "标准问题", "最接近的问法", "编号")
    for hit in match.hits:
        meaning = "" if hit.meaning is None else f"{hit.meaning:.3f}"
        table.add_row(f"{hit.score:.3f}", meaning, hit.question, hit.matched, hit.article_id)
    if match.hits:
        out.print(table)


def why(match: Match, suggest: float) -> str:
    if not match.hits:
        return "没有一篇提到这些字。"
    if match.hits[0].score == 1:
        return "和知识库里的一种问法完全一样。"
    if match.kind == "answer":
        return "最像的一篇够像，也明显比第二篇更像。"
    return "最像的一篇不够像，或者和第二篇难分高下。" if match.hits[0].score >= suggest else "没有一篇够像。"


def chosen_semantics(tier: Tier, vectors: Path) -> Semantics | None:
    """The model in this installation; None when it is not asked for, or not there and may be left out."""
    if tier == "lexical":
        return None
    found = local_semantics(vectors)
    if found is None and tier == "semantic":
        raise typer.BadParameter("没有安装语义模型：pip install siyu[semantic]")
    return found
