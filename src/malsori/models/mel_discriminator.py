"""A discriminator of log-mels that knows what shall be said: GANSpeech (Yang et al. 2021, arXiv:2106.15153), 2.2.

    phonemes, durations, speaker ─► a learnt mel a frame ──────────────────┐
    log-mel (pieces) ─► itself, and what of it stands out of its neighbors ─┴─► 2-D convolutions ─► scores

Differences from the paper:
- One discriminator over time and frequency at once, not one a resolution over time: what an L1 loss smooths away are
  fine lines along both.
- It sees the mel also less its mean over 5 x 5 points: there lies what is missing, and from the mel alone it takes
  several times as long to find it.
- It sees the phonemes beside the mel and gives one score, conditional, not a second one that knows the speaker alone:
  a mel that is sharp but of another consonant shall be found out too.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from malsori.config import Config
from malsori.models.hifigan import LEAKY_SLOPE, DiscriminatorOutput

_USUAL, _SPREAD = -5.0, 2.0  # of log-mels of speech: mean and standard deviation
_CONTRAST = 0.3  # the usual distance of a point from its neighbors' mean


class MelDiscriminatorConfig(Config):
    """How wide the discriminator is: channels of its first layer, doubled up to four times that."""

    channels: int = 16


class MelDiscriminator(nn.Module):
    """Tells recorded from predicted mels of the same phonemes."""

    def __init__(self, config: MelDiscriminatorConfig, vocab: int, speakers: int, mel_channels: int) -> None:
        super().__init__()
        self.config = config
        self.phoneme_embedding = nn.Embedding(vocab, mel_channels)
        self.speaker_embedding = nn.Embedding(speakers, mel_channels)
        for embedding in (self.phoneme_embedding, self.speaker_embedding):
            nn.init.normal_(embedding.weight, std=0.1)
        widths = [4] + [config.channels * factor for factor in (1, 2, 4, 4)]
        strides = (1, 2, 2, 2)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(before, after, 5, stride, padding=2))
            for before, after, stride in zip(widths, widths[1:], strides, strict=False)
        )
        self.score = weight_norm(nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(
        self,
        mel: Float[Tensor, "batch frames mel_channels"],
        phonemes: Int[Tensor, "batch frames"],
        speaker_ids: Int[Tensor, " batch"],
    ) -> DiscriminatorOutput:
        """Return the scores (batch, positions) and the maps between the layers.

        Args:
            mel: pieces of equal length (batch, frames, mel_channels), recorded or predicted.
            phonemes: the token each frame belongs to (batch, frames).
            speaker_ids: one a piece (batch,).
        """
        speakers = self.speaker_embedding(speaker_ids)[:, None].expand_as(mel)
        mean = nn.functional.avg_pool2d(mel[:, None], 5, 1, padding=2, count_include_pad=False)[:, 0]
        seen = [(mel - _USUAL) / _SPREAD, (mel - mean) / _CONTRAST]
        hidden = torch.stack([*seen, self.phoneme_embedding(phonemes), speakers], dim=1)
        maps = []
        for layer in self.layers:
            hidden = nn.functional.leaky_relu(layer(hidden), LEAKY_SLOPE)
            maps.append(hidden)
        return DiscriminatorOutput([self.score(hidden).flatten(1)], [maps])
