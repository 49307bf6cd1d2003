"""What a wave is filtered from: pulses at the voice's pitch, and noise, as the vocal folds and the breath make them.

    log-mel ─► ConvNeXt ─► F0, voiced or not, a frame ─► phase, summed up from the first sample ─► pulses
                                                                                          seed ─► noise

A network that must find the phase of every frame by itself needs hundreds of thousands of steps; filters over a source
whose phases go together need hundreds. The phase is that of the whole sound: who makes a wave in pieces excites first.

Source: neural source-filter models (Wang, Takaki and Yamagishi 2019, arXiv:1904.12088); F0 from the mel as in HiFTNet
(Li et al. 2023, arXiv:2309.09493). Here the pulses are all harmonics in one closed form.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from malsori.config import Config
from malsori.nn.convnext import ConvNext

_LOG_HZ = math.log(200.0)  # where the predictor begins
_HIGHEST = 0.45  # of the sample rate: harmonics beyond are left out
_NOISE_SECONDS = 3.0  # after which the same noise comes again


class ExcitationConfig(Config):
    """The wave's rate, and the sizes of what hears F0 in a mel."""

    sample_rate: int = 22050
    hidden_size: int = 128
    num_layers: int = 4


class Excitation(nn.Module):
    """Pulses and noise for a log-mel."""

    noise: Tensor

    def __init__(self, config: ExcitationConfig, mel_channels: int, hop_samples: int) -> None:
        super().__init__()
        self.sample_rate, self.hop_samples = config.sample_rate, hop_samples
        self.convnext = ConvNext(mel_channels, config.hidden_size, config.num_layers)
        self.head = nn.Linear(config.hidden_size, 2)
        seconds = torch.Generator().manual_seed(0)
        frames = math.ceil(_NOISE_SECONDS * config.sample_rate / hop_samples)
        self.register_buffer("noise", torch.randn(frames, hop_samples, generator=seconds), persistent=False)

    def pitch(
        self, mel: Float[Tensor, "batch frames mel_channels"]
    ) -> tuple[Float[Tensor, "batch frames"], Float[Tensor, "batch frames"]]:
        """Return ln(Hz), in unvoiced frames too, and how surely each is voiced: above 0 if it is."""
        log_hz, voicing = self.head(self.convnext.encode(mel)).float().unbind(-1)
        return log_hz + _LOG_HZ, voicing

    def forward(self, mel: Float[Tensor, "batch frames mel_channels"]) -> Float[Tensor, "batch 2 samples"]:
        """Return a whole sound's pulses and noise, the same each time."""
        log_hz, voicing = self.pitch(mel)
        numbers = torch.arange(mel.shape[1], device=mel.device) % len(self.noise)
        noise = self.noise[numbers].flatten().expand(len(mel), -1)
        return torch.stack([self.pulses(log_hz, voicing > 0), noise], 1)

    def given(
        self, log_hz: Float[Tensor, "batch frames"], voiced: Bool[Tensor, "batch frames"]
    ) -> Float[Tensor, "batch 2 samples"]:
        """Return the pulses of a recording's own pitch, and noise that was not there before."""
        pulses = self.pulses(log_hz, voiced)
        return torch.stack([pulses, torch.randn_like(pulses)], 1)

    def pulses(
        self, log_hz: Float[Tensor, "batch frames"], voiced: Bool[Tensor, "batch frames"]
    ) -> Float[Tensor, "batch samples"]:
        """Return all harmonics below the highest, cosines of one size; their power is 1 at any pitch.

        Between frames F0 goes straight; an unvoiced frame is silent. Of N harmonics at the angle a the sum is
        sin((N + 1/2) a) / (2 sin(a / 2)) - 1/2, and the next one comes in by and by as F0 falls.
        """
        hz = _each_sample(log_hz, self.hop_samples).exp()
        turns = (hz.double() / self.sample_rate).cumsum(1)
        angle = (2 * math.pi) * (turns - turns.round()).float()
        allowed = _HIGHEST * self.sample_rate / hz
        whole = allowed.floor()
        half = (angle / 2).sin()
        near = half.abs() < 1e-5
        summed = ((whole + 0.5) * angle).sin() / (2 * half.masked_fill(near, 1.0)) - 0.5
        summed = torch.where(near, whole, summed) + (allowed - whole) * ((whole + 1) * angle).cos()
        return summed * (2 / allowed).sqrt() * _each_sample(voiced.float(), self.hop_samples)


def _each_sample(values: Float[Tensor, "batch frames"], hop: int) -> Float[Tensor, "batch samples"]:
    """Return values drawn straight between the centers of frames.

    >>> _each_sample(torch.tensor([[0.0, 4.0]]), 4)
    tensor([[0.0000, 0.0000, 0.5000, 1.5000, 2.5000, 3.5000, 4.0000, 4.0000]])
    """
    before = values - torch.cat([values[:, :1], values[:, :-1]], 1)
    after = torch.cat([values[:, 1:], values[:, -1:]], 1) - values
    offset = (torch.arange(hop, device=values.device) + 0.5) / hop - 0.5
    slope = torch.where(offset < 0, before[..., None], after[..., None])
    return (values[..., None] + offset * slope).flatten(1)
