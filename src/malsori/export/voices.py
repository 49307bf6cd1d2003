"""Voices as graphs: acoustic models, vocoders, and VITS in two parts, for its noise is as long as its first part says.

Everything is of one sentence (batch 1); only its length is open.
"""

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from malsori.export.graph import Graph

if TYPE_CHECKING:
    from malsori.models.fastspeech import FastSpeech
    from malsori.models.fastspeech2 import FastSpeech2
    from malsori.models.hifigan import Hifigan
    from malsori.models.vits import Vits
    from malsori.models.vocos import Vocos

_TOKENS, _FRAMES = 13, 37  # of the examples
_MEL_AXES = {"mel": {1: "frames"}, "wave": {1: "samples"}}


class _FastSpeech2(nn.Module):
    def __init__(self, network: "FastSpeech2") -> None:
        super().__init__()
        self.network = network

    def forward(self, token_ids: Tensor, speaker: Tensor, speed: Tensor, energy_shift: Tensor) -> tuple[Tensor, Tensor]:
        from malsori.models.fastspeech2 import VarianceTargets

        targets = VarianceTargets(speed=speed, energy_shift=energy_shift)  # type: ignore[arg-type]
        output = self.network.speak(token_ids, _length(token_ids), speaker, targets)
        return output.mel, output.durations


class _FastSpeech(nn.Module):
    def __init__(self, network: "FastSpeech") -> None:
        super().__init__()
        self.network = network

    def forward(self, token_ids: Tensor, speaker: Tensor, speed: Tensor) -> tuple[Tensor, Tensor]:
        output = self.network(token_ids, _length(token_ids), speaker, speed=speed)
        return output.mel, output.durations


class _Hifigan(nn.Module):
    def __init__(self, network: "Hifigan") -> None:
        super().__init__()
        self.network = network

    def forward(self, mel: Tensor, excitation: Tensor | None = None) -> Tensor:
        return self.network(mel, excitation).wave


class _Excitation(nn.Module):
    def __init__(self, network: "Hifigan | Vocos") -> None:
        super().__init__()
        self.network = network

    def forward(self, mel: Tensor) -> Tensor:
        return self.network.excitation(mel)  # type: ignore[misc]


class _Vocos(nn.Module):
    """Its inverse transform as one transposed convolution, whose kernels are the windowed sines and cosines.

    They are 4 MB at the usual size, and so are no weights: the graph says how they are made, of what is counted here.
    """

    bins: Tensor
    samples: Tensor
    window: Tensor
    squared_window: Tensor

    def __init__(self, network: "Vocos") -> None:
        super().__init__()
        self.network, config = network, network.config
        self.size, self.hop = config.fft_samples, config.hop_samples
        self.register_buffer("bins", torch.arange(self.size // 2 + 1.0)[:, None])
        self.register_buffer("samples", torch.arange(float(self.size))[None])
        self.register_buffer("window", network.window.cpu().clone())
        self.register_buffer("squared_window", network.window.cpu().square()[None, None])

    def forward(self, mel: Tensor, excitation: Tensor | None = None) -> Tensor:
        parts = torch.cat(self._spectrum(mel, excitation), 2).transpose(1, 2)
        kernels = inverse_fourier_kernels(self.bins, self.samples) * self.window
        wave = nn.functional.conv_transpose1d(parts, kernels, stride=self.hop)
        envelope = nn.functional.conv_transpose1d(torch.ones_like(parts[:, :1]), self.squared_window, stride=self.hop)
        begin = (self.size - self.hop) // 2
        end = begin + mel.shape[1] * self.hop
        return wave[:, 0, begin:end] / envelope[:, 0, begin:end].clamp(min=1e-8)

    def _spectrum(self, mel: Tensor, excitation: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return both parts (1, frames, bins); of an excitation by a convolution, whose kernels are made as above."""
        if excitation is None:
            magnitude, phase = self.network.spectrum(mel)
            return magnitude * phase.cos(), magnitude * phase.sin()
        angles = _angles(self.bins, self.samples)
        kernels = torch.cat([angles.cos(), -angles.sin()])[:, None] * self.window
        around = (self.size - self.hop) // 2
        waves = nn.functional.pad(excitation, (around, self.size - self.hop - around)).transpose(0, 1)
        real, imaginary = nn.functional.conv1d(waves, kernels, stride=self.hop).transpose(1, 2).chunk(2, 2)
        return self.network.filtered(mel, real[None], imaginary[None])


class _VitsPlan(nn.Module):
    def __init__(self, network: "Vits") -> None:
        super().__init__()
        self.network = network

    def forward(
        self, token_ids: Tensor, speaker: Tensor, speed: Tensor, duration_noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        mask, vector = torch.ones_like(token_ids, dtype=torch.bool), self.network.speaker_vectors(speaker)
        return self.network.plan(token_ids, mask, duration_noise, vector, speed)


class _VitsSound(nn.Module):
    def __init__(self, network: "Vits") -> None:
        super().__init__()
        self.network = network

    def forward(self, mean: Tensor, log_std: Tensor, durations: Tensor, noise: Tensor, speaker: Tensor) -> Tensor:
        vector = self.network.speaker_vectors(speaker)
        return self.network.sound(mean, log_std, durations, noise, vector)


def fastspeech2_graphs(network: "FastSpeech2") -> dict[str, Graph]:
    """Return phonemes, speaker, speed and energy → mel and durations."""
    inputs = {**_sentence(), "energy_shift": torch.tensor(0.0)}
    return {"acoustic": _acoustic(_FastSpeech2(network), inputs)}


def fastspeech_graphs(network: "FastSpeech") -> dict[str, Graph]:
    """Return phonemes, speaker and speed → mel and durations."""
    return {"acoustic": _acoustic(_FastSpeech(network), _sentence())}


def hifigan_graphs(network: "Hifigan") -> dict[str, Graph]:
    """Return mel → wave; of a network that is given an excitation, mel → excitation, and both → wave."""
    return _vocoder(network, _Hifigan(network))


def vocos_graphs(network: "Vocos") -> dict[str, Graph]:
    """Return mel → wave; of a network that filters an excitation, mel → excitation, and both → wave."""
    return _vocoder(network, _Vocos(network), ("bins", "samples", "window", "squared_window"))


def _vocoder(network: "Hifigan | Vocos", module: nn.Module, exact: tuple[str, ...] = ()) -> dict[str, Graph]:
    inputs, axes = _mel(network.config.mel_channels), {**_MEL_AXES, "excitation": {2: "samples"}}
    if network.excitation is None:
        return {"vocoder": Graph(module, inputs, ("wave",), _MEL_AXES, exact)}
    both = {**inputs, "excitation": torch.randn(1, 2, _FRAMES * network.config.samples_per_frame)}
    return {
        "excitation": Graph(_Excitation(network), inputs, ("excitation",), axes, ("network.excitation.noise",)),
        "vocoder": Graph(module, both, ("wave",), axes, exact),
    }


def vits_graphs(network: "Vits") -> dict[str, Graph]:
    """Return tokens → their latents and durations; those and noise → wave."""
    size = network.config.latent_channels
    planned = {"mean": {1: "tokens"}, "log_std": {1: "tokens"}, "durations": {1: "tokens"}}
    first = {**_sentence(), "duration_noise": torch.randn(1, 2, _TOKENS)}
    durations = torch.full((1, _TOKENS), 3)
    second = {
        "mean": torch.randn(1, _TOKENS, size),
        "log_std": torch.randn(1, _TOKENS, size),
        "durations": durations,
        "noise": torch.randn(1, size, int(durations.sum())),
        "speaker": torch.tensor([0]),
    }
    axes = {"token_ids": {1: "tokens"}, "duration_noise": {2: "tokens"}, **planned}
    sound = {**planned, "noise": {2: "frames"}, "wave": {1: "samples"}}
    exact = ("network.decoder.excitation.noise",) if network.config.decoder.excitation else ()
    return {
        "plan": Graph(_VitsPlan(network), first, tuple(planned), axes),
        "sound": Graph(_VitsSound(network), second, ("wave",), sound, exact),
    }


def inverse_fourier_kernels(
    bins: Float[Tensor, "bins 1"], samples: Float[Tensor, "1 samples"]
) -> Float[Tensor, "parts 1 samples"]:
    """Return what each bin's real part, then each one's imaginary part, adds to a frame of the wave.

    Args:
        bins, samples: their numbers from 0.
    """
    size, angles = samples.shape[1], _angles(bins, samples)
    alone = (bins == 0) | (2 * bins == size)  # the others stand for their mirror image too
    weight = (2.0 - alone.float()) / size
    return torch.cat([weight * angles.cos(), -weight * angles.sin()])[:, None]


def _angles(bins: Float[Tensor, "bins 1"], samples: Float[Tensor, "1 samples"]) -> Float[Tensor, "bins samples"]:
    size = samples.shape[1]
    return (bins @ samples % size) * (2 * math.pi / size)  # whole turns taken away before anything is rounded


def _acoustic(module: nn.Module, inputs: dict[str, Tensor]) -> Graph:
    axes = {"token_ids": {1: "tokens"}, "mel": {1: "frames"}, "durations": {1: "tokens"}}
    return Graph(module, inputs, ("mel", "durations"), axes)


def _sentence() -> dict[str, Tensor]:
    return {
        "token_ids": torch.arange(1, _TOKENS + 1)[None],
        "speaker": torch.tensor([0]),
        "speed": torch.tensor(1.0),
    }


def _mel(channels: int) -> dict[str, Tensor]:
    return {"mel": torch.randn(1, _FRAMES, channels)}


def _length(token_ids: Int[Tensor, "1 tokens"]) -> Int[Tensor, "1"]:
    """Return the number of tokens as it is when the graph runs."""
    return torch.ones_like(token_ids).sum(1)
