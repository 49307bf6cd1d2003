"""Recognizers as graphs: CTC networks whole, a Whisper as its encoder and a decoder with its cache outside.

Everything is of one sound (batch 1); its length, and how many texts are decoded at a time, is open.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from malsori.export.graph import Graph

if TYPE_CHECKING:
    from malsori.models.conformer import Conformer
    from malsori.models.wav2vec2 import Wav2Vec2
    from malsori.models.whisper import Attention, Whisper, WhisperDecoderBlock, WhisperEncoderBlock

_FRAMES, _SAMPLES = 61, 3201  # of the examples
_ROWS, _PAST, _NEW, _STEPS, _SILENT = 2, 3, 2, 21, 5


class _Conformer(nn.Module):
    def __init__(self, network: "Conformer") -> None:
        super().__init__()
        self.network = network

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        output = self.network(mel, torch.ones_like(mel[:, :, 0], dtype=torch.long).sum(1))
        return output.jamo, output.phonemes


class _Wav2Vec2(nn.Module):
    def __init__(self, network: "Wav2Vec2") -> None:
        super().__init__()
        self.network = network

    def forward(self, wave: Tensor) -> Tensor:
        return self.network(wave, torch.ones_like(wave, dtype=torch.long).sum(1)).logits.log_softmax(-1)


class _WhisperEncoder(nn.Module):
    """The encoder up to what the decoder attends to; its blocks attend to given keys and values too.

    Those are of the silence behind a short sound, which need not be encoded again with each; there may be none.
    """

    def __init__(self, network: "Whisper") -> None:
        super().__init__()
        self.network = network

    def forward(
        self, mel: Tensor, steps: Tensor, silent_keys: Tensor, silent_values: Tensor, silent_bias: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        encoder = self.network.encoder
        hidden = encoder.embed(mel)[:, :steps]
        own_keys, own_values = [], []
        for number, block in enumerate(cast("list[WhisperEncoderBlock]", list(encoder.blocks))):
            normed = block.attention_norm(hidden)
            keys, values = block.attention.project_kv(normed)
            own_keys.append(keys)
            own_values.append(values)
            plain = torch.zeros_like(keys[..., 0])[:, :, None]
            seen = torch.cat([keys, silent_keys[number]], 2), torch.cat([values, silent_values[number]], 2)
            bias = torch.cat([plain, silent_bias[number]], 3)
            hidden = block.feed_forward(hidden + attend(block.attention, normed, *seen, bias)[0])
        encoded = encoder.norm(hidden)
        crossed = [block.cross.project_kv(encoded) for block in self.network.decoder.layers]
        cross = torch.stack([keys for keys, _ in crossed]), torch.stack([values for _, values in crossed])
        return *cross, torch.stack(own_keys), torch.stack(own_values)


class _WhisperDecoder(nn.Module):
    """New tokens of several texts of one sound; where the upper half's heads look comes along."""

    def __init__(self, network: "Whisper") -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        token_ids: Tensor,
        past_keys: Tensor,
        past_values: Tensor,
        cross_keys: Tensor,
        cross_values: Tensor,
        cross_bias: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        decoder = self.network.decoder
        before, new = past_keys.shape[3], token_ids.shape[1]
        hidden = decoder.embedding(token_ids) + decoder.positions[before : before + new]
        places = torch.arange(before + new)
        unseen = (places[None, :] > places[before:, None]).to(hidden.dtype)[None, None] * -1e9
        kept, looks = [], []
        for number, block in enumerate(decoder.layers):
            normed = block.attention_norm(hidden)
            keys, values = block.attention.project_kv(normed)
            own = torch.cat([past_keys[number], keys], 2), torch.cat([past_values[number], values], 2)
            kept.append(own)
            hidden = hidden + attend(block.attention, normed, *own, unseen)[0]
            cross = cross_keys[number], cross_values[number], cross_bias[number]
            crossed, weights = _cross(block, hidden, *cross)
            if number >= len(decoder.layers) // 2:
                looks.append(weights)
            hidden = block.feed_forward(hidden + crossed)
        logits = decoder.embedding.logits(decoder.norm(hidden))
        stacked = torch.stack([keys for keys, _ in kept]), torch.stack([values for _, values in kept])
        return logits, *stacked, torch.cat(looks, 1)


def conformer_graphs(network: "Conformer") -> dict[str, Graph]:
    """Return log-mel → log-probabilities of jamo and of phonemes."""
    axes = {"mel": {1: "frames"}, "jamo": {1: "steps"}, "phonemes": {1: "steps"}}
    inputs = {"mel": torch.randn(1, _FRAMES, network.config.mel_channels)}
    return {"encoder": Graph(_Conformer(network), inputs, ("jamo", "phonemes"), axes)}


def wav2vec2_graphs(network: "Wav2Vec2") -> dict[str, Graph]:
    """Return wave → log-probabilities of letters."""
    axes = {"wave": {1: "samples"}, "letters": {1: "steps"}}
    return {"encoder": Graph(_Wav2Vec2(network), {"wave": torch.randn(1, _SAMPLES)}, ("letters",), axes)}


def whisper_graphs(network: "Whisper") -> dict[str, Graph]:
    """Return log-mel → keys and values; tokens, the cache and those → logits and the cache."""
    sizes = _WhisperSizes.of(network)
    encoder = {
        "mel": torch.randn(1, 2 * _STEPS, network.config.mel_channels),
        "steps": torch.tensor(_STEPS),
        **sizes.attended("silent", sizes.encoder, _SILENT),
    }
    past = {
        f"past_{kind}": torch.randn(sizes.decoder[0], _ROWS, sizes.decoder[1], _PAST, sizes.decoder[2])
        for kind in ("keys", "values")
    }
    tokens = {"token_ids": torch.ones(_ROWS, _NEW, dtype=torch.long)}
    decoder = {**tokens, **past, **sizes.attended("cross", sizes.decoder, _STEPS)}
    in_sound = {f"{name}_{kind}": {3: "steps"} for name in ("cross", "own") for kind in ("keys", "values")}
    silent = {"silent_keys": {3: "silent"}, "silent_values": {3: "silent"}, "silent_bias": {4: "silent"}}
    cached = {f"{name}_{kind}": {1: "rows", 3: name} for name in ("past", "present") for kind in ("keys", "values")}
    new = {"token_ids": {0: "rows", 1: "new"}, "logits": {0: "rows", 1: "new"}}
    cross = {"cross_keys": {3: "steps"}, "cross_values": {3: "steps"}, "cross_bias": {4: "steps"}}
    looks = {"attention": {2: "rows_new", 3: "steps"}}
    return {
        "encoder": Graph(
            _WhisperEncoder(network),
            encoder,
            tuple(in_sound),
            {"mel": {1: "frames"}, **silent, **in_sound},
            precise=_attention_weights(network),  # int8 there costs words and gains little
        ),
        "decoder": Graph(
            _WhisperDecoder(network),
            decoder,
            ("logits", "present_keys", "present_values", "attention"),
            {**new, **cached, **cross, **looks},
            precise=("logits",),  # int8 there costs words
            stepwise=True,
        ),
    }


def _attention_weights(network: "Whisper") -> tuple[str, ...]:
    """Return the names of the weights that the encoder's graph multiplies for attention."""
    parts = (("encoder.", ".attention."), ("decoder.", ".cross."))
    names = [name for name, _ in network.named_parameters() if name.endswith(".weight")]
    return tuple(name for name in names if any(name.startswith(side) and part in name for side, part in parts))


@dataclass(frozen=True)
class _WhisperSizes:
    """Layers, heads, and features a head, of each side."""

    encoder: tuple[int, int, int]
    decoder: tuple[int, int, int]

    @classmethod
    def of(cls, network: "Whisper") -> "_WhisperSizes":
        config = network.config
        heads = config.num_encoder_heads, config.num_decoder_heads
        return cls(
            (config.num_encoder_layers, heads[0], config.hidden_size // heads[0]),
            (config.num_decoder_layers, heads[1], config.hidden_size // heads[1]),
        )

    @staticmethod
    def attended(name: str, sizes: tuple[int, int, int], steps: int) -> dict[str, Tensor]:
        layers, heads, size = sizes
        found = {f"{name}_{kind}": torch.randn(layers, 1, heads, steps, size) for kind in ("keys", "values")}
        return {**found, f"{name}_bias": torch.zeros(layers, 1, heads, 1, steps)}


def attend(
    attention: "Attention", hidden: Tensor, keys: Tensor, values: Tensor, bias: Tensor
) -> tuple[Float[Tensor, "batch tokens features"], Float[Tensor, "batch heads tokens time"]]:
    """Return each position's mixture of the values, and how much it looks at each."""
    batch, time, features = hidden.shape
    queries = attention.query(hidden).view(batch, time, attention.num_heads, -1).transpose(1, 2)
    weights = (queries @ (keys * keys.shape[-1] ** -0.5).transpose(2, 3) + bias).softmax(-1)
    return attention.out((weights @ values).transpose(1, 2).reshape(batch, time, features)), weights


def _cross(
    block: "WhisperDecoderBlock", hidden: Tensor, keys: Tensor, values: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the same for the one sound that all rows of tokens are of, the rows behind one another."""
    rows, new, features = hidden.shape
    joined = block.cross_norm(hidden).reshape(1, rows * new, features)
    mixed, weights = attend(block.cross, joined, keys, values, bias)
    return mixed.reshape(rows, new, features), weights
