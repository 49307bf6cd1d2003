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
_UNSEEN = -1e4  # is added to scores that count for nothing
#: What a block of the decoder attends to: inputs `past_keys_0`, `past_values_0`, `cross_keys_0`, … a block.
_ATTENDED = ("past_keys", "past_values", "cross_keys", "cross_values", "cross_bias")


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


class WhisperEncoderGraph(nn.Module):
    """The encoder up to what the decoder attends to; its blocks attend to given keys and values too.

    Those are of the silence behind a short sound, which need not be encoded again with each; there may be none.
    """

    def __init__(self, network: "Whisper") -> None:
        super().__init__()
        self.network = network

    def forward(
        self, mel: Tensor, steps: Tensor, silent_keys: Tensor, silent_values: Tensor, silent_bias: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return keys and values that the decoder's blocks attend to, and the encoder's blocks' own."""
        encoder = self.network.encoder
        hidden = encoder.embed(mel)[:, :steps]
        own_keys, own_values = [], []
        for number, block in enumerate(cast("list[WhisperEncoderBlock]", list(encoder.blocks))):
            normed = block.attention_norm(hidden)
            keys, values = block.attention.project_kv(normed)
            own_keys.append(keys)
            own_values.append(values)
            plain = torch.zeros_like(keys[..., :1])
            bias = torch.cat([plain, silent_bias[number].transpose(2, 3).clamp(min=_UNSEEN)], 2)
            seen = torch.cat([keys, silent_keys[number]], 2), torch.cat([values, silent_values[number]], 2)
            hidden = block.feed_forward(hidden + _attend_by_head(block.attention, normed, *seen, bias))
        encoded = encoder.norm(hidden)
        crossed = [block.cross.project_kv(encoded) for block in self.network.decoder.layers]
        cross = torch.stack([keys for keys, _ in crossed]), torch.stack([values for _, values in crossed])
        return *cross, torch.stack(own_keys), torch.stack(own_values)


class _WhisperDecoder(nn.Module):
    """New tokens of several texts of one sound; where the upper half's heads look comes along.

    Each block's keys and values are inputs of their own: a stack of them would be copied apart at every token.
    """

    def __init__(self, network: "Whisper") -> None:
        super().__init__()
        self.network = network

    def forward(self, token_ids: Tensor, *attended: Tensor) -> tuple[Tensor, ...]:
        decoder = self.network.decoder
        of_blocks = list(zip(*[iter(attended)] * len(_ATTENDED), strict=True))
        before, new = of_blocks[0][0].shape[2], token_ids.shape[1]
        hidden = decoder.embedding(token_ids) + decoder.positions[before : before + new]
        places = torch.arange(before + new)
        unseen = (places[None, :] > places[before:, None]).to(hidden.dtype)[None, None] * -1e9
        kept: list[Tensor] = []
        looks = []
        for number, block in enumerate(decoder.layers):
            normed = block.attention_norm(hidden)
            keys, values = block.attention.project_kv(normed)
            past_keys, past_values, *cross = of_blocks[number]
            own = torch.cat([past_keys, keys], 2), torch.cat([past_values, values], 2)
            kept += own
            hidden = hidden + attend(block.attention, normed, *own, unseen)[0]
            crossed, weights = _cross(block, hidden, *cross)
            if number >= len(decoder.layers) // 2:
                looks.append(weights)
            hidden = block.feed_forward(hidden + crossed)
        logits = decoder.embedding.logits(decoder.norm(hidden))
        return logits, torch.cat(looks, 1), *kept


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
    decoder, outputs, axes = _decoder_names(sizes)
    in_sound = {f"{name}_{kind}": {3: "steps"} for name in ("cross", "own") for kind in ("keys", "values")}
    silent = {"silent_keys": {3: "silent"}, "silent_values": {3: "silent"}, "silent_bias": {4: "silent"}}
    return {
        "encoder": Graph(
            WhisperEncoderGraph(network),
            encoder,
            tuple(in_sound),
            {"mel": {1: "frames"}, **silent, **in_sound},
            precise=attention_weights(network),  # int8 there costs words and gains little
        ),
        "decoder": Graph(
            _WhisperDecoder(network),
            decoder,
            outputs,
            axes,
            precise=("logits",),  # int8 there costs words
            stepwise=True,
        ),
    }


def _decoder_names(
    sizes: "_WhisperSizes",
) -> tuple[dict[str, Tensor], tuple[str, ...], dict[str, dict[int, str]]]:
    """Return the decoder's example inputs, the names of its outputs, and the open axes of both."""
    layers, heads, size = sizes.decoder
    cross = [one.unbind() for one in sizes.attended("cross", sizes.decoder, _STEPS).values()]
    inputs = {"token_ids": torch.ones(_ROWS, _NEW, dtype=torch.long)}
    outputs = ["logits", "attention"]
    axes = {name: {0: "rows", 1: "new"} for name in ("token_ids", "logits")}
    axes["attention"] = {2: "rows_new", 3: "steps"}
    for block in range(layers):
        past = [torch.randn(_ROWS, heads, _PAST, size) for _ in range(2)]
        named = [f"{name}_{block}" for name in _ATTENDED]
        present = [f"present_{kind}_{block}" for kind in ("keys", "values")]
        inputs |= dict(zip(named, [*past, *(one[block] for one in cross)], strict=True))
        outputs += present
        axes |= {key: {0: "rows", 2: "past"} for key in named[:2]}
        axes |= {key: {2: "steps"} for key in named[2:4]} | {named[4]: {3: "steps"}}
        axes |= {key: {0: "rows", 2: "present"} for key in present}
    return inputs, tuple(outputs), axes


def attention_weights(network: "Whisper") -> tuple[str, ...]:
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
    weights = ((queries * keys.shape[-1] ** -0.5) @ keys.transpose(2, 3) + bias).softmax(-1)
    return attention.out((weights @ values).transpose(1, 2).reshape(batch, time, features)), weights


def _attend_by_head(
    attention: "Attention", hidden: Tensor, keys: Tensor, values: Tensor, bias: Float[Tensor, "batch heads time 1"]
) -> Float[Tensor, "batch tokens features"]:
    """Return each position's mixture of the values; head by head, for the scores of all at once are 72 MB a window.

    The bias is one more number of each key, so that no pass over the scores adds it.
    """
    batch, time, _ = hidden.shape
    queries = attention.query(hidden).view(batch, time, attention.num_heads, -1).transpose(1, 2)
    queries = torch.cat([queries * values.shape[-1] ** -0.5, torch.ones_like(queries[..., :1])], 3)
    heads = zip(queries.unbind(1), torch.cat([keys, bias], 3).unbind(1), values.unbind(1), strict=True)
    mixed = [(query @ key.transpose(1, 2)).softmax(-1) @ value for query, key, value in heads]
    return attention.out(torch.cat(mixed, 2))


def _cross(
    block: "WhisperDecoderBlock", hidden: Tensor, keys: Tensor, values: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the same for the one sound that all rows of tokens are of, the rows behind one another."""
    rows, new, features = hidden.shape
    joined = block.cross_norm(hidden).reshape(1, rows * new, features)
    mixed, weights = attend(block.cross, joined, keys, values, bias)
    return mixed.reshape(rows, new, features), weights
