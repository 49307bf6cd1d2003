"""Encoding a short sound as a Whisper hears it in its whole window, without encoding the silence behind it again.

    sound + 1 s of silence ─► encoder, its blocks attending also to ◄─ the rest of a window of silence, kept once
                                 └─► decoder, its blocks attending also to ◄─ the same rest

A Whisper is trained on windows of 30 s, and one that is given less without more invents words. Of a clip of 5 s five
sixths of the encoder's work go into silence, whose keys and values hardly depend on what was said before it: they are
those of a window of nothing but silence here. They are much alike too: of each head's 1500 some 64 means are kept, each
with the number of steps that it stands for. On recordings the texts are those of the whole window but for a character
in some hundred (RESULTS.md).
"""

from dataclasses import dataclass, field
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from malsori.models.whisper import Whisper, WhisperEncoderBlock, WhisperState
from malsori.nn.kv_cache import KVCache

#: What silence is in a log-mel whose loudest bin is 80 dB above it, as speech of a usual loudness has it (the median of
#: recordings: 1.3); every sound is brought to it, which is to change its loudness.
SILENCE_LEVEL = -0.7
MARGIN_SECONDS = 1.0  # of silence behind a sound that are encoded with it: what was said still echoes in their states
_MEANS = 64  # of a head's steps of silence
_ROUNDS = 8  # of k-means
_GRID = 50  # steps between the places from which on silence is summed up: 1 s


@dataclass(frozen=True)
class SilentSteps:
    """What one block attends to in a window of silence, whole and summed up.

    Attributes:
        keys, values: at every step, (1, heads, time, size) each.
        member: to which mean each step belongs, (heads, time).
    """

    keys: Tensor
    values: Tensor
    member: Tensor
    _summed: dict[int, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)

    @classmethod
    def of(cls, keys: Tensor, values: Tensor) -> "SilentSteps":
        """Return them for a block's keys and values."""
        return cls(keys, values, _k_means(torch.cat([_scaled(keys[0]), _scaled(values[0])], -1)))

    def behind(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return keys and values of sounds, then those of the silence to the window's end, and what scores are added.

        Silence that would take fewer than twice as many steps as there are means is not summed up.
        """
        first, total = keys.shape[2], self.keys.shape[2]
        place = min(total, -(-first // _GRID) * _GRID) if total - first > 2 * _MEANS else total
        if place not in self._summed:
            self._summed[place] = self._sum_up(place)
        rows = len(keys)
        plain = keys.new_zeros(1, keys.shape[1], 1, place)
        summed = self._summed[place]
        parts = ((keys, self.keys[:, :, first:place], summed[0]), (values, self.values[:, :, first:place], summed[1]))
        joined = [torch.cat([part, *(rest.expand(rows, -1, -1, -1) for rest in silent)], 2) for part, *silent in parts]
        return joined[0], joined[1], torch.cat([plain, summed[2]], -1)

    def _sum_up(self, place: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the means of keys and of values from a step on, and the logarithm of how many steps each is of."""
        heads, size = self.keys.shape[1], self.keys.shape[3]
        count = self.keys.new_zeros(heads, _MEANS if place < self.keys.shape[2] else 0)
        member = self.member[:, place:]
        count.scatter_add_(1, member, torch.ones_like(member, dtype=count.dtype))
        means = []
        for part in (self.keys, self.values):
            total = part.new_zeros(heads, count.shape[1], size)
            total.scatter_add_(1, member[..., None].expand(-1, -1, size), part[0, :, place:])
            means.append((total / count.clamp(min=1)[..., None])[None])
        return means[0], means[1], count.log()[None, :, None]


@dataclass(frozen=True)
class SilentWindow:
    """A network, with what its blocks attend to in a window of silence.

    Attributes:
        network: the Whisper.
        encoder, decoder: of each block; those of the decoder are of its cross-attention.
    """

    network: Whisper
    encoder: list[SilentSteps]
    decoder: list[SilentSteps]

    @classmethod
    @torch.inference_mode()
    def of(cls, network: Whisper) -> "SilentWindow":
        """Return it for a network, which encodes one whole window for it."""
        config, weight = network.config, network.encoder.norm.weight
        silence = weight.new_full((1, config.window_frames, config.mel_channels), SILENCE_LEVEL)
        pairs: list[tuple[Tensor, Tensor]] = []
        encoded = cls(network, [], [])._encode(silence, config.encoder_positions, pairs)
        crossed = [block.cross.project_kv(encoded) for block in network.decoder.layers]
        return cls(network, [SilentSteps.of(*pair) for pair in pairs], [SilentSteps.of(*pair) for pair in crossed])

    @torch.inference_mode()
    def start(self, mel: Float[Tensor, "batch frames mel_channels"]) -> WhisperState:
        """Return the decoder's state under sounds that silence follows to the end of the window.

        Args:
            mel: each ends in MARGIN_SECONDS of silence; shorter than the window.
        """
        mel = mel + (SILENCE_LEVEL - mel.amin((1, 2), keepdim=True))
        stride = self.network.config.frame_stride
        steps = -(-mel.shape[1] // stride)
        mel = nn.functional.pad(mel, (0, 0, 0, (steps + 1) * stride - mel.shape[1]), value=SILENCE_LEVEL)
        encoded = self._encode(mel, steps, [])
        blocks = zip(self.network.decoder.layers, self.decoder, strict=True)
        caches = [KVCache(*rest.behind(*block.cross.project_kv(encoded))) for block, rest in blocks]
        return WhisperState(self.network.decoder, caches, None)

    def _encode(self, mel: Tensor, steps: int, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Return the encoder's output at the first steps; each block's keys and values are added to `pairs`.

        A mel that goes on behind them lets the convolutions see silence there instead of zeros.
        """
        encoder = self.network.encoder
        hidden = encoder.embed(mel[:, : self.network.config.window_frames])[:, :steps]
        for number, block in enumerate(cast(list[WhisperEncoderBlock], list(encoder.blocks))):
            normed = block.attention_norm(hidden)
            pairs.append(block.attention.project_kv(normed))
            seen = self.encoder[number].behind(*pairs[-1]) if self.encoder else pairs[-1]
            hidden = block.feed_forward(hidden + block.attention(normed, *seen))
        return encoder.norm(hidden)


def _scaled(part: Float[Tensor, "heads time size"]) -> Float[Tensor, "heads time size"]:
    """Return vectors whose mean square deviation from their mean is 1 for each head."""
    return part / part.std((1, 2), keepdim=True).clamp(min=1e-6)


def _k_means(points: Float[Tensor, "heads time size"]) -> Tensor:
    """Return to which of _MEANS means each point belongs (heads, time): Lloyd's rounds from points in even steps."""
    heads, time, size = points.shape
    means = points[:, torch.linspace(0, time - 1, _MEANS, device=points.device).long()]
    for _ in range(_ROUNDS):
        member = (means.square().sum(-1)[:, None] - 2 * points @ means.transpose(1, 2)).argmin(-1)
        count = points.new_zeros(heads, _MEANS).scatter_add_(1, member, points.new_ones(heads, time))
        total = points.new_zeros(heads, _MEANS, size).scatter_add_(1, member[..., None].expand(-1, -1, size), points)
        means = torch.where(count[..., None] > 0, total / count.clamp(min=1)[..., None], means)
    return member
