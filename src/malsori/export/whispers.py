"""A Whisper as other programs run it, which choose the likeliest token each time and know nothing of what is forbidden.

So the graph's logits forbid it: what the checkpoint suppresses, timestamps, and at the first place what may not begin.

    onnx-asr     input_features ─► encoder_model ─► last_hidden_state ─► decoder_model_merged ─► logits, present.*
    sherpa-onnx  mel ─► encoder ─► n_layer_cross_k, n_layer_cross_v ─► decoder ─► logits, caches of a fixed size

The names and what stands behind them are those programs' own.
"""

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from malsori.export.graph import Graph
from malsori.export.recognizers import attend
from malsori.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from malsori.models.whisper import Whisper, WhisperDecoderBlock, WhisperEncoderBlock

_NEVER = -1e9
_NEW, _PAST = 4, 3  # tokens of the examples
_Pairs = list[tuple[Tensor, Tensor]]


class _WindowEncoder(nn.Module):
    """A whole window of log-mel, channels first."""

    def __init__(self, network: "Whisper") -> None:
        super().__init__()
        self.network = network

    def forward(self, mel: Tensor) -> Tensor:
        encoder = self.network.encoder
        hidden = encoder.embed(mel.transpose(1, 2))
        for block in cast("list[WhisperEncoderBlock]", list(encoder.blocks)):
            normed = block.attention_norm(hidden)
            hidden = block.feed_forward(hidden + block.attention(normed, *block.attention.project_kv(normed)))
        return encoder.norm(hidden)


class _CrossEncoder(nn.Module):
    """The same up to what each of the decoder's blocks attends to."""

    def __init__(self, network: "Whisper") -> None:
        super().__init__()
        self.encoder = _WindowEncoder(network)

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        pairs = _crossed(self.encoder.network, self.encoder(mel))
        return torch.stack([keys for keys, _ in pairs]), torch.stack([values for _, values in pairs])


class _Decoder(nn.Module):
    never: Tensor
    never_first: Tensor

    def __init__(self, network: "Whisper", tokenizer: Tokenizer) -> None:
        super().__init__()
        self.network, self.places = network, len(tokenizer.prefix())
        count = network.config.vocab
        suppressed = [*tokenizer.suppressed_ids("suppress_tokens"), *range(tokenizer.first_timestamp, count)]
        self.register_buffer("never", _forbidding(count, suppressed))
        self.register_buffer("never_first", _forbidding(count, tokenizer.suppressed_ids("begin_suppress_tokens")))

    def step(self, token_ids: Tensor, past: _Pairs, cross: _Pairs) -> tuple[Tensor, _Pairs]:
        """Return the logits behind each new token, and each block's keys and values of all tokens so far."""
        decoder = self.network.decoder
        before, new = past[0][0].shape[2], token_ids.shape[1]
        hidden = decoder.embedding(token_ids) + decoder.positions[before : before + new]
        places = torch.arange(before + new)
        unseen = (places[None, :] > places[before:, None]).to(hidden.dtype)[None, None] * _NEVER
        kept = []
        for number, block in enumerate(cast("list[WhisperDecoderBlock]", list(decoder.layers))):
            normed = block.attention_norm(hidden)
            keys, values = block.attention.project_kv(normed)
            own = torch.cat([past[number][0], keys], 2), torch.cat([past[number][1], values], 2)
            kept.append(own)
            hidden = hidden + attend(block.attention, normed, *own, unseen)[0]
            crossed = attend(block.cross, block.cross_norm(hidden), *cross[number], torch.zeros(1))[0]
            hidden = block.feed_forward(hidden + crossed)
        logits = decoder.embedding.logits(decoder.norm(hidden)) + self.never
        first = (places[before:, None] == self.places - 1).to(hidden.dtype)
        return logits + first * self.never_first, kept


class _OnnxAsrDecoder(nn.Module):
    """Caches have no rows where there is none yet: those of the sound are then made, and no more behind that."""

    def __init__(self, network: "Whisper", tokenizer: Tokenizer) -> None:
        super().__init__()
        self.decoder = _Decoder(network, tokenizer)

    def forward(self, token_ids: Tensor, encoded: Tensor, use_cache: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        needed = 1 - use_cache.to(torch.long)[0]
        fresh = _crossed(self.decoder.network, encoded[: encoded.shape[0] * needed])
        shape = token_ids.shape[0], fresh[0][0].shape[1], encoded.shape[1], fresh[0][0].shape[3]
        cross = [  # one of the two is empty
            (
                torch.cat([past[4 * number + 2].flatten(), keys.flatten()]).view(shape),
                torch.cat([past[4 * number + 3].flatten(), values.flatten()]).view(shape),
            )
            for number, (keys, values) in enumerate(fresh)
        ]
        rows = [_with_rows(cache, token_ids) for place, cache in enumerate(past) if place % 4 < 2]
        own = list(zip(rows[::2], rows[1::2], strict=True))
        logits, kept = self.decoder.step(token_ids, own, cross)
        return logits, *(one for mine, theirs in zip(kept, fresh, strict=True) for one in (*mine, *theirs))


class _SherpaDecoder(nn.Module):
    """Caches are as long as a text may be, features not parted into heads; `offset` says what is used."""

    def __init__(self, network: "Whisper", tokenizer: Tokenizer) -> None:
        super().__init__()
        self.decoder = _Decoder(network, tokenizer)
        self.heads = network.config.num_decoder_heads

    def forward(
        self, token_ids: Tensor, keys: Tensor, values: Tensor, cross_keys: Tensor, cross_values: Tensor, offset: Tensor
    ) -> tuple[Tensor, ...]:
        layers, used = range(len(self.decoder.network.decoder.layers)), offset[0]
        past = [(self._parted(keys[layer, :, :used]), self._parted(values[layer, :, :used])) for layer in layers]
        cross = [(cross_keys[layer], cross_values[layer]) for layer in layers]
        logits, kept = self.decoder.step(token_ids, past, cross)
        found = []
        for cache, mine in ((keys, [one for one, _ in kept]), (values, [one for _, one in kept])):
            joined = torch.stack([one.transpose(1, 2).flatten(2) for one in mine])
            found.append(torch.cat([joined, cache[:, :, used + token_ids.shape[1] :]], 2))
        return logits, *found

    def _parted(self, cache: Tensor) -> Tensor:
        return cache.view(1, -1, self.heads, cache.shape[2] // self.heads).transpose(1, 2)


def onnx_asr_graphs(network: "Whisper", tokenizer: Tokenizer) -> dict[str, Graph]:
    """Return the two graphs by the names of their files; any number of sounds at a time."""
    sizes, encoded = network.config, _example_output(network)
    size = sizes.hidden_size // sizes.num_decoder_heads
    names = [
        f"{layer}.{side}.{kind}"
        for layer in range(sizes.num_decoder_layers)
        for side in ("decoder", "encoder")
        for kind in ("key", "value")
    ]
    past = {f"past_key_values.{name}": torch.zeros(0, sizes.num_decoder_heads, 0, size) for name in names}
    outputs = ("logits", *(f"present.{name}" for name in names))
    inputs = {
        "input_ids": torch.tensor([tokenizer.prefix()]).expand(2, -1).clone(),
        "encoder_hidden_states": encoded.expand(2, -1, -1).clone(),
        "use_cache_branch": torch.tensor([False]),
        **past,
    }
    open_axes = {"input_ids": {0: "rows", 1: "new"}, "encoder_hidden_states": {0: "rows", 1: "steps"}}
    open_axes |= {name: {0: "some_rows", 2: "past"} for name in past}
    open_axes |= {"logits": {0: "rows", 1: "new"}} | {name: {0: "some_rows", 2: "present"} for name in outputs[1:]}
    return {
        "encoder_model": _encoder_graph(_WindowEncoder(network), network, "input_features", ("last_hidden_state",)),
        "decoder_model_merged": Graph(_OnnxAsrDecoder(network, tokenizer), inputs, outputs, open_axes, ("logits",)),
    }


def sherpa_graphs(network: "Whisper", tokenizer: Tokenizer) -> dict[str, Graph]:
    """Return the two graphs by the names of their files."""
    sizes = network.config
    cross = ("n_layer_cross_k", "n_layer_cross_v")
    encoder = _encoder_graph(_CrossEncoder(network), network, "mel", cross)
    cache = torch.zeros(sizes.num_decoder_layers, 1, sizes.decoder_positions, sizes.hidden_size)
    inputs = {
        "tokens": torch.tensor([tokenizer.prefix()]),
        "in_n_layer_self_k_cache": cache,
        "in_n_layer_self_v_cache": cache.clone(),
        **encoder.example_outputs(),
        "offset": torch.tensor([_PAST]),
    }
    axes = {"tokens": {1: "new"}, "logits": {1: "new"}, **{name: {3: "steps"} for name in cross}}
    outputs = ("logits", "out_n_layer_self_k_cache", "out_n_layer_self_v_cache")
    return {
        "encoder": encoder,
        "decoder": Graph(_SherpaDecoder(network, tokenizer), inputs, outputs, axes, ("logits",)),
    }


def _encoder_graph(module: nn.Module, network: "Whisper", name: str, outputs: tuple[str, ...]) -> Graph:
    rows = {} if len(outputs) > 1 else {0: "rows"}
    steps = {output: rows | {3 if len(outputs) > 1 else 1: "steps"} for output in outputs}
    return Graph(module, {name: _example_mel(network)}, outputs, {name: rows | {2: "frames"}, **steps})


def _example_mel(network: "Whisper") -> Tensor:
    return torch.randn(1, network.config.mel_channels, min(64, network.config.window_frames))


def _example_output(network: "Whisper") -> Tensor:
    with torch.inference_mode():
        found: Tensor = _WindowEncoder(network).eval()(_example_mel(network))
    return found.clone()


def _crossed(network: "Whisper", encoded: Tensor) -> _Pairs:
    """Return the keys and values of sounds, of none too, for each of the decoder's blocks."""
    blocks, heads = cast("list[WhisperDecoderBlock]", list(network.decoder.layers)), network.config.num_decoder_heads
    parted = encoded.shape[0], encoded.shape[1], heads, network.config.hidden_size // heads
    return [
        (block.cross.key(encoded).view(parted).transpose(1, 2), block.cross.value(encoded).view(parted).transpose(1, 2))
        for block in blocks
    ]


def _with_rows(cache: Tensor, token_ids: Tensor) -> Tensor:
    """Return a cache with a row for each text, whatever there was."""
    missing = torch.zeros(token_ids.shape[0] - cache.shape[0], cache.shape[1], cache.shape[2], cache.shape[3])
    return torch.cat([cache, missing])


def _forbidding(count: int, ids: "list[int] | tuple[int, ...]") -> Tensor:
    found = torch.zeros(count)
    found[list(ids)] = _NEVER
    return found
