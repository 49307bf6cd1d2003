"""From a wave to a recogniser's log-probabilities: the features it was trained on, then its network."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from malsori.audio.io import resample
from malsori.audio.mel import log_mel
from malsori.errors import AudioError, ModelError
from malsori.models.saved import SavedModel
from malsori.models.wav2vec2 import standardize_wave

#: Less than this cannot hold a syllable.
SHORTEST_SECONDS = 0.1


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
    """Attributes: log_probs of the letters (frames, vocab), the blank's id, seconds a frame and of the sound."""

    log_probs: Float[np.ndarray, "frames vocab"]
    blank: int
    frame_seconds: float
    seconds: float


def hear_letters(model: SavedModel, wave: Float[np.ndarray, " samples"], sample_rate: int) -> HeardLetters:
    """Return what a network trained by CTC would write for a sound; arguments and errors as for `hear`."""
    if model.facts.system != "wav2vec2":
        heard = hear(model, wave, sample_rate)
        return HeardLetters(heard.jamo, 0, heard.frame_seconds, heard.seconds)
    seconds, config = checked_seconds(wave, sample_rate), model.network.config
    rate = model.facts.audio.sample_rate
    heard_wave = torch.from_numpy(np.ascontiguousarray(resample(wave, sample_rate, rate), dtype=np.float32))[None]
    if config.standardized:
        heard_wave = standardize_wave(heard_wave, torch.tensor([heard_wave.shape[1]]))
    log_probs = model.network.infer(heard_wave).logits[0].log_softmax(-1).numpy()
    return HeardLetters(log_probs, config.blank, config.frame_samples / rate, seconds)


def checked_seconds(wave: Float[np.ndarray, " samples"], sample_rate: int) -> float:
    """Return how long a sound lasts. Raises: AudioError if it is too short to listen to."""
    seconds = len(wave) / sample_rate
    if seconds < SHORTEST_SECONDS:
        raise AudioError(f"{seconds:.3f} s of sound is too short to listen to; {SHORTEST_SECONDS} s are needed")
    return seconds


def hear(model: SavedModel, wave: Float[np.ndarray, " samples"], sample_rate: int) -> Heard:
    """Return what a recogniser's network says of a sound.

    Args:
        wave: one channel (samples,).
        sample_rate: of the wave; it is resampled to the recogniser's.
    Raises: AudioError if it is too short; ModelError if the model is no recogniser.
    """
    if model.facts.system != "conformer":
        raise ModelError(f"a {model.facts.system} does not listen; a recogniser does ('malsori models' lists them)")
    audio = model.facts.audio
    seconds = checked_seconds(wave, sample_rate)
    wave = resample(wave, sample_rate, audio.sample_rate)
    mel = log_mel(torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))[None], audio)
    output = model.network.infer(mel, torch.tensor([mel.shape[1]]))
    frames = int(output.frame_lengths[0])
    step = mel.shape[1] / frames  # the network writes a frame for every two of the mel, the last one padded
    loudness = mel[0].mean(1).numpy()
    index = np.minimum((np.arange(frames) * round(step)), len(loudness) - 1)
    return Heard(
        output.jamo[0, :frames].numpy(),
        output.phonemes[0, :frames].numpy(),
        loudness[index],
        audio.frame_seconds * round(step),
        seconds,
    )
