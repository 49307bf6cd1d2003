"""Conformer: Convolution-augmented Transformer for Speech Recognition (Gulati et al. 2020, arXiv:2005.08100), with CTC.

    log-mel 10 ms ─► conv /4 ─► blocks ─► phoneme CTC ─► + ─► blocks ─► jamo CTC
                     (40 ms)                 (20 ms)    feedback           (20 ms)

    block: half FFN ─► self-attention ─► convolution ─► half FFN ─► LayerNorm, each added to its input

Two outputs from one pass: written jamo, which become the transcript, and sounded phonemes, which give the forced
alignment. The inner output feeds the upper blocks (Nozaki and Komatsu 2021, arXiv:2104.02724).

Differences from the paper:
- CTC instead of a transducer with an LSTM decoder.
- Rotary positions instead of Transformer-XL's relative encoding: same property, no extra parameters.
- Each 40 ms step writes two 20 ms output frames: Korean jamo come at up to 25 a second, and CTC needs a frame each.
- The convolution kernel is odd (31, not 32), so that it is centered.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from malsori.config import Config
from malsori.nn.batch_norm import BatchNorm
from malsori.nn.transformer import SelfAttention
from malsori.shapes import length_mask
from malsori.text.symbols import JAMO, PHONEMES

_OUTPUT_FRAMES = 2  # output frames that one encoder step writes
#: Mel frames to one encoder step, and to one output frame: the frame rate is the mel's divided by it.
STEP_STRIDE = 4
FRAME_STRIDE = STEP_STRIDE // _OUTPUT_FRAMES


class ConformerConfig(Config):
    """Sizes of a Conformer; the defaults are the paper's Conformer (S).

    phoneme_ctc_layer: the phoneme output stands after so many layers.
    first_attention_layer: layers before this one have no attention, so that sounds are learnt from convolution alone.
        The small recipe uses it; what it alone is worth has not been measured.
    """

    mel_channels: int = 80
    hidden_size: int = 144
    num_layers: int = 16
    num_heads: int = 4
    kernel_size: int = 31
    ffn_expansion_factor: int = 4
    dropout: float = 0.1
    subsampling_channels: int = 144
    phoneme_ctc_layer: int = 8
    first_attention_layer: int = 0
    jamo_vocab: int = len(JAMO)
    phoneme_vocab: int = len(PHONEMES)


@dataclass(frozen=True)
class ConformerOutput:
    """Log-probabilities of jamo and phonemes every 20 ms.

    Attributes:
        jamo: log-probabilities over written jamo (batch, frames, vocab); index 0 is CTC's blank.
        phonemes: log-probabilities over sounded phonemes (batch, frames, vocab); index 0 is the blank.
        frame_lengths: real output frames (batch,).
    """

    jamo: Tensor
    phonemes: Tensor
    frame_lengths: Tensor


class FeedForward(nn.Module):
    """Two linear layers with Swish between, normalised first (2.3)."""

    def __init__(self, hidden_size: int, ffn_expansion_factor: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(hidden_size),
            nn.Linear(hidden_size, hidden_size * ffn_expansion_factor),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_size * ffn_expansion_factor, hidden_size),
            nn.Dropout(dropout),
        )

    def forward(self, hidden: Float[Tensor, "batch time features"]) -> Float[Tensor, "batch time features"]:
        """Return the transformed features, without the residual."""
        return self.layers(hidden)


class ConvolutionModule(nn.Module):
    """Pointwise, gated; depthwise over time; batch norm; Swish; pointwise (2.2)."""

    def __init__(self, hidden_size: int, kernel_size: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden_size)
        self.gate = nn.Conv1d(hidden_size, 2 * hidden_size, 1)
        self.depthwise = nn.Conv1d(hidden_size, hidden_size, kernel_size, padding=kernel_size // 2, groups=hidden_size)
        self.batch_norm = BatchNorm(hidden_size)
        self.mix = nn.Conv1d(hidden_size, hidden_size, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, hidden: Float[Tensor, "batch time features"], mask: Bool[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time features"]:
        """Return the transformed features, without the residual; padding enters no convolution, and no norm."""
        channels = self.norm(hidden).transpose(1, 2)
        gated = nn.functional.glu(self.gate(channels), dim=1) * mask[:, None]
        normed = self.batch_norm(self.depthwise(gated).transpose(1, 2), mask).transpose(1, 2)
        mixed = self.mix(nn.functional.silu(normed))
        return self.dropout(mixed).transpose(1, 2)


class ConformerBlock(nn.Module):
    """Half a feed-forward, attention, convolution, half a feed-forward, LayerNorm (2.4, eq. 1)."""

    def __init__(self, config: ConformerConfig, attends: bool) -> None:
        super().__init__()
        self.first = FeedForward(config.hidden_size, config.ffn_expansion_factor, config.dropout)
        self.attends = attends
        if attends:
            self.attention_norm = nn.LayerNorm(config.hidden_size)
            self.attention = SelfAttention(config.hidden_size, config.num_heads, config.dropout, rotary=True)
            self.attention_dropout = nn.Dropout(config.dropout)
        self.convolution = ConvolutionModule(config.hidden_size, config.kernel_size, config.dropout)
        self.second = FeedForward(config.hidden_size, config.ffn_expansion_factor, config.dropout)
        self.norm = nn.LayerNorm(config.hidden_size)

    def forward(
        self, hidden: Float[Tensor, "batch time features"], mask: Bool[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time features"]:
        """Return the block's output."""
        hidden = hidden + 0.5 * self.first(hidden)
        if self.attends:
            hidden = hidden + self.attention_dropout(self.attention(self.attention_norm(hidden), mask))
        hidden = hidden + self.convolution(hidden, mask)
        hidden = hidden + 0.5 * self.second(hidden)
        return self.norm(hidden)


class Subsampling(nn.Module):
    """Two strided convolutions over time and frequency: 10 ms frames in, 40 ms steps out (2.1)."""

    def __init__(self, mel_channels: int, channels: int, hidden_size: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, channels, 3, stride=2, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, stride=2, padding=1, groups=channels)
        self.mix = nn.Conv2d(channels, channels, 1)
        self.project = nn.Linear(channels * -(-mel_channels // STEP_STRIDE), hidden_size)

    def forward(
        self, mel: Float[Tensor, "batch frames mel_channels"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch time features"], Int[Tensor, " batch"]]:
        """Return the steps and their lengths, ceil(frames / 4)."""
        image = mel[:, None] * length_mask(lengths, mel.shape[1])[:, None, :, None]
        image = nn.functional.relu(self.first(image))
        half = (lengths + 1) // 2
        image = image * length_mask(half, image.shape[2])[:, None, :, None]
        image = nn.functional.relu(self.mix(self.second(image)))
        return self.project(image.permute(0, 2, 1, 3).flatten(2)), (half + 1) // 2


class CtcHead(nn.Module):
    """Log-probabilities at twice the encoder's rate."""

    def __init__(self, hidden_size: int, vocab: int) -> None:
        super().__init__()
        self.vocab = vocab
        self.project = nn.Linear(hidden_size, _OUTPUT_FRAMES * vocab)

    def forward(self, hidden: Float[Tensor, "batch time features"]) -> Float[Tensor, "batch frames vocab"]:
        """Return log-probabilities; frames = 2 * time."""
        logits = self.project(hidden).view(len(hidden), -1, self.vocab)
        return logits.float().log_softmax(-1)


class Conformer(nn.Module):
    """The recogniser's network: log-mel in, log-probabilities over jamo and phonemes out."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        if not 0 < config.phoneme_ctc_layer < config.num_layers:
            raise ValueError(
                f"phoneme_ctc_layer {config.phoneme_ctc_layer} must lie between 1 and {config.num_layers - 1}"
            )
        self.config = config
        self.subsampling = Subsampling(config.mel_channels, config.subsampling_channels, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            ConformerBlock(config, attends=number >= config.first_attention_layer)
            for number in range(config.num_layers)
        )
        self.phoneme_head = CtcHead(config.hidden_size, config.phoneme_vocab)
        self.feedback = nn.Linear(_OUTPUT_FRAMES * config.phoneme_vocab, config.hidden_size)
        self.jamo_head = CtcHead(config.hidden_size, config.jamo_vocab)

    def forward(
        self, mel: Float[Tensor, "batch frames mel_channels"], mel_lengths: Int[Tensor, " batch"]
    ) -> ConformerOutput:
        """Return both outputs for a padded batch of 10 ms log-mels.

        Args:
            mel: natural-log mel (batch, frames, mel_channels), any level: each channel is centered and scaled here.
            mel_lengths: real frames (batch,).
        """
        hidden, steps = self.subsampling(standardize(mel, mel_lengths), mel_lengths)
        mask = length_mask(steps, hidden.shape[1])
        hidden = self.dropout(hidden)
        for block in self.blocks[: self.config.phoneme_ctc_layer]:
            hidden = block(hidden, mask)
        phonemes = self.phoneme_head(hidden)
        hidden = hidden + self.feedback(phonemes.exp().view(len(mel), hidden.shape[1], -1))
        for block in self.blocks[self.config.phoneme_ctc_layer :]:
            hidden = block(hidden, mask)
        return ConformerOutput(self.jamo_head(hidden), phonemes, steps * _OUTPUT_FRAMES)

    @torch.inference_mode()
    def infer(
        self, mel: Float[Tensor, "batch frames mel_channels"], mel_lengths: Int[Tensor, " batch"]
    ) -> ConformerOutput:
        """Return both outputs without keeping a graph; the same numbers as forward in evaluation mode."""
        return self(mel, mel_lengths)


def standardize(
    mel: Float[Tensor, "batch frames mel_channels"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "batch frames mel_channels"]:
    """Return the mel with each channel of each utterance at mean 0 and standard deviation 1, padding 0.

    It takes the microphone's and the room's constant colour out, and the level.
    """
    mask = length_mask(lengths, mel.shape[1])[..., None]
    count = lengths.clamp(min=1)[:, None, None]
    mean = (mel * mask).sum(1, keepdim=True) / count
    centered = (mel - mean) * mask
    std = (centered.pow(2).sum(1, keepdim=True) / count).sqrt()
    return centered / std.clamp(min=1e-3)
