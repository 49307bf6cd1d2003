"""Silero VAD: how probably somebody speaks, by a small network (Silero Team 2024, github.com/snakers4/silero-vad).

    wave 32 ms + the 4 ms before ─► |STFT| 129 x 4 ─► conv, conv /2, conv /2, conv (ReLU each) ─► LSTM ─► ReLU ─► linear
                                                                                                        ─► probability

No paper describes it: the graph is that of the authors' ONNX file, version 6, for 16 kHz.

Differences from the authors' file:
- All frames of a sound go through the convolutions at once and through the LSTM in one call; theirs takes one a call.
- The window and the cosines of the transform are computed, not stored.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

#: Hz; the network knows no other rate.
SAMPLE_RATE = 16000
#: Samples of a frame: 32 ms.
FRAME_SAMPLES = 512

_CONTEXT_SAMPLES = 64  # of the frame before, in front of each
_FFT, _HOP = 256, 128
_CHANNELS = (_FFT // 2 + 1, 128, 64, 64, 128)
_STRIDES = (1, 2, 2, 1)  # they bring the four steps of a frame to one


@dataclass(frozen=True)
class VadState:
    """What the network remembers of the sound so far: the last samples, and the LSTM's state (layers, features)."""

    context: Tensor
    hidden: Tensor
    cell: Tensor


class SileroVad(nn.Module):
    """Frames of 32 ms in, the probability of speech in each out."""

    def __init__(self) -> None:
        super().__init__()
        self.basis: Tensor
        self.register_buffer("basis", _fourier_basis(), persistent=False)
        pairs = zip(_CHANNELS[:-1], _CHANNELS[1:], _STRIDES, strict=True)
        self.convolutions = nn.ModuleList(nn.Conv1d(low, high, 3, stride, padding=1) for low, high, stride in pairs)
        self.lstm = nn.LSTM(_CHANNELS[-1], _CHANNELS[-1])
        self.head = nn.Linear(_CHANNELS[-1], 1)

    def start(self) -> VadState:
        """Return the state before the first frame: silence."""
        size = self.lstm.hidden_size
        return VadState(torch.zeros(_CONTEXT_SAMPLES), torch.zeros(1, size), torch.zeros(1, size))

    @torch.inference_mode()
    def infer(self, wave: Float[Tensor, " samples"], state: VadState) -> tuple[Float[Tensor, " frames"], VadState]:
        """Return the probability of speech in each frame of a wave of whole frames, and the state behind it.

        Raises: ValueError if the wave is empty, or no multiple of a frame.
        """
        if not len(wave) or len(wave) % FRAME_SAMPLES:
            raise ValueError(f"{len(wave)} samples are no whole frames of {FRAME_SAMPLES}")
        behind = torch.cat([state.context, wave])
        frames = behind.unfold(0, _CONTEXT_SAMPLES + FRAME_SAMPLES, FRAME_SAMPLES)[:, None]
        hidden = nn.functional.conv1d(
            nn.functional.pad(frames, (0, _FFT // 4), mode="reflect"), self.basis, stride=_HOP
        )
        hidden = hidden.square().unflatten(1, (2, -1)).sum(1).sqrt()
        for convolution in self.convolutions:
            hidden = convolution(hidden).relu()
        steps, (last, cell) = self.lstm(hidden[:, :, 0], (state.hidden, state.cell))
        return self.head(steps.relu())[:, 0].sigmoid(), VadState(behind[-_CONTEXT_SAMPLES:], last, cell)


def _fourier_basis() -> Float[Tensor, "parts 1 samples"]:
    """Return the cosines, then the sines, of each frequency under a Hann window."""
    time = np.arange(_FFT)
    angles = 2 * math.pi / _FFT * np.arange(_FFT // 2 + 1)[:, None] * time
    hann = 0.5 - 0.5 * np.cos(2 * math.pi / _FFT * time)
    return torch.from_numpy(np.concatenate([np.cos(angles), np.sin(angles)]) * hann).float()[:, None]
