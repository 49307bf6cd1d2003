"""Tacotron: Towards End-to-End Speech Synthesis (Wang et al. 2017, arXiv:1703.10135).

    tokens ─► embedding ─► pre-net ─► CBHG ─► + speaker ─► attention by content ─► GRUs ─► r frames of log-mel, stop
                                                                ▲                               │
                                                   GRU ◄─ pre-net ◄─ last frame ◄───────────────┤
                                                                                                ▼
                                                                           post-net CBHG ─► log-mel

    CBHG: convolutions of widths 1 to K ─► max pool ─► two convolutions ─► + input ─► highway layers ─► GRU both ways

Differences from the paper:
- The post-net predicts the log-mel again, not a linear spectrogram: every vocoder here takes it, Griffin-Lim too, which
  spreads the mel bands over linear ones itself.
- Speech ends at a stop token, as Tacotron 2's does; the paper's decoder learns to predict silence.
- The decoder's pre-net drops out at inference too, as Tacotron 2's does.
- Decoder and post-net take mels that are standardised by two fixed numbers.
- Several speakers: a speaker's vector is added to the encoder's output.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from malsori.config import Config
from malsori.nn.lengths import durations_of_attention
from malsori.nn.recurrent import (
    AdditiveAttention,
    AttentionDecoder,
    BidirectionalRecurrent,
    DecoderGru,
    DecoderOutput,
    DecodingLimits,
    Highway,
    NormedConvolution,
    Prenet,
)
from malsori.shapes import length_mask
from malsori.text.symbols import PHONEMES


class AttentionAcousticConfig(Config):
    """Settings that both Tacotrons have.

    reduction: frames a step of the decoder.
    mel_mean, mel_std: of log-mels of speech, as decoder and post-net take them; 0 and 1 leave them alone.
    """

    vocab: int = len(PHONEMES)
    speakers: int = 1
    mel_channels: int = 80
    prenet_dropout: float = 0.5
    reduction: int = 1
    mel_mean: float = -5.0
    mel_std: float = 2.5
    limits: DecodingLimits = DecodingLimits()


class TacotronConfig(AttentionAcousticConfig):
    """Sizes; the defaults are the paper's (table 1).

    hidden_size: of encoder and post-net, which make twice as many.
    decoder_rnn_size: of the decoder's GRUs.
    """

    embedding_size: int = 256
    prenet_sizes: tuple[int, ...] = (256, 128)
    hidden_size: int = 128
    num_encoder_banks: int = 16
    num_postnet_banks: int = 8
    postnet_hidden_size: int = 256
    num_highway_layers: int = 4
    decoder_rnn_size: int = 256
    attention_size: int = 256
    reduction: int = 2


@dataclass(frozen=True)
class TacotronOutput:
    """What a Tacotron predicts for a batch.

    Attributes:
        mel: log-mel (batch, frames, mel_channels), 0 on padding.
        coarse: the same before the post-net.
        stop: logits of "speech ends here", one a step of the decoder (batch, steps).
        attention: weights of the tokens at each step (batch, steps, tokens).
        frame_lengths, step_lengths: real frames and steps (batch,).
    """

    mel: Tensor
    coarse: Tensor
    stop: Tensor
    attention: Tensor
    frame_lengths: Tensor
    step_lengths: Tensor


class Cbhg(nn.Module):
    """A bank of convolutions, highway layers and a GRU in both directions (3.1); twice `hidden_size` comes out."""

    def __init__(self, before: int, hidden_size: int, num_banks: int, widened: int, num_highway_layers: int) -> None:
        super().__init__()
        self.bank = nn.ModuleList(NormedConvolution(before, hidden_size, width) for width in range(1, num_banks + 1))
        self.widen = NormedConvolution(num_banks * hidden_size, widened, 3)
        self.narrow = NormedConvolution(widened, before, 3)
        self.project = nn.Linear(before, hidden_size) if before != hidden_size else nn.Identity()
        self.highways = nn.Sequential(*(Highway(hidden_size) for _ in range(num_highway_layers)))
        self.recurrent = BidirectionalRecurrent(nn.GRU, hidden_size, hidden_size)

    def forward(
        self, hidden: Float[Tensor, "batch time features"], mask: Bool[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time both"]:
        """Return both directions' outputs, 0 on padding."""
        sharp = torch.cat([convolution(hidden, mask).relu() for convolution in self.bank], dim=-1) * mask[..., None]
        after = nn.functional.pad(sharp, (0, 0, 0, 1))[:, 1:]
        pooled = torch.maximum(sharp, after)
        residual = self.narrow(self.widen(pooled, mask).relu(), mask)
        return self.recurrent(self.highways(self.project(hidden + residual)), mask)


class TacotronEncoder(nn.Module):
    """Tokens in, what they mean for their neighbourhood out (3.2)."""

    def __init__(self, config: TacotronConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocab, config.embedding_size, padding_idx=0)
        before = (config.embedding_size, *config.prenet_sizes)
        layers = [
            layer
            for wide, narrow in pairwise(before)
            for layer in (nn.Linear(wide, narrow), nn.ReLU(), nn.Dropout(config.prenet_dropout))
        ]
        self.prenet = nn.Sequential(*layers)
        self.cbhg = Cbhg(
            before[-1], config.hidden_size, config.num_encoder_banks, config.hidden_size, config.num_highway_layers
        )

    def forward(
        self, token_ids: Int[Tensor, "batch tokens"], mask: Bool[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch tokens features"]:
        """Return the encoded tokens, 0 on padding."""
        return self.cbhg(self.prenet(self.embedding(token_ids)), mask)


class TacotronPostnet(nn.Module):
    """The whole utterance, before and after, once more (3.4)."""

    def __init__(self, config: TacotronConfig) -> None:
        super().__init__()
        self.cbhg = Cbhg(
            config.mel_channels,
            config.hidden_size,
            config.num_postnet_banks,
            config.postnet_hidden_size,
            config.num_highway_layers,
        )
        self.project = nn.Linear(2 * config.hidden_size, config.mel_channels)

    def forward(
        self, frames: Float[Tensor, "batch frames mel_channels"], mask: Bool[Tensor, "batch frames"]
    ) -> Float[Tensor, "batch frames mel_channels"]:
        """Return the frames as they should have been."""
        return self.project(self.cbhg(frames, mask))


class AttentionAcousticModel(nn.Module):
    """An acoustic model of an encoder, an attention decoder and a post-net: tokens in, log-mel out, step by step.

    Args:
        encoder: token ids (batch, tokens) and their mask → (batch, tokens, memory).
        postnet: standardised frames (batch, frames, mel_channels) and their mask → the same, better.
        memory: width of what the encoder makes.
    """

    def __init__(
        self,
        config: AttentionAcousticConfig,
        encoder: nn.Module,
        decoder: AttentionDecoder,
        postnet: nn.Module,
        memory: int,
    ) -> None:
        super().__init__()
        self.config, self.encoder, self.decoder, self.postnet = config, encoder, decoder, postnet
        self.speaker_embedding = None
        if config.speakers > 1:
            self.speaker_embedding = nn.Embedding(config.speakers, memory)
            nn.init.normal_(self.speaker_embedding.weight, std=0.1)

    def encode(
        self,
        token_ids: Int[Tensor, "batch tokens"],
        token_lengths: Int[Tensor, " batch"],
        speaker_ids: Int[Tensor, " batch"],
    ) -> tuple[Float[Tensor, "batch tokens features"], Bool[Tensor, "batch tokens"]]:
        """Return the encoded tokens with the speaker added, and their mask."""
        mask = length_mask(token_lengths, token_ids.shape[1])
        hidden = self.encoder(token_ids, mask)
        if self.speaker_embedding is not None:
            hidden = hidden + self.speaker_embedding(speaker_ids)[:, None]
        return hidden, mask

    def forward(
        self,
        token_ids: Int[Tensor, "batch tokens"],
        token_lengths: Int[Tensor, " batch"],
        speaker_ids: Int[Tensor, " batch"],
        mel: Float[Tensor, "batch frames mel_channels"],
        frame_lengths: Int[Tensor, " batch"],
    ) -> TacotronOutput:
        """Return the prediction when each step goes on from the recording's own frames.

        Args:
            token_ids: phonemes (batch, tokens), 0 on padding.
            token_lengths: real tokens (batch,).
            speaker_ids: one a sentence (batch,).
            mel: the recording's log-mel (batch, frames, mel_channels).
            frame_lengths: its real frames (batch,).
        """
        encoded, mask = self.encode(token_ids, token_lengths, speaker_ids)
        standard = (mel - self.config.mel_mean) / self.config.mel_std
        decoded = self.decoder(encoded, mask, standard, frame_lengths)
        return self._finish(decoded, frame_lengths, mel.shape[1])

    @torch.inference_mode()
    def infer(
        self,
        token_ids: Int[Tensor, "batch tokens"],
        token_lengths: Int[Tensor, " batch"],
        speaker_ids: Int[Tensor, " batch"],
        limits: DecodingLimits | None = None,
        seed: int = 0,
    ) -> TacotronOutput:
        """Return the prediction from the text alone.

        Args:
            limits: other ones than the model's own.
            seed: of the pre-net's dropout; another one gives another reading of the same text.
        """
        encoded, mask = self.encode(token_ids, token_lengths, speaker_ids)
        decoded = self.decoder.infer(encoded, mask, limits or self.config.limits, seed)
        return self._finish(decoded, decoded.steps * self.config.reduction, decoded.frames.shape[1])

    def durations(self, output: TacotronOutput, token_lengths: Int[Tensor, " batch"]) -> Int[Tensor, "batch tokens"]:
        """Return how many frames each token was attended to, from left to right; they sum to the frames."""
        lengths = token_lengths, output.frame_lengths
        return durations_of_attention(output.attention, *lengths, self.config.reduction)

    def _finish(self, decoded: DecoderOutput, frame_lengths: Tensor, frames: int) -> TacotronOutput:
        """Return the output: what the post-net makes of the decoder's frames, no longer standardised."""
        real = length_mask(frame_lengths, frames)
        coarse = decoded.frames[:, :frames]
        fine = self.postnet(coarse, real)
        fine, coarse = ((mel * self.config.mel_std + self.config.mel_mean) * real[..., None] for mel in (fine, coarse))
        return TacotronOutput(fine, coarse, decoded.stop, decoded.attention, frame_lengths, decoded.steps)


class Tacotron(AttentionAcousticModel):
    """CBHG before and after an attention by content."""

    def __init__(self, config: TacotronConfig) -> None:
        memory, hidden = 2 * config.hidden_size, config.decoder_rnn_size
        decoder = AttentionDecoder(
            Prenet(config.mel_channels, config.prenet_sizes, config.prenet_dropout, bias=True),
            nn.GRUCell(config.prenet_sizes[-1] + memory, hidden),
            AdditiveAttention(hidden, memory, config.attention_size),
            DecoderGru(hidden, memory, hidden),
            config.mel_channels,
            config.reduction,
        )
        super().__init__(config, TacotronEncoder(config), decoder, TacotronPostnet(config), memory)
