"""What is not documented fails: settings, commands, links; and nothing speaks of the machine it was made on."""

import re
import subprocess
from pathlib import Path

import pytest
import typer

from bot.cli import cli
from bot.settings import Settings, WecomApp
from tests.conftest import ROOT

TEXT = {".py", ".md", ".toml", ".lock", ".ini", ".js", ".css", ".html", ".csv", ""}
HOME = re.compile(r"(?<![\w.:*$}/-])/(?:home|root|work|Users)/\w")
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OPERATE = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name in Settings.model_fields if name != "apps"])
def test_every_setting_is_in_the_operators_guide(name: str) -> None:
    assert f"SIYU_{name.upper()}" in OPERATE


@pytest.mark.parametrize("name", list(WecomApp.model_fields))
def test_every_setting_of_an_app_is_in_the_operators_guide(name: str) -> None:
    assert f"__{name.upper()}" in OPERATE


def commands() -> list[str]:
    group = typer.main.get_command(cli)
    return sorted(getattr(group, "commands", {}))


@pytest.mark.parametrize("name", commands())
def test_every_command_is_in_the_readme(name: str) -> None:
    assert f"siyu {name}" in README


@pytest.mark.parametrize("page", DOCS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert broken == []


def test_nothing_names_a_path_of_one_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listed.stdout.splitlines()]
    texts = [path for path in paths if path.suffix in TEXT and path.exists() and "vendor" not in path.parts]
    telling = [path for path in texts if HOME.search(path.read_text(encoding="utf-8", errors="ignore"))]
    assert telling == []


def test_the_lock_carries_no_address() -> None:
    assert "://" not in (ROOT / "requirements.lock").read_text(encoding="utf-8")
