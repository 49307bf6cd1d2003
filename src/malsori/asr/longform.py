"""A sound of any length as pieces that a network can take, cut where it is quiet, in bounded memory."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from malsori.asr.encode import MIN_SECONDS
from malsori.audio.mel import log_mel
from malsori.config import AudioConfig

_QUIET_SECONDS = 0.3  # how long a quiet place must be judged over


@dataclass(frozen=True)
class SoundPiece:
    """A part of a sound: where it begins in the whole, in seconds, and its wave."""

    start: float
    wave: Float[np.ndarray, " samples"]


class QuietCutter:
    """Cuts a sound that comes in parts of any length at its quietest places; however it comes, at the same ones.

    Each cut lies in the second half of the longest piece there may be, where the mean of the log-mel over 0.3 s is
    lowest. Never more is held than one such piece, the part that has come last, and what judging its end takes.

    Args:
        audio: settings of the wave, and of the mel whose level is judged.
        max_seconds: no piece lasts longer.
    """

    def __init__(self, audio: AudioConfig, max_seconds: float) -> None:
        self.audio, self.seconds = audio, 0.0
        self._longest = int(max_seconds * audio.sample_rate)
        self._width = round(_QUIET_SECONDS / audio.frame_seconds)
        # Frames whose level depends on samples that are not there yet, or were cut off: reflected ones, and one begun.
        margin = -(-audio.margin_samples // audio.hop_samples) + 1
        self._context = (self._width + margin) * audio.hop_samples

    def pieces(self, parts: Iterable[Float[np.ndarray, " _"]]) -> Iterator[SoundPiece]:
        """Yield the pieces; `seconds` is how much of the sound has come by then, and at last all of it.

        What is left behind the last cut is dropped if it lasts less than 0.1 s.
        """
        rate, begin, pending = self.audio.sample_rate, 0, np.zeros(0, dtype=np.float32)
        for part in parts:
            pending = np.concatenate([pending, part]) if len(pending) else part
            self.seconds = (begin + len(pending)) / rate
            while len(pending) > self._longest + self._context:
                cut = self._cut(pending[: self._longest + self._context])
                yield SoundPiece(begin / rate, pending[:cut])
                begin, pending = begin + cut, pending[cut:]
        while len(pending) > self._longest:
            cut = self._cut(pending)
            yield SoundPiece(begin / rate, pending[:cut])
            begin, pending = begin + cut, pending[cut:]
        if not begin or len(pending) >= MIN_SECONDS * rate:
            yield SoundPiece(begin / rate, pending)

    def _cut(self, wave: np.ndarray) -> int:
        """Return at which sample of a wave, longer than a piece may be, the piece that begins it ends."""
        hop = self.audio.hop_samples
        first, last = self._longest // 2 // hop, self._longest // hop
        skipped = max(0, first - self._context // hop)
        judged = torch.from_numpy(np.ascontiguousarray(wave[skipped * hop :]))[None]
        level = log_mel(judged, self.audio)[0].mean(1).numpy()
        smooth = np.convolve(level, np.ones(self._width) / self._width, mode="same")
        return (first + int(np.argmin(smooth[first - skipped : last - skipped]))) * hop
