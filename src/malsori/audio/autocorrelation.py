"""Fundamental frequency by autocorrelation, written from the paper: it needs nothing but numpy.

    wave ─► windows ─► autocorrelation / that of the window ─► its peaks: candidates ─┐
                     └► loudness, noisiness ─► unvoiced: one more candidate ──────────┴► Viterbi ─► Hz a frame

Differences from the paper: a frame is centered where the caller's frames are; peaks are refined by a parabola on the
autocorrelation at twice the sample rate (its spectrum padded with zeros) in place of a windowed sinc.

Source: Boersma, "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a
sampled sound", IFA Proceedings 17 (1993), 97-110: the algorithm of section 3, with the names of its parameters.
"""

from dataclasses import dataclass

import numpy as np

from malsori.annotations import Bool, Float

#: The analysis window (Hanning) lasts so many periods of the lowest pitch sought.
PERIODS_PER_WINDOW = 3.0

#: Frames worked on at a time, which bounds the memory: 20 MB at 22050 Hz.
_FRAMES_AT_ONCE = 256

_UPSAMPLING = 2


@dataclass(frozen=True)
class PathCosts:
    """The paper's parameters, with its defaults.

    silence_threshold: frames whose peak lies below this share of the recording's are probably unvoiced.
    voicing_threshold: strength of the unvoiced candidate.
    octave_cost: favours higher candidates, per octave.
    octave_jump_cost: per octave between two frames, and `voicing_change_cost` for a change of voicing, each for frames
        10 ms apart.
    max_candidates: voiced ones considered in a frame.
    """

    silence_threshold: float = 0.03
    voicing_threshold: float = 0.45
    octave_cost: float = 0.01
    octave_jump_cost: float = 0.35
    voicing_change_cost: float = 0.14
    max_candidates: int = 14


@dataclass(frozen=True)
class Candidates:
    """What each frame may be: Hz (frames, candidates), 0 for unvoiced, and how strongly (-inf: no such candidate)."""

    hertz: Float[np.ndarray, "frames candidates"]
    strength: Float[np.ndarray, "frames candidates"]


def track_pitch(
    wave: Float[np.ndarray, " samples"],
    sample_rate: int,
    hop_samples: int,
    lowest_hz: float,
    highest_hz: float,
    costs: PathCosts = PathCosts(),
) -> Float[np.ndarray, " frames"]:
    """Return the fundamental frequency in Hz, 0 where unvoiced, at the middle of each hop: samples // hop_samples.

    Args:
        wave: (samples,) at sample_rate.
        lowest_hz, highest_hz: the range that is searched.
    """
    frames = len(wave) // hop_samples
    if not frames:
        return np.zeros(0, dtype=np.float32)
    window_samples = round(PERIODS_PER_WINDOW / lowest_hz * sample_rate) // 2 * 2 + 1
    sound = wave.astype(np.float64) - wave.mean(dtype=np.float64)
    loudest = np.abs(sound).max()
    padded = np.pad(sound, window_samples // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, window_samples)[hop_samples // 2 :: hop_samples][:frames]
    parts = [
        _candidates(windows[start : start + _FRAMES_AT_ONCE], sample_rate, loudest, (lowest_hz, highest_hz), costs)
        for start in range(0, frames, _FRAMES_AT_ONCE)
    ]
    found = Candidates(np.concatenate([part.hertz for part in parts]), np.concatenate([p.strength for p in parts]))
    return best_path(found, costs, hop_samples / sample_rate).astype(np.float32)


def best_path(candidates: Candidates, costs: PathCosts, frame_seconds: float) -> Float[np.ndarray, " frames"]:
    """Return the Hz of the cheapest path through the candidates, by Viterbi (section 3, step 4)."""
    correction = 0.01 / frame_seconds
    with np.errstate(divide="ignore"):
        octaves = np.log2(candidates.hertz)  # -inf: unvoiced
    total = candidates.strength[0]
    choices = np.zeros(candidates.hertz.shape, dtype=np.intp)
    for frame in range(1, len(octaves)):
        jump = np.abs(octaves[frame][:, None] - np.where(np.isfinite(octaves[frame - 1]), octaves[frame - 1], 0.0))
        changes = np.isfinite(octaves[frame])[:, None] != np.isfinite(octaves[frame - 1])
        unvoiced = ~(np.isfinite(octaves[frame])[:, None] | np.isfinite(octaves[frame - 1]))
        cost = np.where(changes, costs.voicing_change_cost, np.where(unvoiced, 0.0, costs.octave_jump_cost * jump))
        scores = total - correction * cost
        choices[frame] = scores.argmax(axis=1)
        total = candidates.strength[frame] + scores.max(axis=1)
    path = np.empty(len(octaves), dtype=np.intp)
    path[-1] = total.argmax()
    for frame in range(len(octaves) - 1, 0, -1):
        path[frame - 1] = choices[frame, path[frame]]
    return candidates.hertz[np.arange(len(path)), path]


def _candidates(
    windows: np.ndarray, sample_rate: int, loudest: float, limits: tuple[float, float], costs: PathCosts
) -> Candidates:
    """Return the unvoiced candidate and the voiced ones of some frames (frames, window_samples)."""
    lowest, highest = limits
    correlation = _autocorrelation(windows, round(sample_rate / lowest) + 2)
    rate = sample_rate * _UPSAMPLING
    first = max(2, int(rate / highest))
    lags, heights = _peaks(correlation, first, costs)
    hertz = rate / lags
    strength = heights - costs.octave_cost * np.log2(lowest / hertz)
    strength = np.where((hertz >= lowest) & (hertz <= highest), strength, -np.inf)
    peak = _middle_peak(windows) / max(loudest, 1e-12)
    noise = 2.0 - peak / (costs.silence_threshold / (1.0 + costs.voicing_threshold))
    unvoiced = costs.voicing_threshold + np.maximum(0.0, noise)
    return Candidates(np.column_stack([np.zeros(len(hertz)), hertz]), np.column_stack([unvoiced, strength]))


def _middle_peak(windows: np.ndarray) -> np.ndarray:
    """Return the largest amplitude (frames,) within the middle period of the windows, about their mean."""
    period = round(windows.shape[1] / PERIODS_PER_WINDOW)
    start = (windows.shape[1] - period) // 2
    return np.abs(windows[:, start : start + period] - windows.mean(axis=1, keepdims=True)).max(axis=1)


def _autocorrelation(windows: np.ndarray, max_lag: int) -> np.ndarray:
    """Return the autocorrelation (frames, lags) at twice the rate, 1 at lag 0, freed of the window's (eq. 9)."""
    samples = windows.shape[1]
    hanning = np.hanning(samples + 2)[1:-1]
    size = 1 << (samples + max_lag - 1).bit_length()
    spectra = np.fft.rfft(np.vstack([(windows - windows.mean(axis=1, keepdims=True)) * hanning, hanning]), size)
    lags = np.fft.irfft(spectra.real**2 + spectra.imag**2, size * _UPSAMPLING)[:, : max_lag * _UPSAMPLING]
    lags /= np.maximum(lags[:, :1], 1e-30)
    return lags[:-1] / lags[-1]


def _peaks(correlation: np.ndarray, first: int, costs: PathCosts) -> tuple[np.ndarray, np.ndarray]:
    """Return lags and heights (frames, max_candidates) of the highest peaks; heights of -inf where there are fewer."""
    before, middle, after = correlation[:, first - 1 : -2], correlation[:, first:-1], correlation[:, first + 1 :]
    top = _is_peak(before, middle, after) & (middle > 0.5 * costs.voicing_threshold)
    heights = np.where(top, middle, -np.inf)
    count = min(costs.max_candidates, heights.shape[1])
    places = np.argpartition(-heights, count - 1, axis=1)[:, :count]
    below, height, above = (np.take_along_axis(part, places, axis=1) for part in (before, middle, after))
    kept = np.take_along_axis(top, places, axis=1)
    shift = np.where(kept, 0.5 * (above - below) / np.where(kept, 2.0 * height - below - above, 1.0), 0.0)
    refined = height + 0.25 * (above - below) * shift
    return places + first + shift, np.where(kept, np.minimum(refined, 1.0), -np.inf)


def _is_peak(before: np.ndarray, middle: np.ndarray, after: np.ndarray) -> Bool[np.ndarray, "frames lags"]:
    return (middle > before) & (middle >= after)
