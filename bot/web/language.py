"""The two languages of the staff's browser. Chinese is what the source says; English comes from catalogues.

A catalogue is a folder of .po files, one a room of the house, read at start: whoever installs Siyu compiles nothing.
"""

import io
from functools import cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

HERE = Path(__file__).parent
CATALOGUES = HERE / "locale"
LANGUAGES = {"zh": "中文", "en": "English"}


def N_(sentence: str) -> str:  # noqa: N802  (what gettext calls it)
    """Marks a sentence for the catalogues where it is written down; it is translated where it is shown."""
    return sentence


@cache
def translations(language: str) -> NullTranslations:
    """The sentences of a language: those of all its catalogues. Chinese, and what nobody knows, as it is."""
    found: NullTranslations = NullTranslations()
    if language not in LANGUAGES or language == "zh":
        return found
    for path in sorted((CATALOGUES / language).glob("*.po")):
        compiled = io.BytesIO()
        with path.open("rb") as source:
            write_mo(compiled, read_po(source, locale=language))
        compiled.seek(0)
        more = GNUTranslations(compiled)
        more.add_fallback(found)
        found = more
    return found


def preferred(accept: str) -> str:
    """The language of a visitor who has not chosen one, by Accept-Language. Chinese unless English comes first."""
    first = accept.split(",")[0].strip().lower()
    return "en" if first.startswith("en") else "zh"
