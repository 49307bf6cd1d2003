"""A vocoder without weights: the wave whose log-mel spectrogram comes nearest to a given one.

    log-mel -> mel magnitude -> linear magnitude (non-negative) -> phase by iteration -> wave

Good enough to judge an acoustic model by ear; a trained vocoder sounds better.

Source: Griffin and Lim, "Signal estimation from modified short-time Fourier transform", IEEE TASSP 32 (1984);
Perraudin, Balazs and Sondergaard, "A fast Griffin-Lim algorithm", WASPAA 2013 (the momentum).
"""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from malsori.audio.mel import natural_log
from malsori.audio.mel_filters import mel_filters
from malsori.config import AudioConfig

#: Perraudin et al. 2013, section 4: 0.99 converges fastest and stays stable.
MOMENTUM = 0.99

#: Multiplicative updates that spread mel bands over linear bins; the error falls no further after about fifty.
SPREADING_STEPS = 50

_EPSILON = 1e-8  # keeps divisions by silent bins finite


def griffin_lim(
    log_mel: Float[Tensor, "batch frames mel_channels"], audio: AudioConfig, iterations: int = 60, seed: int = 0
) -> Float[Tensor, "batch samples"]:
    """Return waves whose log-mel spectrograms are near those given; samples = frames * hop_samples.

    Args:
        log_mel: as `malsori.audio.mel.log_mel` makes it.
        iterations: rounds of phase estimation; more is closer, with little to gain after a hundred.
        seed: of the first, random phase, so that the same input gives the same wave.
    """
    magnitude = linear_magnitude(log_mel, audio)
    generator = torch.Generator().manual_seed(seed)
    angle = torch.rand(magnitude.shape, generator=generator).to(magnitude) * (2 * torch.pi)
    phase = torch.polar(torch.ones_like(magnitude), angle)
    previous = torch.zeros_like(phase)
    for _ in range(iterations):
        rebuilt = _spectrum(_wave(magnitude * phase, audio), audio)
        phase = rebuilt + MOMENTUM * (rebuilt - previous)
        phase = phase / phase.abs().clamp(min=_EPSILON)
        previous = rebuilt
    wave = _wave(magnitude * phase, audio)
    begin = audio.margin_samples
    return wave[:, begin : begin + log_mel.shape[1] * audio.hop_samples]


def linear_magnitude(
    log_mel: Float[Tensor, "batch frames mel_channels"], audio: AudioConfig
) -> Float[Tensor, "batch frames bins"]:
    """Return the non-negative magnitude spectrogram whose mel bands fit best, by multiplicative updates.

    Bins that no mel filter covers (above max_hz) are 0.
    Source: Lee and Seung, "Algorithms for non-negative matrix factorization", NIPS 2000, eq. 4 with fixed bases.
    """
    filters = torch.from_numpy(mel_filters(audio)).to(log_mel)
    mel = natural_log(log_mel, audio).exp()
    wanted = mel @ filters
    overlap = filters.T @ filters
    magnitude = wanted.clone()
    for _ in range(SPREADING_STEPS):
        magnitude = magnitude * wanted / (magnitude @ overlap).clamp(min=_EPSILON)
    return magnitude


def _window(audio: AudioConfig, like: Tensor) -> Float[Tensor, " fft_samples"]:
    """Return the analysis window in the middle of fft_samples, where torch.stft puts it."""
    window = torch.hann_window(audio.window_samples, device=like.device)
    left = (audio.fft_samples - audio.window_samples) // 2
    return torch.nn.functional.pad(window, (left, audio.fft_samples - audio.window_samples - left))


def _spectrum(wave: Float[Tensor, "batch samples"], audio: AudioConfig) -> Complex[Tensor, "batch frames bins"]:
    window = _window(audio, wave)
    pieces = wave.unfold(1, audio.fft_samples, audio.hop_samples)
    return torch.fft.rfft(pieces * window, dim=-1)


def _wave(spectrum: Complex[Tensor, "batch frames bins"], audio: AudioConfig) -> Float[Tensor, "batch samples"]:
    """Return the wave by windowed overlap-add, divided by the windows' sum of squares: the least-squares inverse."""
    window = _window(audio, spectrum.real)
    pieces = torch.fft.irfft(spectrum, n=audio.fft_samples, dim=-1) * window
    added = _overlap_add(pieces, audio)
    weight = _overlap_add(window.square().expand(1, *pieces.shape[1:]), audio)
    return added / weight.clamp(min=_EPSILON)


def _overlap_add(
    pieces: Float[Tensor, "batch frames fft_samples"], audio: AudioConfig
) -> Float[Tensor, "batch samples"]:
    samples = audio.fft_samples + audio.hop_samples * (pieces.shape[1] - 1)
    folded = torch.nn.functional.fold(
        pieces.transpose(1, 2), (1, samples), (1, audio.fft_samples), stride=(1, audio.hop_samples)
    )
    return folded[:, 0, 0]
