"""FastSpeech 2: Fast and High-Quality End-to-End Text to Speech (Ren et al. 2020, arXiv:2006.04558).

    tokens ─► embedding ─► encoder ─► + speaker ─► + energy ─► length regulator ─► + pitch ─► decoder ─► log-mel
                                          │           ▲              ▲               ▲
                                          └───────────┴─ predicted ──┴─ durations    └─ predicted a frame

Differences from the paper:
- Pitch is interpolated log-F0 a frame, standardised by speaker, not its continuous wavelet transform; it enters
  through sines of it at eight rates, which place harmonics as finely as the paper's 256 bins with less to learn.
- Energy is one number a token (the mean over its frames, standardised by speaker), not one a frame.
- Several speakers: a speaker's vector is added to the encoder's output.
- Layers normalise first (pre-norm), which trains without a long warm-up; post_norm = true is the paper's.
- What ming024's public implementation does otherwise can be asked for, so that its checkpoints open: pitch and energy
  in bins, a token or a frame, and a post-net.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from malsori.config import Config
from malsori.models.tacotron2 import Tacotron2Config, Tacotron2Postnet
from malsori.nn.conv import ConvolutionPredictor
from malsori.nn.lengths import average_by_durations, durations_of, expand_by_durations
from malsori.nn.transformer import FeedForwardSizes, FeedForwardTransformer
from malsori.shapes import length_mask
from malsori.text.symbols import PHONEMES

#: Radians a standard deviation of log-F0: from a slope over the whole range to steps a mel band cannot tell apart.
_PITCH_RATES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)


class FastSpeech2Config(Config):
    """Sizes; the defaults are the paper's (4 encoder and 4 decoder layers, 256 features, 1024-wide convolutions).

    The last five are those of the public implementation by ming024, off by default: post_norm and interleaved as
    `FeedForwardSizes` says, bins for pitch and energy of a token (or a frame) instead of their values, Tacotron 2's
    post-net.
    """

    vocab: int = len(PHONEMES)
    speakers: int = 1
    mel_channels: int = 80
    hidden_size: int = 256
    num_encoder_layers: int = 4
    num_decoder_layers: int = 4
    num_heads: int = 2
    ffn_size: int = 1024
    ffn_kernel_size: int = 9
    dropout: float = 0.1
    predictor_hidden_size: int = 256
    predictor_kernel_size: int = 3
    pitch_predictor_kernel_size: int = 9
    predictor_dropout: float = 0.5
    post_norm: bool = False
    interleaved: bool = False
    num_bins: int = 0
    frame_level_bins: bool = False
    postnet_hidden_size: int = 0

    @property
    def blocks(self) -> FeedForwardSizes:
        """Sizes of the encoder's and the decoder's blocks."""
        return FeedForwardSizes(
            self.hidden_size,
            self.num_heads,
            self.ffn_size,
            (self.ffn_kernel_size, 1),
            self.dropout,
            self.post_norm,
            self.interleaved,
        )


@dataclass(frozen=True)
class FastSpeech2Output:
    """Predictions for a batch.

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


@dataclass(frozen=True)
class VarianceTargets:
    """What the tokens shall be spoken with: the recording's own, or shifts of what is predicted.

    Attributes:
        durations, pitch, energy: as `FastSpeech2.forward` takes them; None to predict.
        speed, pitch_shift, energy_shift: as `FastSpeech2.infer` takes them.
    """

    durations: Tensor | None = None
    pitch: Tensor | None = None
    energy: Tensor | None = None
    speed: float = 1.0
    pitch_shift: float = 0.0
    energy_shift: float = 0.0


@dataclass(frozen=True)
class VarianceAdaptorOutput:
    """The tokens as frames (batch, frames, features), the frames' mask, and what was predicted and used for it."""

    frames: Tensor
    mask: Tensor
    log_durations: Tensor
    pitch: Tensor
    energy: Tensor
    durations: Tensor


class VarianceAdaptor(nn.Module):
    """Predicts duration and energy of each token and pitch of each frame, and adds the given ones (2.3).

    `adapt` is no `forward`: diagrams and contributions of the losses then look inside, at each predictor.
    """

    def __init__(self, config: FastSpeech2Config) -> None:
        super().__init__()
        width, dropout = config.predictor_hidden_size, config.predictor_dropout
        self.duration_predictor = ConvolutionPredictor(config.hidden_size, width, config.predictor_kernel_size, dropout)
        self.energy_predictor = ConvolutionPredictor(config.hidden_size, width, config.predictor_kernel_size, dropout)
        self.pitch_predictor = ConvolutionPredictor(
            config.hidden_size, width, config.pitch_predictor_kernel_size, dropout
        )
        kernel_size = config.predictor_kernel_size
        self.energy_embedding = nn.Conv1d(1, config.hidden_size, kernel_size, padding=kernel_size // 2)
        self.pitch_embedding = nn.Linear(2 * len(_PITCH_RATES), config.hidden_size)

    def adapt(
        self,
        hidden: Float[Tensor, "batch tokens features"],
        mask: Bool[Tensor, "batch tokens"],
        targets: VarianceTargets,
    ) -> VarianceAdaptorOutput:
        """Return the tokens as frames, with energy and pitch added."""
        log_durations = self.duration_predictor(hidden, mask)
        durations = durations_of(log_durations, mask, targets.speed) if targets.durations is None else targets.durations
        energy = (self.energy_predictor(hidden, mask) + targets.energy_shift) * mask
        used = energy if targets.energy is None else targets.energy
        hidden = hidden + self.energy_embedding(used[:, None]).transpose(1, 2)
        frames = expand_by_durations(hidden, durations)
        frame_mask = length_mask(durations.sum(1), frames.shape[1])
        pitch = (self.pitch_predictor(frames, frame_mask) + targets.pitch_shift) * frame_mask
        used = pitch if targets.pitch is None else targets.pitch
        angles = used[..., None] * torch.tensor(_PITCH_RATES, device=used.device)
        frames = frames + self.pitch_embedding(torch.cat([angles.sin(), angles.cos()], dim=-1))
        return VarianceAdaptorOutput(frames, frame_mask, log_durations, pitch, energy, durations)


class BinnedAdaptor(nn.Module):
    """Predicts durations, and pitch and energy of each token or frame; adds a vector for the bin that they are in.

    So does the public implementation by ming024. Pitch is still taken and given a frame and energy a token: the mean
    over a token's frames, and the token's on each of them.
    """

    pitch_bins: Tensor
    energy_bins: Tensor

    def __init__(self, config: FastSpeech2Config) -> None:
        super().__init__()
        self.frame_level = config.frame_level_bins
        width, dropout = config.predictor_hidden_size, config.predictor_dropout
        self.duration_predictor = ConvolutionPredictor(config.hidden_size, width, config.predictor_kernel_size, dropout)
        self.energy_predictor = ConvolutionPredictor(config.hidden_size, width, config.predictor_kernel_size, dropout)
        self.pitch_predictor = ConvolutionPredictor(
            config.hidden_size, width, config.pitch_predictor_kernel_size, dropout
        )
        self.energy_embedding = nn.Embedding(config.num_bins, config.hidden_size)
        self.pitch_embedding = nn.Embedding(config.num_bins, config.hidden_size)
        for name in ("pitch_bins", "energy_bins"):  # edges, in standard deviations
            self.register_buffer(name, torch.linspace(-4.0, 4.0, config.num_bins - 1))

    def adapt(
        self,
        hidden: Float[Tensor, "batch tokens features"],
        mask: Bool[Tensor, "batch tokens"],
        targets: VarianceTargets,
    ) -> VarianceAdaptorOutput:
        """Return the tokens as frames, with pitch and energy added."""
        log_durations = self.duration_predictor(hidden, mask)
        durations = durations_of(log_durations, mask, targets.speed) if targets.durations is None else targets.durations
        target_pitch, target_energy = targets.pitch, targets.energy
        if self.frame_level:
            hidden = expand_by_durations(hidden, durations)
            mask = length_mask(durations.sum(1), hidden.shape[1])
            target_energy = _on_frames(target_energy, durations)
        elif target_pitch is not None:
            target_pitch = average_by_durations(target_pitch, durations)
        pitch = (self.pitch_predictor(hidden, mask) + targets.pitch_shift) * mask
        hidden = hidden + self._embedded("pitch", pitch if target_pitch is None else target_pitch)
        energy = (self.energy_predictor(hidden, mask) + targets.energy_shift) * mask
        hidden = hidden + self._embedded("energy", energy if target_energy is None else target_energy)
        if self.frame_level:
            energy = average_by_durations(energy, durations)
        else:
            hidden, pitch = expand_by_durations(hidden, durations), _on_frames(pitch, durations)
        mask = length_mask(durations.sum(1), hidden.shape[1])
        return VarianceAdaptorOutput(hidden, mask, log_durations, pitch, energy, durations)

    def _embedded(self, kind: str, values: Tensor) -> Tensor:
        return getattr(self, f"{kind}_embedding")(torch.bucketize(values, getattr(self, f"{kind}_bins")))


def _on_frames(values: Tensor | None, durations: Tensor) -> Tensor | None:
    return None if values is None else expand_by_durations(values[..., None], durations)[..., 0]


class FastSpeech2(nn.Module):
    """The acoustic model: tokens in, log-mel out, in one parallel pass."""

    def __init__(self, config: FastSpeech2Config) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab, config.hidden_size, padding_idx=0)
        self.speaker_embedding = nn.Embedding(config.speakers, config.hidden_size)
        nn.init.normal_(self.speaker_embedding.weight, std=0.1)
        self.encoder = FeedForwardTransformer(config.blocks, config.num_encoder_layers)
        self.adaptor = BinnedAdaptor(config) if config.num_bins else VarianceAdaptor(config)
        self.decoder = FeedForwardTransformer(config.blocks, config.num_decoder_layers)
        self.project = nn.Linear(config.hidden_size, config.mel_channels)
        if config.postnet_hidden_size:
            sizes = Tacotron2Config(mel_channels=config.mel_channels, postnet_hidden_size=config.postnet_hidden_size)
            self.postnet = Tacotron2Postnet(sizes)

    def speak(
        self,
        token_ids: Int[Tensor, "batch tokens"],
        token_lengths: Int[Tensor, " batch"],
        speaker_ids: Int[Tensor, " batch"],
        targets: VarianceTargets,
    ) -> FastSpeech2Output:
        """Return the mel of tokens with what is given, and with what is predicted where it is not."""
        mask = length_mask(token_lengths, token_ids.shape[1])
        hidden = self.encoder(self.embedding(token_ids), mask) + self.speaker_embedding(speaker_ids)[:, None]
        adapted = self.adaptor.adapt(hidden, mask, targets)
        mel = self.project(self.decoder(adapted.frames, adapted.mask))
        if self.config.postnet_hidden_size:
            mel = self.postnet(mel, adapted.mask)
        return FastSpeech2Output(
            mel * adapted.mask[..., None],
            adapted.durations.sum(1),
            adapted.log_durations,
            adapted.pitch,
            adapted.energy,
            adapted.durations,
        )

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
        return self.speak(token_ids, token_lengths, speaker_ids, VarianceTargets(durations, pitch, energy))

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
        targets = VarianceTargets(speed=speed, pitch_shift=pitch_shift, energy_shift=energy_shift)
        return self.speak(token_ids, token_lengths, speaker_ids, targets)
