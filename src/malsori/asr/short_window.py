"""Encoding a short sound as a Whisper hears it in its whole window, without encoding the silence behind it again.

    sound + 1 s of silence ─► encoder, its blocks attending also to ◄─ the rest of a window of silence, kept once
                                 └─► decoder, its blocks attending also to ◄─ the same rest

A Whisper is trained on windows of 30 s, and one that is given less without more invents words. Of a clip of 5 s five
sixths of the encoder's work go into silence, whose keys and values hardly depend on what was said before it: they are
those of a window of nothing but silence here, summed up (`asr.silent_steps`). On recordings the texts are those of the
whole window but for a character in some hundred (RESULTS.md).
"""

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from malsori.asr.silent_steps import SILENCE_LEVEL, SilentSteps
from malsori.models.whisper import Whisper, WhisperEncoderBlock, WhisperState
from malsori.nn.kv_cache import KVCache


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
        return cls(network, [_steps(pair) for pair in pairs], [_steps(pair) for pair in crossed])

    @torch.inference_mode()
    def start(self, mel: Float[Tensor, "batch frames mel_channels"]) -> WhisperState:
        """Return the decoder's state under sounds that silence follows to the end of the window.

        Args:
            mel: each ends in MARGIN_SECONDS of silence; shorter than the window.
        """
        return WhisperState(self.network.decoder, self.caches(mel), None)

    def caches(self, mel: Float[Tensor, "batch frames mel_channels"]) -> list[KVCache]:
        """Return what the decoder's blocks attend to, of the same sounds; gradients go through it."""
        encoded, blocks = self.states(mel), zip(self.network.decoder.layers, self.decoder, strict=True)
        return [KVCache(*_behind(rest, *block.cross.project_kv(encoded))) for block, rest in blocks]

    def states(self, mel: Float[Tensor, "batch frames mel_channels"]) -> Float[Tensor, "batch steps features"]:
        """Return the encoder's output for the same sounds; gradients go through it."""
        mel = mel + (SILENCE_LEVEL - mel.amin((1, 2), keepdim=True))
        stride = self.network.config.frame_stride
        steps = -(-mel.shape[1] // stride)
        mel = nn.functional.pad(mel, (0, 0, 0, (steps + 1) * stride - mel.shape[1]), value=SILENCE_LEVEL)
        return self._encode(mel, steps, [])

    def _encode(self, mel: Tensor, steps: int, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Return the encoder's output at the first steps; each block's keys and values are added to `pairs`.

        A mel that goes on behind them lets the convolutions see silence there instead of zeros.
        """
        encoder = self.network.encoder
        hidden = encoder.embed(mel[:, : self.network.config.window_frames])[:, :steps]
        for number, block in enumerate(cast(list[WhisperEncoderBlock], list(encoder.blocks))):
            normed = block.attention_norm(hidden)
            pairs.append(block.attention.project_kv(normed))
            seen = _behind(self.encoder[number], *pairs[-1]) if self.encoder else pairs[-1]
            hidden = block.feed_forward(hidden + block.attention(normed, *seen))
        return encoder.norm(hidden)


def _steps(pair: tuple[Tensor, Tensor]) -> SilentSteps:
    keys, values = (part[0].float().cpu().numpy() for part in pair)
    return SilentSteps.of(keys, values)


def _behind(silent: SilentSteps, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return keys and values of sounds, then those of the silence to the window's end, and what scores are added."""
    rest_keys, rest_values, bias = (torch.from_numpy(part).to(keys) for part in silent.rest(keys.shape[2]))
    rows = (len(keys), -1, -1, -1)
    plain = keys.new_zeros(1, keys.shape[1], 1, keys.shape[2])
    return (
        torch.cat([keys, rest_keys.expand(rows)], 2),
        torch.cat([values, rest_values.expand(rows)], 2),
        torch.cat([plain, bias[None, :, None]], -1),
    )
