"""Sentences to record: few of many, chosen so that a voice learns every sound of Korean beside every other.

What a voice has to learn is how phonemes meet. So the sentences are chosen one after the other, each time the one that
brings the most pairs of neighbors, common ones first, to a phoneme that has to be spoken; a pair that was there already
counts half as much each time. This is the greedy cover of a submodular gain, which reaches at least 63 % of the best.
"""

import heapq
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pydantic import Field

from malsori.config import Config
from malsori.errors import TextError
from malsori.text.frontend import Frontend
from malsori.text.symbols import PAUSE, SENTENCE_ENDS, SPACE, START

_SYLLABLE = re.compile("[가-힣]")
_SPOKEN = re.compile("[가-힣 ]+")
_UNSOUNDED = {START, PAUSE, *SENTENCE_ENDS}
_Pairs = Counter[tuple[str, str]]


class PromptOptions(Config):
    """How many sentences are chosen, and how long they are.

    count: sentences.
    min_syllables, max_syllables: of a sentence; one that fits a breath is read well.
    """

    count: int = Field(default=200, ge=1)
    min_syllables: int = Field(default=8, ge=1)
    max_syllables: int = Field(default=40, ge=1)


@dataclass(frozen=True)
class Prompts:
    """The sentences chosen, and what they hold of all that was read.

    Attributes:
        texts: as they are to be read, in the order in which they were chosen: the first hundred are the best hundred.
        candidates: sentences to choose from.
        left_out: reason → lines.
        phonemes, pairs: different ones in the sentences chosen, and in all.
        spoken_share: share of the pairs as they are spoken, each as often as it occurs, that the sentences hold.
    """

    texts: tuple[str, ...]
    candidates: int
    left_out: dict[str, int]
    phonemes: tuple[int, int]
    pairs: tuple[int, int]
    spoken_share: float

    def lines(self) -> Iterator[str]:
        """Yield the summary as text."""
        yield f"{len(self.texts)} of {self.candidates} sentences"
        yield (
            f"they hold {self.phonemes[0]} of {self.phonemes[1]} phonemes and {self.pairs[0]} of {self.pairs[1]} pairs "
            f"of neighbors, {100 * self.spoken_share:.1f} % of those spoken"
        )
        if self.left_out:
            yield "left out: " + ", ".join(f"{count} {reason}" for reason, count in self.left_out.items())


def choose_prompts(lines: Iterable[str], options: PromptOptions, frontend: Frontend | None = None) -> Prompts:
    """Return the sentences to record of a text, a sentence a line.

    Lines with digits, Latin letters or signs are left out: two people read them differently.
    Raises: TextError if no line can be taken.
    """
    texts, held, left_out = _candidates(lines, options, frontend or Frontend())
    if not texts:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise TextError(f"no line can be recorded: {reasons or 'there is none'}; give Korean sentences, one a line")
    spoken = _total(held)
    chosen = _greedy(held, {pair: math.log1p(count) for pair, count in spoken.items()}, options.count)
    found = _total([held[place] for place in chosen])
    return Prompts(
        texts=tuple(texts[place] for place in chosen),
        candidates=len(texts),
        left_out=dict(left_out),
        phonemes=(len(_phonemes(found)), len(_phonemes(spoken))),
        pairs=(len(found), len(spoken)),
        spoken_share=sum(spoken[pair] for pair in found) / max(1, spoken.total()),
    )


def _candidates(
    lines: Iterable[str], options: PromptOptions, frontend: Frontend
) -> tuple[list[str], list[_Pairs], Counter[str]]:
    """Return the lines that can be recorded, the pairs in each, and why how many others cannot."""
    found: dict[str, tuple[str, _Pairs]] = {}
    left_out: Counter[str] = Counter()
    for line in lines:
        text = unicodedata.normalize("NFC", " ".join(line.split()))
        if not text:
            continue
        if reason := _reason_against(text, options):
            left_out[reason] += 1
            continue
        key = "".join(_SYLLABLE.findall(text))
        if key in found:
            left_out["that stand there already"] += 1
            continue
        phonemes = [phoneme for phoneme in frontend.read(text).phonemes if phoneme != SPACE]
        found[key] = text, Counter(pairwise(phonemes))
    return [text for text, _ in found.values()], [pairs for _, pairs in found.values()], left_out


def _reason_against(text: str, options: PromptOptions) -> str:
    """Return why a line is no sentence to record; "" if it is one."""
    if not _SPOKEN.fullmatch(re.sub(r"[.,?!~…·'\"“”‘’]", "", text)):
        return "with digits, letters or signs"
    syllables = len(_SYLLABLE.findall(text))
    if syllables < options.min_syllables:
        return f"under {options.min_syllables} syllables"
    return f"over {options.max_syllables} syllables" if syllables > options.max_syllables else ""


def _greedy(held: Sequence[_Pairs], worth: dict[tuple[str, str], float], count: int) -> list[int]:
    """Return the places of the sentences that gain most, one after the other.

    A gain can only fall, so the one at the top of the heap is worked out anew until it stays there.
    """
    times: _Pairs = Counter()

    def gain(place: int) -> float:
        return sum(worth[pair] / 2 ** times[pair] for pair in held[place]) / held[place].total()

    heap = [(-gain(place), place) for place in range(len(held))]
    heapq.heapify(heap)
    chosen: list[int] = []
    while heap and len(chosen) < count:
        _, place = heapq.heappop(heap)
        now = -gain(place)
        if heap and (now, place) > heap[0]:
            heapq.heappush(heap, (now, place))
            continue
        chosen.append(place)
        times.update(held[place].keys())
    return chosen


def _total(held: Iterable[_Pairs]) -> _Pairs:
    total: _Pairs = Counter()
    for pairs in held:
        total.update(pairs)
    return total


def _phonemes(pairs: _Pairs) -> set[str]:
    return {phoneme for pair in pairs for phoneme in pair if phoneme not in _UNSOUNDED}
