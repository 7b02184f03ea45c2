"""Cells and files as people and Excel leave them: read where they can be meant, refused in words where not."""

import codecs
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm.import_cells import BadCell, fen, instant, number, text, whole
from crm.import_files import MAX_LINE, BadFile, open_sheet

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 3, 9, 2, 0, tzinfo=UTC)
TEN = datetime(2026, 3, 9, 2, 0, tzinfo=UTC)  # 10:00 in the shop
MIDNIGHT = datetime(2026, 3, 8, 16, 0, tzinfo=UTC)
COLUMNS = {"订单号": "no", "no": "no", "金额": "fen", "备注": "note"}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("¥1,299.00", 129900),
        ("￥1，299", 129900),
        ("１２９９元", 129900),
        ("CNY 12.5", 1250),
        ("(3.00)", -300),
        ("-3", -300),
        (1299.0, 129900),
        (0.1 + 0.2, 30),
        (19.995, 2000),
        (7, 700),
        ("", None),
        ("￥", None),
        (None, None),
    ],
)
def test_amounts_as_people_write_them(written: Any, meant: int | None) -> None:
    assert fen(written) == meant


@pytest.mark.parametrize("written", ["abc", "=A1+B1", "nan", "inf", "1e99", "1.2.3", True, date(2026, 1, 1), "１２块"])
def test_what_is_no_amount_is_refused(written: Any) -> None:
    with pytest.raises(BadCell):
        fen(written)


@given(st.integers(-(10**9), 10**9))
def test_every_amount_comes_back_however_it_is_written(value: int) -> None:
    sign, yuan, rest = "-" if value < 0 else "", abs(value) // 100, abs(value) % 100
    assert fen(f"{sign}{yuan}.{rest:02}") == fen(f"{sign}￥{yuan:,}.{rest:02}") == fen(value / 100) == value


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-03-09 10:00", TEN),
        ("2026-03-09T10:00:00", TEN),
        ("2026-03-09T02:00:00Z", TEN),
        ("2026/3/9 10:00:00", TEN),
        ("2026.3.9", MIDNIGHT),
        ("2026年3月9日 10时00分", TEN),
        ("20260309", MIDNIGHT),
        (46090, MIDNIGHT),
        ("46090.4166666667", TEN),
        (datetime(2026, 3, 9, 10, 0), TEN),  # noqa: DTZ001
        (date(2026, 3, 9), MIDNIGHT),
        ("", None),
        (None, None),
    ],
)
def test_instants_as_people_and_excel_write_them(written: Any, meant: datetime | None) -> None:
    assert instant(written, zone=SHANGHAI, now=NOW) == meant


@pytest.mark.parametrize(
    "written", ["昨天", "2026-02-30", "2026-03-09 25:00", "2099-01-01", "1970-01-01", 1e12, "=NOW()"]
)
def test_what_is_no_instant_is_refused(written: Any) -> None:
    with pytest.raises(BadCell):
        instant(written, zone=SHANGHAI, now=NOW)


def test_numbers_lose_the_traces_of_excel() -> None:
    assert number(13800138000.0, longest=64) == "13800138000"
    assert number("13800138000.0", longest=64) == "13800138000"
    assert number('="00123"', longest=64) == "00123"
    assert number("2026\t", longest=64) == "2026"
    for lost in ("1.38E+10", "2e17", "9" * 65):
        with pytest.raises(BadCell):
            number(lost, longest=64)


def test_counts_and_texts_have_limits() -> None:
    assert (whole("1,200"), whole(3.0), whole("")) == (1200, 3, None)
    for bad in ("1.5", "9" * 13, "三"):
        with pytest.raises(BadCell):
            whole(bad)
    for bad in ("a\x00b", "字" * 2001, "\ud800"):
        with pytest.raises(BadCell):
            text(bad)


def rows_of(path: Path) -> list[tuple[int, dict[str, Any], str]]:
    return [(row.number, dict(row.cells), row.broken) for row in open_sheet(path, COLUMNS).rows]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_a_csv_is_read_in_whatever_encoding_it_was_saved(tmp_path: Path, encoding: str, delimiter: str) -> None:
    path = tmp_path / "f.csv"
    path.write_text(f"订单号{delimiter}金额\r\n喵1{delimiter}3\r\n", encoding=encoding, newline="")
    assert rows_of(path) == [(2, {"no": "喵1", "fen": "3"}, "")]


def test_an_xlsx_is_read_with_its_dates_numbers_and_empty_rows(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    assert book.active is not None
    for row in (["订单号", "金额", "备注"], ["A1", 12.5, None], [None, None, None], [20260309001, "￥3", "=1+1"]):
        book.active.append(row)
    book.save(tmp_path / "f.xlsx")
    assert rows_of(tmp_path / "f.xlsx") == [
        (2, {"no": "A1", "fen": 12.5, "note": None}, ""),
        (4, {"no": 20260309001, "fen": "￥3", "note": None}, ""),
    ]


def test_jsonl_rows_that_are_no_objects_are_refused_alone(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text('{"no": "A1", "金额": 3}\n\nnot json\n[1]\n{"no": {"a": 1}}\n{"NO": "A2"}\n', encoding="utf-8")
    found = rows_of(path)
    assert [(number, bool(broken)) for number, _, broken in found] == [
        (1, False),
        (3, True),
        (4, True),
        (5, True),
        (6, False),
    ]
    assert found[-1][1] == {"no": "A2"}


def test_monstrous_cells_and_open_quotes_cost_one_row_not_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write("no,金额\nA1,1\nA2," + "9" * (3 * MAX_LINE) + "\nA3,3\nA4," + "8" * 200_000 + "\nA5,5\nA6,1,2,3\n")
    found = rows_of(path)
    assert [cells.get("no") for _, cells, broken in found if not broken] == ["A1", "A3", "A5"]
    assert len([broken for *_, broken in found if broken]) == 3


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("f.doc", b"x", "不认识这种文件"),
        ("f.csv", b"", "空的"),
        ("f.xlsx", b"PK no zip", "打不开"),
        ("f.jsonl", b"[]", "第一行"),
        ("f.csv", "订单号,no,金额".encode(), "同一件事"),
        ("f.csv", ",".join(["a"] * 600).encode(), "最多 500 列"),
    ],
)
def test_a_file_that_cannot_be_meant_says_why(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadFile, match=told):
        open_sheet(tmp_path / name, COLUMNS)


def test_an_archive_that_unpacks_without_end_is_not_opened(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "f.xlsx", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("xl/sharedStrings.xml", "w") as file,
    ):
        for _ in range(257):
            file.write(b"0" * (1 << 20))
    with pytest.raises(BadFile, match="太大"):
        open_sheet(tmp_path / "f.xlsx", COLUMNS)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=300))
def test_no_bytes_make_the_reader_crash(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("bytes") / "f.csv"
    path.write_bytes(codecs.BOM_UTF8 + b"no,\xe9\x87\x91\xe9\xa2\x9d\n" + content)
    for row in open_sheet(path, COLUMNS).rows:
        assert row.broken or set(row.cells) == {"no", "fen"}
