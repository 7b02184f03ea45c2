"""Imports point down: bot -> campaigns -> crm, and the simulator stands alone."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot import privacy
from crm.base.db import Base

ROOT = Path(__file__).parent.parent
PACKAGES = ("crm", "campaigns", "bot")


def test_the_arrows_hold() -> None:
    ran = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout[-3000:]


@pytest.mark.parametrize("source", sorted((ROOT / "migrations" / "versions").glob("2*.py")), ids=lambda path: path.stem)
def test_a_migration_imports_no_application_code(source: Path) -> None:
    assert not {name for name in imported(source) if name.split(".")[0] in PACKAGES}


def test_only_the_wire_knows_the_vendors_library() -> None:
    allowed = ROOT / "bot" / "wecom"
    others = [path for path in sources() if allowed not in path.parents]
    assert [path for path in others if any(name.startswith("wechatpy") for name in imported(path))] == []


def test_only_the_clock_asks_the_machine_for_the_time() -> None:
    askers = ("datetime.now(", "time.time(", "utcnow(", "date.today(", "time.monotonic(")
    clock = ROOT / "crm" / "base" / "clock.py"
    found = [path for path in sources() if path != clock and any(call in path.read_text() for call in askers)]
    assert found == []


def test_the_floor_imports_nothing_of_ours() -> None:
    floor = (ROOT / "crm" / "base").glob("*.py")
    above = {name for path in floor for name in imported(path) if name.split(".")[0] in PACKAGES}
    assert {name for name in above if name != "crm.base" and not name.startswith("crm.base.")} == set()


def test_files_stay_small_enough_to_read() -> None:
    long = {path.relative_to(ROOT): count for path in sources() if (count := len(path.read_text().splitlines())) > 450}
    assert long == {}


def test_every_table_says_whose_data_it_holds() -> None:
    """A new table needs a line in the privacy file of its layer, or a member could not be exported and erased whole.

    About people: a Holding (usually `of_member(Model, "标题", Fate.GONE)`, parents before children) in FACTS of
    crm/privacy_tables.py, DECISIONS of campaigns/privacy.py or EDGE of bot/privacy.py. About nobody: NOBODY in the
    same files, with the reason.
    """
    held = {holding.model.__table__.name for holding in privacy.EVERYTHING}
    nobody = {model.__table__.name for model in privacy.NOBODY}
    tables = every_table()
    assert set(tables) - held - nobody == set()
    named = {name for name, table in tables.items() if {"member_id", "external_userid"} & set(table.columns.keys())}
    assert named & nobody == set()
    assert held & nobody == set()


def every_table() -> Mapping[str, sa.Table]:
    for package in PACKAGES:
        if (ROOT / package / "models").exists():
            found = importlib.import_module(f"{package}.models")
            for module in pkgutil.iter_modules(found.__path__):
                importlib.import_module(f"{package}.models.{module.name}")
    return Base.metadata.tables


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names
