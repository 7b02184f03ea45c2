"""Both languages are complete: every sentence of the staff's pages is in the English catalogue, none is hard-wired."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from bot.web import language
from bot.web.refusals import WORDS
from tests.conftest import ROOT

WEB = ROOT / "bot" / "web"
CHINESE = re.compile(r"[\u4e00-\u9fff]")
STAFF_TEMPLATES = [path for room in ("staff", "console", "desk") for path in (WEB / "templates" / room).rglob("*.html")]


def sentences() -> dict[str, str]:
    """Every marked sentence, and a place where it stands."""
    options = {"**.html": {"newstyle_gettext": "true", "trimmed": "true"}, "**.py": {}}
    found = extract_from_dir(
        WEB,
        method_map=[("**.py", "python"), ("templates/**.html", "jinja2.ext:babel_extract")],
        options_map=options,
        keywords={"_": None, "gettext": None, "ngettext": (1, 2), "N_": None},
    )
    marked: dict[str, str] = {}
    for filename, line, message, _, _ in found:
        for one in (message,) if isinstance(message, str) else message:
            if one:
                marked[one] = f"{filename}:{line}"
    return marked


def catalogue() -> Iterator[tuple[Path, str, str, bool]]:
    for path in sorted((language.CATALOGUES / "en").glob("*.po")):
        with path.open("rb") as source:
            for message in read_po(source, locale="en"):
                if message.id:
                    pairs = (
                        [(message.id, message.string)]
                        if isinstance(message.id, str)
                        else list(zip(message.id, message.string, strict=False))
                    )
                    for id_, string in pairs:
                        yield path, str(id_), str(string), message.fuzzy


def test_every_sentence_has_its_english() -> None:
    known = {id_ for _, id_, string, is_fuzzy in catalogue() if string and not is_fuzzy}
    missing = {one: where for one, where in sentences().items() if one not in known}
    entries = "\n".join(f'#: {where}\nmsgid "{one}"\nmsgstr ""\n' for one, where in sorted(missing.items()))
    assert not missing, f"add to bot/web/locale/en/*.po:\n{entries}"


def test_no_sentence_is_translated_in_two_ways_or_for_nobody() -> None:
    wanted, seen = sentences(), dict[str, str]()
    for path, id_, string, _ in catalogue():
        assert id_ in wanted, f"{path.name}: nobody says {id_!r} any more"
        assert seen.setdefault(id_, string) == string, f"{path.name}: another catalogue puts {id_!r} differently"


def test_blanks_are_the_same_in_both() -> None:
    for path, id_, string, _ in catalogue():
        for blank in (r"%\(\w+\)\w", r"{\w*[^}]*}"):
            assert sorted(re.findall(blank, id_)) == sorted(re.findall(blank, string)), (path.name, id_)


def test_english_has_no_chinese() -> None:
    assert [id_ for _, id_, string, _ in catalogue() if CHINESE.search(string)] == []


@pytest.mark.parametrize("path", STAFF_TEMPLATES, ids=lambda path: str(path.relative_to(WEB / "templates")))
def test_no_template_says_a_sentence_past_the_catalogue(path: Path) -> None:
    text = re.sub(r"{#.*?#}|{{.*?}}|{%.*?%}", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    bare = [line.strip() for line in text.splitlines() if CHINESE.search(line.replace(">域<", ""))]
    assert bare == []


def test_every_refusal_says_something() -> None:
    assert all(words.strip() for words in WORDS.values())
