"""`siyu stop`, `siyu resume` and `siyu words` as somebody types them."""

from pathlib import Path

import typer
from typer.testing import CliRunner

from bot.commands.account import audit_command
from bot.commands.stop import resume_command, stop_command
from bot.commands.words import words_command
from tests.bot.test_segment_command import shop

__all__ = ["shop"]

program = typer.Typer()
program.command("stop")(stop_command)
program.command("resume")(resume_command)
program.command("audit")(audit_command)
program.command("words")(words_command)


def run(*arguments: str) -> str:
    ran = CliRunner().invoke(program, list(arguments))
    assert ran.exit_code == 0, ran.output
    return ran.stdout


def test_the_brake_is_pulled_and_let_go_and_says_so(shop: Path) -> None:
    assert "没有停着" in run("resume")
    assert "已全部停止" in run("stop", "写错了价")
    assert "写错了价" in run("stop")
    assert "已恢复" in run("resume")


def test_who_stopped_and_who_let_go_is_in_the_staffs_log_once(shop: Path) -> None:
    for command in (["resume"], ["stop", "写错了价"], ["stop", "又按了一次"], ["resume"], ["resume"]):
        run(*command)
    told = [line for line in run("audit").splitlines() if "sending." in line]
    assert ["sending.resumed" in told[0], "sending.stopped" in told[1], len(told)] == [True, True, 2]
    assert "reason=写错了价" in told[1] and "  siyu:" in told[1]
    assert "没有被改过" in run("audit", "--verify")


def test_words_are_checked_with_their_place(shop: Path) -> None:
    ran = CliRunner().invoke(program, ["words", "新品，全网最低价"])
    assert ran.exit_code == 1 and "第 4 个字「全网最低价」不能用" in ran.stdout
    assert "没有要改的词" in run("words", "最近上新，第一次下单减 10 元")
