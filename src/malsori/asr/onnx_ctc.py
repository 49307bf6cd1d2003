"""The encoders of exported networks that CTC trained, as onnxruntime runs them (`malsori.asr.encode`)."""

from typing import Any

import numpy as np

from malsori.annotations import Float
from malsori.asr.encode import CtcPosteriors, checked_seconds
from malsori.audio.mel_filters import log_mel_array
from malsori.pretrained.folder import SavedModel
from malsori.runtime.onnx import open_graph

_FRAME_STRIDE = 2  # mel frames to one of a Conformer's outputs, as `models.conformer` has it
_EPSILON = 1e-7  # of a wave's variance, as `models.wav2vec2.standardize_wave` has it


class OnnxConformerCtcEncoder:
    """A Conformer over log-mels, for sounds no longer than a window; it aligns nothing."""

    def __init__(self, model: SavedModel, _runtime: Any = None) -> None:
        self.audio, self.graph = model.facts.audio, open_graph(model, "encoder")
        self.sample_rate: int = self.audio.sample_rate
        self.frame_seconds: float = _FRAME_STRIDE * self.audio.frame_seconds

    def posteriors(self, wave: Float[np.ndarray, " samples"]) -> CtcPosteriors:
        """Return the log-probabilities of jamo. Raises: AudioError if the sound is too short."""
        seconds = checked_seconds(wave, self.sample_rate)
        jamo, _ = self.graph.run(mel=log_mel_array(wave, self.audio)[None])
        return CtcPosteriors(jamo[0], 0, 0.0, self.frame_seconds, seconds)


class OnnxWav2Vec2CtcEncoder:
    """A wav2vec 2.0 over the wave itself."""

    def __init__(self, model: SavedModel, _runtime: Any = None) -> None:
        config: dict[str, Any] = model.facts.model
        self.graph, self.blank, self.standardized = (
            open_graph(model, "encoder"),
            config["blank"],
            config["standardized"],
        )
        self.sample_rate: int = model.facts.audio.sample_rate
        step, field = 1, 1
        for kernel, stride in zip(config["conv_kernel_sizes"], config["conv_strides"], strict=True):
            field, step = field + (kernel - 1) * step, step * stride
        self.frame_seconds: float = step / self.sample_rate
        self.first_seconds: float = (field - step) / 2 / self.sample_rate

    def posteriors(self, wave: Float[np.ndarray, " samples"]) -> CtcPosteriors:
        """Return the log-probabilities of its letters. Raises: AudioError if the sound is too short."""
        seconds, wave = checked_seconds(wave, self.sample_rate), np.asarray(wave, dtype=np.float32)
        if self.standardized:
            wave = (wave - wave.mean()) / np.sqrt(wave.var() + np.float32(_EPSILON))
        (letters,) = self.graph.run(wave=wave[None])
        return CtcPosteriors(letters[0], self.blank, self.first_seconds, self.frame_seconds, seconds)
