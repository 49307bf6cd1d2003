"""Hangul arithmetic and the jamo of recognition."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from malsori.errors import TextError
from malsori.text.hangul import CODAS, NUCLEI, ONSETS, compose, decompose, from_jamo, to_jamo, to_nfc
from malsori.text.symbols import JAMO

SYLLABLES = "".join(chr(code) for code in range(0xAC00, 0xD7A4))


def test_decompose_inverts_compose_over_all_syllables() -> None:
    built = [compose(*parts) for parts in itertools.product(ONSETS, NUCLEI, ["", *CODAS])]
    assert "".join(built) == SYLLABLES
    assert all(compose(*decompose(syllable)) == syllable for syllable in SYLLABLES)


def test_jamo_invert_over_all_syllables_at_once() -> None:
    assert from_jamo(to_jamo(SYLLABLES)) == SYLLABLES


@given(st.text(alphabet=st.sampled_from(SYLLABLES + " ")))
def test_jamo_invert_for_every_text_of_syllables_and_spaces(text: str) -> None:
    symbols = to_jamo(text)
    assert from_jamo(symbols) == text
    assert JAMO.decode(JAMO.encode(symbols)) == symbols


@given(st.lists(st.sampled_from(JAMO.symbols)))
def test_every_sequence_of_symbols_has_a_text(symbols: list[str]) -> None:
    assert isinstance(from_jamo(symbols), str)


def test_lone_onsets_and_codas_become_bare_jamo() -> None:
    assert from_jamo(["-ㄳ", "ㅋ", "ㅋ", " ", "ㅎ", "ㅏ", "_", "-ㄴ"]) == "ㄳㅋㅋ 한"


def test_silent_onset_is_not_emitted() -> None:
    assert to_jamo("아 영") == ["ㅏ", " ", "ㅕ", "-ㅇ"]


def test_decomposed_text_gives_the_jamo_of_its_composed_form() -> None:
    assert to_nfc("\u1112\u1161\u11ab") == "한"
    assert to_jamo("\u1112\u1161\u11ab") == to_jamo("한")


def test_to_jamo_names_what_it_cannot_write() -> None:
    with pytest.raises(TextError, match=r"'7' \(U\+0037\) at position 1"):
        to_jamo("가7")


@pytest.mark.parametrize("parts", [("ㄳ", "ㅏ", ""), ("ㄱ", "ㄱ", ""), ("ㄱ", "ㅏ", "ㄸ")])
def test_compose_refuses_a_jamo_out_of_place(parts: tuple[str, str, str]) -> None:
    with pytest.raises(TextError):
        compose(*parts)


def test_decompose_refuses_what_is_no_syllable() -> None:
    with pytest.raises(TextError, match=r"U\+3131"):
        decompose("ㄱ")
