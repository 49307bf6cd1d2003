"""FastSpeech: Fast, Robust and Controllable Text to Speech (Ren et al. 2019, arXiv:1905.09263).

    tokens ─► embedding ─► encoder ─► + speaker ─┬────────────► length regulator ─► decoder ─► log-mel
                                                 └─► predicted durations ──▲

Differences from the paper:
- Durations come from the aligner, or from a teacher's attention when the recipe names one; the mel to predict is the
  recording's, or that teacher's (sequence-level distillation, 3.3).
- The mel is compared by absolute distance (L1), as in FastSpeech 2.
- Several speakers: a speaker's vector is added to the encoder's output.
- post_norm = false normalises first, which trains without a long warm-up.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor, nn

from malsori.config import Config
from malsori.nn.conv import ConvolutionPredictor
from malsori.nn.lengths import durations_of, expand_by_durations
from malsori.nn.transformer import FeedForwardSizes, FeedForwardTransformer
from malsori.shapes import length_mask
from malsori.text.symbols import PHONEMES


class FastSpeechConfig(Config):
    """Sizes; the defaults are the paper's (4.2: 6 blocks on each side, 384 features, 1536-wide convolutions of 3)."""

    vocab: int = len(PHONEMES)
    speakers: int = 1
    mel_channels: int = 80
    hidden_size: int = 384
    num_encoder_layers: int = 6
    num_decoder_layers: int = 6
    num_heads: int = 2
    ffn_size: int = 1536
    ffn_kernel_sizes: tuple[int, int] = (3, 3)
    dropout: float = 0.1
    predictor_hidden_size: int = 384
    predictor_kernel_size: int = 3
    predictor_dropout: float = 0.1
    post_norm: bool = True


@dataclass(frozen=True)
class FastSpeechOutput:
    """Predictions for a batch.

    Attributes:
        mel: predicted log-mel (batch, frames, mel_channels).
        frame_lengths: real frames (batch,), the sums of durations.
        log_durations: predicted log(1 + frames) a token (batch, tokens).
        durations: frames each token was given (batch, tokens).
    """

    mel: Tensor
    frame_lengths: Tensor
    log_durations: Tensor
    durations: Tensor


class FastSpeech(nn.Module):
    """The acoustic model: tokens in, log-mel out, in one parallel pass."""

    def __init__(self, config: FastSpeechConfig) -> None:
        super().__init__()
        self.config = config
        sizes = FeedForwardSizes(
            config.hidden_size,
            config.num_heads,
            config.ffn_size,
            config.ffn_kernel_sizes,
            config.dropout,
            config.post_norm,
        )
        self.embedding = nn.Embedding(config.vocab, config.hidden_size, padding_idx=0)
        self.speaker_embedding = nn.Embedding(config.speakers, config.hidden_size)
        nn.init.normal_(self.speaker_embedding.weight, std=0.1)
        self.encoder = FeedForwardTransformer(sizes, config.num_encoder_layers)
        self.duration_predictor = ConvolutionPredictor(
            config.hidden_size, config.predictor_hidden_size, config.predictor_kernel_size, config.predictor_dropout
        )
        self.decoder = FeedForwardTransformer(sizes, config.num_decoder_layers)
        self.project = nn.Linear(config.hidden_size, config.mel_channels)

    def forward(
        self,
        token_ids: Int[Tensor, "batch tokens"],
        token_lengths: Int[Tensor, " batch"],
        speaker_ids: Int[Tensor, " batch"],
        durations: Int[Tensor, "batch tokens"] | None = None,
        speed: float = 1.0,
    ) -> FastSpeechOutput:
        """Return the mel of tokens that last as long as is given, or as is predicted.

        Args:
            token_ids: phonemes (batch, tokens), 0 on padding.
            token_lengths: real tokens (batch,).
            speaker_ids: one a sentence (batch,).
            durations: frames a token (batch, tokens), 0 on padding.
            speed: of predicted durations; 2.0 speaks twice as fast.
        """
        mask = length_mask(token_lengths, token_ids.shape[1])
        hidden = self.encoder(self.embedding(token_ids), mask) + self.speaker_embedding(speaker_ids)[:, None]
        log_durations = self.duration_predictor(hidden, mask)
        if durations is None:
            durations = durations_of(log_durations, mask, speed)
        frames = expand_by_durations(hidden, durations)
        lengths = durations.sum(1)
        frame_mask = length_mask(lengths, frames.shape[1])
        mel = self.project(self.decoder(frames, frame_mask)) * frame_mask[..., None]
        return FastSpeechOutput(mel, lengths, log_durations, durations)

    @torch.inference_mode()
    def infer(
        self,
        token_ids: Int[Tensor, "batch tokens"],
        token_lengths: Int[Tensor, " batch"],
        speaker_ids: Int[Tensor, " batch"],
        speed: float = 1.0,
    ) -> FastSpeechOutput:
        """Return the mel from the text alone; speed 2.0 speaks twice as fast."""
        return self(token_ids, token_lengths, speaker_ids, speed=speed)
