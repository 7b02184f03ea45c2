"""Templates: strict when they are saved, whole when they are filled, and no way out of the sandbox."""

import time
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns import content, fields, words
from campaigns.content import FieldMissing, TemplateWrong, TextTooLong
from campaigns.words import WordsRefused
from crm import member_dates
from crm.base.clock import FrozenClock
from crm.base.db import Sessions
from crm.models.lifecycle import DateKind
from tests.factories import Make

WORDS = words.read()
BOMBS = [
    "{% for i in range(10**9) %}x{% endfor %}",
    "{{ 会员名 * 999999999 }}",
    "{{ 'x' * 10**9 }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ 会员名.__init__.__globals__ }}",
    "{{ 会员名['__class__'] }}",
    "{{ 会员名|attr('__class__') }}",
    "{{ self }}",
    "{{ lipsum(n=10**6) }}",
    "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
    "{% include '/etc/passwd' %}",
    "{% set x = 会员名 %}{{ x }}",
    "{{ " + "(" * 1500 + "1" + ")" * 1500 + " }}",
    "{% if 1 %}" * 30 + "x" + "{% endif %}" * 30,
    "{{ 会员名|center(10**9) }}",
    "{{ '%999999999d'|format(1) }}",
    "{% filter upper %}x{% endfilter %}",
]


@pytest.mark.parametrize("source", BOMBS, ids=range(len(BOMBS)))
def test_bombs_and_walks_are_refused_at_once(source: str) -> None:
    began = time.perf_counter()
    with pytest.raises(TemplateWrong) as refused:
        content.compile_(source)
    assert refused.value.reason in {"not_allowed", "unknown_field", "too_long"}
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize(
    ("source", "reason", "line", "what", "nearest"),
    [
        ("您好\n{{ 会员名称 }}", "unknown_field", 2, "会员名称", "会员名"),
        ("{{ 卷码 }}", "unknown_field", 1, "卷码", "券码"),
        ("{{ 会员名", "syntax", 1, None, None),
        ("  \n", "empty", 1, None, None),
        ("字" * 4001, "too_long", 1, "4001", None),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    source: str, reason: str, line: int, what: str | None, nearest: str | None
) -> None:
    with pytest.raises(TemplateWrong) as refused:
        content.compile_(source, also={"券码"})
    assert (refused.value.reason, refused.value.line) == (reason, line)
    assert what is None or refused.value.what == what
    assert nearest is None or nearest in refused.value.nearest


def test_saving_checks_the_words_too() -> None:
    with pytest.raises(WordsRefused):
        content.save("{{ 会员名 }}，全网最低价！", WORDS)
    assert content.save("{{ 会员名 }}，满 100 减 20", WORDS).fields == {"会员名"}


def test_a_text_is_whole_or_there_is_none() -> None:
    strict = content.compile_("{{ 会员名 }}好，{{ 今天 }}有您的券 {{ 券码 }}", also={"券码"})
    with pytest.raises(FieldMissing) as missing:
        content.render(strict, {"今天": date(2026, 3, 9), "会员名": "小林"})
    assert missing.value.names == ("券码",)
    told = {"今天": date(2026, 3, 9), "会员名": "{{ 券码 }}", "券码": "ABCD2345"}
    assert content.render(strict, told) == "{{ 券码 }}好，3 月 9 日有您的券 ABCD2345"
    kind = content.compile_("{{ 会员名|没有就写('朋友') }}好{% if 宠物名 is defined %}，{{ 宠物名 }}好{% endif %}")
    assert content.render(kind, {}) == "朋友好"
    assert content.render(kind, {"宠物名": "团团"}) == "朋友好，团团好"
    spent = content.compile_("累计 {{ 累计消费|元 }} 元")
    assert content.render(spent, {"累计消费": 12050}) == "累计 120.5 元"
    with pytest.raises(TextTooLong):
        content.render(content.compile_("字" * 1400), {})


async def test_a_preview_is_what_a_real_member_would_read(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    member, nameless = await make.member(name="小\u202e林 "), await make.member(name="")
    await make.order(member, total_fen=8800, days_ago=40)
    async with sessions.begin() as session:
        await member_dates.remember(
            session, member.id, DateKind.PET_BIRTHDAY, whose="团团", month=3, day=12, now=clock.now()
        )
    source = "{{ 会员名 }}，{{ 没来天数 }} 天没见，{{ 宠物名 }}{{ 宠物生日 }}过生日。累计 {{ 累计消费|元 }} 元"
    template = content.compile_(source)
    async with sessions.read() as session:
        text = await content.preview(session, template, member.id, now=clock.now())
        filled = await content.fill(session, template, [member.id, nameless.id], now=clock.now())
    assert text == filled[member.id] == "小林，40 天没见，团团3 月 12 日过生日。累计 88 元"
    refusal = filled[nameless.id]
    assert isinstance(refusal, FieldMissing) and "会员名" in refusal.names and "宠物名" in refusal.names


async def test_every_field_can_be_read(sessions: Sessions, make: Make, clock: FrozenClock) -> None:
    member = await make.member()
    async with sessions.read() as session:
        found = await fields.read(session, fields.SOURCES.keys(), [member.id], now=clock.now())
    assert found[member.id]["会员码"] == member.code and "今天" not in found[member.id]


@given(st.text(alphabet="{}%会员名 |'(x)没有就写\n1*.#-if", max_size=80))
def test_any_text_is_read_or_refused_and_never_fails_otherwise(source: str) -> None:
    try:
        template = content.compile_(source)
        content.render(template, {"会员名": "小林"})
    except (TemplateWrong, FieldMissing, TextTooLong):
        pass
