"""From a wave to a recogniser's log-probabilities: the features it was trained on, then its network."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from malsori.audio.io import resample
from malsori.audio.mel import log_mel
from malsori.errors import AudioError, ModelError
from malsori.models.saved import SavedModel

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
    seconds = len(wave) / sample_rate
    if seconds < SHORTEST_SECONDS:
        raise AudioError(f"{seconds:.3f} s of sound is too short to listen to; {SHORTEST_SECONDS} s are needed")
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
