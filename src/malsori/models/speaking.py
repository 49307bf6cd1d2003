"""From a sentence to its sound, mel or wave: what each kind of voice takes, and how it is asked for it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from malsori.models.saved import SavedModel
from malsori.text.symbols import PHONEMES


@dataclass(frozen=True)
class Sentence:
    """One sentence to speak.

    Attributes:
        phonemes: from the opening silence to the closing mark.
        text: the same in normalised Hangul, for voices that read letters.
    """

    phonemes: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Control:
    """How it is spoken: speed (2.0 is twice as fast), pitch in semitones, energy in the speaker's deviations."""

    speed: float = 1.0
    pitch: float = 0.0
    energy: float = 0.0


@dataclass(frozen=True)
class Spoken:
    """What a voice makes of a sentence: a log-mel, for a vocoder, or a wave.

    Attributes:
        durations: frames each phoneme lasts (tokens,); they sum to the frames of the mel or wave.
        mel: log-mel (frames, mel_channels), or None.
        wave: samples in [-1, 1] (frames * hop_samples,), or None.
    """

    durations: Int[np.ndarray, " tokens"]
    mel: Float[np.ndarray, "frames mel_channels"] | None = None
    wave: Float[np.ndarray, " samples"] | None = None


def speak(model: SavedModel, sentence: Sentence, speaker: int, control: Control) -> Spoken:
    """Return a sentence as a voice speaks it.

    Args:
        speaker: index into the voice's speakers.
    """
    return VOICES[model.facts.system](model, sentence, speaker, control)


def _fastspeech2(model: SavedModel, sentence: Sentence, speaker: int, control: Control) -> Spoken:
    token_ids = torch.tensor([PHONEMES.encode(sentence.phonemes)])
    statistics = model.facts.statistics[model.facts.speakers[speaker]]
    # a semitone is log(2) / 12 of log-F0, which the network counts in the speaker's deviations
    shift = control.pitch * float(np.log(2) / 12) / statistics.pitch_deviation
    output = model.network.infer(
        token_ids,
        torch.tensor([token_ids.shape[1]]),
        torch.tensor([speaker]),
        speed=control.speed,
        pitch_shift=shift,
        energy_shift=control.energy,
    )
    return Spoken(output.durations[0].numpy(), mel=output.mel[0].numpy())


#: System → how a voice of it speaks.
VOICES: dict[str, Callable[[SavedModel, Sentence, int, Control], Spoken]] = {"fastspeech2": _fastspeech2}
