"""Sound as it comes: a phrase's wave in chunks, each with as much mel around it as the vocoder looks at.

A chunk is then what it is in the whole phrase, to the rounding of floats. Phrases are made each by itself, and joined
by silence; where a vocoder looks at everything (Griffin-Lim), and of a voice that makes the wave itself, a phrase is
one chunk.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from malsori.annotations import Float
from malsori.tts.roles import Vocoder

#: Frames of the first chunk of a phrase, which is waited for, and of those that come while it is heard.
FIRST_CHUNK_FRAMES, CHUNK_FRAMES = 32, 128

_KNEE = 0.9  # samples up to here are left as they are


@dataclass(frozen=True)
class SpeechChunk:
    """Some sound of a text, in order.

    Attributes:
        wave: samples in [-1, 1] (samples,).
        start: seconds of the text's speech before it.
        phrase: which phrase of the text it is of, from 0.
    """

    wave: Float[np.ndarray, " samples"]
    start: float
    phrase: int


def vocode_in_chunks(
    vocoder: Vocoder, mel: Float[np.ndarray, "frames mel_channels"]
) -> Iterator[Float[np.ndarray, " _"]]:
    """Yield the wave of a phrase's mel, a chunk at a time: together what `vocoder.vocode` makes of the whole."""
    context, hop = vocoder.context_frames, vocoder.audio.hop_samples
    if context is None:
        yield vocoder.vocode(mel)
        return
    excitation = vocoder.excite(mel)
    begin, size = 0, FIRST_CHUNK_FRAMES
    while begin < len(mel):
        end = min(len(mel), begin + size)
        left, right = max(0, begin - context), min(len(mel), end + context)
        source = None if excitation is None else excitation[:, left * hop : right * hop]
        wave = vocoder.vocode(mel[left:right], source)
        yield wave[(begin - left) * hop : (end - left) * hop]
        begin, size = end, CHUNK_FRAMES


def limit(wave: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " samples"]:
    """Return a wave that no file clips: samples above 0.9 are bent to stay below 1, each by itself, others kept."""
    size = np.abs(wave)
    if not len(wave) or size.max() <= _KNEE:
        return wave
    bent = _KNEE + (1 - _KNEE) * np.tanh((size - _KNEE) / (1 - _KNEE))
    return np.where(size > _KNEE, np.sign(wave) * bent, wave).astype(np.float32)
