"""Voices and vocoders that were exported, as onnxruntime computes them; PyTorch is not asked for."""

from typing import Any, Literal

import numpy as np

from malsori.annotations import Float
from malsori.errors import ModelError
from malsori.pretrained.exported import OnnxGraphs
from malsori.pretrained.folder import SavedModel
from malsori.runtime.onnx import OnnxSession, open_graph
from malsori.systems import systems_of
from malsori.tts.options import SayOptions
from malsori.tts.roles import AcousticModel, EndToEndVoice, SynthesisInput, SynthesisOutput, Vocoder
from malsori.tts.sentences import SentenceSynthesizer
from malsori.tts.spelling import Spelling

_NOISE_SCALE, _DURATION_NOISE_SCALE = 0.667, 0.8  # as `models.vits.Vits.infer` has them


class OnnxAcousticModel(SentenceSynthesizer, AcousticModel):
    """FastSpeech and FastSpeech 2."""

    output: Literal["mel"] = "mel"

    def __init__(self, model: SavedModel, _runtime: Any = None) -> None:
        super().__init__(model.facts, model.symbols)
        self.graph = open_graph(model, "acoustic")
        self.supports_prosody_control = "energy_shift" in self.graph.inputs

    def _infer(self, sentence: SynthesisInput, speaker: int, options: SayOptions) -> SynthesisOutput:
        inputs = _sentence(self.phoneme_ids(sentence), speaker, options)
        mel, durations = self.graph.run(energy_shift=np.float32(options.energy), **inputs)
        return SynthesisOutput(durations[0], mel=mel[0])


class OnnxVits(SentenceSynthesizer, EndToEndVoice):
    """VITS; the same noise each time, but not that of PyTorch: the intonation may differ a little from there."""

    output: Literal["wave"] = "wave"

    def __init__(self, model: SavedModel, _runtime: Any = None) -> None:
        super().__init__(model.facts, model.symbols)
        self.spelling = Spelling(model.facts, model.symbols, bool(model.facts.model["blanks"]))
        self.plan: OnnxSession = open_graph(model, "plan")
        self.sound: OnnxSession = open_graph(model, "sound")

    def _infer(self, sentence: SynthesisInput, speaker: int, options: SayOptions) -> SynthesisOutput:
        inputs = _sentence(self.spelling.token_ids(sentence), speaker, options)
        chance = np.random.default_rng(0)
        drawn = _DURATION_NOISE_SCALE * chance.standard_normal((1, 2, inputs["token_ids"].shape[1]), np.float32)
        mean, log_std, durations = self.plan.run(duration_noise=drawn.astype(np.float32), **inputs)
        shape = 1, mean.shape[2], int(durations.sum())
        noise = np.float32(_NOISE_SCALE) * chance.standard_normal(shape, np.float32)
        (wave,) = self.sound.run(
            mean=mean, log_std=log_std, durations=durations, noise=noise, speaker=inputs["speaker"]
        )
        return SynthesisOutput(self.spelling.phoneme_durations(sentence, durations[0]), wave=wave[0])


class OnnxVocoder(Vocoder):
    """HiFi-GAN and Vocos. Raises: ModelError if the model is no vocoder."""

    def __init__(self, model: SavedModel, _runtime: Any = None) -> None:
        if model.facts.system not in systems_of("vocoder"):
            raise ModelError(f"a {model.facts.system} is no vocoder; one of {', '.join(systems_of('vocoder'))} is")
        self.system, self.audio = model.facts.system, model.facts.audio
        graphs: OnnxGraphs = model.network
        self.context_frames = graphs.facts.context_frames
        self.graph = open_graph(model, "vocoder")
        self.excitation = open_graph(model, "excitation") if "excitation" in graphs.facts.graphs else None

    def excite(self, mel: Float[np.ndarray, "frames mel_channels"]) -> Float[np.ndarray, "2 samples"] | None:
        """Return pulses and noise of a network that filters these; None of others."""
        return None if self.excitation is None else self.excitation.run(mel=mel[None])[0][0]

    def vocode(
        self,
        mel: Float[np.ndarray, "frames mel_channels"],
        excitation: Float[np.ndarray, "2 samples"] | None = None,
    ) -> Float[np.ndarray, " samples"]:
        """Return the wave (frames * hop_samples,) of a log-mel, or of a piece of one with its piece of `excite`."""
        source = self.excite(mel) if excitation is None else excitation
        (wave,) = self.graph.run(mel=mel[None], **({} if source is None else {"excitation": source[None]}))
        return wave[0]


def _sentence(token_ids: list[int], speaker: int, options: SayOptions) -> dict[str, np.ndarray]:
    return {
        "token_ids": np.array([token_ids], dtype=np.int64),
        "speaker": np.array([speaker], dtype=np.int64),
        "speed": np.array(options.speed, dtype=np.float32),
    }
