"""Mel-cepstra of speech: the shape of its spectral envelope in a few numbers a frame, c0 (the loudness) first.

The convention is SPTK's: log amplitude = sum over m of c_m cos(m w~), on the frequency axis w~ that an all-pass filter
bends to the mel scale. Three analyses:

- `mel_cepstrum`: malsori's own. The power of each frame is averaged over bands of equal width on the warped axis, none
  narrower than two distances of harmonics, so that the pitch leaves no trace; then a floor, the logarithm, a cosine
  transform.
- `mel_cepstrum_of_spectrum`: the cepstrum of a given spectrum (from WORLD, say), warped and cut off.
- `unbiased_mel_cepstrum`: SPTK's `mcep`, which fits the envelope to the peaks of the periodogram by Newton's method.

Source: Fukada, Tokuda, Kobayashi and Imai, "An adaptive algorithm for mel-cepstral analysis of speech", ICASSP 1992;
Oppenheim and Johnson, "Discrete representation of signals", Proc. IEEE 60 (1972) for the bending. That the smoothing
spans a harmonic's distance is the idea of CheapTrick (Morise, Speech Communication 67, 2015).
"""

import functools

import numpy as np

from malsori.annotations import Float

FRAME_SECONDS = 0.005
WINDOW_SECONDS = 0.025
FFT_SAMPLES_AT_22050 = 1024

#: Bands on the warped axis: enough for order 24, and as narrow as 65 Hz at the bottom.
BANDS = 64

#: dB, against white noise of standard deviation 1 (full scale): what lies below is silence, and silences are alike.
#: With this floor and this smoothing the distances of real pairs rank as pymcd's do (docs/metrics.md).
FLOOR_DB = -36.0

#: Distances of neighboring harmonics that the power is averaged over, at least.
HARMONICS = 2.0

#: Hz: harmonics are sought this far apart, and what has none is smoothed as if they were 500 Hz apart (as WORLD does).
MIN_PITCH_HZ, MAX_PITCH_HZ, UNVOICED_SPACING_HZ = 70.0, 500.0, 500.0

#: Autocorrelation of a voiced frame at its period, at least; and how near to the best a shorter period must come.
VOICED_CORRELATION, SHORTER_PERIOD_SHARE = 0.4, 0.85


def mel_cepstrum(
    wave: Float[np.ndarray, " samples"], sample_rate: int, order: int = 24, floor_db: float = FLOOR_DB
) -> Float[np.ndarray, "frames coefficients"]:
    """Return the mel-cepstrum every 5 ms, coefficients 0 to `order`.

    Args:
        wave: in [-1, 1], at sample_rate.
        sample_rate: Hz; the bending follows from it (`mel_warping`).
        order: the last coefficient, below 64.
        floor_db: power density below which all is silence, in dB against full-scale white noise.
    """
    power = _power(wave, sample_rate)
    bands = _band_power(power, _harmonic_spacing(power, sample_rate), sample_rate)
    floor = 10.0 ** (floor_db / 10.0)
    log_amplitude = 0.25 * np.log(bands**2 + floor**2)
    angles = np.outer((np.arange(BANDS) + 0.5) * (np.pi / BANDS), np.arange(order + 1))
    weights = np.where(np.arange(order + 1) == 0, 1.0, 2.0) / BANDS
    return log_amplitude @ (np.cos(angles) * weights)


def mel_cepstrum_of_spectrum(
    log_power: Float[np.ndarray, "frames bins"], order: int, warping: float
) -> Float[np.ndarray, "frames coefficients"]:
    """Return the mel-cepstrum of natural-log power spectra over 0 to half the sample rate."""
    return _cepstrum(log_power) @ _frequency_warping(log_power.shape[1] - 1, order, warping).T


def unbiased_mel_cepstrum(
    power: Float[np.ndarray, "frames bins"],
    order: int,
    warping: float,
    iterations: int = 30,
    tolerance: float = 1e-3,
) -> Float[np.ndarray, "frames coefficients"]:
    """Return what SPTK's mcep finds for periodograms (positive, offset included) over 0 to half the sample rate.

    Args:
        power: periodograms.
        order, warping: of the mel-cepstrum.
        iterations: Newton steps at most; two are always taken.
        tolerance: a frame is done when its gain changes by less than this part of it.
    """
    cepstra = mel_cepstrum_of_spectrum(np.log(power), order, warping)
    spectrum_of = _frequency_warping(order, power.shape[1] - 1, -warping)
    correlation_of = _frequency_warping(power.shape[1] - 1, 2 * order, warping, correlation=True)
    running = np.arange(len(power))
    gains = _cepstrum(np.log(power))[:, 0]
    for step in range(iterations):
        envelope = np.fft.rfft(cepstra[running] @ spectrum_of.T, n=2 * (power.shape[1] - 1), axis=1).real
        correlations = np.fft.irfft(power[running] * np.exp(-2.0 * envelope), axis=1)[:, : power.shape[1]]
        warped = correlations @ correlation_of.T
        if step > 0:
            unsettled = np.abs(warped[:, 0] - gains[running]) >= tolerance * np.abs(warped[:, 0])
            running, warped = running[unsettled], warped[unsettled]
        if not len(running):
            break
        gains[running] = warped[:, 0]
        cepstra[running] += _newton_step(warped, order, warping)
    return cepstra


def _newton_step(warped: np.ndarray, order: int, warping: float) -> np.ndarray:
    """Return the change of each cepstrum: a Toeplitz-plus-Hankel system's solution (Fukada et al. 1992)."""
    toeplitz, hankel = warped.copy(), warped.copy()
    hankel[:, ::2] -= warped[:, :1]
    toeplitz[:, 2 : order + 1 : 2] += warped[:, :1]
    toeplitz[:, 0] *= 2.0
    index = np.arange(order + 1)
    matrix = toeplitz[:, np.abs(index[:, None] - index)] + hankel[:, index[:, None] + index]
    slope = warped[:, : order + 1] - (-warping) ** index
    return np.linalg.solve(matrix, slope[..., None])[..., 0]


@functools.cache
def mel_warping(sample_rate: int) -> float:
    """Return the all-pass constant whose bending is nearest to the mel scale: 0.455 at 22,050 Hz, 0.41 at 16,000.

    Nearest in mean square over the axis, in steps of 0.001; the mel scale is Fant's, 1000 log2(1 + f / 1000).
    """
    frequencies = np.linspace(0.0, 1.0, 1000)
    mel = np.log1p(frequencies * sample_rate / 2000.0)
    constants = np.arange(0.0, 1.0, 0.001)
    warped = _warped(np.pi * frequencies, constants[:, None]) / np.pi
    return float(constants[np.argmin(((warped - mel / mel[-1]) ** 2).sum(axis=1))])


def _warped(angles: np.ndarray, warping: np.ndarray | float) -> np.ndarray:
    """Return where the all-pass filter moves frequencies in [0, pi]."""
    return angles + 2.0 * np.arctan2(warping * np.sin(angles), 1.0 - warping * np.cos(angles))


def _cepstrum(log_power: np.ndarray) -> np.ndarray:
    """Return one-sided cepstra of log amplitude: as many coefficients as bins."""
    cepstra = np.fft.irfft(log_power, axis=1)[:, : log_power.shape[1]]
    cepstra[:, [0, -1]] /= 2.0
    return cepstra


@functools.lru_cache(maxsize=16)
def _frequency_warping(inputs: int, outputs: int, warping: float, correlation: bool = False) -> np.ndarray:
    """Return the matrix (outputs + 1, inputs + 1) of SPTK's freqt, or of frqtr for autocorrelations."""
    rows = np.zeros((outputs + 1, inputs + 1))
    for column in range(inputs, -1, -1):
        before = rows.copy()
        rows[0] = 0.0 if correlation else warping * before[0]
        rows[0, column] += 1.0
        first = 1
        if not correlation and outputs:
            rows[1] = (1.0 - warping**2) * before[0] + warping * before[1]
            first = 2
        for row in range(first, outputs + 1):
            rows[row] = before[row - 1] + warping * (before[row] - rows[row - 1])
    return rows


def _power(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return power densities (frames, bins), 1 throughout for white noise of standard deviation 1."""
    samples = round(WINDOW_SECONDS * sample_rate) | 1
    window = np.hanning(samples + 2)[1:-1]
    window /= np.linalg.norm(window)
    centers = np.rint(np.arange(int(len(wave) / sample_rate / FRAME_SECONDS) + 1) * FRAME_SECONDS * sample_rate)
    padded = np.pad(wave, samples // 2 + 1).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(padded, samples)[centers.astype(int)]
    return np.abs(np.fft.rfft(frames * window.astype(np.float32), _fft_samples(sample_rate), axis=1)) ** 2


def _fft_samples(sample_rate: int) -> int:
    """Return a power of two of at least 46 ms."""
    return 1 << (round(FFT_SAMPLES_AT_22050 * sample_rate / 22050) - 1).bit_length()


def _harmonic_spacing(power: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return each frame's distance of harmonics in Hz, by its autocorrelation's earliest high peak.

    Only a width of smoothing hangs on it, so it may err by an octave now and then; `audio.pitch` may not.
    """
    low = 1 << ((power.shape[1] - 1) // 4).bit_length()  # bins: the lower half of the band or less holds enough
    rate = sample_rate * low / (power.shape[1] - 1)
    correlation = np.fft.irfft(power[:, : low + 1], axis=1)
    taper = np.hanning(round(WINDOW_SECONDS * rate) + 2)[1:-1]
    taper = np.correlate(taper, taper, mode="full")[len(taper) - 1 :]
    lags = np.arange(int(rate / MAX_PITCH_HZ), min(int(rate / MIN_PITCH_HZ), int(0.7 * len(taper))))
    strength = correlation[:, lags] / np.maximum(correlation[:, :1], 1e-20) * (taper[0] / taper[lags])
    peaks = strength[:, 1:-1] * ((strength[:, 1:-1] > strength[:, :-2]) & (strength[:, 1:-1] >= strength[:, 2:]))
    best = peaks.max(axis=1)
    earliest = np.argmax(peaks >= SHORTER_PERIOD_SHARE * np.maximum(best, 1e-20)[:, None], axis=1)
    return np.where(best > VOICED_CORRELATION, rate / lags[earliest + 1], UNVOICED_SPACING_HZ)


def _band_power(power: np.ndarray, spacing: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return mean power (frames, BANDS): over a band, or over two harmonic distances where that is wider.

    The spectrum continues as its mirror image at both ends; integrals over it are differences of one running sum.
    """
    bins = power.shape[1] - 1
    angles = np.linspace(0.0, np.pi, 4 * bins + 1)
    edges = (
        np.interp(np.linspace(0.0, np.pi, BANDS + 1), _warped(angles, mel_warping(sample_rate)), angles) * bins / np.pi
    )
    hertz_per_bin = sample_rate / 2 / bins
    widths = np.maximum(np.diff(edges), HARMONICS * spacing[:, None] / hertz_per_bin)
    margin = int(widths.max() / 2) + 2
    mirrored = np.concatenate([power[:, margin:0:-1], power, power[:, -2 : -margin - 2 : -1]], axis=1)
    running = np.zeros((len(power), mirrored.shape[1] + 1))
    np.cumsum(mirrored, axis=1, out=running[:, 1:], dtype=np.float64)
    centers = (edges[1:] + edges[:-1]) / 2 + margin + 0.5  # bin b reaches from b - 0.5 to b + 0.5
    upper, lower = _read_between(running, centers + widths / 2), _read_between(running, centers - widths / 2)
    return np.maximum(upper - lower, 0.0) / widths


def _read_between(rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return each row's values at fractional places, on straight lines between its neighbors."""
    left = places.astype(np.int64)
    before, after = np.take_along_axis(rows, left, axis=1), np.take_along_axis(rows, left + 1, axis=1)
    return before + (places - left) * (after - before)
