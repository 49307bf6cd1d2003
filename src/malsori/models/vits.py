"""VITS: Conditional Variational Autoencoder with Adversarial Learning for End-to-End Text-to-Speech
(Kim, Kong and Son 2021, arXiv:2106.06103).

    training   spectrogram ─► posterior encoder ─► z ─┬─► a piece of it ─► decoder ─► wave ◄─ judged
                                                      └─► flow ─► f(z) ◄─┐
               tokens ─► text encoder ─► μ, σ ─► aligned with f(z) ──────┴─ KL
                                │           └─► durations ─► duration predictor
    speaking   tokens ─► μ, σ ─► as long as predicted ─► f(z) ─► flow backwards ─► z ─► decoder ─► wave

The durations come from monotonic alignment search: nobody has to align the recordings beforehand. The search passes no
gradient, and the duration predictor sees the text detached; so the text encoder learns from the KL term alone.

Differences from the paper:
- The discriminators are HiFi-GAN's: those of periods, and one on the wave itself, of HiFi-GAN's widths.
- The decoder's first and last convolution have weight norm, as HiFi-GAN's own; public weights come to the same.
- The deterministic duration predictor is trained as a normal distribution of log-durations: half its squared error.
- The search can be pulled to the diagonal, which small batches need; not by default.
- Flows begin with nearly, not exactly, zero shifts and bends, so that every weight has a gradient from the first step.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from pydantic import model_validator
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from malsori.config import Config
from malsori.models.hifigan import Hifigan, HifiganConfig, HifiganOutput
from malsori.models.vits_duration import (
    DurationConfig,
    DurationPredictor,
    StochasticDurationPredictor,
    likelihoods,
    search_durations,
)
from malsori.nn.flow import ShiftFlow, WaveNet
from malsori.nn.lengths import expand_by_durations
from malsori.nn.transformer import RelativeAttention
from malsori.shapes import length_mask
from malsori.text.symbols import PHONEMES

_MAX_FRAMES_PER_TOKEN = 2000  # at most, whatever an untrained predictor says


class VitsConfig(Config):
    """Sizes; the defaults are the paper's for one speaker. Several need speaker_embedding_size, 256 in the paper.

    blanks: token 0 stands before, between and behind the tokens of a text.
    spectrogram_bins: of the linear spectrogram.
    window_size: how many positions to each side attention tells apart.
    diagonal: pulls the search to equal shares at first: a token that stands this share of the text away from its frame
        is half a nat less likely. Nothing beside what a trained text encoder says. 0 for the paper's search.
    """

    vocab: int = len(PHONEMES)
    speakers: int = 1
    speaker_embedding_size: int = 0
    blanks: bool = True
    spectrogram_bins: int = 513
    hidden_size: int = 192
    latent_channels: int = 192
    num_encoder_layers: int = 6
    num_heads: int = 2
    ffn_size: int = 768
    ffn_kernel_size: int = 3
    window_size: int = 4
    dropout: float = 0.1
    num_posterior_layers: int = 16
    num_flows: int = 4
    num_flow_layers: int = 4
    wavenet_kernel_size: int = 5
    wavenet_dilation: int = 1
    diagonal: float = 0.0
    durations: DurationConfig = DurationConfig()
    decoder: HifiganConfig = HifiganConfig(mel_channels=192)

    @model_validator(mode="after")
    def _agree(self) -> "VitsConfig":
        if self.decoder.mel_channels != self.latent_channels:
            raise ValueError(
                f"decoder.mel_channels is {self.decoder.mel_channels}: what the decoder takes is the latent, of "
                f"latent_channels {self.latent_channels}"
            )
        if self.speakers > 1 and not self.speaker_embedding_size:
            raise ValueError(
                f"{self.speakers} speakers need speaker_embedding_size above 0 to be told apart: 256 in the paper. Or "
                "learn from one of them alone: data.speakers"
            )
        return self


@dataclass(frozen=True)
class VitsOutput:
    """What the network makes of recordings and their texts.

    Attributes:
        wave: decoded from the latent, or from a piece of it (batch, samples).
        latent: f(z), the posterior's sample behind the flow (batch, frames, latent_channels).
        log_std: of the posterior at each frame (batch, frames, latent_channels).
        decoded: z itself, which the decoder is given, or a piece of it (batch, frames, latent_channels).
        prior_mean, prior_log_std: of the token that each frame belongs to (batch, frames, latent_channels).
        durations: frames each token was found to last (batch, tokens).
        duration_latent, duration_log_determinant, duration_noise, duration_noise_log_determinant: `DurationFlow`.
    """

    wave: Tensor
    latent: Tensor
    log_std: Tensor
    decoded: Tensor
    prior_mean: Tensor
    prior_log_std: Tensor
    durations: Tensor
    duration_latent: Tensor
    duration_log_determinant: Tensor
    duration_noise: Tensor
    duration_noise_log_determinant: Tensor


@dataclass(frozen=True)
class VitsSpeech:
    """Output of the network: wave (batch, samples); durations in frames (batch, tokens); frame_lengths (batch,)."""

    wave: Tensor
    durations: Tensor
    frame_lengths: Tensor


class VitsEncoderBlock(nn.Module):
    """Attention and two convolutions, each added to its input and normalised behind it."""

    def __init__(self, config: VitsConfig) -> None:
        super().__init__()
        self.attention = RelativeAttention(config.hidden_size, config.num_heads, config.window_size, config.dropout)
        self.attention_norm, self.convolution_norm = (nn.LayerNorm(config.hidden_size) for _ in range(2))
        padding = config.ffn_kernel_size // 2
        self.widen = nn.Conv1d(config.hidden_size, config.ffn_size, config.ffn_kernel_size, padding=padding)
        self.narrow = nn.Conv1d(config.ffn_size, config.hidden_size, config.ffn_kernel_size, padding=padding)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, hidden: Float[Tensor, "batch time features"], mask: Bool[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time features"]:
        """Return the block's output."""
        hidden = self.attention_norm(hidden + self.dropout(self.attention(hidden, mask)))
        real = mask[:, None]
        filtered = self.dropout(nn.functional.relu(self.widen(hidden.transpose(1, 2) * real)))
        filtered = (self.narrow(filtered * real) * real).transpose(1, 2)
        return self.convolution_norm(hidden + self.dropout(filtered))


class TextEncoder(nn.Module):
    """Tokens to what each sounds like: a normal distribution of the latent."""

    def __init__(self, config: VitsConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocab, config.hidden_size)
        nn.init.normal_(self.embedding.weight, std=config.hidden_size**-0.5)
        self.blocks = nn.ModuleList(VitsEncoderBlock(config) for _ in range(config.num_encoder_layers))
        self.project = nn.Conv1d(config.hidden_size, 2 * config.latent_channels, 1)

    def forward(
        self, token_ids: Int[Tensor, "batch tokens"], mask: Bool[Tensor, "batch tokens"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the encoded tokens (batch, tokens, features), and mean and log-std of each one's latent."""
        real = mask[..., None]
        hidden = self.embedding(token_ids) * math.sqrt(self.embedding.embedding_dim) * real
        for block in self.blocks:
            hidden = block(hidden, mask)
        hidden = hidden * real
        mean, log_std = (self.project(hidden.transpose(1, 2)).transpose(1, 2) * real).chunk(2, 2)
        return hidden, mean, log_std


class PosteriorEncoder(nn.Module):
    """A recording's linear spectrogram to a normal distribution of the latent at each frame."""

    def __init__(self, config: VitsConfig) -> None:
        super().__init__()
        self.widen = nn.Conv1d(config.spectrogram_bins, config.hidden_size, 1)
        self.wavenet = WaveNet(
            config.hidden_size,
            config.wavenet_kernel_size,
            config.num_posterior_layers,
            config.wavenet_dilation,
            config.speaker_embedding_size,
        )
        self.project = nn.Conv1d(config.hidden_size, 2 * config.latent_channels, 1)

    def forward(
        self,
        spectrogram: Float[Tensor, "batch frames bins"],
        mask: Bool[Tensor, "batch frames"],
        speaker: Float[Tensor, "batch speaker_features"] | None,
    ) -> tuple[Tensor, Tensor]:
        """Return mean and log-std (batch, frames, latent_channels)."""
        real = mask[:, None]
        hidden = self.wavenet(self.widen(spectrogram.transpose(1, 2)) * real, real, speaker)
        mean, log_std = (self.project(hidden) * real).transpose(1, 2).chunk(2, 2)
        return mean, log_std


class VitsDecoder(Hifigan):
    """HiFi-GAN's generator, conditioned on the speaker; its last convolution has no bias (public code)."""

    def __init__(self, config: VitsConfig) -> None:
        super().__init__(config.decoder)
        last = nn.Conv1d(config.decoder.channels >> len(config.decoder.upsample_rates), 1, 7, padding=3, bias=False)
        self.conv_out = weight_norm(last)
        if config.speaker_embedding_size:
            self.speaker = nn.Conv1d(config.speaker_embedding_size, config.decoder.channels, 1)

    def forward(
        self,
        mel: Float[Tensor, "batch frames channels"],
        excitation: Float[Tensor, "batch 2 samples"] | None = None,
        speaker: Float[Tensor, "batch speaker_features"] | None = None,
    ) -> HifiganOutput:
        """Return the wave of a latent (batch, frames, latent_channels), which here stands in a mel's place."""
        source = self.excitation(mel) if self.excitation and excitation is None else excitation
        hidden = self.conv_in(mel.transpose(1, 2))
        hidden = hidden if speaker is None else hidden + self.speaker(speaker[..., None])
        return HifiganOutput(self.grow(hidden, source))


class Vits(nn.Module):
    """Text to wave in one network."""

    def __init__(self, config: VitsConfig) -> None:
        super().__init__()
        self.config = config
        if config.speaker_embedding_size:
            self.speaker_embedding = nn.Embedding(config.speakers, config.speaker_embedding_size)
        self.text_encoder = TextEncoder(config)
        self.posterior_encoder = PosteriorEncoder(config)
        self.flow = ShiftFlow(
            config.num_flows,
            config.latent_channels,
            config.hidden_size,
            config.wavenet_kernel_size,
            config.num_flow_layers,
            dilation=config.wavenet_dilation,
            condition_size=config.speaker_embedding_size,
        )
        predictor = StochasticDurationPredictor if config.durations.stochastic else DurationPredictor
        self.duration_predictor = predictor(config.hidden_size, config.speaker_embedding_size, config.durations)
        self.decoder = VitsDecoder(config)

    def forward(
        self,
        token_ids: Int[Tensor, "batch tokens"],
        token_lengths: Int[Tensor, " batch"],
        speaker_ids: Int[Tensor, " batch"],
        spectrogram: Float[Tensor, "batch frames bins"],
        frame_lengths: Int[Tensor, " batch"],
        noise: Float[Tensor, "batch frames latent_channels"] | None = None,
        duration_noise: Float[Tensor, "batch tokens 2"] | None = None,
        pieces: Int[Tensor, "batch piece_frames"] | None = None,
        excitation: Float[Tensor, "batch 2 samples"] | None = None,
    ) -> VitsOutput:
        """Return the recording decoded from its latent, and all that the losses compare.

        Args:
            token_ids: with blanks if the model has them (batch, tokens).
            speaker_ids: one a recording (batch,).
            spectrogram: linear magnitudes of the recordings (batch, frames, bins).
            frame_lengths: real frames, at least as many as tokens (batch,).
            noise: what z is drawn from; drawn anew when not given. Zeros give the posterior's mean.
            duration_noise: what the duration predictor draws from; drawn anew when not given.
            pieces: the frames to decode of each recording; all of them when not given.
            excitation: pulses and noise of what is decoded, for a decoder that hears these; its own when not given.
        """
        tokens = length_mask(token_lengths, token_ids.shape[1])
        frames = length_mask(frame_lengths, spectrogram.shape[1])
        speaker = self.speaker_vectors(speaker_ids)
        read, seen = self.text_encoder(token_ids, tokens), self.posterior_encoder(spectrogram, frames, speaker)
        # exponentials, sums over the whole search and splines: half precision breaks them
        with torch.autocast(spectrogram.device.type, enabled=False):
            text, mean, log_std, posterior_mean, posterior_log_std = (each.float() for each in (*read, *seen))
            noise = torch.randn_like(posterior_mean) if noise is None else noise
            latent = (posterior_mean + noise * posterior_log_std.exp()) * frames[..., None]
            behind = self.flow(latent, frames, speaker)
            scores = likelihoods(behind, mean, log_std)
            durations = search_durations(scores, frame_lengths, token_lengths, self.config.diagonal)
            drawn = text.new_empty(*token_ids.shape, 2).normal_() if duration_noise is None else duration_noise
            of_durations = self.duration_predictor(text, tokens, durations, drawn, speaker)
        sliced = latent if pieces is None else latent.gather(1, pieces[..., None].expand(-1, -1, latent.shape[2]))
        return VitsOutput(
            wave=self.decoder(sliced, excitation, speaker).wave,
            latent=behind,
            log_std=posterior_log_std,
            decoded=sliced,
            prior_mean=expand_by_durations(mean, durations, behind.shape[1]),
            prior_log_std=expand_by_durations(log_std, durations, behind.shape[1]),
            durations=durations,
            duration_latent=of_durations.latent,
            duration_log_determinant=of_durations.log_determinant,
            duration_noise=of_durations.noise,
            duration_noise_log_determinant=of_durations.noise_log_determinant,
        )

    @torch.inference_mode()
    def infer(
        self,
        token_ids: Int[Tensor, "batch tokens"],
        token_lengths: Int[Tensor, " batch"] | None = None,
        speaker_ids: Int[Tensor, " batch"] | None = None,
        noise_scale: float = 0.667,
        duration_noise_scale: float = 0.8,
        speed: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> VitsSpeech:
        """Return the wave of a text.

        Args:
            token_ids: with blanks if the model has them (batch, tokens).
            token_lengths: real tokens (batch,); all when not given.
            speaker_ids: one a text (batch,); the first speaker when not given.
            noise_scale: how much one reading differs from another; 0 for none.
            duration_noise_scale: the same of its rhythm; a deterministic predictor has none.
            speed: 2.0 speaks twice as fast.
            generator: what the noise is drawn from, first that of durations, then that of frames.
        """
        batch, count = token_ids.shape
        whole = torch.full((batch,), count, device=token_ids.device) if token_lengths is None else token_lengths
        mask = length_mask(whole, count)
        speaker = self.speaker_vectors(torch.zeros_like(whole) if speaker_ids is None else speaker_ids)
        where = token_ids.device if generator is None else generator.device  # one seed, one noise on every device
        drawn = torch.zeros(batch, 2, count, device=where)
        if self.config.durations.stochastic:
            drawn = drawn.normal_(generator=generator) * duration_noise_scale
        mean, log_std, durations = self.plan(token_ids, mask, drawn.to(token_ids.device), speaker, speed)
        # laid out as in the public code, so that one seed gives the same noise here and there
        frames = int(durations.sum(1).max())
        noise = torch.empty(batch, frames, mean.shape[2], device=where).transpose(1, 2).normal_(generator=generator)
        wave = self.sound(mean, log_std, durations, noise.to(mean.device) * noise_scale, speaker)
        return VitsSpeech(wave, durations, durations.sum(1))

    def plan(
        self,
        token_ids: Int[Tensor, "batch tokens"],
        mask: Bool[Tensor, "batch tokens"],
        duration_noise: Float[Tensor, "batch 2 tokens"],
        speaker: Float[Tensor, "batch speaker_features"] | None,
        speed: float | Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean and log-std of each token's latent, and how many frames it lasts."""
        text, mean, log_std = self.text_encoder(token_ids, mask)
        log_durations = self.duration_predictor.log_durations(text, mask, duration_noise.transpose(1, 2), speaker)
        durations = torch.ceil(log_durations.exp() * mask * (1.0 / speed)).clamp(max=_MAX_FRAMES_PER_TOKEN).long()
        return mean, log_std, durations

    def sound(
        self,
        mean: Float[Tensor, "batch tokens latent_channels"],
        log_std: Float[Tensor, "batch tokens latent_channels"],
        durations: Int[Tensor, "batch tokens"],
        noise: Float[Tensor, "batch latent_channels frames"],
        speaker: Float[Tensor, "batch speaker_features"] | None,
    ) -> Float[Tensor, "batch samples"]:
        """Return the wave of tokens that last so long, the noise being as many frames as the longest text."""
        count = noise.shape[2]
        mean, log_std = (expand_by_durations(of_token, durations, count) for of_token in (mean, log_std))
        frames = length_mask(durations.sum(1), count)
        behind = (mean + noise.transpose(1, 2) * log_std.exp()) * frames[..., None]
        return self.decoder(self.flow(behind, frames, speaker, reverse=True), speaker=speaker).wave

    def speaker_vectors(self, speaker_ids: Int[Tensor, " batch"]) -> Float[Tensor, "batch speaker_features"] | None:
        """Return what steers every part of the network; None where there is one speaker alone."""
        return self.speaker_embedding(speaker_ids) if self.config.speaker_embedding_size else None
