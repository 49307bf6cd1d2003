"""When each phoneme of a reading sounds: CTC spikes made into touching spans, pauses where the sound is silent.

CTC says in which frame it is surest of a phoneme, not how long it lasts. Between two phonemes of a word the blank
stretch is shared half and half; at a word boundary a silent run in it becomes a pause of its own; the opening and
closing silence belong to the sentence's first and last symbol.
"""

import itertools
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from malsori.alignment.ctc import align_ctc
from malsori.alignment.mismatch import posterior_ratio
from malsori.alignment.spans import Alignment, Span
from malsori.annotations import Float, Integer
from malsori.config import AudioConfig
from malsori.errors import AlignmentError
from malsori.text.frontend import Reading
from malsori.text.symbols import PAUSE, PHONEMES

#: A silent run this long at a word boundary is a pause; a shorter one may be a stop's closure.
WORD_PAUSE_SECONDS = 0.1
#: The same where punctuation leads one to expect a pause.
COMMA_PAUSE_SECONDS = 0.05
#: Silence lies below this share of the way from the quietest to the loudest frames (5th to 95th percentile of dB).
SILENCE_SHARE = 0.42


@dataclass(frozen=True)
class PhonemeTimes:
    """Touching spans, one for each of `reading.phonemes`.

    Attributes:
        ends: where each ends, in seconds (tokens,); the first begins at 0, each other where the one before ends.
        confidences: probability of each phoneme in its frames (tokens,); 1 for boundaries.
        ratio: `posterior_ratio` of the text's path (frames,): low where text and sound do not belong together.
        num_sounded: phonemes that sound.
    """

    ends: Float[np.ndarray, " tokens"]
    confidences: Float[np.ndarray, " tokens"]
    ratio: Float[np.ndarray, " frames"]
    num_sounded: int

    @property
    def score(self) -> float:
        """The ratio's sum for each phoneme that sounds, on average: 0 at best."""
        return float(self.ratio.sum(dtype=np.float64)) / self.num_sounded

    @property
    def starts(self) -> Float[np.ndarray, " tokens"]:
        """Where each begins, in seconds (tokens,)."""
        return np.concatenate([[0.0], self.ends[:-1]])


def time_phonemes(
    reading: Reading,
    log_probs: Float[np.ndarray, "frames vocab"],
    loudness: Float[np.ndarray, " frames"],
    frame_seconds: float,
    seconds: float,
) -> PhonemeTimes:
    """Return when each phoneme of a reading sounds.

    Args:
        log_probs: a recognizer's phoneme log-probabilities, blank 0 (frames, vocab).
        loudness: mean log-mel of each of these frames.
        frame_seconds: seconds from one frame to the next.
        seconds: length of the sound.
    Raises: AlignmentError if the sound is too short for the reading, or nothing in the reading sounds.
    """
    sounded = [index for index, word in enumerate(reading.phoneme_words) if word >= 0]
    if not sounded:
        raise AlignmentError(f"nothing to align in {reading.written!r}: there is no letter or number in it")
    token_ids = PHONEMES.encode(reading.phonemes[index] for index in sounded)
    path = align_ctc(log_probs, token_ids)
    silent = _silent(loudness)
    starts, ends = path.starts.astype(float), path.ends.astype(float)
    token_ends = np.zeros(len(reading.phonemes))
    for place, index in enumerate(sounded[:-1]):
        begin, end = int(path.ends[place]), int(path.starts[place + 1])
        between = reading.phonemes[index + 1 : sounded[place + 1]]
        pause = _pause(silent[begin:end], between, frame_seconds)
        if pause is None:
            token_ends[index : sounded[place + 1]] = (ends[place] + starts[place + 1]) / 2
        else:
            token_ends[index] = begin + pause[0]
            token_ends[index + 1 : sounded[place + 1]] = begin + pause[1]
    first, last = sounded[0], sounded[-1]
    loud = np.flatnonzero(~silent)
    token_ends[:first] = min(starts[0], loud[0] if len(loud) else starts[0])
    token_ends[last] = max(ends[-1], loud[-1] + 1 if len(loud) else ends[-1])
    token_ends = np.minimum(token_ends * frame_seconds, seconds)
    token_ends[last + 1 :] = seconds
    confidences = np.ones(len(reading.phonemes))
    confidences[sounded] = np.exp(path.token_log_probs)
    return PhonemeTimes(token_ends, confidences, posterior_ratio(log_probs, token_ids, path), len(sounded))


def frames_of(
    token_ends: Float[np.ndarray, " tokens"], reading: Reading, audio: AudioConfig, frames: int
) -> Integer[np.ndarray, " tokens"]:
    """Return how many mel frames each phoneme lasts; they sum to `frames`, and a sounded one lasts at least one.

    Boundaries are rounded where they stand, not the durations, so that no error adds up; then those that would leave
    a sounded phoneme without a frame are pushed apart.

    Raises: AlignmentError if there are fewer frames than sounded phonemes.
    """
    min_frames = np.array([1 if word >= 0 else 0 for word in reading.phoneme_words])
    ends = np.round(token_ends / audio.frame_seconds).astype(int)
    ends[-1] = frames
    floor = np.cumsum(min_frames)
    ceiling = frames - (floor[-1] - floor)
    if floor[-1] > frames:
        raise AlignmentError(f"{frames} frames cannot hold {floor[-1]} phonemes: the text is longer than the sound")
    # push right past earlier phonemes: a running maximum of (end - phonemes so far), then keep room for later ones
    ends = np.minimum(np.maximum.accumulate(np.maximum(ends, floor) - floor) + floor, ceiling)
    return np.diff(ends, prepend=0).astype(np.int32)


def _silent(loudness: np.ndarray) -> np.ndarray:
    quiet, loud = np.percentile(loudness, [5, 95])
    return loudness < quiet + SILENCE_SHARE * (loud - quiet)


def _pause(silent: np.ndarray, between: tuple[str, ...], frame_seconds: float) -> tuple[int, int] | None:
    """Return the longest silent run at a boundary, if it is long enough to be a pause."""
    if not between or not silent.any():
        return None
    edges = np.flatnonzero(np.diff(np.concatenate([[0], silent.astype(int), [0]])))
    begins, ends = edges[::2], edges[1::2]
    longest = int(np.argmax(ends - begins))
    wanted = WORD_PAUSE_SECONDS if set(between) == {" "} else COMMA_PAUSE_SECONDS
    if PAUSE not in between and " " not in between:
        wanted = COMMA_PAUSE_SECONDS  # a sentence end inside the text
    if (ends[longest] - begins[longest]) * frame_seconds < wanted:
        return None
    return int(begins[longest]), int(ends[longest])


def alignment_of(reading: Reading, ends: Float[np.ndarray, " tokens"]) -> Alignment:
    """Return words, syllables and phones as spans, given where each phoneme of a reading ends, in seconds."""
    starts = np.concatenate([[0.0], ends[:-1]])

    def tier(owners: tuple[int, ...], texts: list[str]) -> tuple[Span, ...]:
        members: dict[int, list[int]] = {}
        for place, owner in enumerate(owners):
            if owner >= 0:
                members.setdefault(owner, []).append(place)
        return tuple(Span(texts[owner], float(starts[m[0]]), float(ends[m[-1]])) for owner, m in members.items())

    sounded = tuple(place if word >= 0 else -1 for place, word in enumerate(reading.phoneme_words))
    owners, written = _written_words(reading)
    return Alignment(
        tier(tuple(owners[word] if word >= 0 else -1 for word in reading.phoneme_words), written),
        tier(reading.phoneme_syllables, list(reading.syllables)),
        tier(sounded, list(reading.phonemes)),
        float(ends[-1]),
    )


def word_spans(reading: Reading, phones: Iterable[Span]) -> tuple[Span, ...]:
    """Return the eojeols of a reading, given its phonemes; a span of several holds them with spaces between."""
    owners, texts = _written_words(reading)
    sounded = [word for word in reading.phoneme_words if word >= 0]
    members: dict[int, list[Span]] = {}
    place = 0
    for span in phones:
        members.setdefault(owners[sounded[place]], []).append(span)
        place += len(span.text.split(" "))
    return tuple(Span(texts[owner], held[0].start, held[-1].end) for owner, held in members.items())


def _written_words(reading: Reading) -> tuple[list[int], list[str]]:
    """Return which written eojeol each spoken word belongs to, and the eojeols with all their marks.

    An eojeol is what stands between spaces: 육십사 점 오 is 64.5, 이천 년 is 2000년, and "좋아요!"라고 is one. What has
    spaces in it and is read as one (3 · 1절) is one. A mark that stands alone, as a dash does, belongs to the eojeol
    before it; where it opens a bracket or begins a line, to the one after it.
    """
    eojeols = [(match.start(), match.end()) for match in re.finditer(r"\S+", reading.written)]
    starts = [start for start, _ in eojeols]
    owners: list[int] = []
    spans: list[tuple[int, int]] = []  # first and last eojeol of each
    for word in reading.words:
        first, last = bisect_right(starts, word.start) - 1, bisect_right(starts, max(word.start, word.end - 1)) - 1
        if spans and first <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(spans[-1][1], last)
        else:
            spans.append((first, last))
        owners.append(len(spans) - 1)
    texts = [reading.written[start:end] for start, end in eojeols]
    edges = [0, *(_border(reading.written, eojeols, a, b) for (_, a), (b, _) in itertools.pairwise(spans)), len(texts)]
    return owners, [" ".join(texts[a:b]) for a, b in itertools.pairwise(edges)]


def _border(written: str, eojeols: list[tuple[int, int]], before: int, after: int) -> int:
    """Return which eojeol begins the next word: the marks between two that sound go to one or the other."""
    for place in range(before + 1, after):
        start, end = eojeols[place]
        opens = all(unicodedata.category(sign) in ("Ps", "Pi") for sign in written[start:end])
        if opens or "\n" in written[eojeols[place - 1][1] : start]:
            return place
    return after
