"""Encoding a short sound as a Whisper hears it in its whole window, without encoding the silence behind it again.

    sound + 1 s of silence ─► encoder, its blocks attending also to ◄─ the rest of a window of silence, kept once
                                 └─► decoder, its blocks attending also to ◄─ the same rest

A Whisper is trained on windows of 30 s, and one that is given less without more invents words. Of a clip of 5 s five
sixths of the encoder's work go into silence, whose keys and values hardly depend on what was said before it: they are
those of a window of nothing but silence here. On recordings the texts are those of the whole window but for a character
in some hundred (RESULTS.md).
"""

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from malsori.models.whisper import KVCache, Whisper, WhisperEncoderBlock, WhisperState

#: What silence is in a log-mel whose loudest bin is 80 dB above it, as speech of a usual loudness has it (the median of
#: recordings: 1.3); every sound is brought to it, which is to change its loudness.
SILENCE_LEVEL = -0.7
MARGIN_SECONDS = 1.0  # of silence behind a sound that are encoded with it: what was said still echoes in their states

KeysValues = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class SilentWindow:
    """A network, with what its blocks attend to in a window of silence.

    Attributes:
        network: the Whisper.
        encoder, decoder: each block's keys and values at every step, (1, heads, time, size) each; those of the
            decoder are its cross-attention's.
    """

    network: Whisper
    encoder: list[KeysValues]
    decoder: list[KeysValues]

    @classmethod
    @torch.inference_mode()
    def of(cls, network: Whisper) -> "SilentWindow":
        """Return it for a network, which encodes one whole window for it."""
        config, weight = network.config, network.encoder.norm.weight
        silence = weight.new_full((1, config.window_frames, config.mel_channels), SILENCE_LEVEL)
        alone = cls(network, [], [])
        encoded, pairs = alone._encode(silence, config.encoder_positions)
        return cls(network, pairs, [block.cross.project_kv(encoded) for block in network.decoder.layers])

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
        encoded, _ = self._encode(mel, steps)
        caches = []
        for block, rest in zip(self.network.decoder.layers, self.decoder, strict=True):
            keys, values = _joined(block.cross.project_kv(encoded), rest)
            caches.append(KVCache(keys, values, keys[:, :, :0], values[:, :, :0]))
        return WhisperState(self.network.decoder, caches, None)

    def _encode(self, mel: Tensor, steps: int) -> tuple[Tensor, list[KeysValues]]:
        """Return the encoder's output at the first steps, and each block's keys and values of the whole window.

        A mel that goes on behind them lets the convolutions see silence there instead of zeros.
        """
        encoder, pairs = self.network.encoder, []
        hidden = encoder.embed(mel[:, : self.network.config.window_frames])[:, :steps]
        blocks = cast(list[WhisperEncoderBlock], list(encoder.blocks))
        for number, block in enumerate(blocks):
            normed = block.attention_norm(hidden)
            pair = block.attention.project_kv(normed)
            pairs.append(_joined(pair, self.encoder[number]) if self.encoder else pair)
            hidden = block.feed_forward(hidden + block.attention(normed, *pairs[-1]))
        return encoder.norm(hidden), pairs


def _joined(pair: KeysValues, rest: KeysValues) -> KeysValues:
    """Return the keys and values of sounds, and behind them those of the steps of silence that fill the window."""
    keys, values = (
        torch.cat([part, silent[:, :, part.shape[2] :].expand(len(part), -1, -1, -1)], 2)
        for part, silent in zip(pair, rest, strict=True)
    )
    return keys, values
