import csv
import io
import json
from datetime import date, datetime, time

import pytest
from openpyxl import Workbook

from bot.faq.articles import MAX_ANSWER_BYTES, MAX_FILE_BYTES, Article, load

HEADER = "id,question,similar,answer,tags,valid_from,valid_to\n"


def csv_bytes(*rows, header=HEADER, encoding="utf-8"):
    return (header + "".join(f"{row}\n" for row in rows)).encode(encoding)


def xlsx_bytes(*rows):
    book, out = Workbook(), io.BytesIO()
    for row in rows:
        book.active.append(row)
    book.save(out)
    return out.getvalue()


GOOD = "fee,运费怎么算？,邮费多少|要运费吗,满 88 元包邮。,物流配送,2026-03-01,2026/3/31"
ARTICLE = Article(
    "fee",
    "运费怎么算？",
    ("邮费多少", "要运费吗"),
    "满 88 元包邮。",
    ("物流配送",),
    date(2026, 3, 1),
    date(2026, 3, 31),
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030"])
def test_a_csv_file_is_read_in_the_encodings_spreadsheets_write(encoding):
    loaded = load(csv_bytes(GOOD, encoding=encoding), "faq.csv")
    assert loaded.articles == (ARTICLE,)
    assert loaded.refusals == ()


def test_a_path_is_read_by_its_own_name(tmp_path):
    path = tmp_path / "知识库.CSV"
    path.write_bytes(csv_bytes(GOOD))
    assert load(path).articles == (ARTICLE,)


def test_similar_questions_may_stand_on_lines_and_answers_may_have_several():
    loaded = load(csv_bytes('a,问题一,"问法一\n问法二|问法三","第一行\r\n第二行",甲、乙'), "faq.csv")
    assert loaded.articles[0].similar == ("问法一", "问法二", "问法三")
    assert loaded.articles[0].answer == "第一行\n第二行"
    assert loaded.articles[0].tags == ("甲", "乙")


def test_columns_may_have_chinese_names_and_any_order():
    loaded = load(csv_bytes("满 88 元。,包邮吗,好的", header="答案,问题,备注\n"), "faq.csv")
    assert [(a.question, a.answer) for a in loaded.articles] == [("包邮吗", "满 88 元。")]


def test_a_missing_id_is_made_from_the_question_and_stays_the_same():
    first = load(csv_bytes("包邮吗,满 88 元。", header="question,answer\n"), "a.csv").articles[0].id
    again = load(csv_bytes("包邮 吗？,满 99 元。", header="question,answer\n"), "b.csv").articles[0].id
    assert first == again
    assert first.startswith("q-")


def test_jsonl_takes_lists_and_joined_text():
    lines = [
        {"id": "a", "question": "问题一", "similar": ["问法一", "问法二"], "answer": "答。", "tags": ["甲"]},
        {"id": 2, "question": "问题二", "similar": "问法三|问法四", "answer": "答。", "valid_to": "2026年3月9日"},
    ]
    loaded = load("\n".join(json.dumps(line, ensure_ascii=False) for line in lines).encode(), "faq.jsonl")
    assert loaded.refusals == ()
    assert loaded.articles[0].similar == ("问法一", "问法二")
    assert loaded.articles[1] == Article("2", "问题二", ("问法三", "问法四"), "答。", valid_to=date(2026, 3, 9))


def test_xlsx_dates_and_numbers_arrive_as_meant():
    content = xlsx_bytes(
        ["编号", "问题", "相似问题", "答案", "标签", "生效日期", "失效日期"],
        [
            7,
            "包邮吗",
            "要运费吗",
            "满 88 元。",
            "物流",
            datetime.combine(date(2026, 3, 1), time(8, 30)),
            date(2026, 3, 31),
        ],
        [None, None, None, None, None, None, None],
        [8, "有发票吗", None, None, None, None, None],
    )
    loaded = load(content, "faq.xlsx")
    assert loaded.articles == (
        Article("7", "包邮吗", ("要运费吗",), "满 88 元。", ("物流",), date(2026, 3, 1), date(2026, 3, 31)),
    )
    assert [(r.row_number, r.reason) for r in loaded.refusals] == [(4, "缺少答案。")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        pytest.param("b,,说法,答案,,,", "缺少问题。", id="no question"),
        pytest.param("b,新问题,说法, ,,,", "缺少答案。", id="no answer"),
        pytest.param("b,？？！,说法,答案,,,", "问题里没有文字。", id="question of signs only"),
        pytest.param(f"b,{'长' * 121},,答案,,,", "“长长长长长长长长长长长长…”超过 120 个字", id="question too long"),
        pytest.param(
            f"b,新问题,,{'字' * 683},,,", f"答案有 2049 字节，超过一条消息的上限 {MAX_ANSWER_BYTES}", id="answer"
        ),
        pytest.param("fee,新问题,,答案,,,", "编号与第 2 行重复。", id="id twice"),
        pytest.param("b,請問运费怎么算,,答案,,,", "问题与第 2 行重复。", id="question twice but for spelling"),
        pytest.param("b,新问题,,答案,,2026-02-30,", "生效日期“2026-02-30”不是日期", id="no such day"),
        pytest.param("b,新问题,,答案,,,明年", "失效日期“明年”不是日期", id="not a date"),
        pytest.param("b,新问题,,答案,,2026-03-02,2026-03-01", "生效日期晚于失效日期。", id="dates reversed"),
        pytest.param("b,新问题,,答案,多,,,出一列", "这一行有 8 列，表头只有 7 列", id="a comma without quotes"),
        pytest.param('b,"新问题,,答案,,,', "引号没有成对", id="quote without end"),
        pytest.param(f"{'x' * 65},新问题,,答案,,,", "编号超过 64 个字符。", id="long id"),
    ],
)
def test_a_bad_row_is_refused_with_its_reason_and_the_rest_is_loaded(row, reason):
    loaded = load(csv_bytes(GOOD, row, "z,后面的问题,,后面的答案,,,"), "faq.csv")
    assert [article.id for article in loaded.articles] == ["fee", "z"]
    (refusal,) = loaded.refusals
    assert refusal.row_number == 3
    assert refusal.reason.startswith(reason)
    assert refusal.raw == row


def test_undecodable_bytes_cost_only_their_row():
    content = csv_bytes(GOOD) + b"b,\xff\xfe\xfa\xfb,,x,,,\n" + "z,后面的问题,,答案,,,\n".encode()
    loaded = load(content, "faq.csv")
    assert [article.id for article in loaded.articles] == ["fee", "z"]
    assert [(r.row_number, r.reason) for r in loaded.refusals] == [(3, "有无法识别的字符，请检查文件的编码。")]
    assert loaded.refusals[0].raw.encode()


def test_a_refused_row_takes_no_id_from_a_later_one():
    loaded = load(csv_bytes(GOOD, "b,运费怎么算,,重复的问题,,,", "b,新问题,,答案,,,"), "faq.csv")
    assert [article.id for article in loaded.articles] == ["fee", "b"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param(b"{oops", "这一行不是正确的 JSON。", id="not JSON"),
        pytest.param(b"[" * 100_000, "这一行不是正确的 JSON。", id="nested without end"),
        pytest.param(b"[1, 2]", "这一行应当是一个 JSON 对象。", id="not an object"),
        pytest.param(b'{"question": {"a": 1}, "answer": "x"}', "问题应当是文字。", id="not text"),
        pytest.param(b'{"question": "\\ud800", "answer": "x"}', "问题里有无法识别的字符", id="half a character"),
        pytest.param(b'{"question": "\xff\xfe", "answer": "x"}', "有无法识别的字符", id="not UTF-8"),
        pytest.param('{"question": "新问题"}'.encode(), "缺少答案。", id="no answer"),
    ],
)
def test_a_bad_json_line_is_refused_and_the_rest_is_loaded(line, reason):
    good = '{"question": "包邮吗", "answer": "满 88 元。"}'.encode()
    loaded = load(good + b"\n" + line + b"\n\n" + good.replace("包邮吗".encode(), "有发票吗".encode()), "faq.jsonl")
    assert [article.question for article in loaded.articles] == ["包邮吗", "有发票吗"]
    assert [(r.row_number, r.reason.startswith(reason)) for r in loaded.refusals] == [(2, True)]


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        pytest.param(b"", "faq.csv", "文件是空的。", id="empty"),
        pytest.param(b"\xef\xbb\xbf \n", "faq.csv", "文件是空的。", id="only a mark"),
        pytest.param(HEADER.encode(), "faq.csv", "文件里只有表头，没有内容。", id="only a header"),
        pytest.param(b"id,question\n1,x\n", "faq.csv", "第 1 行应当是表头，缺少 answer 列。", id="column missing"),
        pytest.param(b"x", "faq.docx", "不认识这种文件，请使用 .csv、.jsonl 或 .xlsx。", id="unknown type"),
        pytest.param(b"x", None, "不认识这种文件，请使用 .csv、.jsonl 或 .xlsx。", id="no name"),
        pytest.param(b"not a workbook", "faq.xlsx", "打不开这个表格，请确认它是 .xlsx 文件。", id="no workbook"),
        pytest.param(b"x" * (MAX_FILE_BYTES + 1), "faq.csv", "文件超过 20 MB，请拆成几个文件。", id="too big"),
        pytest.param(xlsx_bytes(["甲", "乙"], [1, 2]), "faq.xlsx", "第 1 行应当是表头，缺少", id="workbook columns"),
        pytest.param(xlsx_bytes(), "faq.xlsx", "文件是空的。", id="empty workbook"),
    ],
)
def test_an_unreadable_file_is_one_refusal(content, name, reason):
    loaded = load(content, name)
    assert loaded.articles == ()
    assert [r.row_number for r in loaded.refusals] == [0]
    assert loaded.refusals[0].reason.startswith(reason)


def test_refusals_are_written_so_that_a_spreadsheet_shows_them(tmp_path):
    path = tmp_path / "faq.csv.errors.csv"
    load(csv_bytes(GOOD, "b,没有答案,,,,,"), "faq.csv").write_refusals(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        assert list(csv.DictReader(file)) == [{"row": "3", "reason": "缺少答案。", "raw": "b,没有答案,,,,,"}]


def test_an_article_is_valid_from_its_first_to_its_last_day():
    days = [date(2026, 2, 28), date(2026, 3, 1), date(2026, 3, 31), date(2026, 4, 1)]
    assert [ARTICLE.is_valid(day) for day in days] == [False, True, True, False]
    assert ARTICLE.is_valid(None)
