"""Texts as they are read aloud, and which readings of a number are the same to a scorer.

Whether 24 was said 이십사 or 스물네 cannot be seen in the digits, so digits on either side stand for every reading of
theirs; numerals written out from 10 to 99 stand for the other one too (이십사 시간, 스물네 시간). A text is then a row
of stretches, some with alternatives. Of these the ones are taken that lead to the fewest edits, as NIST's sclite does
with alternations in a reference, and the two texts that come out are scored like any others.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

from malsori.text.hangul import is_syllable
from malsori.text.normalize import Normalized, Piece, normalize
from malsori.text.numbers import digit_by_digit, find_counter, native, sino
from malsori.text.tables import choice

_DIGITS = re.compile(r"\d+|\d{1,3}(?:,\d{3})+")
_MAX_VALUE = 99  # of native numerals
_MAX_CELLS = 100_000  # of the table of an exact search: two texts of 300 letters; longer ones are compared locally

#: A text as a row of stretches: each its default, then the alternatives to it.
Stretches = list[tuple[str, ...]]


def spoken_pairs(references: Sequence[str], hypotheses: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return both sides as they are read aloud, numbers in the readings that fit each other best.

    >>> spoken_pairs(["24시간 뒤 3시"], ["스물네 시간 뒤 세 시"])
    (['스물네 시간 뒤 세 시'], ['스물네 시간 뒤 세 시'])
    """
    pairs = [_spoken_pair(*pair) for pair in zip(references, hypotheses, strict=True)]
    return [reference for reference, _ in pairs], [hypothesis for _, hypothesis in pairs]


def digits_on_one_side(references: Sequence[str], hypotheses: Sequence[str]) -> list[int]:
    """Return which pairs have digits in one of the two texts only: what is right there would be counted wrong."""
    pairs = enumerate(zip(references, hypotheses, strict=True))
    return [
        number for number, (ours, theirs) in pairs if bool(re.search(r"\d", ours)) != bool(re.search(r"\d", theirs))
    ]


def stretches(text: str, normalized: Normalized | None = None) -> Stretches:
    """Return a text as it is read aloud, with the other readings of its numbers.

    Args:
        normalized: what the text becomes; what `normalize` makes of it when not given.

    >>> stretches("24시간")
    [('이십사', '스물네', '스물넷', '이사'), (' ',), ('시간',)]
    """
    normalized = normalized or normalize(text, keep_unreadable=True)
    found: Stretches = []
    for pieces in _written_as_one(normalized.pieces):
        spoken = "".join(piece.spoken for piece in pieces)
        written = normalized.written[pieces[-1].start : pieces[-1].end]
        if pieces[0].verbatim or not re.search(r"\d", written):
            found += _of_words(spoken)
        elif _DIGITS.fullmatch(written):
            found.append((spoken, *_other_readings(int(written.replace(",", "")), written, spoken)))
        elif set(spoken) <= set("공일이삼사오육칠팔구 "):
            found.append((spoken, spoken.replace("공", "영")))
        else:
            found += _of_expression(spoken)
    return found


def _spoken_pair(reference: str, hypothesis: str) -> tuple[str, str]:
    ours, theirs = stretches(reference), stretches(hypothesis)
    if all(len(part) == 1 for part in (*ours, *theirs)):
        return "".join(part[0] for part in ours), "".join(part[0] for part in theirs)
    said = nearest_reading(ours, "".join(part[0] for part in theirs))
    return said, nearest_reading(theirs, said)


def nearest_reading(text: Stretches, other: str) -> str:
    """Return the reading of a text with the fewest edits to another text; of equal ones the default. Spaces count not.

    Each stretch goes on from the costs where the one before ended, at every place of the other text: Levenshtein's
    table, with branches that part and meet.
    """
    target = "".join(other.split())
    if sum(len(part[0]) for part in text) * len(target) > _MAX_CELLS:
        return _nearest_locally(text, target)
    costs = list(range(len(target) + 1))
    taken: list[list[tuple[int, int]]] = []  # stretch → for each place: which alternative, from which place
    for part in text:
        ends = [_advance(costs, "".join(reading.split()), target) for reading in part]
        best = [min((row[place], one) for one, (row, _) in enumerate(ends)) for place in range(len(costs))]
        taken.append([(one, ends[one][1][place]) for place, (_, one) in enumerate(best)])
        costs = [cost for cost, _ in best]
    place, chosen = len(target), []
    for part, steps in zip(reversed(text), reversed(taken), strict=True):
        one, place = steps[place]
        chosen.append(part[one])
    return "".join(reversed(chosen))


def _advance(costs: list[int], reading: str, target: str) -> tuple[list[int], list[int]]:
    """Return the costs after a reading at each place of the target, and at which place each began."""
    row, origin = costs, list(range(len(costs)))
    for sign in reading:
        above, above_origin = row, origin
        row, origin = [above[0] + 1], [above_origin[0]]
        for place in range(1, len(above)):
            options = (
                (above[place - 1] + (sign != target[place - 1]), above_origin[place - 1]),
                (above[place] + 1, above_origin[place]),
                (row[-1] + 1, origin[-1]),
            )
            cost, began = min(options, key=_cost)
            row.append(cost)
            origin.append(began)
    return row, origin


def _cost(option: tuple[int, int]) -> int:
    return option[0]


def _nearest_locally(text: Stretches, target: str) -> str:
    """Return the same of long texts, each stretch compared with what its default is aligned with."""
    from rapidfuzz.distance import Levenshtein

    defaults = ["".join(part[0].split()) for part in text]
    places, at = [0] * (sum(map(len, defaults)) + 1), 0
    for step in Levenshtein.opcodes("".join(defaults), target):
        for at in range(step.src_start, step.src_end):
            places[at] = min(step.dest_end, step.dest_start + at - step.src_start)
    places[-1] = len(target)
    chosen, at = [], 0
    for part, default in zip(text, defaults, strict=True):
        heard = target[places[at] : places[at + len(default)]]
        distances = [(Levenshtein.distance("".join(reading.split()), heard), one) for one, reading in enumerate(part)]
        chosen.append(part[min(distances)[1]])
        at += len(default)
    return "".join(chosen)


def _written_as_one(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Yield the pieces by what they were written as; a space between two of one expression belongs to it."""
    group: list[Piece] = []
    spaces: list[Piece] = []
    for piece in pieces:
        if piece.spoken == " " and group:
            spaces.append(piece)
            continue
        one = group and not piece.verbatim and (piece.start, piece.end) == (group[-1].start, group[-1].end)
        if group and not one:
            yield group
            yield from ([space] for space in spaces)
            group = []
        group += [*(spaces if one else []), piece]
        spaces = []
    yield from ([group] if group else [])


def _of_words(spoken: str) -> Stretches:
    """Return the stretches of words that were written out: numerals of 10 to 99 before a counter, or alone."""
    return list(_parted(spoken, (match for match in _numeral(10).finditer(spoken) if _counts(spoken[match.end() :]))))


def _of_expression(spoken: str) -> Stretches:
    """Return the stretches of what was written with digits and more (14:30, 5kg): any numeral below 100 in it."""
    ends = (
        match for match in _numeral(1).finditer(spoken) if not is_syllable(spoken[match.end() : match.end() + 1] or " ")
    )
    return list(_parted(spoken, ends))


def _parted(spoken: str, numerals: Iterable[re.Match[str]]) -> Iterator[tuple[str, ...]]:
    position = 0
    for match in numerals:
        if position < match.start():
            yield (spoken[position : match.start()],)
        yield match[0], *(other for other in _readings(_values()[match[0]]) if other != match[0])
        position = match.end()
    if position < len(spoken):
        yield (spoken[position:],)


def _counts(after: str) -> bool:
    """Return whether what follows a numeral leaves it one: a counter, a particle, or the end of the eojeol."""
    return find_counter(after) is not None or re.match(rf"{choice('particles')}?(?![가-힣])", after) is not None


def _other_readings(value: int, written: str, spoken: str) -> list[str]:
    """Return the other readings of digits, spaced as the one that was chosen."""
    digits = written.replace(",", "")
    readings = _readings(value)
    if len(digits) > 1:
        readings += [digit_by_digit(digits, "영"), digit_by_digit(digits)]
    if sino(value).startswith("만"):
        readings.append(f"일{sino(value)}")
    tail = spoken[len(spoken.rstrip()) :]
    return [reading + tail for reading in dict.fromkeys(readings) if reading != spoken.strip()]


def _readings(value: int) -> list[str]:
    """Return how a number can be said before a counter or alone."""
    readings = [sino(value)]
    if 0 < value <= _MAX_VALUE:
        readings += [native(value), native(value, determiner=False)]
    return list(dict.fromkeys(readings))


@cache
def _values() -> dict[str, int]:
    return {reading: value for value in range(_MAX_VALUE, 0, -1) for reading in _readings(value)}


@cache
def _numeral(lowest: int) -> re.Pattern[str]:
    """Return what finds a numeral of this to 99 at the beginning of an eojeol, the longest."""
    readings = {reading for value in range(lowest, _MAX_VALUE + 1) for reading in _readings(value)}
    return re.compile(rf"(?<![가-힣])(?:{'|'.join(sorted(readings, key=lambda reading: (-len(reading), reading)))})")
