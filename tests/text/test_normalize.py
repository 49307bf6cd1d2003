"""Normalisation: spans map back, nothing crashes, spoken text stays as it is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from malsori.errors import TextError
from malsori.text.latin import read_latin
from malsori.text.normalize import normalize
from malsori.text.numbers import cardinal, count, find_counter, native, sino

WRITTEN = "0123456789.,:-~/% $°가나다월일년시분개명만억은에 kmgABC()=+×ㄱㅋ!?"


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=40) | st.text(alphabet=WRITTEN, max_size=24))
def test_any_text_is_read_or_refused_by_name(text: str) -> None:
    try:
        normalized = normalize(text)
    except TextError as error:
        assert "U+" in str(error) and "position" in str(error)
        return
    assert all("가" <= character <= "힣" or character in " ,.?!…" for character in normalized.text)
    assert normalize(normalized.text).text == normalized.text


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=40))
def test_what_cannot_be_read_is_kept_in_its_place(text: str) -> None:
    normalized = normalize(text, keep_unreadable=True)
    assert all(normalized.written[one.position] == one.sign for one in normalized.unreadable)
    rest = [sign for sign in normalized.text if not ("가" <= sign <= "힣" or sign in " ,.?!…")]
    assert rest == [one.sign for one in normalized.unreadable]
    assert normalize(normalized.text, keep_unreadable=True).text == normalized.text


@settings(deadline=None, max_examples=50)
@given(st.text(alphabet=WRITTEN, min_size=1, max_size=24))
def test_every_spoken_word_stands_for_a_stretch_of_the_written_text(text: str) -> None:
    normalized = normalize(text)
    position, last = 0, 0
    for word in normalized.text.split():
        start = normalized.text.index(word, position)
        position = start + len(word)
        first, end = normalized.span(start, position)
        assert 0 <= first < end <= len(normalized.written) and first >= last - 40
        last = first


def test_spans_map_numbers_and_latin_words_back() -> None:
    normalized = normalize("KBS는 3시 30분에")
    assert normalized.text == "케이비에스는 세 시 삼십 분에"
    assert [normalized.written[slice(*normalized.span(*span))] for span in [(0, 6), (7, 8), (9, 10), (11, 13)]] == [
        "KBS는",
        "3",
        "시",
        "30",
    ]


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("\u1112\u1161\u11ab\u1100\u1173\u11af", "한글"),
        ("한\u200b글\ufeff", "한글"),
        ("１２：３０", "열두 시 삼십 분"),
        ("안녕?!  …", "안녕?"),
        ("가,나", "가, 나"),
        ("《책》 '말' (뜻)", "책 말 뜻"),
        ("", ""),
        ("...", ""),
        ("ㅠㅠ ㄳ", "유유 기역 시옷"),
        ("한\n글", "한 글"),
    ],
)
def test_normalize_cleans_what_is_not_heard(written: str, spoken: str) -> None:
    assert normalize(written).text == spoken


def test_what_cannot_be_read_is_named_with_code_point_and_position() -> None:
    with pytest.raises(TextError, match=r"'ख' \(U\+0916\) DEVANAGARI LETTER KHA at position 2"):
        normalize("한 ख")
    with pytest.raises(TextError, match=r"U\+9F98"):
        normalize("龘")


@pytest.mark.parametrize(
    ("number", "spoken"),
    [
        (0, "영"),
        (10, "십"),
        (10000, "만"),
        (110000, "십일만"),
        (100000000, "일억"),
        (10**15, "천조"),
        (2025, "이천이십오"),
    ],
)
def test_sino_korean_numbers(number: int, spoken: str) -> None:
    assert sino(number) == spoken


def test_native_numbers_stop_at_a_hundred() -> None:
    assert [native(value) for value in (1, 20, 21, 99, 100, 101, 120)] == [
        "한", "스무", "스물한", "아흔아홉", "백", "백한", "백이십",
    ]  # fmt: skip
    assert native(4, determiner=False) == "넷"


def test_numbers_longer_than_any_scale_are_read_digit_by_digit() -> None:
    assert cardinal("1" * 60) == "일" * 60
    assert cardinal("007") == "공공칠"


@pytest.mark.parametrize(
    ("value", "after", "before", "spoken"),
    [
        (3, "번 출구", "", "삼"), (3, "번 봤다", "", "세"), (2, "분 뒤", "", "이"), (2, "분", "손님 ", "두"),
        (20, "대 청년", "", "이십"), (20, "대", "자동차 ", "스무"), (1, "장 2절", "", "일"), (1, "장", "사진 ", "한"),
        (3, "개월", "", "삼"), (3, "개봉", "", "삼"), (3, "회", "제", "삼"), (24, "시간", "", "이십사"),
        (1, "번째", "", "첫"),
    ],
)  # fmt: skip
def test_a_counter_chooses_its_numbers_by_the_words_around_it(value: int, after: str, before: str, spoken: str) -> None:
    assert count(value, find_counter(after), before, after) == spoken


@pytest.mark.parametrize(
    ("word", "spoken"),
    [
        ("LG", "엘지"), ("NASA", "나사"), ("iPhone", "아이폰"), ("OpenAI", "오픈에이아이"),
        ("blockchain", "블록체인"), ("books", "북스"), ("simple", "심플"), ("brand", "브랜드"),
    ],
)  # fmt: skip
def test_latin_words_are_known_spelled_or_read_by_shape(word: str, spoken: str) -> None:
    assert read_latin(word) == spoken
    assert all("가" <= character <= "힣" for character in read_latin(word))


@settings(deadline=None, max_examples=50)
@given(st.from_regex("[A-Za-z]{1,30}", fullmatch=True))
def test_every_latin_word_has_a_reading(word: str) -> None:
    assert read_latin(word) and all("가" <= character <= "힣" for character in read_latin(word))
