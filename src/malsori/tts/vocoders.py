"""Vocoders: from a log-mel to its wave, by a network or by Griffin-Lim."""

import numpy as np
import torch
from jaxtyping import Float

from malsori.audio.griffin_lim import griffin_lim
from malsori.config import AudioConfig
from malsori.errors import ModelError
from malsori.pretrained.exported import OnnxGraphs
from malsori.pretrained.folder import SavedModel
from malsori.pretrained.hub import DEFAULT_MODELS, load_saved
from malsori.runtime.device import Runtime
from malsori.systems import systems_of
from malsori.tts.acoustic import as_array
from malsori.tts.onnx import OnnxVocoder
from malsori.tts.roles import Vocoder

#: The vocoder that needs no model.
GRIFFIN_LIM = "griffin-lim"


class NetworkVocoder(Vocoder):
    """A network that makes waves of mels, on its device. Raises: ModelError if it is none."""

    def __init__(self, model: SavedModel, runtime: Runtime | None = None) -> None:
        if model.facts.system not in systems_of("vocoder"):
            raise ModelError(f"a {model.facts.system} is no vocoder; one of {', '.join(systems_of('vocoder'))} is")
        self.system, self.audio, self.runtime = model.facts.system, model.facts.audio, runtime or Runtime()
        self.network = self.runtime.place(model.network)
        self.context_frames = self.network.config.context_frames

    def vocode(self, mel: Float[np.ndarray, "frames mel_channels"]) -> Float[np.ndarray, " samples"]:
        """Return the wave (frames * hop_samples,) of a log-mel."""
        with self.runtime.inference():
            return as_array(self.network.infer(torch.from_numpy(mel)[None].to(self.runtime.device)).wave[0])


class GriffinLim(Vocoder):
    """Waves by iteration, without weights; always in float32, whose phases half precision would lose."""

    system: str = GRIFFIN_LIM
    context_frames: int | None = None

    def __init__(self, audio: AudioConfig, runtime: Runtime | None = None) -> None:
        self.audio, self.runtime = audio, runtime or Runtime()

    def vocode(self, mel: Float[np.ndarray, "frames mel_channels"]) -> Float[np.ndarray, " samples"]:
        """Return the wave (frames * hop_samples,) of a log-mel."""
        with torch.inference_mode():
            return as_array(griffin_lim(torch.from_numpy(mel)[None].to(self.runtime.device), self.audio)[0])


def load_vocoder(name: str | None, audio: AudioConfig, runtime: Runtime | None = None) -> Vocoder:
    """Return a vocoder of a mel's settings.

    Args:
        name: a built-in name, a folder, a run, or a hub id; "griffin-lim"; the built-in one when None.
        audio: of the mels that it will be given, which Griffin-Lim cannot know.
    Raises: ModelError if there is none, or it is none.
    """
    if name == GRIFFIN_LIM:
        return GriffinLim(audio, runtime)
    saved = load_saved(DEFAULT_MODELS["vocoder"] if name is None else name)
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
