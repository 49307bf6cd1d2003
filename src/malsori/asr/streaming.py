"""Recognition while somebody still speaks: samples in as they come, partial and final results out.

    samples ─► voice activity ─► open utterance ─► decoded anew each chunk ─► words that two decodings agree on: stable
                                      └─ a pause ─► decoded once more, with the caller's own options ─► final

Whatever network decodes, it hears the utterance from its first sample, so a partial result is as good as a recording
that breaks off there. What two decodings in a row begin with is stable and stays (local agreement); what the later one
has beyond may yet change.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from malsori.annotations import Float
from malsori.asr.encode import MIN_SECONDS
from malsori.asr.longform import SpeechWindow, WindowPiece
from malsori.asr.options import AUTO, DecodingOptions
from malsori.asr.vad import FRAME_SECONDS, THRESHOLD, SpanTracker, SpeechDetector, SpeechSpan, frame_levels
from malsori.config import Config, explain
from malsori.decode.transcript import TranscriptWord
from malsori.errors import OptionError

if TYPE_CHECKING:
    from malsori.asr.recognizer import SegmentDecoder

_PADDING_SECONDS = 0.3  # of what lies before an utterance that is heard with it: an onset is soft
#: Options that a partial result does without.
_SEARCH = (
    "beam",
    "best_of",
    "temperatures",
    "language_weight",
    "token_bonus",
    "hotword_bonus",
)
_MARKS = ".,?!…·~\"'"
_MOVED = 3  # words by which a later decoding may have split or joined what is stable


class StreamOptions(Config):
    """When results come.

    chunk_seconds: as much new sound brings the next partial result; less is sooner, and computes more.
    pause_seconds: of silence that end an utterance.
    """

    chunk_seconds: float = Field(1.0, ge=0.1, le=10)
    pause_seconds: float = Field(0.6, ge=0.2, le=5)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise OptionError(explain(type(self), error)) from error


@dataclass(frozen=True)
class StreamEvent:
    """A result.

    Attributes:
        kind: "partial" while the utterance lasts, "final" once; the next event is of the next utterance.
        text: of the whole utterance so far. A final text may be empty: what was partial proved to be no speech.
        stable: what the text begins with and no later partial result of this utterance takes back; of a final one all.
        start, end: of the utterance so far, in seconds since the stream began.
        words: with their times in the stream.
    """

    kind: Literal["partial", "final"]
    text: str
    stable: str
    start: float
    end: float
    words: tuple[TranscriptWord, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return {"type", "text", "stable", "start", "end", "words"}."""
        words = [word.as_json() for word in self.words]
        times = {"start": round(self.start, 4), "end": round(self.end, 4)}
        return {"type": self.kind, "text": self.text, "stable": self.stable, **times, "words": words}


class LocalAgreement:
    """Words of an utterance that is decoded again and again: those that two decodings in a row agree on are stable.

    Source: Liu, Spanakis and Niehues 2020 (arXiv:2005.11185), LocalAgreement with n = 2.
    """

    def __init__(self) -> None:
        self.stable: tuple[TranscriptWord, ...] = ()
        self._before: tuple[TranscriptWord, ...] = ()

    def push(self, words: Sequence[TranscriptWord]) -> tuple[TranscriptWord, ...]:
        """Return the words of the utterance: the stable ones, more by now, and what a decoding has behind them."""
        behind = tuple(words[self._covered(words) :])
        agreed = 0
        for word, before in zip(behind, self._before, strict=False):
            if _bare(word.text) != _bare(before.text):
                break
            agreed += 1
        self.stable += behind[:agreed]
        self._before = behind[agreed:]
        return self.stable + self._before

    def _covered(self, words: Sequence[TranscriptWord]) -> int:
        """Return how many words of a decoding stand for the stable ones; it may have split or joined some."""
        from rapidfuzz.distance import Levenshtein

        count, said = len(self.stable), _spelled(self.stable)
        places = range(max(0, count - _MOVED), min(len(words), count + _MOVED) + 1)
        return min(
            places,
            key=lambda place: (Levenshtein.distance(said, _spelled(words[:place])), abs(place - count)),
            default=len(words),
        )


class LiveSession:
    """One stream of sound: `push` what has come, `finish` when no more does. For one thread at a time.

    Args:
        decoder: of the recognizer, which any number of sessions share.
        sample_rate, model_rate: of the samples that are pushed, and that the decoder takes.
        options: of the final results; a partial one is decoded by the quickest search.
        stream: when results come.
    Raises: OptionError for options that a stream cannot serve.
    """

    def __init__(
        self,
        decoder: "SegmentDecoder",
        sample_rate: int,
        model_rate: int,
        options: DecodingOptions,
        stream: StreamOptions | None = None,
    ) -> None:
        if options.vad is False:
            raise OptionError("vad False: a stream is cut into utterances by voice activity, and cannot do without")
        if options.condition_on_previous_text:
            raise OptionError("condition_on_previous_text: an utterance of a stream is decoded by itself")
        stream = stream or StreamOptions()
        self.decoder, self.rate, self.options = decoder, model_rate, options
        self._draft = _draft_options(decoder, options)
        self._resampler: Any = None
        if sample_rate != model_rate:
            import soxr

            self._resampler = soxr.ResampleStream(sample_rate, model_rate, 1, dtype="float32", quality="HQ")
        self._detector, self._frame = SpeechDetector(model_rate), FRAME_SECONDS * model_rate
        longest = int((decoder.max_seconds - 2 * _PADDING_SECONDS) / FRAME_SECONDS)
        pause = max(1, round(stream.pause_seconds / FRAME_SECONDS))
        padding = min(_PADDING_SECONDS, pause * FRAME_SECONDS)  # no speech of the utterance beside it
        self._padding, self._chunk = (round(seconds * model_rate) for seconds in (padding, stream.chunk_seconds))
        self._tracker = SpanTracker(options.vad_threshold or THRESHOLD, longest, pause)
        self._held, self._begin = np.zeros(0, dtype=np.float32), 0  # what is still needed, and where it begins
        self._agreement, self._shown, self._heard = LocalAgreement(), False, 0
        self._language = ""  # that was detected in the first utterance, where it is asked

    @property
    def seconds(self) -> float:
        """How much of the stream has come."""
        return (self._begin + len(self._held)) / self.rate

    def push(self, samples: Float[np.ndarray, " samples"]) -> list[StreamEvent]:
        """Return the results that these samples bring, none or more; at most one of them is partial."""
        wave = np.asarray(samples, dtype=np.float32)
        return list(self._push(self._resampler.resample_chunk(wave) if self._resampler else wave))

    def finish(self) -> list[StreamEvent]:
        """Return the last results: whatever is open ends here."""
        rest = np.zeros(0, dtype=np.float32)
        if self._resampler:
            rest = self._resampler.resample_chunk(rest, last=True)
        spans = [*self._track(rest, last=True), *self._tracker.finish()]
        return [event for span in spans for event in self._final(span)]

    def _push(self, wave: np.ndarray) -> Iterator[StreamEvent]:
        for span in self._track(wave):
            yield from self._final(span)
        yield from self._partial()
        kept = max(self._begin, round(self._tracker.open_frame * self._frame) - self._padding)
        self._held, self._begin = self._held[kept - self._begin :].copy(), kept

    def _track(self, wave: np.ndarray, last: bool = False) -> Iterator[SpeechSpan]:
        """Yield the spans of speech that end in new sound."""
        self._held = np.concatenate([self._held, wave])
        behind = self._held[round(self._tracker.frames * self._frame) - self._begin :]
        probabilities = self._detector.push(wave, last)
        levels = frame_levels(behind, len(probabilities), self._frame)
        yield from self._tracker.push(probabilities.tolist(), levels.tolist())

    def _partial(self) -> Iterator[StreamEvent]:
        """Yield what is heard of the open utterance, if it will be final and enough of it is new."""
        first, last = self._tracker.open_frame * self._frame, self._begin + len(self._held)
        if not self._tracker.is_speech or last - max(first, self._heard) < self._chunk:
            return
        self._heard = last
        start = max(self._begin, round(first) - self._padding)
        words = self._agreement.push(self._words(start, last, self._draft))
        if words or self._shown:
            self._shown = True
            yield _event("partial", words, self._agreement.stable, start / self.rate, last / self.rate)

    def _final(self, span: SpeechSpan) -> Iterator[StreamEvent]:
        """Yield what is heard of a whole utterance, if anything was, or something was shown of it before."""
        first, last = round(span.start * self._frame), round(span.end * self._frame)
        first = max(self._begin, first - (0 if span.joined else self._padding))
        last = min(self._begin + len(self._held), last + (0 if span.cut else self._padding))
        words = self._words(first, last, self.options)
        if words or self._shown:
            yield _event("final", words, words, first / self.rate, last / self.rate)
        self._agreement, self._shown, self._heard = LocalAgreement(), False, last

    def _words(self, first: int, last: int, options: DecodingOptions) -> tuple[TranscriptWord, ...]:
        wave = self._held[first - self._begin : last - self._begin]
        if len(wave) < MIN_SECONDS * self.rate:
            return ()
        seconds = len(wave) / self.rate
        window = SpeechWindow(wave, (WindowPiece(0.0, seconds, first / self.rate, 0.0, seconds),))
        if options.language == AUTO:
            self._language = self._language or self.decoder.detect_language(window)
            options = options.model_copy(update={"language": self._language})
        found = self.decoder.decode(window, options)
        return tuple(word for segment in window.segments(found) for word in segment.words)


def _event(
    kind: Literal["partial", "final"],
    words: tuple[TranscriptWord, ...],
    stable: tuple[TranscriptWord, ...],
    start: float,
    end: float,
) -> StreamEvent:
    text, kept = (" ".join(word.text for word in part) for part in (words, stable))
    return StreamEvent(kind, text, kept, start, end, words)


def _draft_options(decoder: "SegmentDecoder", options: DecodingOptions) -> DecodingOptions:
    """Return the options with the quickest search in place of the one that was asked for."""
    dropped = _SEARCH if "temperatures" in decoder.supported_options else (*_SEARCH, "hotwords")  # CTC's beam's
    given = {name: value for name, value in options.given().items() if name not in dropped}
    quickest = {"beam": 1, "temperatures": (0.0,)}
    return DecodingOptions(
        **given, **{name: value for name, value in quickest.items() if name in decoder.supported_options}
    )


def _bare(text: str) -> str:
    """Return a word without the marks around it, which come and go as a sentence goes on."""
    return text.strip(_MARKS)


def _spelled(words: Sequence[TranscriptWord]) -> str:
    return "".join(_bare(word.text) for word in words)
