"""Tables in files: CSV, JSONL and XLSX read row by row, each bad row with its reason, and written back."""

import csv
import io
import json
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from python_calamine import CalamineError, CalamineWorkbook

MAX_FILE_BYTES = 20 * 1024 * 1024
UNDECODED = re.compile(r"[\ud800-\udfff]")  # surrogateescape's marks, and half characters out of JSON escapes


class BadFile(Exception):
    """Why nothing of a file can be read; the message is for the person who keeps it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row as read: its cells by column, or the reason it could not be read."""

    number: int  # as a spreadsheet counts: the header is row 1; in JSONL the line
    raw: str
    cells: Mapping[str, Any] = field(default_factory=dict)
    broken: str = ""


Name = Callable[[str], str]  # what a manager wrote above a column -> the column


def read(content: bytes, name: str, *, column: Name, needed: Sequence[str]) -> list[Row]:
    """The rows of a file whose type is told by its name's ending. Raises BadFile when nothing can be read."""
    reader = _READERS.get(Path(name).suffix.lower())
    if reader is None:
        raise BadFile("不认识这种文件，请使用 .csv、.jsonl 或 .xlsx。")
    if len(content) > MAX_FILE_BYTES:
        raise BadFile(f"文件超过 {MAX_FILE_BYTES // 1024 // 1024} MB，请拆成几个文件。")
    content = content.removeprefix(BOM_UTF8)
    if not content.strip():
        raise BadFile("文件是空的。")
    rows = list(reader(content, Header(column, needed)))
    if not rows:
        raise BadFile("文件里只有表头，没有内容。")
    return rows


def write(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Rows as a file of the type its name says; a list in a cell is written as 甲|乙. Raises BadFile."""
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise BadFile("不认识这种文件，请使用 .csv、.jsonl 或 .xlsx。")
    writer(path, columns, rows)


@dataclass(frozen=True, slots=True)
class Header:
    """How the first row is understood."""

    column: Name
    needed: Sequence[str]

    def columns(self, cells: Sequence[str]) -> list[str]:
        columns = [self.column(cell) for cell in cells]
        missing = [one for one in self.needed if one not in columns]
        if missing:
            raise BadFile(f"第 1 行应当是表头，缺少 {'、'.join(missing)} 列。")
        return columns


# ---- reading


def _read_csv(content: bytes, header: Header) -> Iterator[Row]:
    records = _csv_records(_decode(content))
    _, first, _ = next(records, ("", [], ""))
    columns = header.columns(first)
    for number, (raw, cells, broken) in enumerate(records, start=2):
        if not broken and len(cells) > len(columns) and any(cells[len(columns) :]):
            broken = f"这一行有 {len(cells)} 列，表头只有 {len(columns)} 列，可能是逗号没有加引号。"
        if UNDECODED.search(raw):
            broken = "有无法识别的字符，请检查文件的编码。"
        if broken or any(cells):
            yield Row(number, raw, dict(zip(columns, cells, strict=False)), broken)


def _csv_records(text: str) -> Iterator[tuple[str, list[str], str]]:
    """Each record as raw text, cells, and what is wrong. After a quote that never ends, reading resumes one line on."""
    lines = list(io.StringIO(text, newline=""))
    at = 0
    while at < len(lines):
        begin = at
        reader = csv.reader(map(lines.__getitem__, range(begin, len(lines))), strict=True)
        try:
            for cells in reader:
                end = begin + reader.line_num
                yield "".join(lines[at:end]).rstrip("\r\n"), cells, ""
                at = end
        except csv.Error:
            yield lines[at].rstrip("\r\n"), [], "引号没有成对，这一行读不出来。"
            at += 1


def _read_jsonl(content: bytes, header: Header) -> Iterator[Row]:
    for number, line in enumerate(_decode(content).split("\n"), start=1):
        if line.strip():
            yield _json_row(number, line.strip(), header)


def _json_row(number: int, line: str, header: Header) -> Row:
    if UNDECODED.search(line):
        return Row(number, line, broken="有无法识别的字符，请检查文件的编码。")
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return Row(number, line, broken="这一行不是正确的 JSON。")
    if not isinstance(value, dict):
        return Row(number, line, broken="这一行应当是一个 JSON 对象。")
    return Row(number, line, {header.column(str(key)): cell for key, cell in value.items()})


def _read_xlsx(content: bytes, header: Header) -> Iterator[Row]:
    try:
        sheet = CalamineWorkbook.from_filelike(io.BytesIO(content)).get_sheet_by_index(0)
        table = sheet.to_python(skip_empty_area=False)
    except (CalamineError, IndexError) as broken:
        raise BadFile("打不开这个表格，请确认它是 .xlsx 文件。") from broken
    if not table:
        raise BadFile("文件是空的。")
    columns = header.columns([str(cell) for cell in table[0]])
    for number, cells in enumerate(table[1:], start=2):
        if any(cell != "" for cell in cells):
            yield Row(number, ",".join(map(str, cells)), dict(zip(columns, cells, strict=False)))


_READERS: dict[str, Callable[[bytes, Header], Iterator[Row]]] = {
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".xlsx": _read_xlsx,
}


def _decode(content: bytes) -> str:
    """UTF-8 or GBK, whichever more lines are; bytes that are not become marks, so that only their rows are refused."""
    foreign = [line for line in content.split(b"\n") if not line.isascii()]
    utf8 = sum(_is_utf8(line) for line in foreign)
    encoding = "utf-8" if 2 * utf8 >= len(foreign) else "gb18030"
    return content.decode(encoding, errors="surrogateescape")


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


# ---- writing


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:  # the mark by which spreadsheets know UTF-8
        table = csv.writer(file)
        table.writerow(columns)
        table.writerows([_cell(row.get(column)) for column in columns] for row in rows)


def _write_jsonl(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps({column: row[column] for column in columns if row.get(column)}, ensure_ascii=False))
            file.write("\n")


def _write_xlsx(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    from openpyxl import Workbook  # here: it costs every start 0.2 s

    book = Workbook(write_only=True)
    sheet = book.create_sheet()
    for cells in (columns, *([_cell(row.get(column)) for column in columns] for row in rows)):
        sheet.append([_text_cell(sheet, cell) for cell in cells])
    book.save(path)


def _text_cell(sheet: Any, text: str) -> Any:
    """A cell that stays text: an answer that begins with = is no formula."""
    from openpyxl.cell import WriteOnlyCell

    cell = WriteOnlyCell(sheet, text)
    cell.data_type = "s"
    return cell


def _cell(value: Any) -> str:
    return "|".join(value) if isinstance(value, list | tuple) else str(value or "")


_WRITERS: dict[str, Callable[[Path, Sequence[str], Iterable[Mapping[str, Any]]], None]] = {
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
    ".xlsx": _write_xlsx,
}
