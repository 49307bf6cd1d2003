"""From a sentence to its sound, mel or wave: what each kind of voice takes, and how it is asked for it."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from malsori.errors import ModelError
from malsori.models.vits import join_blanks, with_blanks
from malsori.pretrained.folder import SavedModel
from malsori.text.romanize import spell
from malsori.text.symbols import PAUSE, PHONEMES, SPACE, SymbolTable

#: Systems that can be asked for another pitch and energy.
_PLASTIC = ("fastspeech2",)
#: Systems that give a wave, and need no vocoder.
WHOLE = ("vits",)
_BOUNDARIES = (SPACE, PAUSE)


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
    Raises: ModelError if pitch or energy is asked of a voice that cannot change them.
    """
    if (control.pitch or control.energy) and model.facts.system not in _PLASTIC:
        raise ModelError(f"a {model.facts.system} cannot change pitch or energy; one of {', '.join(_PLASTIC)} can")
    return VOICES[model.facts.system](model, sentence, speaker, control)


def _fastspeech2(model: SavedModel, sentence: Sentence, speaker: int, control: Control) -> Spoken:
    token_ids = _phoneme_ids(model, sentence)
    statistics = model.facts.statistics[model.facts.speakers[speaker]]
    # a semitone is log(2) / 12 of log-F0, which the network counts in the speaker's deviations
    shift = control.pitch * float(np.log(2) / 12) / statistics.pitch_std
    output = model.network.infer(
        token_ids,
        torch.tensor([token_ids.shape[1]]),
        torch.tensor([speaker]),
        speed=control.speed,
        pitch_shift=shift,
        energy_shift=control.energy,
    )
    return Spoken(output.durations[0].numpy(), mel=output.mel[0].numpy())


def _fastspeech(model: SavedModel, sentence: Sentence, speaker: int, control: Control) -> Spoken:
    token_ids = _phoneme_ids(model, sentence)
    lengths, speakers = torch.tensor([token_ids.shape[1]]), torch.tensor([speaker])
    output = model.network.infer(token_ids, lengths, speakers, speed=control.speed)
    return Spoken(output.durations[0].numpy(), mel=output.mel[0].numpy())


def _tacotron(model: SavedModel, sentence: Sentence, speaker: int, control: Control) -> Spoken:
    """Say it at the pace that was learnt, then stretch the mel."""
    token_ids = _phoneme_ids(model, sentence)
    lengths = torch.tensor([token_ids.shape[1]])
    output = model.network.infer(token_ids, lengths, torch.tensor([speaker]))
    durations, mel = model.network.durations(output, lengths)[0], output.mel
    if control.speed != 1.0:
        ends = (durations.cumsum(0) / control.speed).round().long().clamp(min=1)
        durations = ends.diff(prepend=ends.new_zeros(1))
        mel = torch.nn.functional.interpolate(mel.transpose(1, 2), size=int(ends[-1]), mode="linear").transpose(1, 2)
    return Spoken(durations.numpy(), mel=mel[0].numpy())


def _vits(model: SavedModel, sentence: Sentence, speaker: int, control: Control) -> Spoken:
    """Say it with the same noise each time, so that one text has one wave."""
    network, romanized = model.network, model.facts.frontend.get("romanized", False)
    letters = "" if "phonemes" in model.symbols else spell(sentence.text, _letters(model), romanized)
    token_ids = _letters(model).encode(letters) if letters else PHONEMES.encode(sentence.phonemes)
    output = network.infer(
        torch.tensor([with_blanks(token_ids) if network.config.blanks else token_ids]),
        speaker_ids=torch.tensor([speaker]),
        speed=control.speed,
        generator=torch.Generator().manual_seed(0),
    )
    durations = output.durations[0].numpy()
    durations = join_blanks(durations) if network.config.blanks else durations
    durations = _by_words(letters, durations, sentence.phonemes) if letters else durations
    return Spoken(durations, wave=output.wave[0].numpy())


def _phoneme_ids(model: SavedModel, sentence: Sentence) -> Int[Tensor, "batch tokens"]:
    """Return a sentence as a batch of one. Raises: ModelError if the voice was taught other symbols than phonemes."""
    if "phonemes" not in model.symbols:
        raise ModelError(
            f"this {model.facts.system} reads {model.network.config.vocab} symbols of its makers, not malsori's "
            "phonemes: it has to learn them from a corpus first"
        )
    return torch.tensor([PHONEMES.encode(sentence.phonemes)])


def _letters(model: SavedModel) -> SymbolTable:
    """Return the alphabet of a voice that reads letters. Raises: ModelError if malsori cannot spell for it."""
    cleaners = model.facts.frontend.get("cleaners")
    if "letters" not in model.symbols or cleaners:
        raise ModelError(
            f"this voice reads symbols of its makers ({', '.join(cleaners or ['not named'])}), neither Korean phonemes "
            "nor letters; 'malsori.load_model' gives its network, which takes their ids"
        )
    return model.symbols["letters"]


def _by_words(letters: str, frames: np.ndarray, phonemes: tuple[str, ...]) -> np.ndarray:
    """Return how long each phoneme lasts when letters were timed: words keep their frames, shared alike within one.

    Where letters and phonemes disagree about the words, all frames are shared alike.
    """
    told = [int(frames[begin:end].sum()) for begin, end in _runs([letter == " " for letter in letters])]
    inner = [end - begin for begin, end in _runs([symbol in _BOUNDARIES for symbol in phonemes[1:-1]])]
    shares = zip(told, inner, strict=True) if len(told) == len(inner) else [(int(frames.sum()), len(phonemes) - 2)]
    dealt = [np.diff(np.linspace(0, total, count + 1).round().astype(np.int64)) for total, count in shares]
    return np.concatenate([[0], *dealt, [0]])


def _runs(marks: list[bool]) -> list[tuple[int, int]]:
    """Return where each run of equal marks begins and ends."""
    edges = [0, *(place for place in range(1, len(marks)) if marks[place] != marks[place - 1]), len(marks)]
    return list(pairwise(edges))


#: System → how a voice of it speaks.
VOICES: dict[str, Callable[[SavedModel, Sentence, int, Control], Spoken]] = {
    "fastspeech": _fastspeech,
    "fastspeech2": _fastspeech2,
    "tacotron": _tacotron,
    "tacotron2": _tacotron,
    "vits": _vits,
}
