"""From a wave to a recognizer's log-probabilities: the features it was trained on, then its network.

`CtcEncoder` is the role that decoding asks for; whatever runs the network (torch today) is known only where an encoder
is made, in `ctc_encoder` and `phoneme_encoder`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float

from malsori.audio.io import resample
from malsori.audio.mel import log_mel
from malsori.config import AudioConfig
from malsori.errors import AudioError, ModelError
from malsori.models.conformer import FRAME_STRIDE, STEP_STRIDE
from malsori.models.wav2vec2 import standardize_wave
from malsori.pretrained.folder import SavedModel

#: Less than this cannot hold a syllable.
MIN_SECONDS = 0.1
#: Longer sound is encoded in windows of this length, as long as those of training; this much at each end is only
#: context for what lies between.
WINDOW_SECONDS, CONTEXT_SECONDS = 18.0, 2.0


@dataclass(frozen=True)
class EncoderOutput:
    """Both outputs of a recognizer's network for one sound.

    Attributes:
        jamo, phonemes: log-probabilities (frames, vocab), blank 0.
        loudness: mean log-mel a frame (frames,).
        frame_seconds: seconds from one frame to the next.
        seconds: length of the sound.
    """

    jamo: Float[np.ndarray, "frames jamo"]
    phonemes: Float[np.ndarray, "frames phonemes"]
    loudness: Float[np.ndarray, " frames"]
    frame_seconds: float
    seconds: float


@dataclass(frozen=True)
class CtcPosteriors:
    """Log-probabilities of a network's letters in each frame.

    Attributes:
        log_probs: of the letters (frames, vocab).
        blank: the letter that stands for nothing.
        first_seconds: where the first frame begins; later than 0 where a frame stands in the middle of much sound.
        frame_seconds: seconds from one frame to the next.
        seconds: length of the sound.
    """

    log_probs: Float[np.ndarray, "frames vocab"]
    blank: int
    first_seconds: float
    frame_seconds: float
    seconds: float


@runtime_checkable
class CtcEncoder(Protocol):
    """Wave → log-probabilities of letters, with their frame rate.

    Attributes:
        sample_rate: of the waves that it takes.
        frame_seconds: seconds from one frame to the next.
    """

    sample_rate: int
    frame_seconds: float

    def posteriors(self, wave: Float[np.ndarray, " samples"]) -> CtcPosteriors:
        """Return the letters' log-probabilities. Raises: AudioError if the wave is shorter than 0.1 s."""


@runtime_checkable
class PhonemeEncoder(CtcEncoder, Protocol):
    """A CtcEncoder that says which phonemes sound too, of a wave of any length: what an alignment asks for."""

    def encode_stream(self, pieces: Iterable[Float[np.ndarray, " _"]], with_jamo: bool = True) -> EncoderOutput:
        """Return both outputs of a sound that comes piece by piece; however it is cut, alike."""


class ConformerEncoder:
    """A Conformer over log-mels. Raises: AudioError, from both methods, if the sound is too short."""

    def __init__(self, model: SavedModel) -> None:
        self.network, self.audio = model.network, model.facts.audio
        self.sample_rate: int = self.audio.sample_rate
        self.frame_seconds: float = FRAME_STRIDE * self.audio.frame_seconds

    def posteriors(self, wave: Float[np.ndarray, " samples"]) -> CtcPosteriors:
        """Return the log-probabilities of jamo."""
        found = self.encode_stream([wave])
        return CtcPosteriors(found.jamo, 0, 0.0, found.frame_seconds, found.seconds)

    def encode_stream(self, pieces: Iterable[Float[np.ndarray, " _"]], with_jamo: bool = True) -> EncoderOutput:
        """Return both outputs of a sound that comes piece by piece; however it is cut, alike.

        Without jamo, which an alignment does not ask for, an hour takes half the memory.
        """
        audio, samples, frames = self.audio, 0, 0
        stores = (
            bytearray(),
            bytearray(),
            bytearray(),
        )  # they grow where they stand; a list of pieces would be held twice
        for window, first, last in _windows(pieces, audio):
            checked_seconds(window, audio.sample_rate)
            begin, end = (place // audio.hop_samples // FRAME_STRIDE for place in (first, last))
            jamo, phonemes, loudness = self._window(window)
            kinds = jamo if with_jamo else jamo[:, :0], phonemes, loudness
            for store, kind in zip(stores, kinds, strict=True):
                store += kind[begin : end if last < len(window) else None].tobytes()
            samples, frames = samples + last - first, len(stores[2]) // loudness.itemsize
        jamo, phonemes, loudness = (
            np.ndarray((frames, *kind.shape[1:]), kind.dtype, store) for store, kind in zip(stores, kinds, strict=True)
        )
        return EncoderOutput(jamo, phonemes, loudness, self.frame_seconds, samples / audio.sample_rate)

    def _window(self, wave: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return jamo, phonemes and loudness in each of the network's frames."""
        mel = log_mel(torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))[None], self.audio)
        output = self.network.infer(mel, torch.tensor([mel.shape[1]]))
        frames, loudness = int(output.frame_lengths[0]), mel[0].mean(1).numpy()
        index = np.minimum(np.arange(frames) * FRAME_STRIDE, len(loudness) - 1)  # the last one may be padded
        return output.jamo[0, :frames].numpy(), output.phonemes[0, :frames].numpy(), loudness[index]


class Wav2Vec2Encoder:
    """A wav2vec 2.0 over the wave itself."""

    def __init__(self, model: SavedModel) -> None:
        self.network, self.config = model.network, model.network.config
        self.sample_rate: int = model.facts.audio.sample_rate
        self.frame_seconds: float = self.config.frame_samples / self.sample_rate

    def posteriors(self, wave: Float[np.ndarray, " samples"]) -> CtcPosteriors:
        """Return the log-probabilities of its letters. Raises: AudioError if the sound is too short."""
        seconds, config = checked_seconds(wave, self.sample_rate), self.config
        batch = torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))[None]
        if config.standardized:
            batch = standardize_wave(batch, torch.tensor([batch.shape[1]]))
        log_probs = self.network.infer(batch).logits[0].log_softmax(-1).numpy()
        first = (config.receptive_field_samples - config.frame_samples) / 2 / self.sample_rate
        return CtcPosteriors(log_probs, config.blank, first, self.frame_seconds, seconds)


_CTC_ENCODERS: dict[str, Callable[[SavedModel], CtcEncoder]] = {
    "conformer": ConformerEncoder,
    "wav2vec2": Wav2Vec2Encoder,
}
_PHONEME_ENCODERS: dict[str, Callable[[SavedModel], PhonemeEncoder]] = {"conformer": ConformerEncoder}


def ctc_encoder(model: SavedModel) -> CtcEncoder:
    """Return what encodes sounds for CTC decoding. Raises: ModelError if the model is none that CTC trains."""
    if model.facts.system not in _CTC_ENCODERS:
        raise ModelError(f"a {model.facts.system} has no CTC output; one of these has: {', '.join(_CTC_ENCODERS)}")
    return _CTC_ENCODERS[model.facts.system](model)


def phoneme_encoder(model: SavedModel) -> PhonemeEncoder:
    """Return what encodes sounds for an alignment. Raises: ModelError if the model has no phoneme output."""
    if model.facts.system not in _PHONEME_ENCODERS:
        having = ", ".join(_PHONEME_ENCODERS)
        raise ModelError(
            f"a {model.facts.system} has no phoneme output, which aligning needs; one of these has: {having}. The "
            "built-in recognizer is one ('malsori models' lists them)"
        )
    return _PHONEME_ENCODERS[model.facts.system](model)


def encode(model: SavedModel, wave: Float[np.ndarray, " samples"], sample_rate: int) -> EncoderOutput:
    """Return both outputs of a recognizer's network for a sound of any length.

    Args:
        wave: one channel (samples,).
        sample_rate: of the wave; it is resampled to the recognizer's.
    Raises: AudioError if it is too short; ModelError if the model has no phoneme output.
    """
    encoder = phoneme_encoder(model)
    return encoder.encode_stream([resample(wave, sample_rate, encoder.sample_rate)])


def checked_seconds(wave: Float[np.ndarray, " samples"], sample_rate: int) -> float:
    """Return how long a sound lasts. Raises: AudioError if it is too short to hold a syllable."""
    seconds = len(wave) / sample_rate
    if seconds < MIN_SECONDS:
        raise AudioError(f"{seconds:.3f} s of sound is too short to listen to; {MIN_SECONDS} s are needed")
    return seconds


def _windows(pieces: Iterable[np.ndarray], audio: AudioConfig) -> Iterator[tuple[np.ndarray, int, int]]:
    """Yield windows, each with the samples from which and up to which it answers; together these are all there are.

    They begin where the network's steps do. The last one reaches to the end.
    """
    longest, context = (
        round(seconds / audio.frame_seconds) // STEP_STRIDE * STEP_STRIDE * audio.hop_samples
        for seconds in (WINDOW_SECONDS, CONTEXT_SECONDS)
    )
    pending, first = np.zeros(0, dtype=np.float32), 0
    for piece in pieces:
        pending = np.concatenate([pending, piece]) if len(pending) else piece
        while len(pending) - first > longest:
            last = longest - context
            yield pending[:longest], first, last
            pending, first = pending[last - context :], context
    yield pending, first, len(pending)
