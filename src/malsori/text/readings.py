"""Readings that are given, by rows of a user's lexicon or by marks in a text: put in place before the text is read.

    written    COEX에서 5kg        given  COEX → 코엑스, kg → 킬로그램
    text       코엑스에서 5킬로그램   ─► normalize ─► 코엑스에서 오 킬로그램, each word with its span in `written`

What is given so is read on as if it had been written: a number before it takes the counter's form, a particle after it
joins it.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from malsori.text.normalize import Normalized, Piece


@dataclass(frozen=True)
class GivenReading:
    """How a stretch of a text is read, whatever the rules would make of it.

    Attributes:
        start, end: offsets in the text; equal where something is put in that is not written, such as a pause.
        spoken: what is read there.
        fixed: `spoken` is the pronunciation itself: no rule works within it.
    """

    start: int
    end: int
    spoken: str
    fixed: bool = False


@dataclass(frozen=True)
class _Part:
    """A stretch of the rewritten text that begins at `begin`, and the span of the written one that it stands for."""

    begin: int
    start: int
    end: int
    given: GivenReading | None = None


@dataclass(frozen=True)
class Rewritten:
    """A text with its given readings in place, and the way back."""

    written: str
    text: str
    parts: tuple[_Part, ...]

    @cached_property
    def _begins(self) -> list[int]:
        return [part.begin for part in self.parts]

    def restore(self, normalized: Normalized) -> tuple[Normalized, list[tuple[int, int]]]:
        """Return what the rewritten text was normalized to, over what was written, and where that is fixed."""
        pieces: list[Piece] = []
        fixed: dict[_Part, tuple[int, int]] = {}
        length = 0
        for piece in normalized.pieces:
            for part, restored in self._restored(piece):
                pieces.append(restored)
                end = length + len(restored.spoken)
                if part.given and part.given.fixed:
                    fixed[part] = fixed.get(part, (length, end))[0], end
                length = end
        return replace(normalized, written=self.written, pieces=tuple(pieces)), list(fixed.values())

    def _restored(self, piece: Piece) -> Iterator[tuple[_Part, Piece]]:
        """Yield a piece over what was written; a verbatim one part by part."""
        first = self._at(piece.start)
        if not piece.verbatim:
            last = self._at(max(piece.start, piece.end - 1))
            start = first.start if first.given else first.start + piece.start - first.begin
            end = last.end if last.given else last.start + piece.end - last.begin
            yield first, Piece(piece.spoken, start, max(start, end), False)
            return
        position = piece.start
        while position < piece.end:
            part, number = self._at(position), bisect_right(self._begins, position)
            end = min(piece.end, self._begins[number] if number < len(self._begins) else piece.end)
            spoken = piece.spoken[position - piece.start : end - piece.start]
            if part.given:
                yield part, Piece(spoken, part.start, part.end, False)
            else:
                start = part.start + position - part.begin
                yield part, Piece(spoken, start, start + len(spoken), True)
            position = end

    def _at(self, offset: int) -> _Part:
        return self.parts[max(0, bisect_right(self._begins, offset) - 1)]


def rewrite(written: str, given: Iterable[GivenReading]) -> Rewritten:
    """Return a cleaned text with readings in place; of two that overlap the one that comes first in `given` stays.

    >>> rewrite("COEX에서", [GivenReading(0, 4, "코엑스")]).text
    '코엑스에서'
    """
    chosen: list[GivenReading] = []
    for one in given:
        place = bisect_left(chosen, (one.start, one.end), key=_span)
        free = place == 0 or chosen[place - 1].end <= one.start
        if free and (place == len(chosen) or one.end <= chosen[place].start):
            chosen.insert(place, one)
    texts, parts, length, position = [], [], 0, 0
    for one in [*chosen, GivenReading(len(written), len(written), "")]:
        if position < one.start:
            parts.append(_Part(length, position, one.start))
            texts.append(written[position : one.start])
            length += one.start - position
        parts.append(_Part(length, one.start, one.end, one))
        texts.append(one.spoken)
        length += len(one.spoken)
        position = one.end
    return Rewritten(written, "".join(texts), tuple(parts))


def _span(given: GivenReading) -> tuple[int, int]:
    return given.start, given.end
