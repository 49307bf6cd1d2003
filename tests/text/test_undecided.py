"""Which texts ask for morphemes: none that would be read otherwise by them, and not the everyday ones."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from malsori.text import frontend
from malsori.text.frontend import Frontend
from malsori.text.lexicon import Lexicon
from malsori.text.undecided import STEMS, needs_morphemes

CASES = (Path(__file__).parent / "pronunciation.tsv").read_text(encoding="utf-8").splitlines()
DECIDED = (
    "안녕하세요. 고맙습니다. 반갑습니다.",
    "한국은 은근히 덥고, 저녁에는 바람이 차가워요.",
    "그래서 지도를 펴고 천천히 찾아보았어요.",
    "다음에 다시 해보세요.",
    "미안하지만 천천히 말해 주세요.",
)
UNDECIDED = (
    "신을 신고 나갔다.",  # a stem in ㄴ
    "머리를 감다.",
    "갈 데가 없어요.",  # -(으)ㄹ
    "첫인상이 좋다.",
    "어려운일이 많아요.",
    "십팔세요.",  # no request
    "잼을 발라요.",  # a word of one syllable in the lexicon
    "국내선 요금",
)


@pytest.fixture(scope="module")
def reader() -> Iterator[Frontend]:
    yield Frontend()


@pytest.mark.parametrize("text", DECIDED)
def test_everyday_texts_are_read_without_the_analyzer_and_by_it_alike(text: str, reader: Frontend, monkeypatch):
    assert not needs_morphemes(text, Lexicon())
    alone = reader.read(text)
    monkeypatch.setattr(frontend, "needs_morphemes", lambda *_: True)
    assert reader.read(text) == alone


@pytest.mark.parametrize("text", UNDECIDED)
def test_what_morphemes_may_decide_is_asked(text: str):
    assert needs_morphemes(text, Lexicon())


def test_no_case_that_is_not_asked_is_read_otherwise_by_morphemes(reader: Frontend, monkeypatch):
    cases = [line.split("\t")[0] for line in CASES if line and not line.startswith("#")]
    alone = {text: reader.read(text) for text in cases if not needs_morphemes(text, Lexicon())}
    monkeypatch.setattr(frontend, "needs_morphemes", lambda *_: True)
    assert len(alone) > 20
    assert not [text for text, reading in alone.items() if reader.read(text) != reading]


@pytest.mark.slow
def test_the_analyzer_knows_no_other_stems(reader: Frontend):
    kiwi = reader._analyzer._kiwi
    kiwi.tokenize("")
    stems, number = set(), 0
    while True:
        try:
            morpheme = kiwi.morpheme(number)
        except ValueError:
            break
        number += 1
        if morpheme.tag.startswith(("V", "XSV", "XSA")) and morpheme.form and "가" <= morpheme.form[-1] <= "힣":
            stems.add(morpheme.form[-1])
    in_nasals = {last for last in stems if (ord(last) - ord("가")) % 28 in (4, 5, 10, 16)}  # ㄴ, ㄵ, ㄻ, ㅁ
    assert number > 100_000 and in_nasals <= set(STEMS)
