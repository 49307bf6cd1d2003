"""Log-mel spectrograms, by the one convention that corpus, models and vocoders share."""

import functools
import math

import torch
from jaxtyping import Float
from torch import Tensor

from malsori.audio.mel_filters import mel_filters, power_floor
from malsori.config import AudioConfig


def spectrogram(wave: Float[Tensor, "batch samples"], audio: AudioConfig) -> Float[Tensor, "batch frames bins"]:
    """Return the linear magnitude spectrogram; frames = samples // hop_samples.

    The wave is reflected by (fft - hop) / 2 samples on both sides, so that frame t is centered on the middle of
    samples [t * hop, (t + 1) * hop); in the other conventions by fft / 2, so that it is centered on the first of them.
    Raises: ValueError if the wave is too short to reflect.
    """
    padding = audio.margin_samples
    if wave.shape[-1] <= padding:
        raise ValueError(f"a wave of {wave.shape[-1]} samples is too short: more than {padding} are needed")
    padded = torch.nn.functional.pad(wave[:, None], (padding, padding), mode="reflect")[:, 0]
    window = _window(audio.window_samples, wave.device)
    spectrum = torch.stft(
        padded, audio.fft_samples, audio.hop_samples, audio.window_samples, window, center=False, return_complex=True
    )
    magnitude = torch.sqrt(torch.view_as_real(spectrum).pow(2).sum(-1) + power_floor(audio))
    return magnitude.transpose(1, 2)[:, : wave.shape[-1] // audio.hop_samples]


def log_mel(wave: Float[Tensor, "batch samples"], audio: AudioConfig) -> Float[Tensor, "batch frames mel_channels"]:
    """Return the logarithm of the mel spectrogram, floored at that of log_floor: natural, or SpeechT5's decimal.

    Args:
        wave: samples in [-1, 1] at audio.sample_rate.
    Source: HiFi-GAN (Kong et al. 2020, arXiv:2010.05646), section 3.1 and its public configuration.
    """
    magnitude = spectrogram(wave.float(), audio)
    mel = magnitude @ _filters(audio, wave.device).T
    floored = mel.clamp(min=audio.log_floor)
    return torch.log10(floored) if audio.convention == "speecht5" else torch.log(floored)


def natural_log(
    mel: Float[Tensor, "batch frames mel_channels"], audio: AudioConfig
) -> Float[Tensor, "batch frames mel_channels"]:
    """Return a log-mel of any convention as natural logarithms."""
    return mel * math.log(10.0) if audio.convention == "speecht5" else mel


def whisper_log_mel(
    wave: Float[Tensor, "batch samples"], audio: AudioConfig, window_frames: int = 0
) -> Float[Tensor, "batch frames mel_channels"]:
    """Return Whisper's log-mel: decimal logarithm of the power, cut 80 dB below the loudest, brought near [-1, 1].

    Args:
        wave: samples in [-1, 1] at audio.sample_rate.
        window_frames: silence is added behind the sound up to so many frames; the sound's own frames without.
    Source: Whisper (Radford et al. 2022, arXiv:2212.04356), 2.2, and the authors' code.
    """
    missing = max(0, window_frames * audio.hop_samples - wave.shape[1])
    wave = torch.nn.functional.pad(wave.float(), (0, missing))
    window = _window(audio.window_samples, wave.device)
    spectrum = torch.stft(wave, audio.fft_samples, audio.hop_samples, window=window, return_complex=True)
    power = spectrum[..., :-1].abs().pow(2).transpose(1, 2)
    decades = (power @ _filters(audio, wave.device).T).clamp(min=audio.log_floor).log10()
    loudest = decades.amax((1, 2), keepdim=True)
    return (torch.maximum(decades, loudest - 8.0) + 4.0) / 4.0


@functools.lru_cache(maxsize=16)
def _filters(audio: AudioConfig, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # first met in inference, the cached tensor must still serve in training
        return torch.from_numpy(mel_filters(audio)).to(device)


@functools.lru_cache(maxsize=32)
def _window(samples: int, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.hann_window(samples, device=device)
