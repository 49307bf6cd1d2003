"""A recognizer as a page in the browser computes it: a Whisper from the wave on, and what the page must know of it.

    encoder.onnx         wave ─► log-mel ─► encoder ─► cross_keys_0, … of the sound and of the silence behind it
    decoder.onnx         token_ids, cross_keys_0, …, past_keys_0, … ─► logits, present_keys_0, …
    model.safetensors    the int8 rows that both point into
    recognizer.json      sizes, ids, what must not be written, from where on a text is accepted
    tokens.json          what each token writes, bytes as the characters of Latin-1
    without_speech.bin   sounds that a text's likelihood is compared with, float32, one after the other

WebAssembly would take half a minute to encode a window of silence and to group its steps (`asr.silent_steps`), so the
groups lie in the encoder's graph: each with its mean over all steps, and for every second how many of its steps are
still to come. And it has no product of groups of 32 numbers: the decoder's products are of float32 there.
"""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from malsori.asr.short_window import SilentWindow
from malsori.asr.silent_steps import GRID, MARGIN_SECONDS, SILENCE_LEVEL
from malsori.asr.whisper import PIECES_PER_SECOND, without_speech
from malsori.audio.mel_filters import mel_filters
from malsori.decode.seq2seq import FallbackOptions, constraints_from_tokenizer
from malsori.errors import ModelError
from malsori.export.graph import Graph, traced
from malsori.export.recognizers import WhisperEncoderGraph, attention_weights, whisper_graphs
from malsori.export.shared import stored_tensors, without_weights
from malsori.export.whisper_files import token_bytes, whisper_alphabet
from malsori.files import write_json, write_text
from malsori.pretrained.folder import WEIGHTS, SavedModel, save_tensors
from malsori.pretrained.hub import require_network
from malsori.pretrained.storage import pack
from malsori.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from malsori.config import AudioConfig
    from malsori.models.whisper import Whisper

_PAGE = "a page"  # as errors call it
_ATTENDED = ("cross_keys", "cross_values", "cross_bias")
_NONE = 1e-30  # stands for no step, whose logarithm nobody attends to
_DYNAMIC_RANGE, _SHIFT = 8.0, 4.0  # of Whisper's log-mel, as `audio.mel_filters` has them


def check_recognizer(model: SavedModel, name: str) -> None:
    """Raise ModelError for what a page cannot hear with."""
    if model.facts.system != "whisper":
        raise ModelError(f"{name}: a page hears with a whisper, and a {model.facts.system} is none")
    require_network(model, name)
    whisper_alphabet(_PAGE, model, name)


def write_recognizer(model: SavedModel, name: str, folder: Path, opset: int) -> None:
    """Write a recognizer's files into a new folder. Raises: as `check_recognizer`."""
    check_recognizer(model, name)
    network, weights = model.network.eval(), folder / WEIGHTS
    tokenizer, vocab = whisper_alphabet(_PAGE, model, name)
    folder.mkdir()
    save_tensors(weights, pack(network.state_dict(), "int8"))
    decoder = whisper_graphs(network)["decoder"]
    for key, graph, precise in (
        ("encoder", encoder_graph(network, model.facts.audio), attention_weights(network)),
        ("decoder", decoder, tuple(stored_tensors(weights))),
    ):
        content = traced(graph, opset, folded=False)
        (folder / f"{key}.onnx").write_bytes(without_weights(content, weights, precise))
    write_json(folder / "recognizer.json", recognizer_facts(model, tokenizer) | {"bytes": weights.stat().st_size})
    pieces = [piece.decode("latin-1") for piece in token_bytes(vocab).values()]
    write_text(folder / "tokens.json", json.dumps(pieces, ensure_ascii=False) + "\n")
    (folder / "without_speech.bin").write_bytes(without_speech(model.facts.audio).astype("<f4").tobytes())
    write_text(folder / "card.md", model.card)


def recognizer_facts(model: SavedModel, tokenizer: Tokenizer) -> dict[str, Any]:
    """Return what `recognizer.js` needs to know of a Whisper, beside its graphs and its tokens."""
    sizes, audio, accepted = model.network.config, model.facts.audio, FallbackOptions()
    constraints = constraints_from_tokenizer(tokenizer, sizes.vocab, sizes.decoder_positions)
    return {
        "sample_rate": audio.sample_rate,
        "window_samples": sizes.window_frames * audio.hop_samples,
        "margin_samples": round(MARGIN_SECONDS * audio.sample_rate),
        "step_samples": sizes.frame_stride * audio.hop_samples,
        "grid_steps": GRID,
        "blocks": sizes.num_decoder_layers,
        "heads": sizes.num_decoder_heads,
        "head_size": sizes.hidden_size // sizes.num_decoder_heads,
        "prefix": constraints.prefix,
        "end": constraints.end,
        "no_speech": constraints.no_speech,
        "suppressed": constraints.suppress_tokens,
        "suppressed_first": constraints.begin_suppress_tokens,
        "max_tokens": constraints.max_new_tokens,
        "tokens_per_second": PIECES_PER_SECOND,
        "no_speech_threshold": accepted.no_speech_threshold,
        "logprob_threshold": accepted.logprob_threshold,
        "compression_ratio_threshold": accepted.compression_ratio_threshold,
        "min_log_likelihood_ratio": accepted.min_log_likelihood_ratio,
    }


def encoder_graph(network: "Whisper", audio: "AudioConfig") -> Graph:
    """Return wave → what the decoder's blocks attend to, the silence behind a sound included.

    A wave shorter than the window is filled up with silence to a second of the window and a step more, of which
    `steps` are encoded; other waves are as long as the window.
    """
    steps = min(GRID, network.config.encoder_positions - 1)
    inputs = {
        "wave": 0.1 * torch.randn(1, (steps + 1) * network.config.frame_stride * audio.hop_samples),
        "steps": torch.tensor(steps),
    }
    outputs = [f"{name}_{block}" for block in range(network.config.num_decoder_layers) for name in _ATTENDED]
    axes = {name: {3 if name.startswith("cross_bias") else 2: "steps"} for name in outputs}
    return Graph(_WaveEncoder(network, audio), inputs, tuple(outputs), {"wave": {1: "samples"}, **axes})


class LogMel(nn.Module):
    """Whisper's log-mel of waves (batch, samples), by a convolution: (batch, frames, mel_channels)."""

    kernels: Tensor
    filters: Tensor

    def __init__(self, audio: "AudioConfig") -> None:
        super().__init__()
        self.hop, self.floor, size = audio.hop_samples, audio.log_floor, audio.fft_samples
        turns = np.outer(np.arange(size // 2 + 1), np.arange(size)) % size * (2 * math.pi / size)
        hann = 0.5 - 0.5 * np.cos(2 * math.pi / size * np.arange(size))
        kernels = np.concatenate([np.cos(turns), np.sin(turns)]) * hann
        self.register_buffer("kernels", torch.from_numpy(kernels.astype(np.float32))[:, None])
        self.register_buffer("filters", torch.from_numpy(mel_filters(audio).T.copy()))

    def forward(self, wave: Tensor) -> Tensor:
        """Return it, as `audio.mel_filters.whisper_log_mel_array` does of one wave."""
        half = self.kernels.shape[2] // 2
        padded = nn.functional.pad(wave[:, None], (half, half), mode="reflect")
        parts = nn.functional.conv1d(padded, self.kernels, stride=self.hop)[:, :, :-1].square()
        power = parts[:, : half + 1] + parts[:, half + 1 :]
        decades = (power.transpose(1, 2) @ self.filters).clamp(min=self.floor).log10()
        return (torch.maximum(decades, decades.amax() - _DYNAMIC_RANGE) + _SHIFT) / _SHIFT


class _WaveEncoder(WhisperEncoderGraph):
    """The encoder from the wave on; its blocks, and the decoder's, attend to the rest of a window of silence too."""

    def __init__(self, network: "Whisper", audio: "AudioConfig") -> None:
        super().__init__(network)
        self.log_mel, self.total = LogMel(audio), network.config.encoder_positions
        silent = SilentWindow.of(network)
        for side, blocks in (("encoder", silent.encoder), ("decoder", silent.decoder)):
            keys, values, counts = (np.stack(parts) for parts in zip(*(one.table() for one in blocks), strict=True))
            self.register_buffer(f"{side}_keys", torch.from_numpy(keys[:, None]).half())
            self.register_buffer(f"{side}_values", torch.from_numpy(values[:, None]).half())
            by_place = counts.transpose(1, 0, 2, 3)[:, :, None, :, None].astype(np.int16)
            self.register_buffer(f"{side}_counts", torch.from_numpy(by_place))

    def forward(self, wave: Tensor, steps: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]  # another graph
        mel = self.log_mel(wave)
        mel = mel + (SILENCE_LEVEL - mel.amin()) * (steps < self.total).to(mel.dtype)
        place = (steps + GRID - 1) // GRID
        keys, values, *_ = super().forward(mel, steps, *self._silence("encoder", place))
        silent_keys, silent_values, silent_bias = self._silence("decoder", place)
        plain = torch.zeros_like(keys[..., 0])[:, :, :, None]
        parts = (
            torch.cat([keys, silent_keys], 3),
            torch.cat([values, silent_values], 3),
            torch.cat([plain, silent_bias], 4),
        )
        return tuple(part[block] for block in range(len(keys)) for part in parts)

    def _silence(self, side: str, place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the groups' keys and values, and what is added to their scores from a place on."""
        keys, values, counts = (getattr(self, f"{side}_{part}") for part in ("keys", "values", "counts"))
        return keys.float(), values.float(), counts[place].float().clamp(min=_NONE).log()
