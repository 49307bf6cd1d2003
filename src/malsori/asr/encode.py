"""From a wave to a recogniser's log-probabilities: the features it was trained on, then its network."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from malsori.audio.io import resample
from malsori.audio.mel import log_mel
from malsori.config import AudioConfig
from malsori.errors import AudioError, ModelError
from malsori.models.wav2vec2 import standardize_wave
from malsori.pretrained.folder import SavedModel

#: Less than this cannot hold a syllable.
SHORTEST_SECONDS = 0.1
#: Longer sound is heard through windows of this length, as long as training ever heard; this much at each end is only
#: context for what lies between.
WINDOW_SECONDS, CONTEXT_SECONDS = 18.0, 2.0
_MEL_FRAMES, _STEP_FRAMES = 2, 4  # mel frames to a frame of the network's output, and to a step inside


@dataclass(frozen=True)
class Heard:
    """What a recogniser's network says of one sound.

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
class HeardLetters:
    """Which letters a network would write in each frame.

    Attributes:
        log_probs: of the letters (frames, vocab).
        blank: the letter that stands for nothing.
        first_seconds: where the first frame begins; a network that hears more around a frame begins later.
        frame_seconds: seconds from one frame to the next.
        seconds: length of the sound.
    """

    log_probs: Float[np.ndarray, "frames vocab"]
    blank: int
    first_seconds: float
    frame_seconds: float
    seconds: float


def hear_letters(model: SavedModel, wave: Float[np.ndarray, " samples"], sample_rate: int) -> HeardLetters:
    """Return what a network trained by CTC would write for a sound; arguments and errors as for `hear`."""
    if model.facts.system != "wav2vec2":
        heard = hear(model, wave, sample_rate)
        return HeardLetters(heard.jamo, 0, 0.0, heard.frame_seconds, heard.seconds)
    seconds, config = checked_seconds(wave, sample_rate), model.network.config
    rate = model.facts.audio.sample_rate
    heard_wave = torch.from_numpy(np.ascontiguousarray(resample(wave, sample_rate, rate), dtype=np.float32))[None]
    if config.standardized:
        heard_wave = standardize_wave(heard_wave, torch.tensor([heard_wave.shape[1]]))
    log_probs = model.network.infer(heard_wave).logits[0].log_softmax(-1).numpy()
    first = (config.heard_samples - config.frame_samples) / 2 / rate
    return HeardLetters(log_probs, config.blank, first, config.frame_samples / rate, seconds)


def checked_seconds(wave: Float[np.ndarray, " samples"], sample_rate: int) -> float:
    """Return how long a sound lasts. Raises: AudioError if it is too short to listen to."""
    seconds = len(wave) / sample_rate
    if seconds < SHORTEST_SECONDS:
        raise AudioError(f"{seconds:.3f} s of sound is too short to listen to; {SHORTEST_SECONDS} s are needed")
    return seconds


def hear(model: SavedModel, wave: Float[np.ndarray, " samples"], sample_rate: int) -> Heard:
    """Return what a recogniser's network says of a sound of any length.

    Args:
        wave: one channel (samples,).
        sample_rate: of the wave; it is resampled to the recogniser's.
    Raises: AudioError if it is too short; ModelError if the model is no recogniser.
    """
    return hear_stream(model, [resample(wave, sample_rate, model.facts.audio.sample_rate)])


def hear_stream(model: SavedModel, pieces: Iterable[Float[np.ndarray, " _"]], with_jamo: bool = True) -> Heard:
    """Return the same of a sound that comes piece by piece, at the recogniser's rate; however it is cut, alike.

    Without jamo, which an alignment does not ask for, an hour takes half the memory.
    """
    if model.facts.system != "conformer":
        raise ModelError(
            f"a {model.facts.system} does not listen for phonemes, which aligning needs; a conformer does, such as the "
            "built-in recogniser ('malsori models' lists them)"
        )
    audio, samples, frames = model.facts.audio, 0, 0
    stores = bytearray(), bytearray(), bytearray()  # they grow where they stand; a list of pieces would be held twice
    for window, first, last in _windows(pieces, audio):
        checked_seconds(window, audio.sample_rate)
        begin, end = first // audio.hop_samples // _MEL_FRAMES, last // audio.hop_samples // _MEL_FRAMES
        jamo, phonemes, loudness = _listen(model, window)
        kinds = jamo if with_jamo else jamo[:, :0], phonemes, loudness
        for store, kind in zip(stores, kinds, strict=True):
            store += kind[begin : end if last < len(window) else None].tobytes()
        samples, frames = samples + last - first, len(stores[2]) // loudness.itemsize
    jamo, phonemes, loudness = (
        np.ndarray((frames, *kind.shape[1:]), kind.dtype, store) for store, kind in zip(stores, kinds, strict=True)
    )
    return Heard(jamo, phonemes, loudness, _MEL_FRAMES * audio.frame_seconds, samples / audio.sample_rate)


def _windows(pieces: Iterable[np.ndarray], audio: AudioConfig) -> Iterator[tuple[np.ndarray, int, int]]:
    """Yield windows, each with the samples from which and up to which it answers; together these are all there are.

    They begin where the network's steps do. The last one reaches to the end.
    """
    longest, context = (
        round(seconds / audio.frame_seconds) // _STEP_FRAMES * _STEP_FRAMES * audio.hop_samples
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


def _listen(model: SavedModel, wave: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return jamo, phonemes and loudness in each of the network's frames, one for every two of the mel."""
    mel = log_mel(torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))[None], model.facts.audio)
    output = model.network.infer(mel, torch.tensor([mel.shape[1]]))
    frames, loudness = int(output.frame_lengths[0]), mel[0].mean(1).numpy()
    index = np.minimum(np.arange(frames) * _MEL_FRAMES, len(loudness) - 1)  # the last one may be padded
    return output.jamo[0, :frames].numpy(), output.phonemes[0, :frames].numpy(), loudness[index]
