"""HiFi-GAN: Generative Adversarial Networks for Efficient and High Fidelity Speech Synthesis
(Kong, Kim and Bae 2020, arXiv:2010.05646).

    mel ─► conv ─► [ upsample ─► mean of residual blocks ] x 4 ─► conv ─► tanh ─► wave
                                                                                   │
                            periods 2 3 5 7 11: wave folded into an image ◄────────┤
                            scales 1 1/2 1/4:   wave averaged ◄────────────────────┘

With `HifiganConfig.excitation`, pulses and noise are given beside the mel, through a convolution for each rate:

    mel ─► conv ─► [ upsample ─► + conv of pulses and noise ─► mean of residual blocks ] x 4 ─► conv ─► tanh ─► wave

Differences from the paper:
- The mel can be standardised first, as SpeechT5's public vocoder wants it.
- The discriminators have a width setting; 1.0 is the paper's 70.7 M parameters, CPUs want 1/8.
- Strided convolutions are padded by kernel // 2 as in the paper; grouped ones keep 4 channels a group when narrow.

All convolutions begin from PyTorch's default. So do the authors': their N(0, 0.01) is drawn into a weight that weight
norm works out anew before it is first used. Drawn before weight norm, it holds: the network begins near zero, what its
biases write is locked to the frame, and there training stays (F0 of copies after 1000 steps: 86 Hz, whatever was said).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from malsori.config import Config
from malsori.models.excitation import Excitation, ExcitationConfig

LEAKY_SLOPE = 0.1  # of every leaky ReLU


class HifiganConfig(Config):
    """Sizes of a generator; the defaults are V1 (paper, table 5).

    excitation: pulses and noise (`malsori.models.excitation`) whose phases the network need not find by itself; none
        when not given, as in the paper.
    """

    mel_channels: int = 80
    channels: int = 512
    upsample_rates: tuple[int, ...] = (8, 8, 2, 2)
    upsample_kernel_sizes: tuple[int, ...] = (16, 16, 4, 4)
    resblock_kernel_sizes: tuple[int, ...] = (3, 7, 11)
    resblock_dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    resblock_convolutions: int = 2  # convolutions a dilation: 2 in V1 and V2, 1 in V3
    standardizes: bool = False  # the mel's channels first, by a mean and a std saved with the weights
    excitation: ExcitationConfig | None = None

    @model_validator(mode="after")
    def _agree(self) -> "HifiganConfig":
        stages, blocks = len(self.upsample_rates), len(self.resblock_kernel_sizes)
        if (stages, blocks) != (len(self.upsample_kernel_sizes), len(self.resblock_dilations)):
            raise ValueError("each upsampling has one rate and one kernel, each block one kernel and its dilations")
        for rate, size in zip(self.upsample_rates, self.upsample_kernel_sizes, strict=True):
            if not 1 <= rate <= size:
                raise ValueError(f"an upsampling by {rate} with a kernel of {size} would leave samples out")
        return self

    @property
    def samples_per_frame(self) -> int:
        """Samples of wave that one frame of mel becomes."""
        return math.prod(self.upsample_rates)

    @property
    def context_frames(self) -> int:
        """Frames on each side that the wave of a frame depends on, through all convolutions."""
        reach, samples = 3.0 + (self.excitation is not None), 1  # the first convolution's; samples a frame so far
        for rate, kernel in zip(self.upsample_rates, self.upsample_kernel_sizes, strict=True):
            reach += kernel / rate / samples
            samples *= rate
            chains = zip(self.resblock_kernel_sizes, self.resblock_dilations, strict=True)
            reach += (
                max(size // 2 * (sum(each) + (self.resblock_convolutions - 1) * len(each)) for size, each in chains)
                / samples
            )
        return math.ceil(reach + 3 / samples)


class DiscriminatorConfig(Config):
    """Which discriminators tell waves apart, and how wide they are."""

    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    scales: int = 3
    width: float = 1.0


@dataclass(frozen=True)
class HifiganOutput:
    """Attributes: wave: samples in [-1, 1] (batch, samples); samples = frames * product of the upsample rates."""

    wave: Tensor


@dataclass(frozen=True)
class DiscriminatorOutput:
    """Outputs of the discriminators for a wave.

    Attributes:
        scores: one tensor a discriminator, (batch, positions); 1 = real in training.
        feature_maps: what stands between its layers, for each discriminator.
    """

    scores: list[Tensor]
    feature_maps: list[list[Tensor]]


class ResidualBlock(nn.Module):
    """Dilated convolutions, each chain added to its input (table 5: ResBlock1 has two a dilation, ResBlock2 one)."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...], convolutions: int) -> None:
        super().__init__()
        self.chains = nn.ModuleList()
        for dilation in dilations:
            chain = nn.Sequential()
            for step in (dilation, 1)[:convolutions]:
                padding = step * (kernel - 1) // 2
                convolution = nn.Conv1d(channels, channels, kernel, dilation=step, padding=padding)
                chain.extend([nn.LeakyReLU(LEAKY_SLOPE), weight_norm(convolution)])
            self.chains.append(chain)

    def forward(self, hidden: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch channels time"]:
        """Return the input with each chain's output added in turn."""
        for chain in self.chains:
            hidden = hidden + chain(hidden)
        return hidden


class Hifigan(nn.Module):
    """The generator: log-mel in, wave out."""

    mel_mean: Tensor
    mel_scale: Tensor

    def __init__(self, config: HifiganConfig) -> None:
        super().__init__()
        self.config = config
        if config.standardizes:
            self.register_buffer("mel_mean", torch.zeros(config.mel_channels))
            self.register_buffer("mel_scale", torch.ones(config.mel_channels))
        self.conv_in = weight_norm(nn.Conv1d(config.mel_channels, config.channels, 7, padding=3))
        self.upsamples, self.blocks = nn.ModuleList(), nn.ModuleList()
        channels = config.channels
        for rate, kernel in zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True):
            upsample = nn.ConvTranspose1d(channels, channels // 2, kernel, rate, padding=(kernel - rate) // 2)
            self.upsamples.append(weight_norm(upsample))
            channels //= 2
            parallel = zip(config.resblock_kernel_sizes, config.resblock_dilations, strict=True)
            self.blocks.extend(ResidualBlock(channels, k, d, config.resblock_convolutions) for k, d in parallel)
        self.conv_out = weight_norm(nn.Conv1d(channels, 1, 7, padding=3))
        self.excitation = None
        if config.excitation:
            self.excitation = Excitation(config.excitation, config.mel_channels, config.samples_per_frame)
            self.sources = nn.ModuleList()
            for stage in range(1, len(config.upsample_rates) + 1):
                self.sources.append(_source(config.channels >> stage, math.prod(config.upsample_rates[stage:])))

    def forward(
        self,
        mel: Float[Tensor, "batch frames mel_channels"],
        excitation: Float[Tensor, "batch 2 samples"] | None = None,
    ) -> HifiganOutput:
        """Return the wave of a batch of log-mels (batch, frames, mel_channels).

        Args:
            excitation: pulses and noise, for a network that hears these; its own where not given.
        """
        source = self.excitation(mel) if self.excitation and excitation is None else excitation
        if self.config.standardizes:
            mel = (mel - self.mel_mean) / self.mel_scale
        return HifiganOutput(self.grow(self.conv_in(mel.transpose(1, 2)), source))

    def grow(
        self,
        hidden: Float[Tensor, "batch channels frames"],
        excitation: Float[Tensor, "batch 2 samples"] | None = None,
    ) -> Float[Tensor, "batch samples"]:
        """Return the wave of what the first convolution gave, brought to full rate stage by stage."""
        parallel = len(self.config.resblock_kernel_sizes)
        for stage, upsample in enumerate(self.upsamples):
            hidden = upsample(nn.functional.leaky_relu(hidden, LEAKY_SLOPE))
            if excitation is not None:
                hidden = hidden + self.sources[stage](excitation)
            blocks = self.blocks[stage * parallel : (stage + 1) * parallel]
            hidden = torch.stack([block(hidden) for block in blocks]).mean(0)
        # the last slope is PyTorch's default in the paper's code, and so in every public checkpoint
        return torch.tanh(self.conv_out(nn.functional.leaky_relu(hidden, 0.01)))[:, 0]

    @torch.inference_mode()
    def excite(self, mel: Float[Tensor, "batch frames mel_channels"]) -> Float[Tensor, "batch 2 samples"] | None:
        """Return the pulses and noise of a whole sound; None where the network hears none."""
        return None if self.excitation is None else self.excitation(mel)

    @torch.inference_mode()
    def infer(
        self,
        mel: Float[Tensor, "batch frames mel_channels"],
        excitation: Float[Tensor, "batch 2 samples"] | None = None,
    ) -> HifiganOutput:
        """Return the wave without keeping a graph."""
        return self(mel, excitation)


class PeriodDiscriminator(nn.Module):
    """Sees every period-th sample side by side: the wave folded into (time / period, period) (2.3)."""

    def __init__(self, period: int, width: float) -> None:
        super().__init__()
        self.period = period
        widths = [1] + [_narrow(channels, width) for channels in (32, 128, 512, 1024, 1024)]
        strides = (3, 3, 3, 3, 1)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(before, after, (5, 1), (stride, 1), padding=(2, 0)))
            for before, after, stride in zip(widths, widths[1:], strides, strict=False)
        )
        self.score = weight_norm(nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, wave: Float[Tensor, "batch samples"]) -> tuple[Tensor, list[Tensor]]:
        """Return the scores (batch, positions) and the maps between the layers."""
        padded = nn.functional.pad(wave[:, None], (0, -wave.shape[1] % self.period), mode="reflect")
        return _discriminate(padded.view(len(wave), 1, -1, self.period), self.layers, self.score)


class ScaleDiscriminator(nn.Module):
    """Sees the smoothed wave through long, grouped, strided convolutions (2.3, after MelGAN)."""

    def __init__(self, width: float, first: bool) -> None:
        super().__init__()
        norm = spectral_norm if first else weight_norm
        widths = [1] + [_narrow(channels, width) for channels in (128, 128, 256, 512, 1024, 1024, 1024)]
        kernels, strides = (15, 41, 41, 41, 41, 41, 5), (1, 2, 2, 4, 4, 1, 1)
        groups = (1, 4, 16, 16, 16, 16, 1)
        self.layers = nn.ModuleList(
            norm(nn.Conv1d(before, after, kernel, stride, kernel // 2, groups=_groups(before, after, group)))
            for before, after, kernel, stride, group in zip(widths, widths[1:], kernels, strides, groups, strict=False)
        )
        self.score = norm(nn.Conv1d(widths[-1], 1, 3, padding=1))

    def forward(self, wave: Float[Tensor, "batch samples"]) -> tuple[Tensor, list[Tensor]]:
        """Return the scores (batch, positions) and the maps between the layers."""
        return _discriminate(wave[:, None], self.layers, self.score)


class Discriminators(nn.Module):
    """All period and scale discriminators over one wave."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        self.periods = nn.ModuleList(PeriodDiscriminator(period, config.width) for period in config.periods)
        self.scales = nn.ModuleList(ScaleDiscriminator(config.width, first=i == 0) for i in range(config.scales))

    def forward(self, wave: Float[Tensor, "batch samples"]) -> DiscriminatorOutput:
        """Return the outputs of each: periods first, then scales from full rate down."""
        outputs = [discriminator(wave) for discriminator in self.periods]
        for scale in self.scales:
            outputs.append(scale(wave))
            wave = nn.functional.avg_pool1d(wave[:, None], 4, 2, padding=2)[:, 0]
        return DiscriminatorOutput([score for score, _ in outputs], [maps for _, maps in outputs])


def _source(channels: int, rate: int) -> nn.Module:
    """Return what brings pulses and noise to a stage whose every sample is so many of the wave's."""
    kernel = 7 if rate == 1 else 2 * rate - rate % 2
    return weight_norm(nn.Conv1d(2, channels, kernel, rate, padding=(kernel - rate) // 2))


def _discriminate(signal: Tensor, layers: nn.ModuleList, score: nn.Module) -> tuple[Tensor, list[Tensor]]:
    feature_maps = []
    for layer in layers:
        signal = nn.functional.leaky_relu(layer(signal), LEAKY_SLOPE)
        feature_maps.append(signal)
    return score(signal).flatten(1), feature_maps


def _narrow(channels: int, width: float) -> int:
    """Return the narrowed channel count: a multiple of 16 where it can be, so that grouped convolutions divide."""
    narrowed = round(channels * width)
    return max(4, narrowed - narrowed % 16) if narrowed >= 16 else max(4, narrowed - narrowed % 4)


def _groups(before: int, after: int, wanted: int) -> int:
    """Return how many groups a convolution has: those wanted, or fewer, of 4 channels or more, that divide evenly."""
    max_groups = min(wanted, max(1, before // 4))
    return next(groups for groups in range(max_groups, 0, -1) if before % groups == after % groups == 0)
