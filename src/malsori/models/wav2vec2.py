"""wav2vec 2.0: A Framework for Self-Supervised Learning of Speech Representations
(Baevski, Zhou, Mohamed and Auli 2020, arXiv:2006.11477).

    wave ─► 7 convolutions, 20 ms ─┬─► masked here and there ─► + positions ─► Transformer ─┬─► letters   CTC
                                   │                                                        └─► c ◄─┐
                                   └─► quantiser: one of 320 x 320 codes ─────────────────────► q ◄─┴─ contrast

`Wav2Vec2` writes letters, `Wav2Vec2Pretraining` learns from sound alone; both on a `Wav2Vec2Encoder`. Its norms
stand on the first convolution and after each block (the paper), or on every convolution and before each block (XLS-R).
HuBERT (arXiv:2106.07447), data2vec (arXiv:2202.03555), WavLM (arXiv:2110.13900) and MMS (arXiv:2305.13516) differ from
it by how frames are told where they stand, and by a layer for each language: settings of the encoder.

Differences from the paper:
- Group norm and a padded batch: the padding takes part in the norm's mean, as in the public code.
- Gradients into the convolutions are not scaled down by 10: under Adam a constant factor changes little.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import model_validator
from torch import Tensor, nn

from malsori.config import Config
from malsori.nn.positions import ConvolutionPositions, DistanceBias, DistanceGate, StackedPositions
from malsori.nn.quantizer import Quantizer
from malsori.nn.transformer import LanguageAdapter, SelfAttention
from malsori.shapes import length_mask


class EncoderConfig(Config):
    """Sizes of the encoder; the defaults are BASE (paper, 4.2).

    conv_channels, conv_kernel_sizes, conv_strides: of the convolutions over the wave.
    norm: group: the first convolution's, every channel over the whole sound; layer: every convolution's.
    norm_first: each block normalises its input, not its output; it trains more safely when deep.
    standardized: each wave is brought to mean 0 and standard deviation 1 before it comes here.
    padding_mask: a batch says how long its waves are; the public models with group norm were trained without.
    layer_drop: a block is left out of a training step this often.
    mask_prob, mask_length: in training this share of the frames begins a masked span of so many frames.
    mask_channel_prob, mask_channel_length: the same over channels. Without any mask there is no mask vector.
    positions: one wide convolution; the same, normalized over the batch (mHuBERT); or num_position_layers (data2vec).
    latent_norm: the convolutions' output is normalized before it is projected; distilled HuBERTs leave it out.
    distance_buckets, max_distance: ranges of distances, up to so many frames, that attention knows (WavLM); 0: none.
    adapter_size: width of the layer for a language behind each block (MMS); 0: none.
    """

    conv_channels: tuple[int, ...] = (512, 512, 512, 512, 512, 512, 512)
    conv_kernel_sizes: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    conv_bias: bool = False
    norm: Literal["group", "layer"] = "group"
    norm_first: bool = False
    norm_epsilon: float = 1e-5
    standardized: bool = True
    padding_mask: bool = False
    hidden_size: int = 768
    num_layers: int = 12
    num_heads: int = 8
    ffn_size: int = 3072
    position_kernel_size: int = 128
    position_groups: int = 16
    dropout: float = 0.1
    attention_dropout: float = 0.1
    inner_dropout: float = 0.0
    input_dropout: float = 0.1
    layer_drop: float = 0.05
    mask_prob: float = 0.065
    mask_length: int = 10
    mask_channel_prob: float = 0.0
    mask_channel_length: int = 64
    positions: Literal["convolution", "normalized", "stacked"] = "convolution"
    num_position_layers: int = 1
    latent_norm: bool = True
    distance_buckets: int = 0
    max_distance: int = 800
    adapter_size: int = 0

    @model_validator(mode="after")
    def _agree(self) -> "EncoderConfig":
        if len(set(counts := [len(self.conv_channels), len(self.conv_kernel_sizes), len(self.conv_strides)])) > 1:
            raise ValueError(f"{counts} conv_channels, conv_kernel_sizes, conv_strides: there must be as many of each")
        if any(not 1 <= stride <= size for stride, size in zip(self.conv_strides, self.conv_kernel_sizes, strict=True)):
            raise ValueError(f"conv_strides {self.conv_strides}: each from 1 to its kernel, or samples are left out")
        return self

    @property
    def masked(self) -> bool:
        """True if training masks anything, and so needs the vector that stands in a masked frame."""
        return self.mask_prob > 0 or self.mask_channel_prob > 0

    @property
    def frame_samples(self) -> int:
        """Samples from one frame to the next."""
        return math.prod(self.conv_strides)

    @property
    def receptive_field_samples(self) -> int:
        """Samples that one frame of the convolutions depends on."""
        samples = 1
        for kernel, stride in zip(reversed(self.conv_kernel_sizes), reversed(self.conv_strides), strict=True):
            samples = (samples - 1) * stride + kernel
        return samples

    def frames(self, samples: int) -> int:
        """Return how many frames a wave of so many samples becomes; none if it is too short for one."""
        for kernel, stride in zip(self.conv_kernel_sizes, self.conv_strides, strict=True):
            samples = (samples - kernel) // stride + 1
        return max(0, samples)


class Wav2Vec2Config(EncoderConfig):
    """An encoder and its letters. blank: the letter that stands for nothing (CTC)."""

    vocab: int = 32
    blank: int = 0
    final_dropout: float = 0.1


class Wav2Vec2PretrainingConfig(EncoderConfig):
    """An encoder and its quantiser: codebooks of `codebook_size` entries, together `codevector_size` wide (3.2)."""

    num_codebooks: int = 2
    codebook_size: int = 320
    codevector_size: int = 256
    projection_size: int = 256
    code_dropout: float = 0.1


@dataclass(frozen=True)
class Encoded:
    """What the encoder makes of a batch.

    Attributes:
        hidden: the Transformer's output (batch, frames, features).
        latent: of the convolutions, normalised, before anything is masked (batch, frames, channels).
        energy: mean square of the convolutions' output a frame (batch, frames), which pre-training keeps low.
        frame_lengths: real frames (batch,).
    """

    hidden: Tensor
    latent: Tensor
    energy: Tensor
    frame_lengths: Tensor


@dataclass(frozen=True)
class Wav2Vec2Output:
    """Attributes: logits before the softmax (batch, frames, vocab), one frame every 20 ms; frame_lengths (batch,); the
    encoder's hidden (batch, frames, hidden_size), which they are made from."""

    logits: Tensor
    frame_lengths: Tensor
    hidden: Tensor


@dataclass(frozen=True)
class Wav2Vec2PretrainingOutput:
    """What is compared in pre-training.

    Attributes:
        context: c, what the Transformer says of each frame (batch, frames, projection_size).
        target: q, the quantised sound of each frame (batch, frames, projection_size).
        probabilities: of the codes (batch, frames, groups, codes).
        energy: mean square of the convolutions' output a frame (batch, frames).
        frame_lengths: real frames (batch,).
    """

    context: Tensor
    target: Tensor
    probabilities: Tensor
    energy: Tensor
    frame_lengths: Tensor


class WaveConvolution(nn.Module):
    """A strided convolution, its norm if it has one, GELU."""

    def __init__(self, config: EncoderConfig, number: int) -> None:
        super().__init__()
        before, channels = (1, *config.conv_channels)[number], config.conv_channels[number]
        kernel, stride = config.conv_kernel_sizes[number], config.conv_strides[number]
        self.convolution = nn.Conv1d(before, channels, kernel, stride, bias=config.conv_bias)
        nn.init.kaiming_normal_(self.convolution.weight)
        self.by_frame = config.norm == "layer"
        if self.by_frame:
            self.norm: nn.Module = nn.LayerNorm(channels)
        else:
            self.norm = nn.GroupNorm(channels, channels) if number == 0 else nn.Identity()

    def forward(self, wave: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch more_channels less_time"]:
        """Return the layer's output; no padding is added at the ends."""
        hidden = self.convolution(wave)
        if self.by_frame:
            return nn.functional.gelu(self.norm(hidden.transpose(1, 2)).transpose(1, 2))
        return nn.functional.gelu(self.norm(hidden))


class Wav2Vec2EncoderBlock(nn.Module):
    """Self-attention and a feed-forward layer, each added to its input; norms before or after."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.norm_first = config.norm_first
        self.attention = SelfAttention(config.hidden_size, config.num_heads, config.attention_dropout)
        for layer in (self.attention.project_in, self.attention.project_out):
            _start_small(layer)
        self.attention_norm = nn.LayerNorm(config.hidden_size, config.norm_epsilon)
        self.widen = _start_small(nn.Linear(config.hidden_size, config.ffn_size))
        self.narrow = _start_small(nn.Linear(config.ffn_size, config.hidden_size))
        self.feed_forward_norm = nn.LayerNorm(config.hidden_size, config.norm_epsilon)
        self.dropout, self.inner_dropout = nn.Dropout(config.dropout), nn.Dropout(config.inner_dropout)
        self.gate = DistanceGate(config.hidden_size, config.num_heads) if config.distance_buckets else None
        adapted = config.adapter_size > 0
        self.adapter = LanguageAdapter(config.hidden_size, config.adapter_size) if adapted else nn.Identity()

    def forward(
        self,
        hidden: Float[Tensor, "batch frames features"],
        mask: Bool[Tensor, "batch frames"],
        distances: Float[Tensor, "heads frames frames"] | None = None,
    ) -> Float[Tensor, "batch frames features"]:
        """Return the block's output. distances: the bias of each pair of frames, where the config has one."""
        if self.norm_first:
            hidden = hidden + self._attend(self.attention_norm(hidden), mask, distances)
            hidden = hidden + self._feed_forward(self.feed_forward_norm(hidden))
        else:
            hidden = self.attention_norm(hidden + self._attend(hidden, mask, distances))
            hidden = self.feed_forward_norm(hidden + self._feed_forward(hidden))
        adapted: Tensor = self.adapter(hidden)
        return adapted

    def _attend(self, hidden: Tensor, mask: Tensor, distances: Tensor | None) -> Tensor:
        bias = None if self.gate is None or distances is None else self.gate(hidden, distances)
        attended: Tensor = self.dropout(self.attention(hidden, mask, bias))
        return attended

    def _feed_forward(self, hidden: Tensor) -> Tensor:
        return self.dropout(self.narrow(self.inner_dropout(nn.functional.gelu(self.widen(hidden)))))


class Wav2Vec2Encoder(nn.Module):
    """From a wave to a vector every 20 ms: convolutions, masks, positions, Transformer."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.convolutions = nn.ModuleList(
            WaveConvolution(config, number) for number in range(len(config.conv_channels))
        )
        width = config.conv_channels[-1]
        self.latent_norm = nn.LayerNorm(width, config.norm_epsilon) if config.latent_norm else nn.Identity()
        self.project = nn.Linear(config.conv_channels[-1], config.hidden_size)
        self.input_dropout, self.dropout = nn.Dropout(config.input_dropout), nn.Dropout(config.dropout)
        if config.masked:
            self.mask_vector = nn.Parameter(torch.rand(config.hidden_size))
        self.positions = _positions(config)
        if config.distance_buckets:
            self.distances = DistanceBias(config.num_heads, config.distance_buckets, config.max_distance)
        self.blocks = nn.ModuleList(Wav2Vec2EncoderBlock(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.hidden_size, config.norm_epsilon)

    def forward(
        self,
        wave: Float[Tensor, "batch samples"],
        sample_lengths: Int[Tensor, " batch"] | None = None,
        frame_mask: Bool[Tensor, "batch frames"] | None = None,
        channel_mask: Bool[Tensor, "batch features"] | None = None,
    ) -> Encoded:
        """Return what the encoder makes of waves.

        Args:
            wave: at 16 kHz, standardised if the config says so (batch, samples).
            sample_lengths: real samples (batch,); all are real without.
            frame_mask: True where the learned mask vector takes a frame's place.
            channel_mask: True where a channel is 0 in every frame.
        """
        hidden = wave[:, None]
        for convolution in self.convolutions:
            hidden = convolution(hidden)
        hidden = hidden.transpose(1, 2)
        energy, latent = hidden.float().square().mean(-1), self.latent_norm(hidden)
        hidden = self.input_dropout(self.project(latent))
        if frame_mask is not None:
            hidden = torch.where(frame_mask[..., None], self.mask_vector.to(hidden.dtype), hidden)
        if channel_mask is not None:
            hidden = hidden.masked_fill(channel_mask[:, None], 0.0)
        if sample_lengths is None:
            sample_lengths = torch.full((len(wave),), wave.shape[1], device=wave.device)
        lengths = self.frame_lengths(sample_lengths)
        return Encoded(self._transform(hidden, length_mask(lengths, hidden.shape[1])), latent, energy, lengths)

    def frame_lengths(self, sample_lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Return how many frames waves of these lengths become."""
        for kernel, stride in zip(self.config.conv_kernel_sizes, self.config.conv_strides, strict=True):
            sample_lengths = torch.div(sample_lengths - kernel, stride, rounding_mode="floor") + 1
        return sample_lengths.clamp(min=0)

    def _transform(self, hidden: Tensor, mask: Tensor) -> Tensor:
        hidden = hidden * mask[..., None]
        hidden = hidden + self.positions(hidden)
        if not self.config.norm_first:
            hidden = self.norm(hidden)
        hidden = self.dropout(hidden)
        distances = self.distances(hidden.shape[1]).to(hidden.dtype) if self.config.distance_buckets else None
        for block in self.blocks:
            dropped = self.training and self.config.layer_drop > 0 and torch.rand(()) < self.config.layer_drop
            hidden = hidden if dropped else block(hidden, mask, distances)  # LayerDrop (arXiv:1909.11556)
        return self.norm(hidden) if self.config.norm_first else hidden


class Wav2Vec2(nn.Module):
    """An encoder with a linear layer over letters, for CTC."""

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = Wav2Vec2Encoder(config)
        self.dropout = nn.Dropout(config.final_dropout)
        self.head = _start_small(nn.Linear(config.hidden_size, config.vocab))

    def forward(
        self,
        wave: Float[Tensor, "batch samples"],
        sample_lengths: Int[Tensor, " batch"] | None = None,
        frame_mask: Bool[Tensor, "batch frames"] | None = None,
        channel_mask: Bool[Tensor, "batch features"] | None = None,
    ) -> Wav2Vec2Output:
        """Return the letters' scores of each 20 ms; arguments as for `Wav2Vec2Encoder`."""
        encoded = self.encoder(wave, sample_lengths, frame_mask, channel_mask)
        return Wav2Vec2Output(self.head(self.dropout(encoded.hidden)), encoded.frame_lengths, encoded.hidden)

    @torch.inference_mode()
    def infer(
        self, wave: Float[Tensor, "batch samples"], sample_lengths: Int[Tensor, " batch"] | None = None
    ) -> Wav2Vec2Output:
        """Return the letters' scores without keeping a graph."""
        return self(wave, sample_lengths)


class Wav2Vec2Pretraining(nn.Module):
    """An encoder beside a quantiser, both seen through a projection into the space where they are compared."""

    def __init__(self, config: Wav2Vec2PretrainingConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Wav2Vec2Encoder(config)
        self.dropout = nn.Dropout(config.code_dropout)
        sizes = config.num_codebooks, config.codebook_size, config.codevector_size
        self.quantizer = Quantizer(config.conv_channels[-1], *sizes)
        self.project_context = nn.Linear(config.hidden_size, config.projection_size)
        self.project_target = nn.Linear(config.codevector_size, config.projection_size)

    def forward(
        self,
        wave: Float[Tensor, "batch samples"],
        sample_lengths: Int[Tensor, " batch"] | None = None,
        frame_mask: Bool[Tensor, "batch frames"] | None = None,
        temperature: float = 2.0,
    ) -> Wav2Vec2PretrainingOutput:
        """Return context and target of every frame; arguments as `Wav2Vec2Encoder`, temperature: of Gumbel."""
        encoded = self.encoder(wave, sample_lengths, frame_mask)
        vectors, probabilities = self.quantizer(self.dropout(encoded.latent), temperature)
        context, target = self.project_context(encoded.hidden), self.project_target(vectors)
        return Wav2Vec2PretrainingOutput(context, target, probabilities, encoded.energy, encoded.frame_lengths)

    @torch.inference_mode()
    def infer(
        self, wave: Float[Tensor, "batch samples"], sample_lengths: Int[Tensor, " batch"] | None = None
    ) -> Wav2Vec2PretrainingOutput:
        """Return context and target of every frame without masks and without keeping a graph."""
        return self(wave, sample_lengths)


def standardize_wave(
    wave: Float[Tensor, "batch samples"], sample_lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "batch samples"]:
    """Return each wave's real samples at mean 0 and standard deviation 1, padding 0: as public checkpoints want it."""
    mask = length_mask(sample_lengths, wave.shape[1])
    count = sample_lengths.clamp(min=1)[:, None]
    centered = (wave - (wave * mask).sum(1, keepdim=True) / count) * mask
    return centered / (centered.square().sum(1, keepdim=True) / count + 1e-7).sqrt()


def _positions(config: EncoderConfig) -> nn.Module:
    sizes = config.hidden_size, config.position_kernel_size, config.position_groups
    if config.positions == "stacked":
        return StackedPositions(*sizes, config.num_position_layers)
    return ConvolutionPositions(*sizes, config.positions == "normalized")


def _start_small(layer: nn.Linear) -> nn.Linear:
    """Return a linear layer whose weights begin near 0, as the Transformer's do in BERT (arXiv:1810.04805)."""
    nn.init.normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)
    return layer
