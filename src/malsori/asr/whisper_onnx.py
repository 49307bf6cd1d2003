"""A Whisper that was exported, as onnxruntime computes it: waves in, states that take and give arrays."""

import functools
import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from malsori.annotations import Float, Int
from malsori.asr.silent_steps import MARGIN_SECONDS, SILENCE_LEVEL, SilentSteps
from malsori.audio.mel_filters import whisper_log_mel_array
from malsori.errors import ModelError
from malsori.pretrained.folder import SavedModel
from malsori.runtime.onnx import OnnxSession, open_graph

_STRIDE = 2  # mel frames to one step, as `models.whisper` has it


@dataclass(frozen=True)
class OnnxSizes:
    """Those of a Whisper's sizes that decoding asks for (`malsori.asr.whisper.WhisperSizes`)."""

    vocab: int
    hidden_size: int
    mel_channels: int
    encoder_positions: int
    num_encoder_layers: int
    num_encoder_heads: int
    decoder_positions: int
    num_decoder_layers: int
    num_decoder_heads: int
    whole_window: bool
    trailing_silence: float

    @classmethod
    def of(cls, model: SavedModel) -> "OnnxSizes":
        """Return a model's. Raises: ModelError if config.json lacks one."""
        sizes = model.facts.model
        try:
            return cls(**{name: sizes[name] for name in cls.__dataclass_fields__})
        except KeyError as error:
            raise ModelError(f"the model's config.json says nothing of {error}: export it again") from error

    @property
    def window_frames(self) -> int:
        """Mel frames of the window."""
        return self.encoder_positions * _STRIDE

    @property
    def frame_stride(self) -> int:
        """Mel frames to one step of the encoder's output."""
        return _STRIDE


@dataclass(frozen=True)
class OnnxState:
    """Tokens decoded so far under one sound, a row each (`malsori.decode.seq2seq.DecoderState`).

    Attributes:
        cross: what the decoder's blocks attend to in the sound, by the graph's names, (1, heads, steps, size) each.
        past: keys and values of the tokens so far, by the graph's names, (rows, heads, tokens, size) each.
    """

    decoder: OnnxSession
    cross: dict[str, np.ndarray]
    past: dict[str, np.ndarray]

    def step(self, token_ids: Int[np.ndarray, "rows new"]) -> tuple[Float[np.ndarray, "rows new vocab"], "OnnxState"]:
        """Return the logits behind each new token of every row, and the state after them."""
        logits, _, after = self._run(token_ids)
        return logits, after

    def select(self, rows: Int[np.ndarray, " kept"]) -> "OnnxState":
        """Return the state of some of the rows, in that order; one sound serves them all."""
        if rows.tolist() == list(range(self._rows)):
            return self
        return replace(self, past={name: one[rows] for name, one in self.past.items()})

    def score(
        self, token_ids: Int[np.ndarray, "1 new"], heads: tuple[tuple[int, int], ...]
    ) -> tuple[Float[np.ndarray, "1 new vocab"], Float[np.ndarray, "1 heads new time"]]:
        """Return the logits behind each token, and where in the sound some heads (block, head) look from it."""
        logits, looks, _ = self._run(token_ids)
        blocks, count = len(self.past) // 2, self._first.shape[1]
        return logits, looks[:, [(block - blocks // 2) * count + head for block, head in heads]]

    @property
    def _first(self) -> np.ndarray:
        return next(iter(self.past.values()))

    @property
    def _rows(self) -> int:
        return len(self._first)

    def _run(self, token_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, "OnnxState"]:
        past = self.past
        if self._rows != len(token_ids):  # no token yet: the number of rows is said by the first ones
            none = np.zeros((len(token_ids), *self._first.shape[1:]), dtype=np.float32)
            past = dict.fromkeys(past, none)
        logits, looks, *present = self.decoder.run(token_ids=token_ids.astype(np.int64), **past, **self.cross)
        return logits, looks, replace(self, past=dict(zip(past, present, strict=True)))


@dataclass(frozen=True)
class OnnxStates:
    """Several sounds, a row of tokens each: they are gone through one after the other."""

    states: tuple[OnnxState, ...]

    def step(self, token_ids: Int[np.ndarray, "rows new"]) -> tuple[Float[np.ndarray, "rows new vocab"], "OnnxStates"]:
        """Return the logits behind each new token of every row, and the state after them."""
        found = [state.step(token_ids[row : row + 1]) for row, state in enumerate(self.states)]
        return np.concatenate([logits for logits, _ in found]), OnnxStates(tuple(after for _, after in found))

    def select(self, rows: Int[np.ndarray, " kept"]) -> "OnnxStates":
        """Return the state of some of the rows, in that order."""
        return OnnxStates(tuple(self.states[row] for row in rows.tolist()))

    def score(
        self, token_ids: Int[np.ndarray, "rows new"], heads: tuple[tuple[int, int], ...]
    ) -> tuple[Float[np.ndarray, "rows new vocab"], Float[np.ndarray, "rows heads new time"]]:
        """Return the logits behind each token, and where in the sound some heads (block, head) look from it."""
        found = [state.score(token_ids[row : row + 1], heads) for row, state in enumerate(self.states)]
        return np.concatenate([logits for logits, _ in found]), np.concatenate([looks for _, looks in found])


class OnnxWhisper:
    """An exported Whisper (`malsori.asr.whisper.WhisperEngine`). Raises: ModelError if a graph is missing or old."""

    def __init__(self, model: SavedModel) -> None:
        self.config, self.audio, self.network = OnnxSizes.of(model), model.facts.audio, self
        self.encoder, self.decoder = open_graph(model, "encoder"), open_graph(model, "decoder")
        if "past_keys_0" not in self.decoder.inputs:
            raise ModelError(f"{model.network.folder}: its graphs are of an earlier malsori; export the model again")
        self._lock = threading.Lock()
        behind = 0.0 if self.config.whole_window else self.config.trailing_silence
        self.max_seconds: float = self.config.window_frames * self.audio.frame_seconds - behind

    def computing(self) -> AbstractContextManager[None]:
        """Return a block in which nothing is otherwise."""
        return nullcontext()

    def start(self, waves: Float[np.ndarray, "batch samples"]) -> Any:
        """Return the decoder's state under sounds; short ones are encoded without the silence that fills the window."""
        states = tuple(self._start(wave) for wave in waves)
        return states[0] if len(states) == 1 else OnnxStates(states)

    def _start(self, wave: np.ndarray) -> OnnxState:
        config, audio, rate = self.config, self.audio, self.audio.sample_rate
        longest = config.window_frames * audio.hop_samples - round(MARGIN_SECONDS * rate)
        if config.whole_window and len(wave) < longest:
            mel = whisper_log_mel_array(np.pad(wave, (0, round(MARGIN_SECONDS * rate))), audio)
            return self._short(mel)
        silence = 0.0 if config.whole_window else config.trailing_silence
        frames = config.window_frames if config.whole_window else 0
        mel = whisper_log_mel_array(np.pad(wave, (0, round(silence * rate))), audio, frames)
        found = self._encode(mel, -(-len(mel) // _STRIDE), [])
        return self._state(found["cross_keys"], found["cross_values"], None)

    def _short(self, mel: Float[np.ndarray, "frames mel_channels"]) -> OnnxState:
        """Return the state under a sound that silence follows to the end of the window (`asr.short_window`)."""
        encoder, decoder = self._silence
        mel = mel + np.float32(SILENCE_LEVEL - mel.min())
        steps = -(-len(mel) // _STRIDE)
        more = ((0, (steps + 1) * _STRIDE - len(mel)), (0, 0))
        mel = np.pad(mel, more, constant_values=np.float32(SILENCE_LEVEL))[: self.config.window_frames]
        found = self._encode(mel, steps, [silent.rest(steps) for silent in encoder])
        keys, values, bias = _stacked([silent.rest(steps) for silent in decoder])
        plain = np.zeros((*bias.shape[:4], steps), dtype=np.float32)
        return self._state(
            np.concatenate([found["cross_keys"], keys], 3),
            np.concatenate([found["cross_values"], values], 3),
            np.concatenate([plain, bias], 4),
        )

    @functools.cached_property
    def _silent(self) -> tuple[list[SilentSteps], list[SilentSteps]]:
        config = self.config
        mel = np.full((config.window_frames, config.mel_channels), SILENCE_LEVEL, dtype=np.float32)
        found = self._encode(mel, config.encoder_positions, [])
        pairs = (zip(found[f"{name}_keys"], found[f"{name}_values"], strict=True) for name in ("own", "cross"))
        encoder, decoder = ([SilentSteps.of(keys[0], values[0]) for keys, values in each] for each in pairs)
        return encoder, decoder

    @property
    def _silence(self) -> tuple[list[SilentSteps], list[SilentSteps]]:
        """What each block attends to in a window of silence, which is encoded once: encoder's, decoder's."""
        with self._lock:
            return self._silent

    def _encode(
        self, mel: np.ndarray, steps: int, silent: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        config = self.config
        size = config.hidden_size // config.num_encoder_heads
        none = np.zeros((config.num_encoder_heads, 0, size), dtype=np.float32)
        keys, values, bias = _stacked(silent or [(none, none, none[:, :, 0])] * config.num_encoder_layers)
        outputs = self.encoder.run(
            mel=mel[None], steps=np.int64(steps), silent_keys=keys, silent_values=values, silent_bias=bias
        )
        return dict(zip(("cross_keys", "cross_values", "own_keys", "own_values"), outputs, strict=True))

    def _state(self, keys: np.ndarray, values: np.ndarray, bias: np.ndarray | None) -> OnnxState:
        """Return the state before the first token; it has no rows yet."""
        layers, _, heads, steps, size = keys.shape
        bias = np.zeros((layers, 1, heads, 1, steps), dtype=np.float32) if bias is None else bias
        parts = {"cross_keys": keys, "cross_values": values, "cross_bias": bias}
        cross = {f"{name}_{block}": part[block] for name, part in parts.items() for block in range(layers)}
        none = np.zeros((0, heads, 0, size), dtype=np.float32)
        own = (f"past_{kind}_{block}" for block in range(layers) for kind in ("keys", "values"))
        return OnnxState(self.decoder, cross, dict.fromkeys(own, none))


def _stacked(
    silent: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return keys, values and bias of all blocks as the graphs take them."""
    keys, values, bias = (np.stack(parts) for parts in zip(*silent, strict=True))
    return keys[:, None], values[:, None], bias[:, None, :, None]
