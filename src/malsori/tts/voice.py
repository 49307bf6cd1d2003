"""Speech synthesis: text → Speech. The command line, the server and Python all come through `Voice.say`."""

import logging
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
from malsori.audio.io import save_audio
from malsori.audio.mel import log_mel
from malsori.config import AudioConfig
from malsori.errors import ModelError, TextError
from malsori.pretrained.folder import SavedModel
from malsori.pretrained.hub import DEFAULT_MODELS, load_saved
from malsori.runtime.device import Runtime, resolve_runtime
from malsori.systems import SYSTEMS, Role, systems_of
from malsori.text.frontend import FRONTEND_VERSION, Frontend, Reading
from malsori.text.symbols import PAUSE, START
from malsori.tts.options import SayOptions
from malsori.tts.roles import AcousticModel, EndToEndVoice, SynthesisInput, SynthesisOutput, Vocoder
from malsori.tts.vocoders import load_vocoder

log = logging.getLogger("malsori")

#: Sentences are joined with this much silence between them.
_BETWEEN_SENTENCES_SECONDS = 0.15
#: What a voice can be made of, beside a vocoder.
_SPEAKING: tuple[Role, ...] = ("acoustic model", "end-to-end voice")
_MAX_PEAK = 0.99  # a peak above this is scaled down, so that a 16-bit file does not clip


@dataclass(frozen=True)
class Speech:
    """Speech synthesized from a text.

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
        """Write the wave to a sound file of the kind that its ending names (`audio.formats`), whole or not at all."""
        save_audio(path, self.wave, self.sample_rate)


class Voice:
    """What synthesizes sentences, with its vocoder where it makes mels. Options go with the call; safe for threads.

    Args:
        acoustic: sentence to mel, or to wave.
        vocoder: mel to wave; None with an end-to-end voice.
    Raises: ModelError if the two disagree about the mel, naming the setting and both values, or one is missing or too
        many.
    """

    def __init__(self, acoustic: AcousticModel | EndToEndVoice, vocoder: Vocoder | None = None) -> None:
        system = acoustic.facts.system
        if acoustic.output == "wave" and vocoder is not None:
            raise ModelError(f"a {system} makes the wave itself: name no vocoder ('{vocoder.system}')")
        if acoustic.output == "mel":
            if vocoder is None:
                raise ModelError(f"a {system} makes mels: it needs a vocoder, such as griffin-lim")
            _same_audio(acoustic.facts.audio, vocoder.audio)
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

        Raises: OptionError for an option that this voice cannot serve, an unknown speaker among them, before any work;
            TextError if there is nothing to say. A sign without a reading is left out, with a warning that names it.
        """
        options = options or SayOptions()
        self.acoustic.refuse_unsupported(options)
        began = time.perf_counter()
        reading = self.frontend.read(text, keep_unreadable=True)
        if reading.unreadable:
            log.warning(_what_is_left_out(reading))
        if not reading.words:
            raise TextError(f"nothing to say in {text!r}: there is no letter or number in it")
        output = self._synthesize(reading, options)
        wave = self._wave(output)
        mel = log_mel(torch.from_numpy(wave)[None], self.audio)[0].numpy() if output.mel is None else output.mel
        ends = np.cumsum(output.durations) * self.audio.frame_seconds
        took = time.perf_counter() - began
        factor = took / (len(wave) / self.audio.sample_rate)
        return Speech(wave, self.audio, mel, reading, alignment_of(reading, ends), factor)

    def _synthesize(self, reading: Reading, options: SayOptions) -> SynthesisOutput:
        """Return a whole text, synthesized sentence by sentence, with a silence between two."""
        gap = round(_BETWEEN_SENTENCES_SECONDS / self.audio.frame_seconds)
        durations = np.zeros(len(reading.phonemes), dtype=np.int64)
        outputs: list[SynthesisOutput] = []
        for begin, end, mark in _sentences(reading):
            words = dict.fromkeys(word for word in reading.phoneme_words[begin:end] if word >= 0)
            text = " ".join(reading.words[word].spoken for word in words)
            sentence = SynthesisInput((START, *reading.phonemes[begin:end], mark), text)
            durations[begin - 1] += gap if outputs else 0
            outputs.append(self.acoustic.synthesize(sentence, options))
            # the pause between two sentences is the end of one, start of one
            durations[begin - 1 : end + 1] += outputs[-1].durations
        if self.acoustic.output == "wave":
            silence = np.zeros(gap * self.audio.hop_samples, dtype=np.float32)
            return SynthesisOutput(durations, wave=_joined([one.wave for one in outputs], silence))
        floor = np.full((gap, self.audio.mel_channels), self.audio.silence, dtype=np.float32)
        return SynthesisOutput(durations, mel=_joined([one.mel for one in outputs], floor))

    def _wave(self, output: SynthesisOutput) -> np.ndarray:
        """Return the wave, through the vocoder where there is one, no louder than a file holds."""
        samples = output.wave
        if self.vocoder is not None and output.mel is not None:
            samples = self.vocoder.vocode(output.mel)
        assert samples is not None, "a role gives a mel or a wave"
        return samples * min(1.0, _MAX_PEAK / max(1e-9, float(np.abs(samples).max())))


def load_voice(
    name: str | None = None, vocoder: str | None = None, device: str = "auto", precision: str = "float32"
) -> Voice:
    """Return a voice, ready to speak.

    Args:
        name: a built-in name, a model's or run's folder, or a hub id; the built-in voice when not given.
        vocoder: the same for the vocoder; "griffin-lim" for none; the built-in one when not given.
        device, precision: as `resolve_runtime` takes them; a GPU where there is one.
    Raises: ModelError if either is not there, or they disagree; DeviceError if this machine lacks the device.
    """
    runtime = resolve_runtime(device, precision)
    acoustic = open_synthesizer(load_saved(name or DEFAULT_MODELS["voice"]), runtime)
    if acoustic.output == "wave":
        if vocoder:
            raise ModelError(f"a {acoustic.facts.system} makes the wave itself: name no vocoder ('{vocoder}')")
        return Voice(acoustic)
    return Voice(acoustic, load_vocoder(vocoder, acoustic.facts.audio, runtime))


def open_synthesizer(model: SavedModel, runtime: Runtime | None = None) -> AcousticModel | EndToEndVoice:
    """Return a saved model as what a voice needs of it.

    Raises: ModelError if it is no voice, or learnt to read from another front-end.
    """
    system = model.facts.system
    if system not in systems_of(*_SPEAKING):
        raise ModelError(f"a {system} is no voice; one of {', '.join(systems_of(*_SPEAKING))} is")
    trained = model.facts.frontend.get("version")
    if "phonemes" in model.symbols and trained != FRONTEND_VERSION:
        raise ModelError(f"the voice was trained with front-end {trained}, this is {FRONTEND_VERSION}: train it anew")
    return SYSTEMS[system].resolve("adapter")(model, runtime)


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


def _what_is_left_out(reading: Reading) -> str:
    """Return a line that names each sign without a reading where it stands first, and counts them all."""
    first = {unreadable.sign: unreadable for unreadable in reversed(reading.unreadable)}
    places = [f"{sign} at position {sign.position}" for sign in sorted(first.values(), key=lambda one: one.position)]
    return f"left out, as they have no Korean reading, {len(reading.unreadable)} signs: {'; '.join(places)}"


def _same_audio(wanted: AudioConfig, found: AudioConfig) -> None:
    """Raise ModelError naming the first setting in which voice and vocoder disagree, and both values."""
    for name, value in wanted.model_dump().items():
        other = getattr(found, name)
        if other != value:
            raise ModelError(f"audio.{name} is {value} in the voice and {other} in the vocoder: they do not fit")
