"""Vocos: Closing the gap between time-domain and Fourier-based neural vocoders (Siuzdak 2023, arXiv:2306.00814).

    mel ─► conv ─► ConvNeXt blocks at frame rate ─► magnitude, phase ─► inverse STFT ─► wave

All layers run once a frame instead of once a sample, so that two CPU cores can train it and one speaks far faster
than real time. Trained against the period discriminators of HiFi-GAN and the resolution discriminators below.

With `VocosConfig.excitation`, pulses and noise are filtered instead:

    mel ─► conv ─► ConvNeXt blocks ─► gain and phase of pulses, gain of noise ─► × their STFT ─► inverse STFT ─► wave

Differences from the paper:
- The mel is HiFi-GAN's (22.05 kHz, 1024/256), so that one AudioConfig serves every acoustic model here.
- Adversarial losses are least-squares as in HiFi-GAN, not hinge.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from pydantic import model_validator
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from malsori.config import Config
from malsori.models.excitation import Excitation, ExcitationConfig
from malsori.models.hifigan import DiscriminatorConfig, DiscriminatorOutput, Discriminators
from malsori.nn.convnext import ConvNext

_MAX_MAGNITUDE = (
    1e2  # ceiling of a bin's magnitude, from the paper's code: keeps exp from overflowing early in training
)
_FIRST_GAIN = -3.0  # of the logarithm: a network that filters begins softly


class VocosConfig(Config):
    """Sizes of a generator; the defaults are the paper's.

    excitation: the wave is filtered from pulses and noise (`malsori.models.excitation`), instead of made of magnitudes
        and phases that the network finds by itself; none when not given.
    """

    mel_channels: int = 80
    hidden_size: int = 512
    ffn_expansion_factor: int = 3
    num_layers: int = 8
    fft_samples: int = 1024
    hop_samples: int = 256
    excitation: ExcitationConfig | None = None

    @model_validator(mode="after")
    def _agree(self) -> "VocosConfig":
        if not 1 <= self.hop_samples <= self.fft_samples:
            raise ValueError(f"windows of {self.fft_samples} in steps of {self.hop_samples} would leave samples out")
        return self

    @property
    def samples_per_frame(self) -> int:
        """Samples of wave that one frame of mel becomes."""
        return self.hop_samples

    @property
    def context_frames(self) -> int:
        """Frames on each side that the wave of a frame depends on: through the convolutions, and overlapped windows.

        Of an excitation, twice: windows are cut from it, and then overlapped.
        """
        overlapped = math.ceil((self.fft_samples - self.hop_samples) / 2 / self.hop_samples)
        return 3 * (self.num_layers + 1) + overlapped * (2 if self.excitation else 1)


class MultiResolutionDiscriminatorConfig(Config):
    """Which spectrograms the resolution discriminators see, and how wide they are."""

    fft_samples: tuple[int, ...] = (2048, 1024, 512)
    channels: int = 64


@dataclass(frozen=True)
class VocosOutput:
    """Attributes: wave: samples (batch, samples); samples = frames * hop_samples."""

    wave: Tensor


class Vocos(ConvNext):
    """The generator: log-mel in, wave out."""

    window: Tensor

    def __init__(self, config: VocosConfig) -> None:
        super().__init__(config.mel_channels, config.hidden_size, config.num_layers, config.ffn_expansion_factor)
        self.config = config
        bins = config.fft_samples // 2 + 1
        self.head = nn.Linear(config.hidden_size, (3 if config.excitation else 2) * bins)
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        self.register_buffer("window", torch.hann_window(config.fft_samples), persistent=False)
        self.excitation = None
        if config.excitation:
            nn.init.constant_(self.head.bias[: 2 * bins], _FIRST_GAIN)
            self.excitation = Excitation(config.excitation, config.mel_channels, config.hop_samples)

    def forward(
        self,
        mel: Float[Tensor, "batch frames mel_channels"],
        excitation: Float[Tensor, "batch 2 samples"] | None = None,
    ) -> VocosOutput:
        """Return the wave of a batch of log-mels (batch, frames, mel_channels).

        Args:
            excitation: what is filtered, pulses and noise, for a network that filters; its own where not given.
        """
        if self.excitation is None:
            return VocosOutput(self._inverse_stft(torch.polar(*self.spectrum(mel))))
        source = self._stft(self.excitation(mel) if excitation is None else excitation)
        return VocosOutput(self._inverse_stft(torch.complex(*self.filtered(mel, source.real, source.imag))))

    def spectrum(self, mel: Float[Tensor, "batch frames mel_channels"]) -> tuple[Tensor, Tensor]:
        """Return magnitude and phase of each bin of each frame of the wave, (batch, frames, bins) each."""
        log_magnitude, phase = self.head(self.encode(mel)).float().chunk(2, dim=-1)
        return log_magnitude.exp().clamp(max=_MAX_MAGNITUDE), phase

    def filtered(
        self,
        mel: Float[Tensor, "batch frames mel_channels"],
        real: Float[Tensor, "batch 2 frames bins"],
        imaginary: Float[Tensor, "batch 2 frames bins"],
    ) -> tuple[Tensor, Tensor]:
        """Return both parts of each bin of the wave, (batch, frames, bins) each, from those of pulses and noise.

        Pulses get a gain and a phase in each bin of each frame, noise a gain.
        """
        pulses, noise, phase = self.head(self.encode(mel)).float().chunk(3, dim=-1)
        gain, breath = (value.exp().clamp(max=_MAX_MAGNITUDE) for value in (pulses, noise))
        turn, tilt = gain * phase.cos(), gain * phase.sin()
        return (
            turn * real[:, 0] - tilt * imaginary[:, 0] + breath * real[:, 1],
            tilt * real[:, 0] + turn * imaginary[:, 0] + breath * imaginary[:, 1],
        )

    @torch.inference_mode()
    def excite(self, mel: Float[Tensor, "batch frames mel_channels"]) -> Float[Tensor, "batch 2 samples"] | None:
        """Return what the wave of a whole sound is filtered from; None if nothing is."""
        return None if self.excitation is None else self.excitation(mel)

    @torch.inference_mode()
    def infer(
        self,
        mel: Float[Tensor, "batch frames mel_channels"],
        excitation: Float[Tensor, "batch 2 samples"] | None = None,
    ) -> VocosOutput:
        """Return the wave without keeping a graph."""
        return self(mel, excitation)

    def _stft(self, waves: Float[Tensor, "batch 2 samples"]) -> Complex[Tensor, "batch 2 frames bins"]:
        """Return the spectra of waves in frames centered as `_inverse_stft` has them; silence is around."""
        size, hop = self.config.fft_samples, self.config.hop_samples
        padded = nn.functional.pad(waves, ((size - hop) // 2, size - hop - (size - hop) // 2))
        return torch.fft.rfft(padded.unfold(2, size, hop) * self.window)

    def _inverse_stft(self, spectrum: Complex[Tensor, "batch frames bins"]) -> Float[Tensor, "batch samples"]:
        """Overlap and add windowed frames, then undo the windows' own envelope.

        The frames are centred as audio.mel centres them; torch.istft has no such padding.
        """
        size, hop = self.config.fft_samples, self.config.hop_samples
        pieces = torch.fft.irfft(spectrum, n=size, dim=-1) * self.window
        frames = pieces.shape[1]
        length = (frames - 1) * hop + size
        wave = _overlap_add(pieces.transpose(1, 2), length, hop)
        envelope = _overlap_add(self.window.square()[None, :, None].expand(1, -1, frames), length, hop)
        start = (size - hop) // 2
        kept = slice(start, start + frames * hop)
        return wave[:, kept] / envelope[:, kept].clamp(min=1e-8)


class ResolutionDiscriminator(nn.Module):
    """Sees one spectrogram as an image (UnivNet, Jang et al. 2021, arXiv:2106.07889, 2.3)."""

    window: Tensor

    def __init__(self, fft_samples: int, channels: int) -> None:
        super().__init__()
        self.fft_samples = fft_samples
        shapes = [(1, (3, 9), (1, 1)), *[(channels, (3, 9), (1, 2))] * 3, (channels, (3, 3), (1, 1))]
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(before, channels, kernel, stride, padding=(kernel[0] // 2, kernel[1] // 2)))
            for before, kernel, stride in shapes
        )
        self.score = weight_norm(nn.Conv2d(channels, 1, (3, 3), padding=(1, 1)))
        self.register_buffer("window", torch.hann_window(fft_samples), persistent=False)

    def forward(self, wave: Float[Tensor, "batch samples"]) -> tuple[Tensor, list[Tensor]]:
        """Return the scores (batch, positions) and the maps between the layers."""
        spectrum = torch.stft(wave, self.fft_samples, self.fft_samples // 4, window=self.window, return_complex=True)
        image = torch.view_as_real(spectrum).pow(2).sum(-1).add(1e-9).sqrt().transpose(1, 2)[:, None]
        feature_maps = []
        for layer in self.layers:
            image = nn.functional.leaky_relu(layer(image), 0.1)
            feature_maps.append(image)
        return self.score(image).flatten(1), feature_maps


class VocosDiscriminators(nn.Module):
    """HiFi-GAN's discriminators and one a spectrogram resolution."""

    def __init__(
        self, discriminator: DiscriminatorConfig, multi_resolution: MultiResolutionDiscriminatorConfig
    ) -> None:
        super().__init__()
        self.waves = Discriminators(discriminator)
        self.resolutions = nn.ModuleList(
            ResolutionDiscriminator(size, multi_resolution.channels) for size in multi_resolution.fft_samples
        )

    def forward(self, wave: Float[Tensor, "batch samples"]) -> DiscriminatorOutput:
        """Return the outputs of each: waves first, then resolutions."""
        of_wave = self.waves(wave)
        outputs = [discriminator(wave) for discriminator in self.resolutions]
        return DiscriminatorOutput(
            of_wave.scores + [score for score, _ in outputs], of_wave.feature_maps + [maps for _, maps in outputs]
        )


def _overlap_add(pieces: Float[Tensor, "batch size frames"], length: int, hop: int) -> Float[Tensor, "batch samples"]:
    size = pieces.shape[1]
    return nn.functional.fold(pieces, (1, length), (1, size), stride=(1, hop))[:, 0, 0]
