"""The speaking face: text → Speech. The command line, the server and Python all come through `Voice.say`."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from malsori.alignment.phonemes import alignment_of
from malsori.alignment.spans import Alignment
from malsori.audio.griffin_lim import griffin_lim
from malsori.audio.io import save_audio
from malsori.audio.mel import log_mel
from malsori.config import AudioConfig, nearest
from malsori.errors import ModelError, TextError
from malsori.pretrained.folder import SavedModel
from malsori.pretrained.hub import first_built_in, load_saved
from malsori.text.frontend import FRONTEND_VERSION, Frontend, Reading
from malsori.text.symbols import PAUSE, START
from malsori.tts.acoustic import VOICES, WHOLE, Control, Sentence, Spoken, speak

VOCODERS = ("vocos", "hifigan")
#: Sentences are joined with this much silence between them.
_BETWEEN_SENTENCES_SECONDS = 0.15
_LOUDEST = 0.99  # a peak above this is scaled down, so that a 16-bit file does not clip


@dataclass(frozen=True)
class SayOptions:
    """How a text is spoken.

    Attributes:
        speaker: one of the voice's speakers; the first when not given.
        speed: 2.0 is twice as fast.
        pitch: semitones up or down.
        energy: louder or softer, in the speaker's own standard deviations.
    """

    speaker: str | None = None
    speed: float = 1.0
    pitch: float = 0.0
    energy: float = 0.0


@dataclass(frozen=True)
class Speech:
    """What was said.

    Attributes:
        wave: samples in [-1, 1] (samples,).
        audio: settings of the wave and the mel.
        mel: the log-mel it was made from (frames, mel_channels).
        reading: every stage of the text.
        alignment: when each word, syllable and phone sounds.
        real_time_factor: seconds of computing to a second of speech.
    """

    wave: Float[np.ndarray, " samples"]
    audio: AudioConfig
    mel: Float[np.ndarray, "frames mel_channels"]
    reading: Reading
    alignment: Alignment
    real_time_factor: float

    @property
    def sample_rate(self) -> int:
        """Samples a second."""
        return self.audio.sample_rate

    @property
    def seconds(self) -> float:
        """How long the speech lasts."""
        return len(self.wave) / self.sample_rate

    def save(self, path: Path | str) -> None:
        """Write the wave to a sound file (.wav, .flac, .ogg), whole or not at all."""
        save_audio(path, self.wave, self.sample_rate)


class Voice:
    """An acoustic model and a vocoder that share one AudioConfig.

    Args:
        acoustic: text to mel.
        vocoder: mel to wave; Griffin-Lim when None.
    Raises: ModelError if the two disagree about the mel, naming the setting and both values.
    """

    def __init__(self, acoustic: SavedModel, vocoder: SavedModel | None) -> None:
        if acoustic.facts.system not in VOICES:
            raise ModelError(f"a {acoustic.facts.system} does not speak; a voice needs one of: {', '.join(VOICES)}")
        if vocoder is not None:
            _check_vocoder(acoustic.facts.audio, vocoder)
        trained = acoustic.facts.frontend.get("version")
        if "phonemes" in acoustic.symbols and trained != FRONTEND_VERSION:
            raise ModelError(
                f"the voice was trained with front-end {trained}, this is {FRONTEND_VERSION}: train it anew"
            )
        self.acoustic, self.vocoder, self.frontend = acoustic, vocoder, Frontend()

    @property
    def audio(self) -> AudioConfig:
        """The settings of the wave and the mel."""
        return self.acoustic.facts.audio

    @property
    def speakers(self) -> tuple[str, ...]:
        """The names that `SayOptions.speaker` accepts."""
        return self.acoustic.facts.speakers

    def say(self, text: str, options: SayOptions | None = None) -> Speech:
        """Return the speech of a text of any length; it is spoken sentence by sentence.

        Raises: TextError if there is nothing to say, a character has no reading, or the speed is outside 0.2 to 5;
            ModelError for an unknown speaker.
        """
        options = options or SayOptions()
        if not 0.2 <= options.speed <= 5.0:
            raise TextError(f"speed {options.speed} is outside 0.2 to 5.0")
        began = time.perf_counter()
        reading = self.frontend.read(text)
        if not reading.words:
            raise TextError(f"nothing to say in {text!r}: there is no letter or number in it")
        spoken = self._speak(reading, options)
        wave = self._wave(spoken)
        mel = log_mel(torch.from_numpy(wave)[None], self.audio)[0].numpy() if spoken.mel is None else spoken.mel
        ends = np.cumsum(spoken.durations) * self.audio.frame_seconds
        took = time.perf_counter() - began
        factor = took / (len(wave) / self.audio.sample_rate)
        return Speech(wave, self.audio, mel, reading, alignment_of(reading, ends), factor)

    def _speak(self, reading: Reading, options: SayOptions) -> Spoken:
        """Return a whole text as it is spoken, sentence by sentence, with a silence between two."""
        speaker = self._speaker(options.speaker)
        control = Control(options.speed, options.pitch, options.energy)
        gap = round(_BETWEEN_SENTENCES_SECONDS / self.audio.frame_seconds)
        durations = np.zeros(len(reading.phonemes), dtype=np.int64)
        said: list[Spoken] = []
        for begin, end, mark in _sentences(reading):
            words = dict.fromkeys(word for word in reading.phoneme_words[begin:end] if word >= 0)
            text = " ".join(reading.words[word].spoken for word in words)
            sentence = Sentence((START, *reading.phonemes[begin:end], mark), text)
            durations[begin - 1] += gap if said else 0
            said.append(speak(self.acoustic, sentence, speaker, control))
            # the pause between two sentences is the end of one, start of one
            durations[begin - 1 : end + 1] += said[-1].durations
        if said[0].wave is not None:
            silence = np.zeros(gap * self.audio.hop_samples, dtype=np.float32)
            return Spoken(durations, wave=_joined([one.wave for one in said], silence))
        floor = np.full((gap, self.audio.mel_channels), self.audio.silence, dtype=np.float32)
        return Spoken(durations, mel=_joined([one.mel for one in said], floor))

    def _wave(self, spoken: Spoken) -> np.ndarray:
        """Return the wave, through a vocoder where the voice gives a mel, no louder than a file holds."""
        if spoken.wave is not None:
            samples = spoken.wave
        else:
            frames = torch.from_numpy(spoken.mel)[None]
            wave = griffin_lim(frames, self.audio) if self.vocoder is None else self.vocoder.network.infer(frames).wave
            samples = wave[0].numpy()
        return samples * min(1.0, _LOUDEST / max(1e-9, float(np.abs(samples).max())))

    def _speaker(self, name: str | None) -> int:
        if name is None:
            return 0
        if name not in self.speakers:
            raise ModelError(f"the voice has no speaker '{name}'.{nearest(name, list(self.speakers))}")
        return self.speakers.index(name)


def load_voice(name: str | None = None, vocoder: str | None = None) -> Voice:
    """Return a voice, ready to speak.

    Args:
        name: a built-in name, a model's or run's folder, or a hub id; the built-in voice when not given.
        vocoder: the same for the vocoder; "griffin-lim" for none; the built-in one when not given.
    Raises: ModelError if either is not there, or they disagree.
    """
    acoustic = load_saved(name or first_built_in(*VOICES))
    if acoustic.facts.system in WHOLE and vocoder:
        raise ModelError(f"a {acoustic.facts.system} makes the wave itself: name no vocoder ('{vocoder}')")
    if acoustic.facts.system in WHOLE or vocoder == "griffin-lim":
        return Voice(acoustic, None)
    return Voice(acoustic, load_saved(vocoder or first_built_in(*VOCODERS)))


def _sentences(reading: Reading) -> Iterator[tuple[int, int, str]]:
    """Yield where each sentence's phonemes begin and end, without the boundaries around them, and its closing mark."""
    begin = 1
    for place, symbol in enumerate(reading.phonemes):
        if symbol != PAUSE:
            continue
        before, after = (reading.words[reading.phoneme_words[place + side]] for side in (-1, 1))
        marks = reading.written[before.end : after.start]
        mark = next((mark for mark in ("?", "!", "…", ".") if mark in marks), None)
        if mark:
            yield begin, place, mark
            begin = place + 1
    yield begin, len(reading.phonemes) - 1, reading.phonemes[-1]


def _joined(parts: list[Any], between: np.ndarray) -> np.ndarray:
    """Return arrays one after another with `between` between two of them."""
    return np.concatenate([piece for part in parts for piece in (between, part)][1:])


def _check_vocoder(audio: AudioConfig, vocoder: SavedModel) -> None:
    if vocoder.facts.system not in VOCODERS:
        raise ModelError(f"a {vocoder.facts.system} is no vocoder; one of {', '.join(VOCODERS)} is")
    for name, wanted in audio.model_dump().items():
        found = getattr(vocoder.facts.audio, name)
        if found != wanted:
            raise ModelError(f"audio.{name} is {wanted} in the voice and {found} in the vocoder: they do not fit")
