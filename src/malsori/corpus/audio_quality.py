"""The quality of a recording, measured on its samples, and how well its text fits it by a recognizer."""

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from malsori.annotations import Float
from malsori.errors import AlignmentError
from malsori.text.frontend import Reading
from malsori.text.symbols import PHONEMES

if TYPE_CHECKING:
    from malsori.pretrained.folder import SavedModel

#: Pieces whose loudness is compared, in seconds.
LEVEL_SECONDS = 0.01

#: Below an utterance's loudest piece by this much is a pause (see `ground_truth.SILENCE_DB`).
PAUSE_DB = -45.0

#: A band that lies this far below the strongest holds nothing: above the old limit of an upsampled file it is empty.
EMPTY_BAND_DB = -70.0

#: Three equal samples at the very peak of a loud wave are no accident: a sine of 100 Hz at 22 kHz falls 13 steps of
#: 16 bits from its peak to the next sample.
FLAT_SAMPLES = 3

_STEP = 1 / 32768  # one step of 16 bits


@dataclass(frozen=True)
class AudioQuality:
    """Measurements of one recording, at its own sample rate; levels are in dB of full scale.

    Attributes:
        digest: equal for equal sound.
        clipped: samples at full scale, or flat at the wave's own peak.
        offset: mean of the samples.
        loudest_db, faintest_db: level of the loudest and of the 5th percentile of 10 ms pieces.
        sound_seconds: from the first sound to the last.
        pause_share: share of pieces that are pauses, the ends included.
        longest_pause_seconds: between the first sound and the last.
        bandwidth_hz: the highest frequency at which there is anything.
    """

    sample_rate: int
    channels: int
    seconds: float
    digest: str
    clipped: int
    offset: float
    loudest_db: float
    faintest_db: float
    sound_seconds: float
    pause_share: float
    longest_pause_seconds: float
    bandwidth_hz: float


def measure_audio_quality(wave: Float[np.ndarray, " samples"], sample_rate: int, channels: int) -> AudioQuality:
    """Return the measurements of a wave of at least 10 ms."""
    offset = wave.mean(dtype=np.float64)
    levels = piece_levels(wave - offset, sample_rate)  # an offset would be taken for sound
    sounding = levels > levels.max() + PAUSE_DB
    first, last = np.flatnonzero(sounding)[[0, -1]]
    whole = np.rint(np.clip(wave, -32768, 32768) * 32768).astype(np.int32)
    return AudioQuality(
        sample_rate=sample_rate,
        channels=channels,
        seconds=len(wave) / sample_rate,
        digest=hashlib.sha256(whole.tobytes()).hexdigest()[:16],
        clipped=clipped_samples(wave),
        offset=float(offset),
        loudest_db=float(levels.max()),
        faintest_db=float(np.percentile(levels, 5)),
        sound_seconds=float((last + 1 - first) * LEVEL_SECONDS),
        pause_share=float(1 - sounding.mean()),
        longest_pause_seconds=float(_longest_run(~sounding[first : last + 1]) * LEVEL_SECONDS),
        bandwidth_hz=bandwidth_hz(wave, sample_rate),
    )


def text_fit(model: "SavedModel", wave: Float[np.ndarray, " samples"], sample_rate: int, reading: Reading) -> float:
    """Return how well a text fits a sound: at best 0, and less the more phonemes are said that do not stand in it.

    It is what `malsori align` gives as its score (`malsori.alignment.mismatch`); -inf where the sound is too short.

    Args:
        model: a recogniser with a phoneme output.
        wave: (samples,) at sample_rate.
    """
    from malsori.alignment.ctc import align_ctc
    from malsori.alignment.mismatch import posterior_ratio
    from malsori.asr.encode import encode

    sounded = [phoneme for phoneme, word in zip(reading.phonemes, reading.phoneme_words, strict=True) if word >= 0]
    found = encode(model, wave, sample_rate)
    token_ids = PHONEMES.encode(sounded)
    try:
        path = align_ctc(found.phonemes, token_ids)
    except AlignmentError:
        return -math.inf
    return float(posterior_ratio(found.phonemes, token_ids, path).sum(dtype=np.float64)) / len(sounded)


def piece_levels(wave: Float[np.ndarray, " samples"], sample_rate: int) -> Float[np.ndarray, " pieces"]:
    """Return the level of each whole piece of 10 ms, in dB of full scale; digital silence is -200."""
    piece = round(LEVEL_SECONDS * sample_rate)
    whole = wave[: len(wave) // piece * piece].reshape(-1, piece)
    return 10 * np.log10(np.square(whole, dtype=np.float64).mean(axis=1) + 1e-20)


def clipped_samples(wave: Float[np.ndarray, " samples"]) -> int:
    """Return how many samples lie at full scale, or flat at the wave's own peak (clipped first, made softer later)."""
    size = np.abs(wave)
    peak = float(size.max())
    if peak < 0.1:  # so soft that a few steps of 16 bits are its whole height
        return 0
    edges = np.diff(np.concatenate([[0], (size >= peak - 1.5 * _STEP).astype(np.int8), [0]]))
    lengths = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
    return int(max(np.count_nonzero(size >= 1 - 1.5 * _STEP), lengths[lengths >= FLAT_SAMPLES].sum()))


def bandwidth_hz(wave: Float[np.ndarray, " samples"], sample_rate: int) -> float:
    """Return the highest frequency whose mean power lies within 70 dB of the strongest."""
    size = 1024
    padded = np.pad(wave, (0, max(0, size - len(wave))))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, size)[:: size // 2]
    # Blackman's side lobes lie below the limit; Hann's would reach above it.
    power = np.square(np.abs(np.fft.rfft(pieces * np.blackman(size), axis=1))).mean(axis=0)
    present = np.flatnonzero(power >= power.max() * 10 ** (EMPTY_BAND_DB / 10))
    return float(present[-1] * sample_rate / size) if power.max() > 0 else 0.0


def _longest_run(flags: np.ndarray) -> int:
    edges = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return int((ends - starts).max()) if len(starts) else 0
