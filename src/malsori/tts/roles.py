"""What a voice is made of, as roles: sentence → mel, mel → wave, sentence → wave.

`Voice` knows these alone. PyTorch, int8 and ONNX are told apart only where an object of a role is made.
"""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from malsori.annotations import Float, Int
from malsori.config import AudioConfig
from malsori.pretrained.folder import ModelFacts
from malsori.tts.options import SayOptions


@dataclass(frozen=True)
class SynthesisInput:
    """One sentence to synthesize.

    Attributes:
        phonemes: from the opening silence to the closing mark.
        text: the same in normalized Hangul, for voices that read letters.
    """

    phonemes: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class SynthesisOutput:
    """A sentence as a log-mel, for a vocoder, or as a wave.

    Attributes:
        durations: frames each phoneme lasts (tokens,); they sum to the frames of the mel or wave.
        mel: log-mel (frames, mel_channels), or None.
        wave: samples in [-1, 1] (frames * hop_samples,), or None.
    """

    durations: Int[np.ndarray, " tokens"]
    mel: Float[np.ndarray, "frames mel_channels"] | None = None
    wave: Float[np.ndarray, " samples"] | None = None


class Synthesizer(Protocol):
    """What acoustic models and end-to-end voices have in common. Safe for threads.

    Attributes:
        facts: what the model's folder says: system, speakers, audio settings.
        supports_prosody_control: it can be asked for another energy.
    """

    facts: ModelFacts
    supports_prosody_control: bool

    def refuse_unsupported(self, options: SayOptions) -> None:
        """Raise OptionError naming the first option that it cannot serve, and its system."""

    def synthesize(self, sentence: SynthesisInput, options: SayOptions) -> SynthesisOutput:
        """Return one sentence, its mel or its wave. Raises: OptionError as refuse_unsupported."""


@runtime_checkable
class AcousticModel(Synthesizer, Protocol):
    """Sentence → log-mel; a vocoder makes the wave."""

    output: Literal["mel"]


@runtime_checkable
class EndToEndVoice(Synthesizer, Protocol):
    """Sentence → wave; it needs no vocoder."""

    output: Literal["wave"]


@runtime_checkable
class Vocoder(Protocol):
    """Log-mel → wave. Safe for threads.

    Attributes:
        system: its name, as `malsori models` has it.
        audio: settings of the mel that it takes and the wave that it makes.
        context_frames: how many frames on each side of one its wave depends on; None where on all.
    """

    system: str
    audio: AudioConfig
    context_frames: int | None

    def excite(self, _mel: Float[np.ndarray, "frames mel_channels"]) -> Float[np.ndarray, "2 samples"] | None:
        """Return what the wave of a whole mel is filtered from; None for a vocoder that filters nothing."""
        return None

    def vocode(
        self,
        mel: Float[np.ndarray, "frames mel_channels"],
        excitation: Float[np.ndarray, "2 samples"] | None = None,
    ) -> Float[np.ndarray, " samples"]:
        """Return the wave (frames * hop_samples,) of a log-mel, or of a piece of one with its piece of `excite`."""
