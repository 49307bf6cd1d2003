"""Vocoders: from a log-mel to its wave, by a network or by Griffin-Lim."""

from typing import TYPE_CHECKING

import numpy as np

from malsori.annotations import Float
from malsori.config import AudioConfig
from malsori.errors import DeviceError, ModelError
from malsori.pretrained.exported import OnnxGraphs
from malsori.pretrained.folder import SavedModel
from malsori.pretrained.hub import DEFAULT_MODELS
from malsori.runtime.onnx import open_model
from malsori.systems import systems_of
from malsori.tts.onnx import OnnxVocoder
from malsori.tts.roles import Vocoder

if TYPE_CHECKING:
    from torch import Tensor

    from malsori.runtime.device import Runtime

#: The vocoder that needs no model.
GRIFFIN_LIM = "griffin-lim"


class NetworkVocoder(Vocoder):
    """A network that makes waves of mels, on its device. Raises: ModelError if it is none."""

    def __init__(self, model: SavedModel, runtime: "Runtime | None" = None) -> None:
        from malsori.runtime.device import Runtime

        if model.facts.system not in systems_of("vocoder"):
            raise ModelError(f"a {model.facts.system} is no vocoder; one of {', '.join(systems_of('vocoder'))} is")
        self.system, self.audio, self.runtime = model.facts.system, model.facts.audio, runtime or Runtime()
        self.network = self.runtime.place(model.network)
        self.context_frames = self.network.config.context_frames

    def excite(self, mel: Float[np.ndarray, "frames mel_channels"]) -> Float[np.ndarray, "2 samples"] | None:
        """Return pulses and noise of a network that filters these; None of others."""
        if self.network.excitation is None:
            return None
        from malsori.tts.acoustic import as_array

        with self.runtime.inference():
            return as_array(self.network.excite(self._batch(mel))[0])

    def vocode(
        self,
        mel: Float[np.ndarray, "frames mel_channels"],
        excitation: Float[np.ndarray, "2 samples"] | None = None,
    ) -> Float[np.ndarray, " samples"]:
        """Return the wave (frames * hop_samples,) of a log-mel, or of a piece of one with its piece of `excite`."""
        from malsori.tts.acoustic import as_array

        given = () if excitation is None else (self._batch(excitation),)
        with self.runtime.inference():
            return as_array(self.network.infer(self._batch(mel), *given).wave[0])

    def _batch(self, values: Float[np.ndarray, "..."]) -> "Tensor":
        """Return values as a batch of one, on the network's device."""
        import torch

        return torch.from_numpy(values)[None].to(self.runtime.device)


class GriffinLim(Vocoder):
    """Waves by iteration, without weights; always in float32, whose phases half precision would lose."""

    system: str = GRIFFIN_LIM
    context_frames: int | None = None

    def __init__(self, audio: AudioConfig, runtime: "Runtime | None" = None) -> None:
        from malsori.runtime.device import Runtime

        self.audio, self.runtime = audio, runtime or Runtime()

    def vocode(
        self,
        mel: Float[np.ndarray, "frames mel_channels"],
        excitation: Float[np.ndarray, "2 samples"] | None = None,
    ) -> Float[np.ndarray, " samples"]:
        """Return the wave (frames * hop_samples,) of a log-mel."""
        import torch

        from malsori.audio.griffin_lim import griffin_lim
        from malsori.tts.acoustic import as_array

        with torch.inference_mode():
            return as_array(griffin_lim(torch.from_numpy(mel)[None].to(self.runtime.device), self.audio)[0])


def load_vocoder(
    name: str | None, audio: AudioConfig, device: str = "auto", precision: str = "auto", runtime: str = "auto"
) -> Vocoder:
    """Return a vocoder of a mel's settings.

    Args:
        name: a built-in name, a folder, a run, or a hub id; "griffin-lim"; the built-in one when None.
        audio: of the mels that it will be given, which Griffin-Lim cannot know.
        device, precision, runtime: as `tts.voice.load_voice` takes them.
    Raises: ModelError if there is none, or it is none; DeviceError for what computes none.
    """
    if name == GRIFFIN_LIM:
        if runtime == "onnx":
            raise DeviceError(f"runtime 'onnx': {GRIFFIN_LIM} is no graph; PyTorch computes it (--runtime torch)")
        from malsori.runtime.device import resolve_runtime

        return GriffinLim(audio, resolve_runtime(device, precision))
    return open_model(_opened, DEFAULT_MODELS["vocoder"] if name is None else name, runtime, device, precision)


def _opened(saved: SavedModel, runtime: "Runtime | None") -> Vocoder:
    """Return a saved vocoder, whatever computes it. Raises: ModelError if it is none, or its sizes disagree."""
    if isinstance(saved.network, OnnxGraphs):
        return OnnxVocoder(saved)
    vocoder = NetworkVocoder(saved, runtime)
    config, said = vocoder.network.config, vocoder.audio
    for name, found, wanted in (
        ("samples a frame", config.samples_per_frame, said.hop_samples),
        ("mel channels", config.mel_channels, said.mel_channels),
    ):
        if found != wanted:
            raise ModelError(
                f"the vocoder has {found} {name}, its audio settings {wanted}: they do not belong together"
            )
    return vocoder
