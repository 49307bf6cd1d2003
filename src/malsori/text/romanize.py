"""Text as a public voice reads it: in its own letters, Korean in Latin ones where it was taught so (MMS, by uroman)."""

from functools import cache
from typing import Any

from malsori.errors import TextError
from malsori.extras import import_extra
from malsori.text.hangul import describe
from malsori.text.symbols import SymbolTable


def spell(text: str, letters: SymbolTable, romanized: bool) -> str:
    """Return a text in a voice's letters: lower case where it knows no other, without punctuation unknown to it.

    Args:
        letters: the voice's alphabet.
        romanized: what is not in Latin letters is brought into them first.
    Raises: TextError naming a letter or digit that the voice does not know, or if nothing is left;
        MissingExtraError if the text must be romanized and uroman is not installed.

    >>> spell("Ab, c!", SymbolTable("letters", "1", ("_", "a", "b", "c", " ")), romanized=False)
    'ab c'
    """
    known = frozenset(letters.symbols)
    spelled = "".join(character if character in known else character.lower() for character in text)
    if romanized and not spelled.isascii():
        spelled = _romanizer().romanize_string(spelled)
    for position, character in enumerate(spelled):
        if character.isalnum() and character not in known:
            raise TextError(
                f"{spelled!r}: this voice does not know {describe(character)} at position {position}; "
                f"accepted: {' '.join(letters.symbols)}"
            )
    spelled = "".join(character for character in spelled if character in known).strip()
    if not spelled:
        raise TextError(f"{text!r}: this voice knows none of its characters; accepted: {' '.join(letters.symbols)}")
    return spelled


@cache
def _romanizer() -> Any:
    return import_extra("uroman", "A voice that reads romanized text").Uroman()
