"""Written Korean as it is read aloud: digits, Latin letters, Hanja and signs become Hangul words.

The text is cut from left to right into pieces; each piece keeps the span it was written in, so that the times of
speech map back to the page. What is already Hangul passes unchanged, which makes the whole idempotent.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import accumulate

from malsori.errors import TextError
from malsori.text.cleaning import clean
from malsori.text.expressions import read_expression
from malsori.text.hangul import NUCLEI, SILENT, compose, describe, is_syllable
from malsori.text.hanja import hanja_runs, read_hanja
from malsori.text.numbers import sino
from malsori.text.pronounce import SPLIT
from malsori.text.tables import mapping
from malsori.text.units import units

#: Signs that part what they stand between, and signs that are not spoken at all.
_BREAKS = {
    ";": ",",
    ":": ",",
    "、": ",",
    "，": ",",
    "。": ".",
    "‥": "…",
    "—": ",",
    "–": ",",
    "―": ",",
    "−": " ",
    "․": " ",
}
_SILENT = frozenset(
    "\"'`´“”‘’‚„«»「」『』〈〉《》‹›()[]{}【】〔〕〖〗<>*_|\\^~∼〜～-/·ㆍ‧・∙•●○◎■□◆◇▲△▼▽▶▷◀◁→←↑↓↔⇒⇔※†‡§¶©®™№"
)
_SILENT |= frozenset(
    "ªº¨¸¯¬¦¡¿♠♣♤♧◈▣▤▥▦▧▨▩▪▫◦◾◽◼◻█▌▐░▒▓─━│┃┌┐└┘├┤┬┴┼═║╔╗╚╝￣＿ˇ˘˝˛˙ˆ˜〃〄〒〓⊙∴∵∠⊥⌒∂∇≡≒∽∝∫∬∈∋⊆⊇⊂⊃∪∩∧∨￢∀∃ㅤ"
)
_PLAIN = re.compile(r"(?:[가-힣\s,?!…]|\.(?![A-Za-z]))++")  # a dot before a letter may belong to the name of a file
_TIDY = re.compile(r"[가-힣]+(?:,? [가-힣]+)*[.,?!…]?")
_READING = re.compile("[(（]([가-힣]+)[)）]")
_WORD = re.compile(r"(?:[-−+]|\((?=\d+\))|[A-Z]{0,2}[$€£¥₩])?([0-9가-힣]{1,20})")
#: A hyphen that stands for 'from ... to', between two numbers with the same counter: 7시-9시.
_SPAN = re.compile(r"[-–]\s?\d+\s?([시일월년분층급차회세명개도호번])")
_JAMO = re.compile("[ㄱ-ㅎ]+|[ㅏ-ㅣ]+")
_RUN = re.compile(r"[가-힣]+|\s+|[.,?!…]+|[^가-힣\s.,?!…]+")
_WEIGHT = {mark: weight for weight, mark in enumerate(",.…!?")}


@dataclass(frozen=True)
class Piece:
    """A stretch of the normalized text and the span of the written text that it stands for."""

    spoken: str
    start: int
    end: int
    verbatim: bool


@dataclass(frozen=True)
class Unreadable:
    """A sign that has no Korean reading, and where it stands in the written text."""

    sign: str
    position: int

    def __str__(self) -> str:
        """Return the sign with its code point and its name in Unicode, for a message."""
        unnamed = "a byte that is not UTF-8" if "\udc80" <= self.sign <= "\udcff" else "without a name"
        return f"{describe(self.sign)} {unicodedata.name(self.sign, unnamed)}"


@dataclass(frozen=True)
class Normalized:
    """Spoken text and where each part of it was written; a sign without a reading stands in it as it was written."""

    written: str
    text: str
    pieces: tuple[Piece, ...]

    @cached_property
    def unreadable(self) -> tuple[Unreadable, ...]:
        """The signs that have no reading, in order."""
        kept = (piece for piece in self.pieces if not is_syllable(piece.spoken[0]) and piece.spoken[0] not in " ,.?!…")
        return tuple(
            Unreadable(sign, piece.start + offset) for piece in kept for offset, sign in enumerate(piece.spoken)
        )

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *accumulate(len(piece.spoken) for piece in self.pieces[:-1])]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the offsets in `written` that the characters start..end of `text` stand for."""
        starts = self._starts
        first, last = bisect_right(starts, start) - 1, bisect_right(starts, end - 1) - 1
        head, tail = self.pieces[first], self.pieces[last]
        return (
            head.start + (start - starts[first] if head.verbatim else 0),
            tail.start + (end - starts[last]) if tail.verbatim else tail.end,
        )


def normalize(text: str, keep_unreadable: bool = False) -> Normalized:
    """Return a text as it is read aloud: Hangul syllables, single spaces and the marks , . ? ! … only.

    >>> normalize("3개에 10,000원!").text
    '세 개에 만 원!'

    Args:
        keep_unreadable: leave a sign that has no reading as it is, and list it, instead of refusing the text.
    Raises: TextError naming a character that has no reading, its code point and position.
    """
    written = clean(text)
    if _TIDY.fullmatch(written):
        return Normalized(written, written, (Piece(written, 0, len(written), True),))
    normalized = _tidy(written, _cut(written))
    if normalized.unreadable and not keep_unreadable:
        first = normalized.unreadable[0]
        around = written[max(0, first.position - 20) : first.position + 20]
        raise TextError(
            f"{first} at position {first.position}, in {around!r}, has no Korean reading; accepted: Hangul, digits, "
            "Latin letters, common Hanja, signs and emoji. Write it in Hangul."
        )
    return normalized


def _cut(written: str) -> Iterator[Piece]:
    """Yield the pieces of a text in order."""
    position = 0
    while position < len(written):
        plain = _PLAIN.match(written, position)
        if plain:
            yield Piece(plain[0], position, plain.end(), True)
            position = plain.end()
            continue
        spoken, end = _read(written, position)
        yield Piece(spoken, position, end, spoken == written[position:end])
        position = end


def _read(written: str, position: int) -> tuple[str, int]:
    """Return the reading of what stands at a position, and where it ends."""
    expression = read_expression(written, position)
    if expression:
        return expression
    jamo = _JAMO.match(written, position)
    if jamo:
        return _read_jamo(jamo[0]), jamo.end()
    return _read_run_of_hanja(written, position) or _read_sign(written, position)


def _read_run_of_hanja(written: str, position: int) -> tuple[str, int] | None:
    """Return the reading of Hanja; nothing for a gloss of the word before it, what a gloss in Hangul gives, if any."""
    gloss = hanja_runs(in_parentheses=True).match(written, position)
    if gloss and written[max(0, position - len(gloss[1])) : position] in (
        read_hanja(gloss[1]),
        read_hanja(gloss[1], before="가"),
    ):
        return "", gloss.end()
    run = hanja_runs().match(written, position)
    if not run:
        return None
    reading = _READING.match(written, run.end())
    if reading and len(reading[1]) == len(run[0]):
        return reading[1], reading.end()
    return read_hanja(run[0], written[max(0, position - 1) : position], written[run.end() : run.end() + 8]), run.end()


def _read_sign(written: str, position: int) -> tuple[str, int]:
    """Return the reading of a single sign or emoji; the sign itself if it has none."""
    sign = written[position]
    emoji = mapping("emoji.tsv")
    for length in (2, 1):
        name = emoji.get(written[position : position + length])
        if name:
            return f" {name} ", position + length
    span = _SPAN.match(written, position)
    if (sign in "~∼〜～" and _joins(written, position)) or (span and written[position - 1 : position] == span[1]):
        return "에서 ", position + 1
    if sign in _BREAKS or sign in _signs():
        return _BREAKS.get(sign) or _signs()[sign], position + 1
    if sign in units():
        return f" {units()[sign].name}", position + 1
    if sign in _SILENT:
        return "" if sign in "\"'`´“”‘’)]}」』〉》>~" else " ", position + 1
    plain = unicodedata.normalize("NFKC", sign)
    if plain.isdigit() and plain.isascii():
        return f" {sino(int(plain))} ", position + 1
    if plain != sign and all(_PLAIN.match(part) or part in _SILENT for part in plain):
        return f" {''.join(part for part in plain if part not in _SILENT)} ", position + 1
    roman = "ⅠⅡⅢⅣⅤⅥⅦⅧⅨⅩⅪⅫ".find(sign) + 1 or "ⅰⅱⅲⅳⅴⅵⅶⅷⅸⅹⅺⅻ".find(sign) + 1
    if roman:
        return sino(roman), position + 1
    return sign, position + 1


def _joins(written: str, position: int) -> bool:
    """Return whether a tilde stands for 'from ... to': between words, or before a number, without spaces."""
    before = (written[max(0, position - 20) : position].split(" ") or [""])[-1]
    before = before[:-1] if before.endswith("요일)") or re.search(r"\((?:[월화수목금토일]|\d+)\)$", before) else before
    after = _WORD.match(written, position + 1)
    if re.search("(?<![A-Za-z])[A-Z]$", before) and re.match("[A-Z](?![A-Za-z])", written[position + 1 : position + 3]):
        return True
    if not before.strip() or not after:
        return False
    if {before, after[1]} <= set("월화수목금토일"):
        return True
    word = before[-1]
    if after[1][0].isdigit() or (word.isdigit() and re.match("영[하상]|오[전후]|최[대고]", after[1])):
        return True
    return len(before) > 1 and len(after[1]) > 1 and (is_syllable(word) or word.isdigit())


def _read_jamo(jamo: str) -> str:
    """Return bare jamo as they are said: ㅋㅋ is laughter, ㅇㅋ a word, ㅠ a vowel, ㄱㄴㄷ the names of letters."""
    if len(jamo) > 1 and jamo in _signs():
        return _signs()[jamo]
    if jamo[0] in NUCLEI:
        return "".join(compose(SILENT, vowel) for vowel in jamo[:3])
    if len(jamo) > 1 and set(jamo) <= set("ㅋㅎ"):
        return " " + "".join(compose(consonant, "ㅡ") for consonant in jamo[:3])
    letters = "".join("".join(SPLIT.get(letter, letter)) for letter in jamo)
    return "".join(_signs()[letter] for letter in letters)


@cache
def _signs() -> dict[str, str]:
    """Return how signs and bare jamo are said."""
    return {sign: spoken.replace("_", " ") for sign, spoken in mapping("signs.tsv").items()}


def _tidy(written: str, pieces: Iterator[Piece]) -> Normalized:
    """Return the pieces joined: single spaces, one mark where several stand, none at the beginning."""
    kept: list[Piece] = []
    space = False
    for piece in pieces:
        for run in _RUN.finditer(piece.spoken):
            start, end = (
                (piece.start + run.start(), piece.start + run.end()) if piece.verbatim else (piece.start, piece.end)
            )
            if run[0].isspace():
                space = True
            elif run[0][0] in _WEIGHT:
                _add_mark(kept, _strongest(run[0]), start, end)
                space = True
            else:
                if space and kept:
                    kept.append(Piece(" ", start, start, False))
                kept.append(Piece(run[0], start, end, piece.verbatim))
                space = False
    return Normalized(written, "".join(piece.spoken for piece in kept), tuple(kept))


def _strongest(marks: str) -> str:
    """Return the one mark that several stand for: '?!' is '?', '..' is '…'."""
    strongest = max(marks, key=_WEIGHT.__getitem__)
    return "…" if strongest == "." and ".." in marks else strongest


def _add_mark(kept: list[Piece], mark: str, start: int, end: int) -> None:
    """Add a mark after a word, or let it outweigh the mark that stands there."""
    if not kept:
        return
    if kept[-1].spoken in _WEIGHT:
        mark = max(mark, kept.pop().spoken, key=_WEIGHT.__getitem__)
    kept.append(Piece(mark, start, end, False))
