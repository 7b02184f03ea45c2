"""Imports: a file's rows in batches, the refused ones with their reason into FILE.errors.csv, safe to repeat.

A file that cannot be meant is refused before anything is written. After that every batch is one transaction: a stopped
import has written whole batches, and running it again writes the rest.
"""

import csv
import gc
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from crm.import_files import BadFile, Row, Sheet

log = logging.getLogger(__name__)

TOGETHER = 2_000  # rows a transaction: the insert costs the most, and a writer beside us waits some 50 ms
MAX_RAW = 1_000
OBJECTS_BETWEEN_SEARCHES = 70_000  # more than a batch makes and drops
Progress = Callable[[float, "Report"], None]


@dataclass(slots=True)
class Report:
    """How an import went, in things: orders, refunds, members; and in rows, the refused ones."""

    rows: int = 0
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    refused: int = 0
    reasons: Counter[str] = field(default_factory=Counter)  # up to the colon, where the row's own words begin


class Refusals:
    """The rows that were left out, in a file beside the imported one; no refusals, no file."""

    def __init__(self, imported: Path, report: Report) -> None:
        self.path = imported.with_name(f"{imported.name}.errors.csv")
        self._report = report
        self._file: TextIO | None = None
        self._table: Any = None

    def __enter__(self) -> "Refusals":
        self.path.unlink(missing_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, row: Row, reason: str) -> None:
        if self._file is None:
            self._file = self.path.open("w", encoding="utf-8-sig", newline="")
            self._table = csv.writer(self._file)
            self._table.writerow(("行号", "原因", "原始内容"))
        self._report.refused += 1
        self._report.reasons[reason.partition("：")[0]] += 1
        self._table.writerow((row.number, reason, _raw(row.cells)))


def _raw(cells: Mapping[str, Any]) -> str:
    """One JSON object: no cell of it can act as a formula when the file is opened in Excel."""
    return json.dumps(dict(cells), ensure_ascii=False, default=str)[:MAX_RAW]


@contextmanager
def calm_memory() -> Iterator[None]:
    """While a file is read, Python looks for garbage a hundred times less often, and only among what came since.

    An import makes objects by the million and none in circles, so all that the process holds was searched again and
    again: a third of the time.
    """
    usual, is_frozen = gc.get_threshold(), gc.get_freeze_count() > 0  # a service's memory is, and stays so
    if not is_frozen:
        gc.freeze()
    gc.set_threshold(OBJECTS_BETWEEN_SEARCHES, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        if not is_frozen:
            gc.unfreeze()


def check_columns(sheet: Sheet, needed: Mapping[Any, str]) -> None:
    """needed: any one of these columns -> what to call them. Raises BadFile: what is missing, and what is there."""
    missing = [words for any_of, words in needed.items() if sheet.columns.isdisjoint(any_of)]
    if missing:
        there = "、".join(str(one)[:30] for one in sheet.found[:30]) or "（没有）"
        raise BadFile(f"缺少列：{'；'.join(missing)}。文件里有：{there}")
