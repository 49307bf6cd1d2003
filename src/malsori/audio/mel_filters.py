"""The mel scale's filters, and log-mels of arrays: what `malsori.audio.mel` computes, without PyTorch.

Training wants gradients and batches; a voice or a recognizer that was exported wants neither. A test holds the two to
each other.
"""

import functools
import math

import numpy as np

from malsori.annotations import Float
from malsori.config import AudioConfig

#: Added under the square root, so that the gradient at silence stays finite; the others' programs add none.
_HIFIGAN_FLOOR, _FLOOR = 1e-9, 1e-20
_BLOCK_FRAMES = 4096  # transformed at once


def power_floor(audio: AudioConfig) -> float:
    """Return what is added to a bin's power before its root is taken."""
    return _HIFIGAN_FLOOR if audio.convention == "hifigan" else _FLOOR


def log_mel_array(wave: Float[np.ndarray, " samples"], audio: AudioConfig) -> Float[np.ndarray, "frames mel_channels"]:
    """Return what `malsori.audio.mel.log_mel` does of one wave. Raises: ValueError if it is too short to reflect."""
    padding = audio.margin_samples
    if len(wave) <= padding:
        raise ValueError(f"a wave of {len(wave)} samples is too short: more than {padding} are needed")
    padded = np.pad(wave.astype(np.float32), padding, mode="reflect")
    power = _powers(padded, audio)[: len(wave) // audio.hop_samples]
    mel = np.sqrt(power + np.float32(power_floor(audio))) @ _filters(audio).T
    floored = np.maximum(mel, np.float32(audio.log_floor))
    return np.log10(floored) if audio.convention == "speecht5" else np.log(floored)


def whisper_log_mel_array(
    wave: Float[np.ndarray, " samples"], audio: AudioConfig, window_frames: int = 0
) -> Float[np.ndarray, "frames mel_channels"]:
    """Return what `malsori.audio.mel.whisper_log_mel` does of one wave."""
    missing = max(0, window_frames * audio.hop_samples - len(wave))
    wave = np.pad(wave.astype(np.float32), (0, missing))
    power = _powers(np.pad(wave, audio.fft_samples // 2, mode="reflect"), audio)[:-1]
    decades = np.log10(np.maximum(power @ _filters(audio).T, np.float32(audio.log_floor)))
    return (np.maximum(decades, decades.max() - np.float32(8.0)) + np.float32(4.0)) / np.float32(4.0)


def _powers(padded: np.ndarray, audio: AudioConfig) -> Float[np.ndarray, "frames bins"]:
    """Return the power of each bin in each frame of a wave that was padded."""
    frames = np.lib.stride_tricks.sliding_window_view(padded, audio.fft_samples)[:: audio.hop_samples]
    hann = 0.5 - 0.5 * np.cos(2 * math.pi / audio.window_samples * np.arange(audio.window_samples))
    before = (audio.fft_samples - audio.window_samples) // 2
    window = np.pad(hann, (before, audio.fft_samples - audio.window_samples - before)).astype(np.float32)
    powers = np.empty((len(frames), audio.fft_samples // 2 + 1), dtype=np.float32)
    for begin in range(0, len(frames), _BLOCK_FRAMES):
        spectrum = np.fft.rfft(frames[begin : begin + _BLOCK_FRAMES] * window)
        powers[begin : begin + _BLOCK_FRAMES] = spectrum.real**2 + spectrum.imag**2
    return powers


@functools.lru_cache(maxsize=16)
def _filters(audio: AudioConfig) -> Float[np.ndarray, "mel_channels bins"]:
    return mel_filters(audio)


def mel_filters(audio: AudioConfig) -> Float[np.ndarray, "mel_channels bins"]:
    """Return triangular filters of equal area on Slaney's mel scale.

    Source: M. Slaney, Auditory Toolbox (1998): linear below 1 kHz, logarithmic above; librosa's default, which
    the public vocoders were trained on.
    """
    edges_hz = _mel_to_hz(np.linspace(_hz_to_mel(audio.min_hz), _hz_to_mel(audio.max_hz), audio.mel_channels + 2))
    bins_hz = np.linspace(0, audio.sample_rate / 2, audio.fft_samples // 2 + 1)
    widths = np.diff(edges_hz)
    slopes = edges_hz[:, None] - bins_hz[None, :]
    rising, falling = -slopes[:-2] / widths[:-1, None], slopes[2:] / widths[1:, None]
    filters = np.maximum(0, np.minimum(rising, falling))
    return (filters * (2.0 / (edges_hz[2:] - edges_hz[:-2]))[:, None]).astype(np.float32)


_LINEAR_HZ_PER_MEL = 200.0 / 3
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_HZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27  # 27 mels from 1 kHz to 6.4 kHz


def _hz_to_mel(hz: float) -> float:
    if hz < _BREAK_HZ:
        return hz / _LINEAR_HZ_PER_MEL
    return _BREAK_MEL + math.log(hz / _BREAK_HZ) / _LOG_STEP


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < _BREAK_MEL, mel * _LINEAR_HZ_PER_MEL, _BREAK_HZ * np.exp(_LOG_STEP * (mel - _BREAK_MEL)))
