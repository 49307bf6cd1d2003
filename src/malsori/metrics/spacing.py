"""Spaces in transcripts: how well they are placed, and what is left of the word error rate without their faults.

Much of the word error rate of Korean is spacing, where usage itself varies ("할 수 있다", "할수있다"). Characters
without spaces are aligned first; between two aligned characters that follow each other lies one gap of each text.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

import numpy as np

from malsori.metrics.error_rate import AS_WRITTEN, TextNormalizer, paired


def match_spacing(reference: str, hypothesis: str) -> str:
    """Return the hypothesis with the reference's spacing wherever its characters answer the reference's.

    In a gap where the reference has a space there is one: the hypothesis's own (characters that were added may be
    words of their own), or, lacking that, one before the next answering character. In any other gap inside the
    reference there is none.

    >>> match_spacing("아버지가 방에 들어가신다", "아버지 가방에 들어 가신다")
    '아버지가 방에 들어가신다'
    >>> match_spacing("나는 간다", "나는 막 간다")
    '나는 막 간다'
    """
    ours, theirs = _Spaced(reference), _Spaced(hypothesis)
    spaces = set(theirs.spaces)
    for start, end, wanted in _gaps(ours, theirs):
        inside = _between(theirs.spaces, start, end)
        if start > 0 and end < len(theirs.letters) and not wanted:
            spaces.difference_update(inside)
        elif end > 0 and wanted and not inside:
            spaces.add(end)
    return "".join((" " if place in spaces else "") + letter for place, letter in enumerate(theirs.letters))


def spacing_f1(
    reference: str | Sequence[str], hypothesis: str | Sequence[str], normalizer: TextNormalizer = AS_WRITTEN
) -> float:
    """Return the F1 of spaces: of those in either text, how many stand in the same gap of both; 1 if there are none.

    >>> spacing_f1("아버지가 방에 들어가신다", "아버지 가방에 들어가신다")
    0.5
    """
    references, hypotheses = paired(reference, hypothesis)
    counts = [
        count_spaces(*pair) for pair in zip(normalizer.apply(references), normalizer.apply(hypotheses), strict=True)
    ]
    right, ours, theirs = np.sum(counts, axis=0) if counts else (0, 0, 0)
    return float(2 * right / (ours + theirs)) if ours + theirs else 1.0


def count_spaces(reference: str, hypothesis: str) -> tuple[int, int, int]:
    """Return the spaces that stand in the same gap of both texts, those of the reference, those of the hypothesis."""
    ours, theirs = _Spaced(reference), _Spaced(hypothesis)
    right = sum(min(wanted, len(_between(theirs.spaces, start, end))) for start, end, wanted in _gaps(ours, theirs))
    return right, len(ours.spaces), len(theirs.spaces)


class _Spaced:
    """A text's characters without spaces, and before which of them a space stands."""

    def __init__(self, text: str) -> None:
        words = text.split()
        self.letters = "".join(words)
        self.spaces: list[int] = np.cumsum([len(word) for word in words[:-1]], dtype=int).tolist()


def _gaps(ours: _Spaced, theirs: _Spaced) -> Iterator[tuple[int, int, int]]:
    """Yield each gap as first and last place in the hypothesis where a space could stand, and the reference's spaces.

    A place is the index of the character after it.
    """
    reference_place, place = 0, 0
    for wanted_at, found_at in [*_answers(ours.letters, theirs.letters), (len(ours.letters), len(theirs.letters))]:
        yield place, found_at, len(_between(ours.spaces, reference_place, wanted_at))
        reference_place, place = wanted_at + 1, found_at + 1


def _between(places: list[int], first: int, last: int) -> list[int]:
    """Return those of the sorted places that lie from first to last."""
    return places[bisect_left(places, first) : bisect_right(places, last)]


def _answers(reference: str, hypothesis: str) -> Iterator[tuple[int, int]]:
    """Yield the pairs of characters that an alignment lays onto each other, right or wrong."""
    from rapidfuzz.distance import Levenshtein

    for edit in Levenshtein.opcodes(reference, hypothesis):
        if edit.tag in ("equal", "replace"):
            ends = zip(range(edit.src_start, edit.src_end), range(edit.dest_start, edit.dest_end), strict=True)
            yield from ends
