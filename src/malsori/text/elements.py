"""Last elements of nouns, and what they bring: -법, -증, 길, 바닥 tense, -약 and -율 insert ㄴ, -론 keeps ㄴㄴ.

The table `elements.tsv` says of each element how much must stand before it and which words stay lax. The lexicon,
which knows single words, has the last say.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from malsori.text.hangul import decompose
from malsori.text.morphology import Marks, Token
from malsori.text.pronounce import INSERT, NASAL, TENSE
from malsori.text.tables import table, words

_NOUNS = frozenset(("NNG", "NNP", "NR", "NNB", "XR", "XSN", "XPN"))
_LAST = frozenset(("NNG", "NNP", "XSN"))
#: Elements that may end what is taken for a proper noun, as words that the analyzer does not know are; those of the
#: second row may end names of three syllables too (정우성, 김경권), others end most of all names (김남길).
_OF_PROPER_NOUNS = frozenset("법증병염약역조론령율료죄과욕육용값")
_OF_TERMS = frozenset("성권")
_NAME = re.compile(
    "[김이박최정강조윤장임오한신서권황안송류전홍고문손양배백허유남심노하곽차주우구민진지엄채원천방공현함변석선설마길연위표명기반왕금옥인맹제모탁국어은편용도소][가-힣]{2}"
)
#: Requests in -(으)세요: no tax (세) is called so, though the analyzer might take one for a noun that it does not know.
REQUESTS = ("하세요", "보세요", "으세요")
_CONDITION = re.compile(r"(?P<before>\d)(?P<codas>[ㄱ-ㅎ]*)(?P<alone>=?)")
_MARKS = {article: mark for mark, article in TENSE.items()} | {"29": INSERT, "20": NASAL}


@dataclass(frozen=True)
class Element:
    """Where an element changes, and how.

    Attributes:
        before: how many syllables must stand before it.
        codas: those that the last of them may have, '' for any.
        alone: whether only as a morpheme of its own.
        mark: what its junction gets.
        exceptions: ends of words that do not follow.
        only: what must stand before it; (): anything.
    """

    before: int
    codas: str
    alone: bool
    mark: str
    exceptions: tuple[str, ...]
    only: tuple[str, ...]


@cache
def elements() -> dict[str, tuple[Element, ...]]:
    """Return the table of elements by their form."""
    found: dict[str, tuple[Element, ...]] = {}
    for form, condition, article, exceptions, only in table("elements.tsv", 5):
        match = _CONDITION.fullmatch(condition)
        if match is None:
            raise AssertionError(f"elements.tsv: {form} {condition!r}")
        row = Element(
            int(match["before"]),
            match["codas"],
            bool(match["alone"]),
            _MARKS[article],
            tuple(exceptions.split()),
            tuple(only.split()),
        )
        found[form] = (*found.get(form, ()), row)
    return found


@cache
def _lengths() -> tuple[int, ...]:
    return tuple(sorted({len(form) for form in elements()}, reverse=True))


def mark_elements(marks: Marks, tokens: Sequence[Token]) -> None:
    """Mark the junctions before the last elements of nouns, each noun with the nouns written to its left."""
    start, end = 0, -1
    for token in tokens:
        if token.tag not in _NOUNS:
            continue
        if token.start != end:
            start = token.start
        end = token.end
        if token.tag in _LAST and end - start > 1:
            _mark_last(marks, start, token)


def _mark_last(marks: Marks, start: int, token: Token) -> None:
    """Mark the junction before the last element of a noun that begins at `start`."""
    word = marks.text[start : token.end]
    if marks.text[token.end - 2 : token.end + 1] in REQUESTS:
        return
    for length in _lengths():
        for element in elements().get(word[-length:], ()) if length < len(word) else ():
            offset = token.end - length
            if token.tag == "NNP" and length == 1 and not _may_end_proper_noun(word):
                continue
            if offset < token.start or (element.alone and offset > token.start):
                continue
            before = marks.text[start if offset == token.start else token.start : offset]
            if not _excepted(element, word, offset == token.start) and _applies(element, before, word):
                marks.put(offset - 1, element.mark)
                return


def _may_end_proper_noun(word: str) -> bool:
    """Return whether the last syllable of a proper noun may be an element."""
    return word[-1] in _OF_PROPER_NOUNS or (word[-1] in _OF_TERMS and not _NAME.fullmatch(word))


def _excepted(element: Element, word: str, alone: bool) -> bool:
    """Return whether a word is an exception; if the element is a morpheme of its own, 구성 is none to 영구 + 성."""
    return any(
        word.endswith(end) for end in element.exceptions if not alone or len(end) > len(word) - 1 or len(end) > 2
    )


def _applies(element: Element, before: str, word: str) -> bool:
    """Return whether an element changes after what stands before it in a word."""
    if len(before) < element.before:
        return False
    if element.only and not before.endswith(element.only):
        return False
    if element.mark == NASAL and word[-2:] in words("lateral") and not (len(word) == 3 and word[-1] in "료량록"):
        return False
    return not element.codas or decompose(before[-1])[2] in tuple(element.codas)
