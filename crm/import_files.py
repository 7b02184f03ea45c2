"""Files of rows, read as a stream in bounded memory: CSV in UTF-8 or GBK, XLSX, JSONL; one dict of cells a row.

Whatever a file holds, the answer is rows, a row that could not be read, or one BadFile before the first row.
"""

import codecs
import csv
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any, TextIO

from crm.import_cells import Cell

MAX_LINE = 1 << 20  # characters: a longer line is no row
MAX_CELL = 1 << 17
MAX_UNPACKED = 2 << 30  # bytes of an XLSX once unpacked: a million rows have about 0.5 GB
MAX_SHARED_TEXT = 256 << 20  # bytes: openpyxl keeps the texts of an XLSX in memory
MAX_COLUMNS = 500
BLOCK = 1 << 20
Columns = Mapping[str, str]  # what may stand above a column, in lower case -> our name of it


class BadFile(Exception):
    """Why nothing of a file can be taken; the message is for the person who keeps the file."""


@dataclass(slots=True)
class Row:
    """One row as read: its cells by our names of the columns, or why it could not be read."""

    number: int  # as a spreadsheet counts: the header is 1; in JSONL the line
    cells: Mapping[str, Cell]
    broken: str = ""


@dataclass(slots=True)
class Sheet:
    """An open file: our names of its columns, what it calls them, and its rows. `done` is a share from 0 to 1."""

    path: Path
    columns: frozenset[str]
    found: Sequence[str]
    rows: Iterator[Row]
    done: float = 0.0


def open_sheet(path: Path, columns: Columns) -> Sheet:
    """Read the head of a file and get ready to read its rows. Raises BadFile."""
    reader = {".csv": _csv, ".txt": _csv, ".jsonl": _jsonl, ".xlsx": _xlsx}.get(path.suffix.lower())
    if reader is None:
        raise BadFile("不认识这种文件，请使用 .csv、.xlsx 或 .jsonl")
    if not path.is_file():
        raise BadFile(f"没有这个文件：{path.name}")
    if path.stat().st_size == 0:
        raise BadFile("文件是空的")
    return reader(path, columns)


def _named(found: Sequence[Cell], columns: Columns) -> dict[int, str]:
    """Place in a row -> our name. Raises BadFile when two columns mean the same."""
    names: dict[int, str] = {}
    heads = [str(head if head is not None else "").strip().strip("\ufeff") for head in found]
    if len(heads) > MAX_COLUMNS:
        raise BadFile(f"第一行有 {len(heads)} 列，最多 {MAX_COLUMNS} 列")
    for place, head in enumerate(heads):
        name = columns.get(head.lower())
        if name is None:
            continue
        if name in names.values():
            twin = heads[next(at for at, known in names.items() if known == name)]
            raise BadFile(f"“{twin}”和“{head}”两列说的是同一件事，请只留一列")
        names[place] = name
    return names


def _csv(path: Path, columns: Columns) -> Sheet:
    encoding = _encoding_of(path)
    with _open_text(path, encoding) as file:
        first = next(_Lines(file), "")
    delimiter = max(",\t;", key=first.count)
    head = next(csv.reader([first], delimiter=delimiter), [])
    names = _named(head, columns)
    sheet = Sheet(path, frozenset(names.values()), [cell for cell in head if cell.strip()], iter(()))
    sheet.rows = _csv_rows(sheet, encoding, delimiter, len(head), names)
    return sheet


class _Lines:
    """Lines of text, none longer than MAX_LINE: the rest of a longer one is skipped, and `cut` says so."""

    def __init__(self, file: TextIO) -> None:
        self._text = file
        self.number, self.cut = 0, False

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._text.readline(MAX_LINE)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) == MAX_LINE and not line.endswith("\n"):
            self.cut = True
            while (more := self._text.readline(MAX_LINE)) and not more.endswith("\n"):
                pass
            return "\n"
        return line


def _csv_rows(sheet: Sheet, encoding: str, delimiter: str, width: int, names: Mapping[int, str]) -> Iterator[Row]:
    csv.field_size_limit(MAX_CELL)
    size, number = max(1, sheet.path.stat().st_size), 1
    heads, pick = tuple(names.values()), _picker(tuple(names))
    with _open_text(sheet.path, encoding) as file:
        lines = _Lines(file)
        table = csv.reader(lines, delimiter=delimiter)
        next(table, None)
        while True:
            number += 1
            try:
                cells = next(table, None)
            except csv.Error:
                yield Row(number, {}, "有一格太长，或引号没有成对")
                continue
            if cells is None:
                return
            if not number % 1000:
                sheet.done = file.buffer.tell() / size
            if lines.cut:
                lines.cut = False
                yield Row(number, {}, f"这一行超过 {MAX_LINE:,} 个字符")
            elif len(cells) == width or (len(cells) > width and not any(cells[width:])):
                yield Row(number, dict(zip(heads, pick(cells), strict=True)))
            elif any(cell.strip() for cell in cells):
                yield Row(number, _unnamed(cells), f"有 {len(cells)} 格，第一行有 {width} 列")


def _picker(places: tuple[int, ...]) -> Callable[[Sequence[str]], tuple[str, ...]]:
    """Takes the cells at these places out of a row."""
    if len(places) < 2:  # of one place itemgetter gives no tuple
        return lambda cells: tuple(cells[place] for place in places)
    return itemgetter(*places)


def _unnamed(cells: Sequence[str]) -> dict[str, Cell]:
    """The first cells of a row that cannot be told apart, for the person who looks it up."""
    return {str(place): cell for place, cell in enumerate(cells[:20], 1)}


def _open_text(path: Path, encoding: str) -> TextIO:
    return path.open(encoding=encoding, errors="replace", newline="")


def _encoding_of(path: Path) -> str:
    """What spreadsheets write: UTF-8 with or without a mark, UTF-16 with one, else GBK."""
    with path.open("rb") as file:
        start = file.read(4)
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        if start.startswith(codecs.BOM_UTF8):
            return "utf-8-sig"
        file.seek(0)
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while block := file.read(BLOCK):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "gb18030"
    return "utf-8-sig"


def _jsonl(path: Path, columns: Columns) -> Sheet:
    with _open_text(path, _encoding_of(path)) as file:
        first = next((line for line in _Lines(file) if line.strip()), "")
    head = _object(first)
    if isinstance(head, str):
        raise BadFile(f"第一行{head}")
    names = _named(list(head), columns)
    sheet = Sheet(path, frozenset(names.values()), list(head), iter(()))
    sheet.rows = _jsonl_rows(sheet, columns)
    return sheet


def _jsonl_rows(sheet: Sheet, columns: Columns) -> Iterator[Row]:
    size = max(1, sheet.path.stat().st_size)
    with _open_text(sheet.path, _encoding_of(sheet.path)) as file:
        lines = _Lines(file)
        for line in lines:
            if not lines.number % 1000:
                sheet.done = file.buffer.tell() / size
            if lines.cut:
                lines.cut = False
                yield Row(lines.number, {}, f"这一行超过 {MAX_LINE:,} 个字符")
                continue
            if not line.strip():
                continue
            found = _object(line)
            if isinstance(found, str):
                yield Row(lines.number, {}, found)
                continue
            yield Row(
                lines.number,
                {
                    columns[name.strip().lower()]: cell
                    for name, cell in found.items()
                    if name.strip().lower() in columns
                },
            )


def _object(line: str) -> dict[str, Cell] | str:
    """One line's object, or why it is none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return "不是 JSON"
    if not isinstance(found, dict):
        return "不是一个 JSON 对象"
    if nested := [name for name, cell in found.items() if isinstance(cell, dict | list)]:
        return f"里 {nested[0]} 不是一个值"
    return found


def _xlsx(path: Path, columns: Columns) -> Sheet:
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        if sum(sizes.values()) > MAX_UNPACKED or sizes.get("xl/sharedStrings.xml", 0) > MAX_SHARED_TEXT:
            raise BadFile("这个 XLSX 展开后太大，请另存为 CSV 再导入")
        from openpyxl import load_workbook  # here: it costs every start 0.2 s

        book = load_workbook(path, read_only=True, data_only=True)
        table = book.worksheets[0].iter_rows(values_only=True)
        head = ["" if cell is None else str(cell) for cell in next(table, ())]
    except BadFile:
        raise
    except Exception as error:  # whatever a broken archive makes its reader raise
        raise BadFile(f"打不开这个 XLSX：{type(error).__name__}") from error
    names = _named(head, columns)
    sheet = Sheet(path, frozenset(names.values()), [cell for cell in head if cell], iter(()))
    total = max(2, book.worksheets[0].max_row or 2)
    sheet.rows = _xlsx_rows(sheet, table, total, names)
    return sheet


def _xlsx_rows(sheet: Sheet, table: Iterator[tuple[Any, ...]], total: int, names: Mapping[int, str]) -> Iterator[Row]:
    number = 1
    while True:
        number += 1
        try:
            cells = next(table, None)
        except Exception as error:  # the rest of a broken sheet cannot be read
            yield Row(number, {}, f"从这一行起读不下去：{type(error).__name__}")
            return
        if cells is None:
            return
        sheet.done = min(1.0, number / total)
        if any(cell is not None for cell in cells):
            yield Row(number, {name: _plain(cells[place]) for place, name in names.items() if place < len(cells)})


def _plain(cell: Any) -> Cell:
    return cell if cell is None or isinstance(cell, str | int | float | datetime | date) else str(cell)
