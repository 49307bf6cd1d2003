"""What a public voice reads, against the tokenizer of its makers."""

import json
from pathlib import Path

import pytest

from malsori.errors import TextError
from malsori.text import romanize
from malsori.text.romanize import spell
from malsori.text.symbols import SymbolTable
from malsori.tts.spelling import with_blanks

LATIN = tuple("kaeiou ngsmhydlrbjptc-'w")
TEXTS = ("안녕하세요", "오늘은 날씨가 참 좋네요.", "  닭 값이 없어요, 정말?", "Seoul 서울")


def test_letters_and_ids_are_those_of_transformers_tokenizer(tmp_path: Path, monkeypatch) -> None:
    transformers = pytest.importorskip("transformers")
    uroman = pytest.importorskip("uroman")
    romanizer = romanize._romanizer()
    monkeypatch.setattr(uroman, "Uroman", lambda: romanizer)  # which they make anew for each text, in seconds
    vocabulary = {letter: number for number, letter in enumerate(LATIN)}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    table = SymbolTable("letters", "1", LATIN)
    for add_blank in (True, False):
        tokenizer = transformers.VitsTokenizer(
            tmp_path / "vocab.json", add_blank=add_blank, phonemize=False, is_uroman=True, language="kor"
        )
        for text in TEXTS:
            ids = table.encode(spell(text, table, romanized=True))
            assert (with_blanks(ids) if add_blank else ids) == tokenizer(text)["input_ids"]


def test_hangul_letters_are_kept_where_the_voice_reads_them() -> None:
    table = SymbolTable("letters", "1", ("_", "가", "나", " ", "A"))
    assert spell("가, 나! A", table, romanized=False) == "가 나 A"


def test_a_letter_that_the_voice_does_not_know_is_named_and_nothing_is_no_text() -> None:
    table = SymbolTable("letters", "1", ("_", "가", " "))
    with pytest.raises(TextError, match=r"'나' .*position 2"):
        spell("가 나", table, romanized=False)
    with pytest.raises(TextError, match="knows none"):
        spell("?!", table, romanized=False)
