"""Silero VAD: how probably somebody speaks, by a small network (Silero Team 2024, github.com/snakers4/silero-vad).

    wave 32 ms + the 4 ms before ─► |STFT| 129 x 4 ─► conv, conv /2, conv /2, conv (ReLU each) ─► LSTM ─► ReLU ─► linear
                                                                                                        ─► probability

No paper describes it: the graph is that of the authors' ONNX file, version 6, for 16 kHz.

Differences from the authors' file:
- All frames of a sound go through the convolutions at once; theirs takes one a call.
- The window and the cosines of the transform are computed, not stored.

It is written for arrays, not in PyTorch: nobody trains it, and what was exported listens without PyTorch too.
"""

import functools
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from malsori.annotations import Float

#: Hz; the network knows no other rate.
SAMPLE_RATE = 16000
#: Samples of a frame: 32 ms.
FRAME_SAMPLES = 512

_CONTEXT_SAMPLES = 64  # of the frame before, in front of each
_FFT, _HOP = 256, 128
_CHANNELS = (_FFT // 2 + 1, 128, 64, 64, 128)
_STRIDES = (1, 2, 2, 1)  # they bring the four steps of a frame to one
_FEATURES = _CHANNELS[-1]
_BLOCK_FRAMES = 1024  # that go through the convolutions at once


@dataclass(frozen=True)
class VadState:
    """What the network remembers of the sound so far: the last samples, and the LSTM's state (features,)."""

    context: Float[np.ndarray, " samples"]
    hidden: Float[np.ndarray, " features"]
    cell: Float[np.ndarray, " features"]


class SileroVad:
    """Frames of 32 ms in, the probability of speech in each out. It changes nothing once it is made.

    Args:
        weights: by PyTorch's names of a network of four convolutions, an LSTM and a linear head.
    Raises: KeyError or ValueError if one is missing or has another shape.
    """

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        self._convolutions = [
            (
                _shaped(weights[f"convolutions.{number}.weight"], (high, low, 3)).reshape(high, low * 3).T,
                _shaped(weights[f"convolutions.{number}.bias"], (high,)),
            )
            for number, (low, high) in enumerate(itertools.pairwise(_CHANNELS))
        ]
        gates = 4 * _FEATURES
        self._from_input, self._from_hidden = (
            np.ascontiguousarray(_shaped(weights[f"lstm.weight_{kind}_l0"], (gates, _FEATURES)).T)
            for kind in ("ih", "hh")
        )
        self._gate_bias = sum(_shaped(weights[f"lstm.bias_{kind}_l0"], (gates,)) for kind in ("ih", "hh"))
        self._head = _shaped(weights["head.weight"], (1, _FEATURES))[0]
        self._head_bias = _shaped(weights["head.bias"], (1,))[0]

    def start(self) -> VadState:
        """Return the state before the first frame: silence."""
        none = np.zeros(_FEATURES, dtype=np.float32)
        return VadState(np.zeros(_CONTEXT_SAMPLES, dtype=np.float32), none, none)

    def infer(
        self, wave: Float[np.ndarray, " samples"], state: VadState
    ) -> tuple[Float[np.ndarray, " frames"], VadState]:
        """Return the probability of speech in each frame of a wave of whole frames, and the state behind it.

        Raises: ValueError if the wave is empty, or no multiple of a frame.
        """
        if not len(wave) or len(wave) % FRAME_SAMPLES:
            raise ValueError(f"{len(wave)} samples are no whole frames of {FRAME_SAMPLES}")
        behind = np.concatenate([state.context, wave], dtype=np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(behind, _CONTEXT_SAMPLES + FRAME_SAMPLES)[::FRAME_SAMPLES]
        hidden, cell, told = state.hidden, state.cell, np.empty(len(frames), dtype=np.float32)
        for begin in range(0, len(frames), _BLOCK_FRAMES):
            gates = self._features(frames[begin : begin + _BLOCK_FRAMES]) @ self._from_input + self._gate_bias
            for number, given in enumerate(gates, begin):
                enter, keep, new, show = np.split(given + hidden @ self._from_hidden, 4)
                cell = _sigmoid(keep) * cell + _sigmoid(enter) * np.tanh(new)
                hidden = _sigmoid(show) * np.tanh(cell)
                told[number] = np.maximum(hidden, 0) @ self._head
        return _sigmoid(told + self._head_bias), VadState(behind[-_CONTEXT_SAMPLES:].copy(), hidden, cell)

    def _features(self, frames: Float[np.ndarray, "frames samples"]) -> Float[np.ndarray, "frames features"]:
        """Return what the convolutions make of each frame by itself."""
        padded = np.pad(frames, ((0, 0), (0, _FFT // 4)), mode="reflect")
        pieces = np.lib.stride_tricks.sliding_window_view(padded, _FFT, axis=1)[:, ::_HOP]
        parts = pieces @ _fourier_basis()
        cosines, sines = parts[..., : _CHANNELS[0]], parts[..., _CHANNELS[0] :]
        hidden = np.sqrt(np.square(cosines) + np.square(sines))
        for (weight, bias), stride in zip(self._convolutions, _STRIDES, strict=True):
            padded = np.pad(hidden, ((0, 0), (1, 1), (0, 0)))
            seen = np.lib.stride_tricks.sliding_window_view(padded, 3, axis=1)[:, ::stride]
            hidden = np.maximum(seen.reshape(*seen.shape[:2], -1) @ weight + bias, 0)
        return hidden[:, 0]


def _shaped(weight: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if weight.shape != shape:
        raise ValueError(f"a weight of shape {weight.shape}, not {shape}")
    return weight.astype(np.float32)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)) in a form that overflows for no value."""
    return 0.5 * (1 + np.tanh(0.5 * values))


@functools.cache
def _fourier_basis() -> Float[np.ndarray, "samples parts"]:
    """Return the cosines, then the sines, of each frequency under a Hann window."""
    time = np.arange(_FFT)
    angles = 2 * math.pi / _FFT * np.arange(_FFT // 2 + 1)[:, None] * time
    hann = 0.5 - 0.5 * np.cos(2 * math.pi / _FFT * time)
    return np.ascontiguousarray((np.concatenate([np.cos(angles), np.sin(angles)]) * hann).T, dtype=np.float32)
