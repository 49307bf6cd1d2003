"""Where somebody speaks in a sound (voice activity detection), in bounded memory, however the sound comes.

    parts ─► frames of 32 ms ─► network ─► probability of speech ─► hysteresis ─► spans of speech

A span begins where the probability reaches the threshold, and ends where it has stayed below a lower one for a pause.
"""

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from malsori.errors import ModelError
from malsori.models.silero_vad import FRAME_SAMPLES, SAMPLE_RATE, SileroVad

#: Seconds of a frame, the grain of every span.
FRAME_SECONDS = FRAME_SAMPLES / SAMPLE_RATE
#: A probability from which on somebody speaks, where nothing else is said; the authors' own.
THRESHOLD = 0.5
#: Less than this is no pause between two spans, seconds.
MIN_PAUSE_SECONDS = 0.6

_RELEASE = 0.15  # below the threshold: what began goes on until there (the authors' own)
_MIN_SPEECH_FRAMES = 4  # together, 0.13 s: "네" has 7 or more, a drum or a step 3
_LEVEL_FRAMES = 9  # 0.3 s: how long a quiet place must be judged over


@dataclass(frozen=True)
class SpeechSpan:
    """Frames from `start` up to `end` in which somebody speaks.

    Attributes:
        joined: it goes on where the span before ended: one that was too long was cut there.
        cut: it goes on in the next.
    """

    start: int
    end: int
    joined: bool = False
    cut: bool = False


class SpeechDetector:
    """The probability of speech in each frame of a sound that comes part by part.

    Args:
        sample_rate: of the parts; the network hears 16 kHz.
        network: the built-in one when not given.
    """

    def __init__(self, sample_rate: int, network: SileroVad | None = None) -> None:
        self._network = network or built_in()
        self._state, self._pending = self._network.start(), np.zeros(0, dtype=np.float32)
        self._resampler: Any = None
        if sample_rate != SAMPLE_RATE:
            import soxr

            self._resampler = soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")

    def push(self, part: Float[np.ndarray, " samples"], last: bool = False) -> Float[np.ndarray, " frames"]:
        """Return the probabilities of the frames that are whole by now; of the begun one too, where it is the last."""
        if self._resampler:
            part = self._resampler.resample_chunk(part, last=last)
        pending = np.concatenate([self._pending, part]) if len(self._pending) else part
        whole = len(pending) // FRAME_SAMPLES * FRAME_SAMPLES
        if last and whole < len(pending):
            pending = np.pad(pending, (0, whole + FRAME_SAMPLES - len(pending)))
            whole += FRAME_SAMPLES
        self._pending = pending[whole:]
        if not whole:
            return np.zeros(0, dtype=np.float32)
        probabilities, self._state = self._network.infer(pending[:whole], self._state)
        return probabilities


@dataclass
class SpanTracker:
    """Probabilities in, frame after frame; spans of speech out, each as soon as it is sure where it ends.

    Attributes:
        threshold: a probability from which on somebody speaks.
        max_frames: a longer span is cut in its second half, where 0.3 s of it are quietest.
        pause_frames: as many frames without speech end a span.
    """

    threshold: float = THRESHOLD
    max_frames: int = 1 << 62
    pause_frames: int = -int(-MIN_PAUSE_SECONDS // FRAME_SECONDS)
    #: Frames that have come.
    frames: int = 0
    _start: int = -1  # of the open span; -1: none is open
    _end: int = 0  # one past its last frame of speech
    _run: int = 0  # frames of speech without a gap, up to the last
    _longest: int = 0  # of such runs in the span
    _joined: bool = False
    _levels: list[float] = field(default_factory=list)  # of the open span

    @property
    def open_frame(self) -> int:
        """The first frame that a span to come may begin with."""
        return self._start if self._start >= 0 else self.frames

    @property
    def is_speech(self) -> bool:
        """Whether a span is open that is no knock: it will be yielded."""
        return self._start >= 0 and self._longest >= _MIN_SPEECH_FRAMES

    def push(self, probabilities: Iterable[float], levels: Iterable[float]) -> Iterator[SpeechSpan]:
        """Yield the spans that end with these frames.

        Args:
            levels: how loud each frame is; which unit does not matter.
        """
        for probability, level in zip(probabilities, levels, strict=True):
            self.frames += 1
            speaks = probability >= self.threshold - (_RELEASE if self._run else 0.0)
            self._run = self._run + 1 if speaks else 0
            if speaks and self._start < 0:
                self._start, self._levels = self.frames - 1, []
            if self._start < 0:
                continue
            self._levels.append(level)
            if speaks:
                self._end, self._longest = self.frames, max(self._longest, self._run)
            if self.frames - self._end >= self.pause_frames:
                yield from self.finish()
            elif self._end - self._start > self.max_frames:
                yield self._cut()

    def finish(self) -> Iterator[SpeechSpan]:
        """Yield the span that is open, if one is: the sound ends, or a pause has come."""
        if self.is_speech:
            yield SpeechSpan(self._start, self._end, self._joined)
        self._start, self._run, self._longest, self._joined, self._levels = -1, 0, 0, False, []

    def _cut(self) -> SpeechSpan:
        """Return the first part of the open span, which is too long; the rest stays open."""
        padded = np.pad(np.array(self._levels), _LEVEL_FRAMES // 2, mode="edge")
        smooth = np.convolve(padded, np.ones(_LEVEL_FRAMES) / _LEVEL_FRAMES, mode="valid")
        first = self.max_frames // 2
        place = first + int(np.argmin(smooth[first : self.max_frames - _LEVEL_FRAMES]))  # no crumb is left behind it
        span = SpeechSpan(self._start, self._start + place, self._joined, cut=True)
        self._start, self._levels, self._joined = span.end, self._levels[place:], True
        return span


def frame_levels(
    wave: Float[np.ndarray, " samples"], frames: int, frame_samples: float
) -> Float[np.ndarray, " frames"]:
    """Return how loud each of so many frames of a wave is, in dB; a frame may be no whole number of samples.

    They are rounded to 0.01 dB, so that where it is quietest does not depend on how the sound came.
    """
    edges = np.minimum(np.round(np.arange(frames + 1) * frame_samples).astype(int), len(wave))
    power = np.concatenate([[0.0], np.cumsum(np.square(wave, dtype=np.float64))])[edges]
    return np.round(10 * np.log10(np.maximum(np.diff(power), 0) / frame_samples + 1e-10), 2)


@functools.cache
def built_in() -> SileroVad:
    """Return the network that comes with malsori. Raises: ModelError if its weights are missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = Path(str(resources.files("malsori") / "assets" / "silero-vad" / "vad.safetensors"))
    try:
        return SileroVad(load_file(path))
    except (OSError, SafetensorError, LookupError, ValueError) as error:
        raise ModelError(
            f"{path}: no weights of silero-vad, or damaged ones; install malsori again ({error})"
        ) from error
