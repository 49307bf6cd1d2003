"""FastSpeech 2: Fast and High-Quality End-to-End Text to Speech (Ren et al. 2020, arXiv:2006.04558).

    tokens ─► embedding ─► encoder ─► + speaker ─► + energy ─► length regulator ─► + pitch ─► decoder ─► log-mel
                                          │           ▲              ▲               ▲
                                          └───────────┴─ predicted ──┴─ durations    └─ predicted a frame

Differences from the paper:
- Pitch is interpolated log-F0 a frame, standardised by speaker, not its continuous wavelet transform; it enters
  through sines of it at eight rates, which place harmonics as finely as the paper's 256 bins with less to learn.
- Energy is one number a token (the mean over its frames, standardised by speaker), not one a frame.
- Several speakers: a speaker's vector is added to the encoder's output.
- Layers normalise first (pre-norm), which trains without a long warm-up.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from malsori.config import Config
from malsori.nn.conv import ConvolutionPredictor
from malsori.nn.lengths import expand_by_durations
from malsori.nn.transformer import SelfAttention, sinusoid_positions
from malsori.shapes import length_mask
from malsori.text.symbols import PHONEMES

#: Radians a standard deviation of log-F0: from a slope over the whole range to steps a mel band cannot tell apart.
_PITCH_RATES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)


class FastSpeech2Config(Config):
    """Sizes; the defaults are the paper's (4 encoder and 4 decoder layers, 256 features, 1024-wide convolutions)."""

    vocab: int = len(PHONEMES)
    speakers: int = 1
    mel_channels: int = 80
    features: int = 256
    encoder_layers: int = 4
    decoder_layers: int = 4
    heads: int = 2
    filter_features: int = 1024
    kernel: int = 9
    dropout: float = 0.1
    predictor_features: int = 256
    predictor_kernel: int = 3
    pitch_kernel: int = 9
    predictor_dropout: float = 0.5


@dataclass(frozen=True)
class FastSpeech2Output:
    """What the network says of a batch.

    Attributes:
        mel: predicted log-mel (batch, frames, mel_channels).
        frame_lengths: real frames (batch,), the sums of durations.
        log_durations: predicted log(1 + frames) a token (batch, tokens).
        pitch: predicted standardised log-F0 a frame (batch, frames).
        energy: predicted standardised energy a token (batch, tokens).
        durations: frames each token was given (batch, tokens).
    """

    mel: Tensor
    frame_lengths: Tensor
    log_durations: Tensor
    pitch: Tensor
    energy: Tensor
    durations: Tensor


class FeedForwardTransformerBlock(nn.Module):
    """Self-attention and a two-layer convolution, each normalised first and added to its input (FastSpeech, 3.1)."""

    def __init__(self, config: FastSpeech2Config) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.features)
        self.attention = SelfAttention(config.features, config.heads, config.dropout)
        self.convolution_norm = nn.LayerNorm(config.features)
        self.widen = nn.Conv1d(config.features, config.filter_features, config.kernel, padding=config.kernel // 2)
        self.narrow = nn.Conv1d(config.filter_features, config.features, 1)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, hidden: Float[Tensor, "batch time features"], mask: Bool[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time features"]:
        """Return the block's output, 0 on padding."""
        hidden = hidden + self.dropout(self.attention(self.attention_norm(hidden), mask))
        normed = (self.convolution_norm(hidden) * mask[..., None]).transpose(1, 2)
        filtered = self.narrow(nn.functional.relu(self.widen(normed))).transpose(1, 2)
        return (hidden + self.dropout(filtered)) * mask[..., None]


class FeedForwardTransformer(nn.Module):
    """Positions added once, then a stack of blocks."""

    def __init__(self, config: FastSpeech2Config, layers: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(FeedForwardTransformerBlock(config) for _ in range(layers))
        self.norm = nn.LayerNorm(config.features)

    def forward(
        self, hidden: Float[Tensor, "batch time features"], mask: Bool[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time features"]:
        """Return the last block's output, normalised."""
        hidden = hidden + sinusoid_positions(hidden.shape[1], hidden.shape[2], hidden.device)
        for block in self.blocks:
            hidden = block(hidden, mask)
        return self.norm(hidden)


class VarianceAdaptor(nn.Module):
    """Predicts duration and energy of each token and pitch of each frame, and adds the given ones (2.3)."""

    def __init__(self, config: FastSpeech2Config) -> None:
        super().__init__()
        width, dropout = config.predictor_features, config.predictor_dropout
        self.duration_predictor = ConvolutionPredictor(config.features, width, config.predictor_kernel, dropout)
        self.energy_predictor = ConvolutionPredictor(config.features, width, config.predictor_kernel, dropout)
        self.pitch_predictor = ConvolutionPredictor(config.features, width, config.pitch_kernel, dropout)
        kernel = config.predictor_kernel
        self.energy_embedding = nn.Conv1d(1, config.features, kernel, padding=kernel // 2)
        self.pitch_embedding = nn.Linear(2 * len(_PITCH_RATES), config.features)

    def add_pitch(
        self, hidden: Float[Tensor, "batch frames features"], pitch: Float[Tensor, "batch frames"]
    ) -> Float[Tensor, "batch frames features"]:
        """Return the frames with their pitch added."""
        angles = pitch[..., None] * torch.tensor(_PITCH_RATES, device=pitch.device)
        return hidden + self.pitch_embedding(torch.cat([angles.sin(), angles.cos()], dim=-1))

    def add_energy(
        self, hidden: Float[Tensor, "batch tokens features"], energy: Float[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch tokens features"]:
        """Return the tokens with their energy added."""
        return hidden + self.energy_embedding(energy[:, None]).transpose(1, 2)


class FastSpeech2(nn.Module):
    """The acoustic model: tokens in, log-mel out, in one parallel pass."""

    def __init__(self, config: FastSpeech2Config) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab, config.features, padding_idx=0)
        self.speaker_embedding = nn.Embedding(config.speakers, config.features)
        nn.init.normal_(self.speaker_embedding.weight, std=0.1)
        self.encoder = FeedForwardTransformer(config, config.encoder_layers)
        self.adaptor = VarianceAdaptor(config)
        self.decoder = FeedForwardTransformer(config, config.decoder_layers)
        self.project = nn.Linear(config.features, config.mel_channels)

    def encode(
        self,
        token_ids: Int[Tensor, "batch tokens"],
        token_lengths: Int[Tensor, " batch"],
        speaker_ids: Int[Tensor, " batch"],
    ) -> tuple[Float[Tensor, "batch tokens features"], Bool[Tensor, "batch tokens"]]:
        """Return the encoded tokens with the speaker added, and their mask."""
        mask = length_mask(token_lengths, token_ids.shape[1])
        hidden = self.encoder(self.embedding(token_ids), mask)
        return hidden + self.speaker_embedding(speaker_ids)[:, None], mask

    def decode(
        self, frames: Float[Tensor, "batch frames features"], mask: Bool[Tensor, "batch frames"]
    ) -> Float[Tensor, "batch frames mel_channels"]:
        """Return the log-mel, 0 on padding."""
        return self.project(self.decoder(frames, mask)) * mask[..., None]

    def forward(
        self,
        token_ids: Int[Tensor, "batch tokens"],
        token_lengths: Int[Tensor, " batch"],
        speaker_ids: Int[Tensor, " batch"],
        durations: Int[Tensor, "batch tokens"],
        pitch: Float[Tensor, "batch frames"],
        energy: Float[Tensor, "batch tokens"],
    ) -> FastSpeech2Output:
        """Return the prediction when durations, pitch and energy are the recording's own.

        Args:
            token_ids: phonemes (batch, tokens), 0 on padding.
            token_lengths: real tokens (batch,).
            speaker_ids: one a sentence (batch,).
            durations: frames a token (batch, tokens), 0 on padding.
            pitch: standardised log-F0 a frame (batch, frames), interpolated where unvoiced; 0 on padding.
            energy: standardised mean a token (batch, tokens), 0 on padding.
        """
        hidden, mask = self.encode(token_ids, token_lengths, speaker_ids)
        log_durations = self.adaptor.duration_predictor(hidden, mask)
        predicted_energy = self.adaptor.energy_predictor(hidden, mask)
        expanded = expand_by_durations(self.adaptor.add_energy(hidden, energy), durations)
        lengths = durations.sum(1)
        frames = length_mask(lengths, expanded.shape[1])
        predicted_pitch = self.adaptor.pitch_predictor(expanded, frames)
        mel = self.decode(self.adaptor.add_pitch(expanded, pitch), frames)
        return FastSpeech2Output(mel, lengths, log_durations, predicted_pitch, predicted_energy, durations)

    @torch.inference_mode()
    def infer(
        self,
        token_ids: Int[Tensor, "batch tokens"],
        token_lengths: Int[Tensor, " batch"],
        speaker_ids: Int[Tensor, " batch"],
        speed: float = 1.0,
        pitch_shift: float = 0.0,
        energy_shift: float = 0.0,
    ) -> FastSpeech2Output:
        """Return the prediction from the text alone.

        Args:
            speed: 2.0 speaks twice as fast; 1.0 as the corpus did.
            pitch_shift, energy_shift: in standard deviations of the speaker's own pitch and energy.
        """
        hidden, mask = self.encode(token_ids, token_lengths, speaker_ids)
        log_durations = self.adaptor.duration_predictor(hidden, mask)
        seconds = torch.expm1(log_durations).clamp(min=0) / speed
        durations = (seconds.round().long() * mask).clamp(max=2000)
        durations[:, 0] = durations[:, 0].clamp(min=1)  # the opening silence keeps every sentence at a frame or more
        energy = (self.adaptor.energy_predictor(hidden, mask) + energy_shift) * mask
        expanded = expand_by_durations(self.adaptor.add_energy(hidden, energy), durations)
        lengths = durations.sum(1)
        frames = length_mask(lengths, expanded.shape[1])
        pitch = (self.adaptor.pitch_predictor(expanded, frames) + pitch_shift) * frames
        mel = self.decode(self.adaptor.add_pitch(expanded, pitch), frames)
        return FastSpeech2Output(mel, lengths, log_durations, pitch, energy, durations)
