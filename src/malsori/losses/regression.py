"""Losses between numbers: absolute, squared, of durations, and between the spectra of two waves."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from malsori.audio.mel import log_mel
from malsori.config import AudioConfig
from malsori.shapes import length_mask, masked_mean

#: FFT size, hop and window length in samples: three views of a wave at 24 kHz or near it (Yamamoto et al. 2019).
RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))

_FLOOR = 1e-7  # of power, under the square root and the logarithm, as in Parallel WaveGAN's public code


def l1_loss(
    predicted: Float[Tensor, "..."], target: Float[Tensor, "..."], mask: Bool[Tensor, "..."] | None = None
) -> Float[Tensor, ""]:
    """Return the mean absolute difference, mean |y - ŷ|, over real entries.

    >>> l1_loss(torch.tensor([2.5, 2.0, 0.0]), torch.tensor([2.0, 3.0, 1.0])).item()
    0.8333333134651184
    """
    return masked_mean((predicted - target).abs(), mask)


def l2_loss(
    predicted: Float[Tensor, "..."], target: Float[Tensor, "..."], mask: Bool[Tensor, "..."] | None = None
) -> Float[Tensor, ""]:
    """Return the mean squared difference (MSE), mean (y - ŷ)², over real entries.

    >>> l2_loss(torch.tensor([2.5, 2.0, 0.0]), torch.tensor([2.0, 3.0, 1.0])).item()
    0.75
    """
    return masked_mean((predicted - target).square(), mask)


def l2_norm(
    predicted: Float[Tensor, "..."], target: Float[Tensor, "..."], mask: Bool[Tensor, "..."] | None = None
) -> Float[Tensor, ""]:
    """Return the Euclidean distance, √Σ(y - ŷ)²: the root of the sum (not the mean) of squares over real entries.

    >>> l2_norm(torch.tensor([2.5, 2.0, 0.0]), torch.tensor([2.0, 3.0, 1.0])).item()
    1.5
    """
    count = predicted.numel() if mask is None else _spread(mask, predicted).sum()
    return (l2_loss(predicted, target, mask) * count).sqrt()


def huber_loss(
    predicted: Float[Tensor, "..."],
    target: Float[Tensor, "..."],
    mask: Bool[Tensor, "..."] | None = None,
    delta: float = 1.0,
) -> Float[Tensor, ""]:
    """Return the mean of e²/2 where |e| <= delta and delta (|e| - delta/2) beyond, e = y - ŷ, over real entries.

    Squared near zero, absolute far from it: one wild frame does not outweigh the rest.
    Source: Huber 1964, Robust Estimation of a Location Parameter.

    >>> huber_loss(torch.tensor([2.5, 3.0]), torch.tensor([2.0, 0.0])).item()
    1.3125
    """
    error = (predicted - target).abs()
    near = error.clamp(max=delta)
    return masked_mean(near * (error - 0.5 * near), mask)


def log_duration_loss(
    log_predicted: Float[Tensor, "batch tokens"],
    durations: Int[Tensor, "batch tokens"],
    mask: Bool[Tensor, "batch tokens"],
) -> Float[Tensor, ""]:
    """Return the mean of (log_predicted - log(1 + d))² over real tokens.

    Args:
        log_predicted: predicted log(1 + frames) (batch, tokens).
        durations: frames a token lasts (batch, tokens), from forced alignment; may be 0.
        mask: True on real tokens.
    Source: FastSpeech (Ren et al. 2019, arXiv:1905.09263), 3.3: the logarithm makes ratios, not frames, count alike.

    >>> log_duration_loss(torch.zeros(1, 2), torch.tensor([[0, 5]]), torch.tensor([[True, False]])).item()
    0.0
    """
    return l2_loss(log_predicted, torch.log1p(durations.to(log_predicted.dtype)), mask)


def mel_loss(
    predicted: Float[Tensor, "batch samples"],
    target: Float[Tensor, "batch samples"],
    audio: AudioConfig,
    lengths: Int[Tensor, " batch"] | None = None,
) -> Float[Tensor, ""]:
    """Return the mean absolute difference of the waves' log-mels, over frames that see real samples only.

    The mels reach to half the sample rate, whatever a vocoder is given: a whistle above its mels' range is heard.

    Args:
        audio: how the mels are made, but for max_hz.
        lengths: real samples of each wave (batch,); None when all are, and then every frame counts.
    Source: HiFi-GAN (Kong et al. 2020, arXiv:2010.05646), eq. 3, and the authors' code ("fmax_for_loss": null).

    >>> silent, faint = torch.zeros(1, 4096), torch.full((1, 4096), 1e-9)
    >>> mel_loss(silent, faint, AudioConfig()).item()
    0.0
    """
    audio = audio.model_copy(update={"max_hz": audio.sample_rate / 2})
    ours, theirs = log_mel(predicted, audio), log_mel(target, audio)
    if lengths is None:
        return l1_loss(ours, theirs)
    beyond = (audio.fft_samples - audio.hop_samples) // 2  # samples a frame sees after its own hop
    return l1_loss(ours, theirs, length_mask((lengths - beyond) // audio.hop_samples, ours.shape[1]))


def spectral_convergence(
    predicted: Float[Tensor, "batch frames bins"],
    target: Float[Tensor, "batch frames bins"],
    mask: Bool[Tensor, "batch frames"] | None = None,
) -> Float[Tensor, ""]:
    """Return ‖S - Ŝ‖ / ‖S‖ (Frobenius norms over the batch) of magnitude spectrograms.

    Source: Arik, Jun and Diamos 2018 (arXiv:1808.06719), 2.1.

    >>> spectral_convergence(torch.ones(1, 1, 2), torch.full((1, 1, 2), 2.0)).item()
    0.5
    """
    return (l2_loss(predicted, target, mask) / masked_mean(target.square(), mask)).sqrt()


def multi_resolution_stft_loss(
    predicted: Float[Tensor, "batch samples"],
    target: Float[Tensor, "batch samples"],
    lengths: Int[Tensor, " batch"] | None = None,
    resolutions: tuple[tuple[int, int, int], ...] = RESOLUTIONS,
) -> Float[Tensor, ""]:
    """Return the mean over resolutions of spectral convergence + mean |log S - log Ŝ|.

    Args:
        lengths: real samples of each wave (batch,); what lies beyond is taken as silence and no frame of it counts.
        resolutions: FFT size, hop, window length, in samples.
    Source: Parallel WaveGAN (Yamamoto, Song and Kim 2019, arXiv:1910.11480), eq. 3 to 6.

    >>> wave = torch.randn(1, 4096, generator=torch.Generator().manual_seed(0))
    >>> round(multi_resolution_stft_loss(2 * wave, wave).item(), 3)  # 1 by convergence, log 2 by the logarithms
    1.693
    """
    losses = []
    waves = [wave if lengths is None else wave * length_mask(lengths, wave.shape[1]) for wave in (predicted, target)]
    for fft_samples, hop_samples, window_samples in resolutions:
        ours, theirs = (_magnitude(wave, fft_samples, hop_samples, window_samples) for wave in waves)
        mask = None if lengths is None else length_mask(lengths // hop_samples + 1, theirs.shape[1])
        losses.append(spectral_convergence(ours, theirs, mask) + l1_loss(ours.log(), theirs.log(), mask))
    return torch.stack(losses).mean()


def _magnitude(wave: Tensor, fft_samples: int, hop_samples: int, window_samples: int) -> Tensor:
    """Return (batch, frames, bins); silence around the wave, so that padding it with zeros changes no frame."""
    window = torch.hann_window(window_samples, dtype=wave.dtype, device=wave.device)
    spectrum = torch.stft(
        wave, fft_samples, hop_samples, window_samples, window, pad_mode="constant", return_complex=True
    )
    return torch.view_as_real(spectrum).square().sum(-1).clamp(min=_FLOOR).sqrt().transpose(1, 2)


def _spread(mask: Tensor, values: Tensor) -> Tensor:
    return mask.view(*mask.shape, *[1] * (values.dim() - mask.dim())).expand_as(values)
