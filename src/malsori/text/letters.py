"""What a recognizer by CTC writes: jamo of ours, a corpus's syllables, or the letters of a public checkpoint.

A public alphabet holds syllables (각), jamo that say their place (ᄀ ᅡ ᆨ) or jamo that do not (ㄱ ㅏ ㄱ); all of them are
read back to the same text, in normal form C. Marks such as <unk> or [PAD] are no letters.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from malsori.text.hangul import CODAS, NUCLEI, decompose, from_jamo, is_syllable, to_jamo, to_nfc
from malsori.text.symbols import BLANK, JAMO, SPACE, SymbolTable

#: The kind of every table but our own jamo.
LETTERS = "letters"
_UNKNOWN = ("<unk>", "[UNK]", "<UNK>")
_NUCLEI, _CODAS = frozenset(NUCLEI), frozenset(CODAS)


def syllable_table(texts: Iterable[str]) -> SymbolTable:
    """Return the table of all characters of some texts, the most frequent first, behind blank, space and <unk>.

    >>> syllable_table(["가 나", "나"]).symbols
    ('_', ' ', '<unk>', '나', '가')
    """
    counts = Counter(character for text in texts for character in text if character != SPACE)
    by_count = sorted(counts, key=lambda character: (-counts[character], character))
    return SymbolTable(LETTERS, "corpus", (BLANK, SPACE, _UNKNOWN[0], *by_count))


def encode_letters(table: SymbolTable, text: str) -> list[int]:
    """Return the ids that spell a text in a table's letters; a character that has none is the table's <unk>.

    Raises: TextError naming the first character that cannot be spelled, where a table has no <unk>.
    """
    if table.kind == JAMO.kind:
        return table.encode(to_jamo(text))
    known = frozenset(table.symbols)
    unknown = next(([mark] for mark in _UNKNOWN if mark in known), None)
    symbols: list[str] = []
    for character in to_nfc(text):
        spellings = ([character], list(unicodedata.normalize("NFD", character)), _bare_jamo(character))
        fitting = (spelling for spelling in spellings if known.issuperset(spelling))
        symbols += next(fitting, unknown or [character])
    return table.encode(symbols)


def decode_letters(table: SymbolTable, ids: Sequence[int]) -> str:
    """Return the text that ids spell, with single spaces.

    >>> decode_letters(SymbolTable("letters", "1", ("[PAD]", " ", "ㅇ", "ㅏ", "ㄴ", "ㅕ")), [2, 3, 4, 4, 5, 2, 1, 2, 3])
    '안녕 아'
    """
    symbols = [symbol for symbol in table.decode(ids) if not (len(symbol) > 1 and symbol[0] in "<[")]
    placed = symbols if table.kind == JAMO.kind else list(_placed(symbols))
    return " ".join(to_nfc(from_jamo(placed)).split())


def decode_words(table: SymbolTable, ids: Sequence[int]) -> Iterator[tuple[str, list[int]]]:
    """Yield the words that ids spell, each with the places of its letters among the ids; marks alone are no word.

    >>> list(decode_words(SymbolTable("letters", "1", ("[PAD]", " ", "ㅇ", "ㅏ")), [2, 3, 1, 0, 1, 2, 3]))
    [('아', [0, 1]), ('아', [5, 6])]
    """
    members: list[int] = []
    for place, symbol in enumerate([*table.decode(ids), SPACE]):
        if symbol != SPACE:
            members.append(place)
            continue
        if text := decode_letters(table, [ids[member] for member in members]):
            yield text, members
        members = []


def _placed(symbols: list[str]) -> Iterator[str]:
    """Yield symbols with a bare consonant as a coda where no vowel follows the one before it and itself."""
    for before, symbol, after in zip(["", *symbols], symbols, [*symbols[1:], ""], strict=False):
        coda = symbol in _CODAS and before in _NUCLEI and after not in _NUCLEI
        yield f"-{symbol}" if coda else symbol


def _bare_jamo(character: str) -> list[str]:
    return [jamo for jamo in decompose(character) if jamo] if is_syllable(character) else [character]
