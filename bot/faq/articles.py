"""Articles as a shop keeps them in a file: CSV, JSONL or XLSX in, the good rows and the refused ones out."""

import csv
import hashlib
import io
import json
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from python_calamine import CalamineError, CalamineWorkbook

from bot.faq.normalize import normalize

MAX_ANSWER_BYTES = 2048  # one kf text message
MAX_QUESTION_CHARS = 120  # a longer one is a story, and matches nothing a customer types
MAX_ID_CHARS = 64
MAX_FILE_BYTES = 20 * 1024 * 1024

# What a manager may write above a column.
_COLUMNS = {
    "id": "id 编号",
    "question": "question 问题 标准问题 标准问",
    "similar": "similar 相似问题 相似问 相似问法",
    "answer": "answer 答案 回答 回复",
    "tags": "tags 标签 分类",
    "valid_from": "valid_from 生效日期 开始日期",
    "valid_to": "valid_to 失效日期 结束日期",
}
_COLUMN_OF = {name: column for column, names in _COLUMNS.items() for name in names.split()}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_UNDECODED = re.compile(r"[\ud800-\udfff]")  # surrogateescape's marks, and half characters out of JSON escapes
_DATE = re.compile(r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?(?: 00:00:00)?")


@dataclass(frozen=True, slots=True)
class Article:
    """One answer of the shop and the ways to ask for it."""

    id: str
    question: str
    similar: tuple[str, ...]
    answer: str
    tags: tuple[str, ...] = ()
    valid_from: date | None = None  # first shop-local day
    valid_to: date | None = None  # last shop-local day, included

    def is_valid(self, today: date | None) -> bool:
        """Whether it may be given on `today`; None asks for every article."""
        if today is None:
            return True
        return (self.valid_from or date.min) <= today <= (self.valid_to or date.max)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that was left out, or, as row 0, the whole file."""

    row_number: int  # as a spreadsheet counts: the header is row 1; in JSONL the line
    reason: str  # a sentence for the person who keeps the file
    raw: str


@dataclass(frozen=True, slots=True)
class Loaded:
    articles: tuple[Article, ...]
    refusals: tuple[Refusal, ...] = ()

    def write_refusals(self, path: Path) -> None:
        """The refused rows as CSV, with the mark by which spreadsheets recognise UTF-8."""
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            table = csv.writer(file)
            table.writerow(("row", "reason", "raw"))
            table.writerows((r.row_number, r.reason, r.raw) for r in self.refusals)


class _BadRow(Exception):
    """Why a row cannot be taken; the message is for the person who keeps the file."""


class _BadFile(Exception):
    """Why nothing of a file can be read; likewise."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One row as read: its cells by column, or the reason it could not be read."""

    number: int
    raw: str
    cells: Mapping[str, Any] = field(default_factory=dict)
    broken: str = ""


def load(source: Path | bytes, filename: str | None = None) -> Loaded:
    """Read a file of articles; its type is told by the name's ending (.csv, .jsonl, .xlsx).

    Never raises for what the file contains: a bad row becomes a refusal and the rest is loaded, an unreadable file
    becomes one refusal with row number 0. Columns: question and answer are needed; id, similar, tags, valid_from and
    valid_to are optional. A missing id is made from the question, so loading the same file again changes nothing.
    """
    name = filename or (source.name if isinstance(source, Path) else "")
    try:
        return _collect(_read(source if isinstance(source, bytes) else source.read_bytes(), name))
    except _BadFile as bad:
        return Loaded((), (Refusal(0, str(bad), name),))


def _read(content: bytes, name: str) -> list[_Row]:
    reader = _READERS.get(Path(name).suffix.lower())
    if reader is None:
        raise _BadFile("不认识这种文件，请使用 .csv、.jsonl 或 .xlsx。")
    if len(content) > MAX_FILE_BYTES:
        raise _BadFile(f"文件超过 {MAX_FILE_BYTES // 1024 // 1024} MB，请拆成几个文件。")
    content = content.removeprefix(BOM_UTF8)
    if not content.strip():
        raise _BadFile("文件是空的。")
    rows = list(reader(content))
    if not rows:
        raise _BadFile("文件里只有表头，没有内容。")
    return rows


def _collect(rows: Sequence[_Row]) -> Loaded:
    articles: list[Article] = []
    refusals: list[Refusal] = []
    ids: dict[str, int] = {}  # to the row that took it
    questions: dict[str, int] = {}
    for row in rows:
        try:
            article = _article(row)
            meaning = normalize(article.question)
            _check_new(ids, article.id, "编号")
            _check_new(questions, meaning, "问题")
        except _BadRow as bad:
            refusals.append(Refusal(row.number, str(bad), _UNDECODED.sub("\ufffd", row.raw)))
        else:
            articles.append(article)
            ids[article.id] = questions[meaning] = row.number
    return Loaded(tuple(articles), tuple(refusals))


def _check_new(taken: Mapping[str, int], key: str, what: str) -> None:
    if key in taken:
        raise _BadRow(f"{what}与第 {taken[key]} 行重复。")


# ---- one row


def _article(row: _Row) -> Article:
    if row.broken:
        raise _BadRow(row.broken)
    question = _text(row, "question", "问题")
    answer = _text(row, "answer", "答案")
    _check_wording(question)
    if not normalize(question):
        raise _BadRow("问题里没有文字。")
    if len(answer.encode()) > MAX_ANSWER_BYTES:
        raise _BadRow(f"答案有 {len(answer.encode())} 字节，超过一条消息的上限 {MAX_ANSWER_BYTES} 字节。")
    valid_from, valid_to = _day(row, "valid_from", "生效日期"), _day(row, "valid_to", "失效日期")
    if valid_from and valid_to and valid_from > valid_to:
        raise _BadRow("生效日期晚于失效日期。")
    similar = _list(row, "similar", "相似问题", r"[|｜\n]")
    for wording in similar:
        _check_wording(wording)
    tags = _list(row, "tags", "标签", r"[|｜\n,，、;；]")
    return Article(_id(row, question), question, similar, answer, tags, valid_from, valid_to)


def _check_wording(wording: str) -> None:
    if len(wording) > MAX_QUESTION_CHARS:
        raise _BadRow(f"“{wording[:12]}…”超过 {MAX_QUESTION_CHARS} 个字，请写成一句短的问法。")


def _id(row: _Row, question: str) -> str:
    given = _cell(row, "id", "编号")
    if len(given) > MAX_ID_CHARS:
        raise _BadRow(f"编号超过 {MAX_ID_CHARS} 个字符。")
    return given or "q-" + hashlib.sha256(normalize(question).encode()).hexdigest()[:10]


def _text(row: _Row, column: str, what: str) -> str:
    text = _cell(row, column, what)
    if not text:
        raise _BadRow(f"缺少{what}。")
    return text


def _cell(row: _Row, column: str, what: str) -> str:
    """A cell as clean text. Spreadsheets hand whole numbers over as 1.0."""
    value = row.cells.get(column)
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int | float | date) or isinstance(value, bool):
        raise _BadRow(f"{what}应当是文字。")
    text = str(value)
    if _UNDECODED.search(text):
        raise _BadRow(f"{what}里有无法识别的字符，请检查文件的编码。")
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def _list(row: _Row, column: str, what: str, separator: str) -> tuple[str, ...]:
    """The parts of a cell, or of a JSON list, each once, in their order."""
    value = row.cells.get(column)
    if isinstance(value, list):
        parts = [_cell(_Row(row.number, row.raw, {column: part}), column, what) for part in value]
    else:
        parts = [part.strip() for part in re.split(separator, _cell(row, column, what))]
    return tuple(dict.fromkeys(part for part in parts if part))


def _day(row: _Row, column: str, what: str) -> date | None:
    value = row.cells.get(column)
    if isinstance(value, datetime):
        return value.date()
    text = _cell(row, column, what)
    if not text:
        return None
    found = _DATE.fullmatch(text)
    try:
        year, month, day = map(int, found.groups() if found else ())
        return date(year, month, day)
    except ValueError:  # not of the form, or 2026-02-30
        raise _BadRow(f"{what}“{text[:20]}”不是日期，请写成 2026-03-09。") from None


# ---- the three file types


def _read_csv(content: bytes) -> Iterator[_Row]:
    records = _csv_records(_decode(content))
    _, header, _ = next(records, ("", [], ""))
    columns = _columns(header)
    for number, (raw, cells, broken) in enumerate(records, start=2):
        if not broken and len(cells) > len(columns) and any(cells[len(columns) :]):
            broken = f"这一行有 {len(cells)} 列，表头只有 {len(columns)} 列，可能是逗号没有加引号。"
        if _UNDECODED.search(raw):
            broken = "有无法识别的字符，请检查文件的编码。"
        if broken or any(cells):
            yield _Row(number, raw, dict(zip(columns, cells, strict=False)), broken)


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


def _read_jsonl(content: bytes) -> Iterator[_Row]:
    for number, line in enumerate(_decode(content).split("\n"), start=1):
        if line.strip():
            yield _json_row(number, line.strip())


def _json_row(number: int, line: str) -> _Row:
    if _UNDECODED.search(line):
        return _Row(number, line, broken="有无法识别的字符，请检查文件的编码。")
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return _Row(number, line, broken="这一行不是正确的 JSON。")
    if not isinstance(value, dict):
        return _Row(number, line, broken="这一行应当是一个 JSON 对象。")
    return _Row(number, line, {_column(str(key)): cell for key, cell in value.items()})


def _read_xlsx(content: bytes) -> Iterator[_Row]:
    try:
        sheet = CalamineWorkbook.from_filelike(io.BytesIO(content)).get_sheet_by_index(0)
        table = sheet.to_python(skip_empty_area=False)
    except (CalamineError, IndexError) as broken:
        raise _BadFile("打不开这个表格，请确认它是 .xlsx 文件。") from broken
    if not table:
        raise _BadFile("文件是空的。")
    columns = _columns([str(cell) for cell in table[0]])
    for number, cells in enumerate(table[1:], start=2):
        if any(cell != "" for cell in cells):
            yield _Row(number, ",".join(map(str, cells)), dict(zip(columns, cells, strict=False)))


_READERS: dict[str, Callable[[bytes], Iterator[_Row]]] = {
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".xlsx": _read_xlsx,
}


def _columns(header: Sequence[str]) -> list[str]:
    columns = [_column(name) for name in header]
    missing = [column for column in ("question", "answer") if column not in columns]
    if missing:
        raise _BadFile(f"第 1 行应当是表头，缺少 {'、'.join(missing)} 列。")
    return columns


def _column(name: str) -> str:
    return _COLUMN_OF.get(name.strip().lower(), name)


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
