"""Hangul syllables and the jamo they are written with.

Two alphabets meet here. *Compatibility jamo* (U+3131..U+3163) are how this code base names sounds and letters: an
onset is 'ㄱ', a nucleus 'ㅏ', a coda 'ㄱ' inside a syllable and '-ㄱ' as a symbol of its own, so that a sequence of
symbols never needs a look ahead to be read back. *Precomposed syllables* (U+AC00..U+D7A3) are the text itself.

Source: The Unicode Standard 15, 3.12 "Conjoining Jamo Behavior"; the arithmetic of `compose` and `decompose` is its.
"""

import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from malsori.errors import TextError

ONSETS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
NUCLEI = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
CODAS = "ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
SILENT = "ㅇ"

_FIRST, _LAST = 0xAC00, 0xD7A3
_ONSET_INDEX = {jamo: index for index, jamo in enumerate(ONSETS)}
_NUCLEUS_INDEX = {jamo: index for index, jamo in enumerate(NUCLEI)}
_CODA_INDEX = {"": 0} | {jamo: index + 1 for index, jamo in enumerate(CODAS)}
_CODA_SYMBOLS = {f"-{jamo}": jamo for jamo in CODAS}


def is_syllable(character: str) -> bool:
    """Return whether one character is a precomposed Hangul syllable, 가..힣."""
    return "가" <= character <= "힣"


@lru_cache(maxsize=16384)
def compose(onset: str, nucleus: str, coda: str = "") -> str:
    """Return the syllable of an onset ('ㅇ' when silent), a nucleus and a coda ('' when open).

    >>> compose("ㅎ", "ㅏ", "ㄴ")
    '한'

    Raises: TextError if a part is not a jamo of its place.
    """
    try:
        index = (_ONSET_INDEX[onset] * 21 + _NUCLEUS_INDEX[nucleus]) * 28 + _CODA_INDEX[coda]
    except KeyError as error:
        raise TextError(
            f"cannot compose {onset!r} + {nucleus!r} + {coda!r}: {error.args[0]!r} does not stand there. "
            f"Onsets: {ONSETS}; nuclei: {NUCLEI}; codas: {CODAS} or ''."
        ) from error
    return chr(_FIRST + index)


@lru_cache(maxsize=11172)
def decompose(syllable: str) -> tuple[str, str, str]:
    """Return the onset, nucleus and coda ('' when open) of one syllable.

    >>> decompose("값")
    ('ㄱ', 'ㅏ', 'ㅄ')

    Raises: TextError if the character is not a precomposed syllable.
    """
    if len(syllable) != 1 or not is_syllable(syllable):
        raise TextError(f"{describe(syllable)} is not a Hangul syllable; accepted: 가 (U+AC00) to 힣 (U+D7A3).")
    rest, coda = divmod(ord(syllable) - _FIRST, 28)
    onset, nucleus = divmod(rest, 21)
    return ONSETS[onset], NUCLEI[nucleus], CODAS[coda - 1] if coda else ""


def describe(text: str) -> str:
    """Return a character and its code point for a message: "'क' (U+0915)"."""
    return f"{text!r} ({' '.join(f'U+{ord(character):04X}' for character in text)})"


def to_nfc(text: str) -> str:
    """Return the text in Unicode normal form C: conjoining jamo become syllables."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def only_hangul(text: str) -> str:
    """Return a text's syllables and single spaces; everything else parts words, as it does for a recognizer.

    >>> only_hangul("자, 가요!")
    '자 가요'
    """
    return " ".join("".join(character if is_syllable(character) else " " for character in text).split())


def to_jamo(text: str) -> list[str]:
    """Return the written jamo of a text, the targets of recognition.

    An onset is 'ㄱ', a nucleus 'ㅏ', a coda '-ㄱ' (27 of them, a double coda is one symbol), a space ' '.
    The silent onset ㅇ is not emitted: a nucleus without an onset before it says the same in one symbol less.

    >>> to_jamo("값 아")
    ['ㄱ', 'ㅏ', '-ㅄ', ' ', 'ㅏ']

    Raises: TextError naming the first character that is neither a syllable nor a space, and its position.
    """
    symbols: list[str] = []
    for position, character in enumerate(to_nfc(text)):
        if character == " ":
            symbols.append(" ")
        elif is_syllable(character):
            onset, nucleus, coda = decompose(character)
            symbols += ([] if onset == SILENT else [onset]) + [nucleus] + ([f"-{coda}"] if coda else [])
        else:
            raise TextError(
                f"{text!r}: {describe(character)} at position {position} has no jamo; "
                "accepted: Hangul syllables and spaces. Normalize the text first."
            )
    return symbols


def from_jamo(symbols: Iterable[str]) -> str:
    """Return the text of written jamo; the inverse of `to_jamo`, total over every sequence of symbols.

    A recognizer may emit anything: an onset with no nucleus after it and a coda with no nucleus before it become bare
    compatibility jamo, so that nothing recognized is lost from the error rate; blanks ('_') are dropped.

    >>> from_jamo(["ㄱ", "ㅏ", "-ㅄ", " ", "ㅏ", "ㅋ", "-ㅅ"])
    '값 아ㅋㅅ'
    """
    written: list[str] = []
    onset = nucleus = ""

    def close(coda: str = "") -> None:
        nonlocal onset, nucleus
        written.append(compose(onset or SILENT, nucleus, coda) if nucleus else onset + coda)
        onset = nucleus = ""

    for symbol in symbols:
        if symbol == "_":
            continue
        if symbol in _CODA_SYMBOLS:
            close(_CODA_SYMBOLS[symbol])
        elif symbol in _NUCLEUS_INDEX:
            if nucleus:
                close()
            nucleus = symbol
        else:
            close()
            if symbol in _ONSET_INDEX:
                onset = symbol
            else:
                written.append(symbol)
    close()
    return "".join(written)
