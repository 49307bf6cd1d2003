"""Letters of any alphabet, spelt and read back."""

import unicodedata

import pytest

from malsori.errors import TextError
from malsori.text.hangul import CODAS, NUCLEI, ONSETS
from malsori.text.letters import LETTERS, decode_letters, decode_words, encode_letters, syllable_table
from malsori.text.symbols import JAMO, SymbolTable

SENTENCE = "값을 안 받았어요 꽃이 예뻐"
CONJOINING = [chr(code) for first, last in ((0x1100, 0x1112), (0x1161, 0x1175), (0x11A8, 0x11C2))
              for code in range(first, last + 1)]  # fmt: skip
TABLES = {
    "our jamo": JAMO,
    "syllables": syllable_table([SENTENCE]),
    "jamo that say their place": SymbolTable(LETTERS, "1", ("[PAD]", " ", *CONJOINING)),
    "jamo that do not": SymbolTable(LETTERS, "1", (" ", *dict.fromkeys(ONSETS + NUCLEI + CODAS), "[UNK]", "[PAD]")),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_text_is_read_back_from_every_alphabet(name):
    table = TABLES[name]
    found = decode_letters(table, encode_letters(table, SENTENCE))
    assert found == SENTENCE and unicodedata.is_normalized("NFC", found)


def test_a_text_in_another_normal_form_is_spelt_the_same():
    for table in TABLES.values():
        assert encode_letters(table, unicodedata.normalize("NFD", SENTENCE)) == encode_letters(table, SENTENCE)


def test_a_consonant_between_two_vowels_begins_the_second_syllable():
    table = TABLES["jamo that do not"]
    assert decode_letters(table, table.encode("ㅇㅏㄴㅏㄴㄴㅏ")) == "아난나"
    assert decode_letters(table, table.encode("ㅋㅋ ㅏㄸㅏ")) == "ㅋㅋ 아따"


def test_marks_are_no_letters_and_spaces_are_single():
    table = TABLES["jamo that do not"]
    unknown = table.symbols.index("[UNK]")
    assert decode_letters(table, [0, *table.encode("ㄴㅏ"), 0, unknown, 0, *table.encode("ㄴㅓ"), 0]) == "나 너"


@pytest.mark.parametrize("name", TABLES)
def test_every_word_comes_with_the_places_of_its_letters(name):
    table = TABLES[name]
    ids = encode_letters(table, SENTENCE)
    words = list(decode_words(table, ids))
    assert [text for text, _ in words] == SENTENCE.split()
    assert [decode_letters(table, [ids[place] for place in places]) for _, places in words] == SENTENCE.split()
    between = set(range(len(ids))) - {place for _, places in words for place in places}
    assert {table.symbols[ids[place]] for place in between} == {" "}


def test_marks_alone_are_no_word():
    table = TABLES["jamo that do not"]
    unknown, space = table.symbols.index("[UNK]"), table.symbols.index(" ")
    assert list(decode_words(table, [space, unknown, space, space, *table.encode("ㄴㅏ")])) == [("나", [4, 5])]


def test_what_has_no_letter_is_unknown_or_refused_by_name():
    table = TABLES["syllables"]
    assert table.decode(encode_letters(table, "값도")) == ["값", "<unk>"]
    with pytest.raises(TextError, match="'a' at position 1"):
        encode_letters(TABLES["jamo that say their place"], "가a".replace("가", "ᄀ"))
