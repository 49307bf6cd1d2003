"""Vocos: Closing the gap between time-domain and Fourier-based neural vocoders (Siuzdak 2023, arXiv:2306.00814).

    mel ─► conv ─► ConvNeXt blocks at frame rate ─► magnitude, phase ─► inverse STFT ─► wave

All layers run once a frame instead of once a sample, so that two CPU cores can train it and one speaks far faster
than real time. Trained against the period discriminators of HiFi-GAN and the resolution discriminators below.

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
from malsori.models.hifigan import DiscriminatorConfig, DiscriminatorOutput, Discriminators

_MAX_MAGNITUDE = (
    1e2  # ceiling of a bin's magnitude, from the paper's code: keeps exp from overflowing early in training
)


class VocosConfig(Config):
    """Sizes of a generator; the defaults are the paper's."""

    mel_channels: int = 80
    hidden_size: int = 512
    ffn_expansion_factor: int = 3
    num_layers: int = 8
    fft_samples: int = 1024
    hop_samples: int = 256

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
        """Frames on each side that the wave of a frame depends on: through the convolutions, and overlapped windows."""
        return 3 * (self.num_layers + 1) + math.ceil((self.fft_samples - self.hop_samples) / 2 / self.hop_samples)


class MultiResolutionDiscriminatorConfig(Config):
    """Which spectrograms the resolution discriminators see, and how wide they are."""

    fft_samples: tuple[int, ...] = (2048, 1024, 512)
    channels: int = 64


@dataclass(frozen=True)
class VocosOutput:
    """Attributes: wave: samples (batch, samples); samples = frames * hop_samples."""

    wave: Tensor


class ConvNextBlock(nn.Module):
    """Depthwise convolution, LayerNorm, two pointwise layers with GELU, a learnt scale; added to its input (3.3)."""

    def __init__(self, hidden_size: int, ffn_expansion_factor: int, initial_scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(hidden_size, hidden_size, 7, padding=3, groups=hidden_size)
        self.norm = nn.LayerNorm(hidden_size, eps=1e-6)
        self.widen = nn.Linear(hidden_size, hidden_size * ffn_expansion_factor)
        self.narrow = nn.Linear(hidden_size * ffn_expansion_factor, hidden_size)
        self.scale = nn.Parameter(torch.full((hidden_size,), initial_scale))

    def forward(self, hidden: Float[Tensor, "batch channels frames"]) -> Float[Tensor, "batch channels frames"]:
        """Return the block's output."""
        mixed = self.norm(self.depthwise(hidden).transpose(1, 2))
        mixed = self.scale * self.narrow(nn.functional.gelu(self.widen(mixed)))
        return hidden + mixed.transpose(1, 2)


class Vocos(nn.Module):
    """The generator: log-mel in, wave out."""

    window: Tensor

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        self.config = config
        self.conv_in = nn.Conv1d(config.mel_channels, config.hidden_size, 7, padding=3)
        self.norm_in = nn.LayerNorm(config.hidden_size, eps=1e-6)
        scale = 1 / config.num_layers
        self.blocks = nn.ModuleList(
            ConvNextBlock(config.hidden_size, config.ffn_expansion_factor, scale) for _ in range(config.num_layers)
        )
        self.norm_out = nn.LayerNorm(config.hidden_size, eps=1e-6)
        self.head = nn.Linear(config.hidden_size, config.fft_samples + 2)
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        self.register_buffer("window", torch.hann_window(config.fft_samples), persistent=False)

    def forward(self, mel: Float[Tensor, "batch frames mel_channels"]) -> VocosOutput:
        """Return the wave of a batch of log-mels (batch, frames, mel_channels)."""
        return VocosOutput(self._inverse_stft(torch.polar(*self.spectrum(mel))))

    def spectrum(self, mel: Float[Tensor, "batch frames mel_channels"]) -> tuple[Tensor, Tensor]:
        """Return magnitude and phase of each bin of each frame of the wave, (batch, frames, bins) each."""
        hidden = self.norm_in(self.conv_in(mel.transpose(1, 2)).transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            hidden = block(hidden)
        log_magnitude, phase = self.head(self.norm_out(hidden.transpose(1, 2))).float().chunk(2, dim=-1)
        return log_magnitude.exp().clamp(max=_MAX_MAGNITUDE), phase

    @torch.inference_mode()
    def infer(self, mel: Float[Tensor, "batch frames mel_channels"]) -> VocosOutput:
        """Return the wave without keeping a graph."""
        return self(mel)

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
