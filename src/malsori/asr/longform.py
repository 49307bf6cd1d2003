"""A sound of any length as windows that a network can take, packed with speech, in bounded memory.

sound    ....나무 하늘........................바다 .............산........
spans       [나무 하늘]                      [바다]           [산]
window   [나무 하늘|바다|산]       with a little of the silence around each; every place knows where it was
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from malsori.annotations import Bool, Float
from malsori.asr.encode import checked_seconds
from malsori.asr.vad import (
    FRAME_SECONDS,
    MIN_PAUSE_SECONDS,
    THRESHOLD,
    SpanTracker,
    SpeechDetector,
    SpeechSpan,
    frame_levels,
)
from malsori.decode.transcript import Segment, TranscriptWord

#: Seconds of silence that stay at each end of a span; never more than lie there, so no sound is in two windows.
_PADDING_SECONDS = MIN_PAUSE_SECONDS / 2


@dataclass(frozen=True)
class WindowPiece:
    """A part of a window that lies in one place of the sound; all in seconds.

    Attributes:
        start, end: in the window.
        offset: what must be added to a time in the window for the time in the sound.
        speech_start, speech_end: in the window, where somebody speaks.
    """

    start: float
    end: float
    offset: float
    speech_start: float
    speech_end: float

    @property
    def heard(self) -> tuple[float, float]:
        """Return from when to when somebody speaks, or may: a frame at each end of speech is spared."""
        first, last = self.speech_start - FRAME_SECONDS, self.speech_end + FRAME_SECONDS
        return max(first, self.start), min(last, self.end)

    def nearest(self, time: float) -> float:
        """Return a time of the window as one of this piece: what lies in another is moved to where speech ends."""
        if self.start <= time <= self.end:
            return time
        first, last = self.heard
        return first if time < self.start else last


@dataclass(frozen=True)
class SpeechWindow:
    """What a network takes at once: a wave, and where in the sound each piece of it lies."""

    wave: Float[np.ndarray, " samples"]
    pieces: tuple[WindowPiece, ...]

    @property
    def end(self) -> float:
        """Where in the sound the window ends, seconds."""
        return self.pieces[-1].end + self.pieces[-1].offset

    def is_speech(self, times: Float[np.ndarray, " times"]) -> Bool[np.ndarray, " times"]:
        """Return at which times of the window somebody speaks, or may."""
        found = np.zeros(len(times), dtype=bool)
        for first, last in (piece.heard for piece in self.pieces):
            found |= (times >= first) & (times < last)
        return found

    def segments(self, words: Iterable[TranscriptWord]) -> Iterator[Segment]:
        """Yield a segment for each piece in which words lie, their times moved from the window to the sound.

        A word belongs to the piece in whose speech the most of it lies, and begins and ends there; the order of the
        words stays.
        """
        members: list[list[TranscriptWord]] = [[] for _ in self.pieces]
        place = 0
        for word in words:
            shares = [_overlap(word, piece) for piece in self.pieces[place:]]
            place += shares.index(max(shares))
            piece = self.pieces[place]
            start, end = (piece.nearest(time) + piece.offset for time in (word.start, word.end))
            members[place].append(replace(word, start=start, end=end))
        for piece, found in zip(self.pieces, members, strict=True):
            if found:
                start = min(piece.speech_start + piece.offset, found[0].start)
                end = max(piece.speech_end + piece.offset, found[-1].end)
                yield Segment(start, end, " ".join(word.text for word in found), tuple(found))


def _overlap(word: TranscriptWord, piece: WindowPiece) -> float:
    """Return for how long a word lies in a piece's speech; less than 0 is how far from it."""
    return min(word.end, piece.speech_end) - max(word.start, piece.speech_start)


class SpeechWindows:
    """Packs the speech of a sound into windows; however the sound comes, into the same ones.

    A span of speech that lasts longer than a window is cut in its second half, where 0.3 s of it are quietest. Never
    more is held than two windows and the part that has come last.

    Args:
        sample_rate: of the sound.
        max_seconds: no window lasts longer.
        threshold: a probability from which on somebody speaks; None takes all of the sound for speech.
        packs: put into one window what pauses part, as much as there is room for; otherwise each span has its own.
    """

    def __init__(self, sample_rate: int, max_seconds: float, threshold: float | None, packs: bool = True) -> None:
        self.packs = packs
        self.rate, self.longest = sample_rate, int(max_seconds * sample_rate)
        #: How much of the sound has come.
        self.seconds = 0.0
        self._frame = FRAME_SECONDS * sample_rate
        self._detector = None if threshold is None else SpeechDetector(sample_rate)
        self._padding = 0 if threshold is None else round(_PADDING_SECONDS * sample_rate)
        max_frames = int((self.longest - 2 * self._padding) / self._frame)
        self._tracker = SpanTracker(THRESHOLD if threshold is None else threshold, max_frames)
        self._held, self._begin = np.zeros(0, dtype=np.float32), 0  # what a span may need yet, and where it begins
        self._filled: list[tuple[np.ndarray, WindowPiece]] = []  # of the window that is being filled

    def windows(self, parts: Iterable[Float[np.ndarray, " _"]]) -> Iterator[SpeechWindow]:
        """Yield the windows; `seconds` is how much of the sound has come by then, and at last all of it.

        Raises: AudioError if the sound is shorter than 0.1 s.
        """
        for part in parts:
            yield from self._fill(self._track(part))
            self._let_go()
        if not self._begin:
            checked_seconds(self._held, self.rate)
        yield from self._fill(self._track(np.zeros(0, dtype=np.float32), last=True))
        yield from self._fill(self._tracker.finish())
        yield from self._flush()

    def _track(self, part: np.ndarray, last: bool = False) -> Iterator[SpeechSpan]:
        """Yield the spans that end in a part, or by then."""
        self._held = np.concatenate([self._held, part]) if len(self._held) else part
        self.seconds = (self._begin + len(self._held)) / self.rate
        before = self._tracker.frames
        if self._detector:
            probabilities = self._detector.push(part, last)
        else:
            frames = (self._begin + len(self._held)) / self._frame
            probabilities = np.ones((math.ceil(frames) if last else int(frames)) - before, dtype=np.float32)
        behind = self._held[round(before * self._frame) - self._begin :]
        yield from self._tracker.push(
            probabilities.tolist(), frame_levels(behind, len(probabilities), self._frame).tolist()
        )

    def _fill(self, spans: Iterable[SpeechSpan]) -> Iterator[SpeechWindow]:
        """Put spans into the window, and yield each that is full."""
        for span in spans:
            first, last = self._edges(span)
            at = sum(len(wave) for wave, _ in self._filled)
            if at and not (self.packs and at + last - first <= self.longest):
                yield from self._flush()
                at = 0
            wave = self._held[first - self._begin : last - self._begin].copy()
            speech = (min(round(frame * self._frame), last) - first + at for frame in (span.start, span.end))
            places = (at, at + len(wave), first - at, *speech)
            self._filled.append((wave, WindowPiece(*(place / self.rate for place in places))))
            if span.cut:  # half a window at least goes on here, for which there is no room
                yield from self._flush()

    def _flush(self) -> Iterator[SpeechWindow]:
        """Yield the window as it is."""
        filled, self._filled = self._filled, []
        if filled:
            waves, pieces = zip(*filled, strict=True)
            yield SpeechWindow(np.concatenate(waves), pieces)

    def _edges(self, span: SpeechSpan) -> tuple[int, int]:
        """Return the first sample of a span with its padding, and one past its last; where it was cut none is added."""
        first, last = round(span.start * self._frame), round(span.end * self._frame)
        first -= 0 if span.joined else self._padding
        last += 0 if span.cut else self._padding
        return max(0, first), min(self._begin + len(self._held), last)

    def _let_go(self) -> None:
        """Drop what no span to come reaches back to."""
        kept = max(self._begin, round(self._tracker.open_frame * self._frame) - self._padding)
        self._held, self._begin = self._held[kept - self._begin :].copy(), kept
