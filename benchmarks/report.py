"""What a benchmark found: rows of our figure, the limit measured in the same run, and their ratio."""

import argparse
import json
import math
import os
import platform
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `ratio` is ours / limit, whatever is better: of a rate more, of a time or of memory less."""

    what: str
    unit: str
    ours: float
    limit: float | None = None
    peers: dict[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        return self.ours / self.limit if self.limit else None


@dataclass(slots=True)
class Report:
    """A benchmark's rows, and where they were measured."""

    benchmark: str
    rows: list[Row] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        rows = [{**asdict(row), "ratio": row.ratio} for row in self.rows]
        return {"benchmark": self.benchmark, "machine": machine(), "rows": [_rounded(row) for row in rows]}


def machine() -> dict[str, Any]:
    """What of this machine explains a figure; nothing that names it."""
    load = os.getloadavg()[0]
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "load_1min": round(load, 2),
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(errors="replace").splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of the values do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else 0.0


def median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else 0.0


def command(measure: Callable[[bool], Report], description: str) -> None:
    """`python -m benchmarks.NAME [--quick] [--json]`."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--quick", action="store_true", help="within a minute, with wider error")
    options.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    chosen = options.parse_args()
    show(measure(chosen.quick), as_json=chosen.json)


def show(report: Report, *, as_json: bool) -> None:
    found = report.as_json()
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
        return
    peers = sorted({name for row in report.rows for name in row.peers})
    table = Table("", "unit", "ours", "limit", "ratio", *peers, title=report.benchmark)
    for row in report.rows:
        figures = [row.ours, row.limit, row.ratio, *(row.peers.get(name) for name in peers)]
        table.add_row(row.what, row.unit, *("" if one is None else _short(one) for one in figures))
    out = Console(width=None if sys.stdout.isatty() else 120)
    out.print(table)
    out.print(", ".join(f"{name} {value}" for name, value in found["machine"].items()), highlight=False)


def say(line: str) -> None:
    """Progress, out of the way of the figures."""
    print(line, file=sys.stderr, flush=True)


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return value
