"""Mel-cepstral distortion: how far the spectral envelope of one utterance is from another's, in decibels.

    MCD = (10 / ln 10) * sqrt(2 * sum over d of (c_d - c'_d)^2),  averaged over the pairs of frames on a DTW path

c0 is the loudness and does not count by default. The number depends on every part of its definition (the analysis, the
order, c0, what counts as silence, the path), so it is never given without the sentence that says them; tools whose
numbers are to be compared have presets.

Source: Kubichek, "Mel-cepstral distance measure for objective speech quality assessment", IEEE Pacific Rim Conference
on Communications, Computers and Signal Processing (1993).
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from malsori.annotations import Float, Int
from malsori.audio import cepstrum
from malsori.errors import MetricError, OptionError

#: Decibels for a distance of 1 between cepstra: log amplitude is c0 + sum c_d cos(d w), so by Parseval its mean square
#: is half the sum of squares, and 20 / ln 10 * sqrt(1 / 2) is this.
DECIBELS = 10.0 / math.log(10.0) * math.sqrt(2.0)

#: A wave that never exceeds half a step of 16 bits is silence.
SILENCE_PEAK = 0.5 / 32768

#: Less than a window of the analysis is no speech.
MIN_SECONDS = 0.025

#: The last coefficient of our own definition.
DEFAULT_ORDER = 24

#: Whose definition is used: ours, or another tool's to the letter.
Preset = Literal["malsori", "espnet", "pymcd"]

#: ESPnet's evaluate_mcd.py: order and warping by sample rate; frames of 1024 samples every 256.
ESPNET_SETTINGS = {16000: (23, 0.42), 22050: (34, 0.45), 24000: (34, 0.46), 44100: (39, 0.53), 48000: (39, 0.55)}
ESPNET_WINDOW, ESPNET_HOP, ESPNET_OFFSET = 1024, 256, 1e-6

#: pymcd 0.2.1: WORLD's envelope with 512 bins at 22,050 Hz, taken for an amplitude though it is a power (its decibels
#: are about twice the true ones), order 13, c0 in the distance but not in the path.
PYMCD_RATE, PYMCD_FFT, PYMCD_ORDER, PYMCD_WARPING, PYMCD_OFFSET = 22050, 512, 13, 0.65, 1e-8


@dataclass(frozen=True)
class CepstralDistortion:
    """The distortion, the sentence that defines it, and the pairs of frames it is the mean over."""

    mcd_db: float
    definition: str
    frame_seconds: float
    reference_frames: Int[np.ndarray, " steps"]
    hypothesis_frames: Int[np.ndarray, " steps"]
    frame_distortions_db: Float[np.ndarray, " steps"]

    @property
    def path_frames(self) -> int:
        """The number of pairs of frames on the path."""
        return len(self.reference_frames)


def mcd(
    reference_wave: Float[np.ndarray, " reference_samples"],
    hypothesis_wave: Float[np.ndarray, " hypothesis_samples"],
    sample_rate: int,
    preset: Preset = "malsori",
    order: int | None = None,
    include_c0: bool = False,
) -> CepstralDistortion:
    """Return the mel-cepstral distortion between two utterances of the same words.

    Args:
        reference_wave, hypothesis_wave: (samples,) in [-1, 1], of any two lengths; in our own definition neither is
            first: exchanged, they give the same distortion.
        sample_rate: Hz, of both.
        preset: "espnet" and "pymcd" give those tools' numbers; "pymcd" needs the package pyworld.
        order: last coefficient, in our own definition; 24 when not given.
        include_c0: whether the loudness counts, in our own definition.
    Raises: MetricError for a wave that is empty, too short, silent, or not finite, or a preset that cannot be had;
        OptionError for an order or c0 asked of another tool's definition, which has its own.
    """
    if preset != "malsori" and (order is not None or include_c0):
        name = "c0" if order is None else f"order {order}"
        raise OptionError(f"{name}: the definition of {preset} has its own; our own definition alone takes another")
    for name, wave in (("reference", reference_wave), ("hypothesis", hypothesis_wave)):
        _check(name, wave, sample_rate)
    if preset == "espnet":
        return _as_espnet(reference_wave, hypothesis_wave, sample_rate)
    if preset == "pymcd":
        return _as_pymcd(reference_wave, hypothesis_wave, sample_rate)
    from malsori.alignment.dtw import dtw

    order = DEFAULT_ORDER if order is None else order
    ours = cepstrum.mel_cepstrum(reference_wave, sample_rate, order)
    theirs = cepstrum.mel_cepstrum(hypothesis_wave, sample_rate, order)
    first = 0 if include_c0 else 1
    path = dtw(ours[:, first:], theirs[:, first:])
    definition = (
        f"mel-cepstrum of order {order} {'with' if include_c0 else 'without'} c0 at {sample_rate} Hz, warping "
        f"{cepstrum.mel_warping(sample_rate):.3f}, every 5 ms, power smoothed over two harmonics, below "
        f"{cepstrum.FLOOR_DB:.0f} dB (full-scale white noise) silence; mean over the cheapest DTW path (malsori 1)"
    )
    return _along(ours, theirs, (path.reference_frames, path.hypothesis_frames), include_c0, definition)


def mel_cepstral_distortion(reference: ArrayLike, hypothesis: ArrayLike, include_c0: bool = False) -> float:
    """Return the distortion in dB between cepstra that lie frame against frame already.

    Args:
        reference: one cepstrum (coefficients,) or a sequence of them (frames, coefficients), c0 first.
        hypothesis: of the same shape.
        include_c0: whether the first coefficient, the loudness, counts.
    Raises: MetricError for shapes that differ, no frames, or values that are not finite.

    >>> round(mel_cepstral_distortion([1.0, 2.0, 3.0, 4.0], [0.8, 2.1, 3.2, 4.3], include_c0=True), 2)
    2.61
    >>> round(mel_cepstral_distortion([1.0, 2.0, 3.0, 4.0], [0.8, 2.1, 3.2, 4.3]), 2)
    2.3
    """
    ours, theirs = np.atleast_2d(np.asarray(reference, float)), np.atleast_2d(np.asarray(hypothesis, float))
    if ours.shape != theirs.shape or ours.ndim != 2 or not ours.size:
        raise MetricError(
            f"cepstra of shapes {ours.shape} and {theirs.shape}: both must be (frames, coefficients) alike and not "
            "empty; align sequences of different lengths first, as malsori.mcd does"
        )
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        raise MetricError("cepstra hold values that are not finite (NaN or infinity): check the sound they come from")
    return float(frame_distortions(ours, theirs, include_c0).mean())


def frame_distortions(
    reference: Float[np.ndarray, "frames coefficients"],
    hypothesis: Float[np.ndarray, "frames coefficients"],
    include_c0: bool = False,
) -> Float[np.ndarray, " frames"]:
    """Return the distortion of each frame in dB."""
    first = 0 if include_c0 else 1
    return DECIBELS * np.linalg.norm(reference[:, first:] - hypothesis[:, first:], axis=1)


def _check(name: str, wave: np.ndarray, sample_rate: int) -> None:
    if wave.ndim != 1:
        raise MetricError(f"the {name} is of shape {wave.shape}: one channel of samples is needed")
    if not len(wave):
        raise MetricError(f"the {name} holds 0 samples: nothing to measure")
    if len(wave) < MIN_SECONDS * sample_rate:
        raise MetricError(
            f"the {name} lasts {len(wave) / sample_rate:.4f} s: at least {MIN_SECONDS} s, a window, are needed"
        )
    if not np.isfinite(wave).all():
        raise MetricError(f"the {name} holds NaN or infinity at sample {int(np.argmin(np.isfinite(wave)))}")
    if np.abs(wave).max() < SILENCE_PEAK:
        raise MetricError(f"the {name} is silent (peak {np.abs(wave).max():.1e}): a distortion would mean nothing")


def _along(
    reference: np.ndarray,
    hypothesis: np.ndarray,
    path: tuple[np.ndarray, np.ndarray],
    include_c0: bool,
    definition: str,
    frame_seconds: float = cepstrum.FRAME_SECONDS,
) -> CepstralDistortion:
    distortions = frame_distortions(reference[path[0]], hypothesis[path[1]], include_c0)
    return CepstralDistortion(float(distortions.mean()), definition, frame_seconds, *path, distortions)


def _as_espnet(reference: np.ndarray, hypothesis: np.ndarray, sample_rate: int) -> CepstralDistortion:
    from malsori.alignment.dtw import fast_dtw

    if sample_rate not in ESPNET_SETTINGS:
        rates = ", ".join(map(str, ESPNET_SETTINGS))
        raise MetricError(f"{sample_rate} Hz: ESPnet's definition knows {rates} Hz only; resample both with --rate")
    order, warping = ESPNET_SETTINGS[sample_rate]
    ours, theirs = (_espnet_cepstra(wave, order, warping) for wave in (reference, hypothesis))
    path = fast_dtw(theirs, ours)
    definition = (
        f"as ESPnet: SPTK mel-cepstrum of order {order} with c0, warping {warping}, {ESPNET_WINDOW} samples every "
        f"{ESPNET_HOP}, at 16 bits; mean over fastdtw's path"
    )
    pairs = path.hypothesis_frames, path.reference_frames
    return _along(ours, theirs, pairs, True, definition, ESPNET_HOP / sample_rate)


def _espnet_cepstra(wave: np.ndarray, order: int, warping: float) -> np.ndarray:
    if len(wave) < ESPNET_WINDOW:
        raise MetricError(f"{len(wave)} samples: ESPnet's definition needs {ESPNET_WINDOW} at least")
    frames = np.lib.stride_tricks.sliding_window_view(np.rint(wave * 32768.0), ESPNET_WINDOW)[::ESPNET_HOP]
    power = np.abs(np.fft.rfft(frames * np.hamming(ESPNET_WINDOW), axis=1)) ** 2 + ESPNET_OFFSET
    return cepstrum.unbiased_mel_cepstrum(power, order, warping)


def _as_pymcd(reference: np.ndarray, hypothesis: np.ndarray, sample_rate: int) -> CepstralDistortion:
    from malsori.alignment.dtw import fast_dtw

    ours, theirs = (_pymcd_cepstra(wave, sample_rate) for wave in (reference, hypothesis))
    path = fast_dtw(ours[:, 1:], theirs[:, 1:])
    definition = (
        f"as pymcd: WORLD's power envelope taken for an amplitude (about twice the true decibels), order {PYMCD_ORDER} "
        f"with c0, warping {PYMCD_WARPING}, every 5 ms at {PYMCD_RATE} Hz; mean over fastdtw's path"
    )
    return _along(ours, theirs, (path.reference_frames, path.hypothesis_frames), True, definition)


def _pymcd_cepstra(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    try:
        import pyworld
    except ImportError as error:
        raise MetricError(
            "--as pymcd needs WORLD's envelope: pip install pyworld, or use our own definition"
        ) from error
    from malsori.audio.resampling import resample

    wave = resample(np.asarray(wave, np.float32), sample_rate, PYMCD_RATE)
    _, envelope, _ = pyworld.wav2world(wave.astype(np.float64), PYMCD_RATE, fft_size=PYMCD_FFT)
    return cepstrum.mel_cepstrum_of_spectrum(np.log(envelope**2 + PYMCD_OFFSET), PYMCD_ORDER, PYMCD_WARPING)
