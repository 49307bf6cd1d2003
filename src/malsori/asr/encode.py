"""From a wave to a recognizer's log-probabilities: the features it was trained on, then its network.

`CtcEncoder` is the role that decoding asks for, `PhonemeEncoder` what an alignment does; which network it is, and what
runs it, is known only where one is made (`malsori.systems`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from malsori.annotations import Float
from malsori.audio.resampling import resample
from malsori.errors import AudioError, ModelError
from malsori.pretrained.exported import OnnxGraphs
from malsori.pretrained.folder import SavedModel
from malsori.systems import SYSTEMS

if TYPE_CHECKING:
    from malsori.runtime.device import Runtime

#: Less than this cannot hold a syllable.
MIN_SECONDS = 0.1
#: Longer sound is encoded in windows of this length, as long as those of training.
WINDOW_SECONDS = 18.0


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


def ctc_encoder(model: SavedModel, runtime: "Runtime | None" = None) -> CtcEncoder:
    """Return what encodes sounds for CTC decoding; where the network lies, if nothing else is said.

    Raises: ModelError if the model is none that CTC trains.
    """
    system = SYSTEMS.get(model.facts.system)
    if system is None or not system.encoder:
        raise ModelError(f"a {model.facts.system} has no CTC output; one of these has: {_with_encoder()}")
    part = "onnx" if isinstance(model.network, OnnxGraphs) else "encoder"
    encoder: CtcEncoder = system.resolve(part)(model, runtime)
    return encoder


def phoneme_encoder(model: SavedModel, runtime: "Runtime | None" = None) -> PhonemeEncoder:
    """Return what encodes sounds for an alignment; where the network lies, if nothing else is said.

    Raises: ModelError if the model has no phoneme output.
    """
    system = SYSTEMS.get(model.facts.system)
    if isinstance(model.network, OnnxGraphs) and system and system.encoder:
        raise ModelError("an exported model transcribes only; align with the one it was made from")
    encoder = system.resolve("encoder")(model, runtime) if system and system.encoder else None
    if not isinstance(encoder, PhonemeEncoder):
        raise ModelError(
            f"a {model.facts.system} has no phoneme output, which aligning needs; a conformer has one, such as the "
            "built-in conformer-ko"
        )
    return encoder


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
        raise AudioError(f"{seconds:.3f} s of sound is too short to recognize; {MIN_SECONDS} s are needed")
    return seconds


def _with_encoder() -> str:
    return ", ".join(name for name, system in SYSTEMS.items() if system.encoder)
