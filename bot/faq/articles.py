"""What an article is, the rules it keeps, and articles in files: the good rows in, the refused ones out."""

import csv
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, ClassVar

from bot.faq import files, variables
from bot.faq.files import MAX_FILE_BYTES as MAX_FILE_BYTES
from bot.faq.files import UNDECODED, BadFile, Row
from bot.faq.normalize import normalize
from crm.base.errors import Invalid

MAX_ANSWER_BYTES = 2048  # one kf text message
MAX_MENU_ANSWER_BYTES = 1024  # the head of a kf menu
MAX_QUESTION_CHARS = 120  # a longer one is a story, and matches nothing a customer types
MAX_ID_CHARS = 64
MAX_MENU = 8
LINK_BYTES = {"url": 2048, "title": 128, "desc": 512}  # kf link messages
DRAFT, PUBLISHED = "draft", "published"

# What a manager may write above a column.
_COLUMNS = {
    "id": "id 编号",
    "question": "question 问题 标准问题 标准问",
    "similar": "similar 相似问题 相似问 相似问法",
    "answer": "answer 答案 回答 回复",
    "tags": "tags 标签 分类",
    "valid_from": "valid_from 生效日期 开始日期",
    "valid_to": "valid_to 失效日期 结束日期",
    "link_url": "link_url 链接 链接地址",
    "link_title": "link_title 链接标题",
    "link_desc": "link_desc 链接说明",
    "link_picture": "link_picture 链接配图",
    "image": "image 图片",
    "menu": "menu 菜单 推荐问题",
    "audience": "audience 可见标签 受众",
    "status": "status 状态",
}
_COLUMN_OF = {name: column for column, names in _COLUMNS.items() for name in names.split()}
_STATUS = {"": PUBLISHED, "published": PUBLISHED, "已发布": PUBLISHED, "draft": DRAFT, "草稿": DRAFT}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_DATE = re.compile(r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?(?: 00:00:00)?")
_ADDRESS = re.compile(r"https?://[^\s/]+\S*")


@dataclass(frozen=True, slots=True)
class Link:
    """A page shown as a card below the answer."""

    url: str
    title: str
    desc: str = ""
    picture: str = ""  # the card needs one: without it, the answer ends with title and address


@dataclass(frozen=True, slots=True)
class Article:
    """One answer of the shop and the ways to ask for it."""

    id: str
    question: str
    similar: tuple[str, ...]
    answer: str  # may have blanks, see variables.py
    tags: tuple[str, ...] = ()
    valid_from: date | None = None  # first shop-local day
    valid_to: date | None = None  # last shop-local day, included
    link: Link | None = None
    image: str = ""  # address or file of a picture sent after the text
    menu: tuple[str, ...] = ()  # ids of the articles offered below the answer
    audience: str = ""  # only for customers who bear this corp tag; empty: for everyone

    def is_valid(self, today: date | None) -> bool:
        """Whether it may be given on `today`; None asks for every article."""
        if today is None:
            return True
        return (self.valid_from or date.min) <= today <= (self.valid_to or date.max)


@dataclass(eq=False)
class BadArticle(Invalid):
    """An article breaks a rule; the reason is a sentence for the person who writes it."""

    code: ClassVar[str] = "faq.bad_article"
    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that was left out, or, as row 0, the whole file."""

    row_number: int  # as a spreadsheet counts: the header is row 1; in JSONL the line
    reason: str  # a sentence for the person who keeps the file
    raw: str


@dataclass(frozen=True, slots=True)
class Loaded:
    articles: tuple[Article, ...]  # to be seen by customers
    refusals: tuple[Refusal, ...] = ()
    drafts: tuple[Article, ...] = ()

    def write_refusals(self, path: Path) -> None:
        """The refused rows as CSV, with the mark by which spreadsheets recognise UTF-8."""
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            table = csv.writer(file)
            table.writerow(("row", "reason", "raw"))
            table.writerows((r.row_number, r.reason, r.raw) for r in self.refusals)


def load(source: Path | bytes, filename: str | None = None) -> Loaded:
    """Read a file of articles; its type is told by the name's ending (.csv, .jsonl, .xlsx).

    Never raises for what the file contains: a bad row becomes a refusal and the rest is loaded, an unreadable file
    becomes one refusal with row number 0. Columns: question and answer are needed, the others are optional. A missing
    id is made from the question, so loading the same file again changes nothing.
    """
    name = filename or (source.name if isinstance(source, Path) else "")
    content = source if isinstance(source, bytes) else source.read_bytes()
    try:
        return _collect(files.read(content, name, column=_column, needed=("question", "answer")))
    except BadFile as bad:
        return Loaded((), (Refusal(0, str(bad), name),))


def dump(path: Path, published: Iterable[Article], drafts: Iterable[Article] = ()) -> None:
    """Write articles as a file that `load` reads back the same. Raises BadFile for a type it does not know."""
    rows = [_as_row(one, PUBLISHED) for one in published] + [_as_row(one, DRAFT) for one in drafts]
    files.write(path, list(_COLUMNS), rows)


def article_of(cells: Mapping[str, Any], *, number: int = 0, raw: str = "") -> Article:
    """An article from named cells: a row of a file, or a form. Raises BadArticle."""
    return _article(Row(number, raw, cells))


def _as_row(article: Article, status: str) -> dict[str, Any]:
    link = article.link or Link("", "")
    return {
        "id": article.id,
        "question": article.question,
        "similar": article.similar,
        "answer": article.answer,
        "tags": article.tags,
        "valid_from": article.valid_from and article.valid_from.isoformat(),
        "valid_to": article.valid_to and article.valid_to.isoformat(),
        "link_url": link.url,
        "link_title": link.title,
        "link_desc": link.desc,
        "link_picture": link.picture,
        "image": article.image,
        "menu": article.menu,
        "audience": article.audience,
        "status": status,
    }


def _column(name: str) -> str:
    return _COLUMN_OF.get(name.strip().lower(), name)


def _collect(rows: Iterable[Row]) -> Loaded:
    kept: dict[str, list[Article]] = {PUBLISHED: [], DRAFT: []}
    refusals: list[Refusal] = []
    rows_of: dict[tuple[str, str], int] = {}  # id and status to the row that took them
    ids_of: dict[str, str] = {}  # normalised question to the id that has it
    for row in rows:
        try:
            article, status = _article(row), _status(row)
            if taken := rows_of.get((article.id, status)):
                raise BadArticle(f"编号与第 {taken} 行重复。")
            owner = ids_of.setdefault(normalize(article.question), article.id)
            if owner != article.id:
                first = min(number for (id_, _), number in rows_of.items() if id_ == owner)
                raise BadArticle(f"问题与第 {first} 行重复。")
        except BadArticle as bad:
            refusals.append(Refusal(row.number, bad.reason, UNDECODED.sub("\ufffd", row.raw)))
        else:
            kept[status].append(article)
            rows_of[article.id, status] = row.number
    return Loaded(tuple(kept[PUBLISHED]), tuple(refusals), tuple(kept[DRAFT]))


# ---- one row


def _article(row: Row) -> Article:
    if row.broken:
        raise BadArticle(row.broken)
    question = _text(row, "question", "问题")
    answer = _text(row, "answer", "答案")
    _check_wording(question)
    if not normalize(question):
        raise BadArticle("问题里没有文字。")
    menu = _list(row, "menu", "菜单", r"[|｜\n]")
    _check_answer(answer, menu)
    valid_from, valid_to = _day(row, "valid_from", "生效日期"), _day(row, "valid_to", "失效日期")
    if valid_from and valid_to and valid_from > valid_to:
        raise BadArticle("生效日期晚于失效日期。")
    similar = _list(row, "similar", "相似问题", r"[|｜\n]")
    for wording in similar:
        _check_wording(wording)
    return Article(
        id=_id(row, question),
        question=question,
        similar=similar,
        answer=answer,
        tags=_list(row, "tags", "标签", r"[|｜\n,，、;；]"),
        valid_from=valid_from,
        valid_to=valid_to,
        link=_link(row),
        image=_source(row, "image", "图片"),
        menu=menu,
        audience=_cell(row, "audience", "可见标签")[:MAX_ID_CHARS],
    )


def _check_answer(answer: str, menu: tuple[str, ...]) -> None:
    limit = MAX_MENU_ANSWER_BYTES if menu else MAX_ANSWER_BYTES
    if len(answer.encode()) > limit:
        kind = "带菜单的消息" if menu else "一条消息"
        raise BadArticle(f"答案有 {len(answer.encode())} 字节，超过{kind}的上限 {limit} 字节。")
    if unknown := variables.unknown_in(answer):
        known = "、".join(f"{{{name}}}" for name in variables.VARIABLES)
        raise BadArticle(f"答案里有不认识的变量 {{{unknown[0]}}}，可用的有：{known}。")
    if len(menu) > MAX_MENU:
        raise BadArticle(f"菜单最多 {MAX_MENU} 项。")


def _check_wording(wording: str) -> None:
    if len(wording) > MAX_QUESTION_CHARS:
        raise BadArticle(f"“{wording[:12]}…”超过 {MAX_QUESTION_CHARS} 个字，请写成一句短的问法。")


def _status(row: Row) -> str:
    written = _cell(row, "status", "状态")
    if written.lower() not in _STATUS:
        raise BadArticle(f"状态“{written[:20]}”不认识，请写成 已发布 或 草稿。")
    return _STATUS[written.lower()]


def _link(row: Row) -> Link | None:
    url, title, desc = (_cell(row, f"link_{part}", "链接") for part in ("url", "title", "desc"))
    picture = _source(row, "link_picture", "链接配图")
    if not url:
        if title or desc or picture:
            raise BadArticle("链接缺少地址。")
        return None
    if not _ADDRESS.fullmatch(url):
        raise BadArticle("链接应当是 https:// 开头的完整地址。")
    for part, value in zip(LINK_BYTES, (url, title, desc), strict=True):
        if len(value.encode()) > LINK_BYTES[part]:
            raise BadArticle(f"链接的{part}超过 {LINK_BYTES[part]} 字节。")
    return Link(url, title or "点击查看", desc, picture)


def _source(row: Row, column: str, what: str) -> str:
    """Where a picture comes from: an address, or a file in the shop's folder of pictures."""
    source = _cell(row, column, what)
    if len(source) > 500:
        raise BadArticle(f"{what}的地址过长。")
    if source and not _ADDRESS.fullmatch(source) and (Path(source).is_absolute() or ".." in Path(source).parts):
        raise BadArticle(f"{what}应当是网址，或图片目录里的文件名。")
    if source and not _ADDRESS.fullmatch(source) and Path(source).suffix.lower() not in {".jpg", ".jpeg", ".png"}:
        raise BadArticle(f"{what}只支持 JPG 和 PNG。")
    return source


def _id(row: Row, question: str) -> str:
    given = _cell(row, "id", "编号")
    if len(given) > MAX_ID_CHARS:
        raise BadArticle(f"编号超过 {MAX_ID_CHARS} 个字符。")
    return given or "q-" + hashlib.sha256(normalize(question).encode()).hexdigest()[:10]


def _text(row: Row, column: str, what: str) -> str:
    text = _cell(row, column, what)
    if not text:
        raise BadArticle(f"缺少{what}。")
    return text


def _cell(row: Row, column: str, what: str) -> str:
    """A cell as clean text. Spreadsheets hand whole numbers over as 1.0."""
    value = row.cells.get(column)
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int | float | date) or isinstance(value, bool):
        raise BadArticle(f"{what}应当是文字。")
    text = str(value)
    if UNDECODED.search(text):
        raise BadArticle(f"{what}里有无法识别的字符，请检查文件的编码。")
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def _list(row: Row, column: str, what: str, separator: str) -> tuple[str, ...]:
    """The parts of a cell, or of a JSON list, each once, in their order."""
    value = row.cells.get(column)
    if isinstance(value, list):
        cells = [_cell(Row(row.number, row.raw, {column: part}), column, what) for part in value]
    else:
        cells = [_cell(row, column, what)]
    parts = (part.strip() for cell in cells for part in re.split(separator, cell))
    return tuple(dict.fromkeys(part for part in parts if part))


def _day(row: Row, column: str, what: str) -> date | None:
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
        raise BadArticle(f"{what}“{text[:20]}”不是日期，请写成 2026-03-09。") from None
