"""Speech synthesis: text → Speech. The command line, the server and Python all come through `Voice.say`."""

import copy
import logging
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from malsori.alignment.phonemes import alignment_of
from malsori.alignment.spans import Alignment
from malsori.annotations import Float
from malsori.audio.io import save_audio
from malsori.audio.mel_filters import log_mel_array
from malsori.audio.psola import shift_pitch
from malsori.config import AudioConfig
from malsori.errors import ModelError, TextError
from malsori.pretrained.exported import OnnxGraphs, vocoder_beside
from malsori.pretrained.folder import SavedModel, saved_lexicon
from malsori.pretrained.hub import DEFAULT_MODELS, built_in
from malsori.runtime.onnx import open_model
from malsori.systems import SYSTEMS, Role, systems_of
from malsori.text.frontend import FRONTEND_VERSION, RULES_VERSION, Frontend, Reading
from malsori.text.userwords import LexiconSource, user_lexicon
from malsori.tts.markup import parse_markup
from malsori.tts.options import MAX_SPEED, MIN_SPEED, SayOptions
from malsori.tts.phrases import Phrase, plan_phrases, with_pauses
from malsori.tts.roles import AcousticModel, EndToEndVoice, SynthesisOutput, Vocoder
from malsori.tts.stream import SpeechChunk, limit, vocode_in_chunks
from malsori.tts.vocoders import load_vocoder

if TYPE_CHECKING:
    from malsori.runtime.device import Runtime

log = logging.getLogger("malsori")

#: What a voice can be made of, beside a vocoder.
_SPEAKING: tuple[Role, ...] = ("acoustic model", "end-to-end voice")


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
        lexicon: a user's words; they go before those that the voice has learnt to read by.
    Raises: ModelError if the two disagree about the mel, naming the setting and both values, or one is missing or too
        many.
    """

    def __init__(
        self, acoustic: AcousticModel | EndToEndVoice, vocoder: Vocoder | None = None, lexicon: LexiconSource = None
    ) -> None:
        system = acoustic.facts.system
        if acoustic.output == "wave" and vocoder is not None:
            raise ModelError(f"a {system} makes the wave itself: name no vocoder ('{vocoder.system}')")
        if acoustic.output == "mel":
            if vocoder is None:
                raise ModelError(f"a {system} makes mels: it needs a vocoder, such as griffin-lim")
            _same_audio(acoustic.facts.audio, vocoder.audio)
        self.acoustic, self.vocoder = acoustic, vocoder
        self.frontend = Frontend(saved_lexicon(acoustic.facts) + user_lexicon(lexicon))

    @property
    def audio(self) -> AudioConfig:
        """The settings of the wave and the mel."""
        return self.acoustic.facts.audio

    @property
    def speakers(self) -> tuple[str, ...]:
        """The names that `SayOptions.speaker` accepts."""
        return self.acoustic.facts.speakers

    def with_lexicon(self, lexicon: LexiconSource) -> "Voice":
        """Return the same voice, its networks shared, that reads more words of a user's. Raises: TextError."""
        more = copy.copy(self)
        more.frontend = self.frontend.with_lexicon(lexicon)
        return more

    def say(self, text: str, options: SayOptions | None = None) -> Speech:
        """Return the speech of a text of any length; it is spoken sentence by sentence.

        Args:
            text: with the marks that `tts.markup` knows.
        Raises: OptionError for an option that this voice cannot serve, an unknown speaker among them, before any work;
            TextError if there is nothing to say, or a mark cannot be served. A sign without a reading is left out, with
            a warning that names it.
        """
        began = time.perf_counter()
        reading, phrases = self._read(text, options := options or SayOptions())
        durations = np.zeros(len(reading.phonemes), dtype=np.int64)
        waves, mels = [], []
        for phrase, output in self._synthesize(reading, phrases, options):
            silent = round(phrase.gap / self.audio.frame_seconds)
            durations[phrase.begin - 1] += silent
            # the pause between two phrases is the end of one, start of one
            durations[phrase.begin - 1 : phrase.end + 1] += output.durations
            waves += [self._silence(silent), self._wave(output, options)]
            if output.mel is not None:
                mels += [np.full((silent, self.audio.mel_channels), self.audio.silence, dtype=np.float32), output.mel]
        wave = np.concatenate(waves)
        mel = np.concatenate(mels) if mels else log_mel_array(wave, self.audio)
        ends = np.cumsum(durations) * self.audio.frame_seconds
        factor = (time.perf_counter() - began) / (len(wave) / self.audio.sample_rate)
        return Speech(wave, self.audio, mel, reading, alignment_of(reading, ends), factor)

    def stream(self, text: str, options: SayOptions | None = None) -> Iterator[SpeechChunk]:
        """Yield the sound of `say`, a chunk as soon as it is made; together they are the whole to 1e-4.

        Raises: as say, at once; nothing is synthesized before the first chunk is asked for.
        """
        reading, phrases = self._read(text, options := options or SayOptions())
        return self._chunks(reading, phrases, options)

    def _chunks(self, reading: Reading, phrases: list[Phrase], options: SayOptions) -> Iterator[SpeechChunk]:
        samples = 0
        for number, (phrase, output) in enumerate(self._synthesize(reading, phrases, options)):
            if self.vocoder is not None and output.mel is not None and not options.pitch:
                waves = vocode_in_chunks(self.vocoder, output.mel)
            else:
                waves = iter([self._wave(output, options)])
            silence = self._silence(round(phrase.gap / self.audio.frame_seconds))
            for wave in waves:
                wave = np.concatenate([silence, limit(wave)])
                yield SpeechChunk(wave, samples / self.audio.sample_rate, number)
                samples, silence = samples + len(wave), silence[:0]

    def _read(self, text: str, options: SayOptions) -> tuple[Reading, list[Phrase]]:
        """Return a text's reading and its phrases; what of it is not said is logged."""
        self.acoustic.refuse_unsupported(options)
        script = parse_markup(text)
        reading = self.frontend.read(script.text, keep_unreadable=True, given=script.given)
        if reading.unreadable:
            log.warning(_what_is_left_out(reading))
        if not reading.words:
            raise TextError(f"nothing to say in {text!r}: there is no letter or number in it")
        if script.dropped:
            log.warning("left out, as they are not served (docs/speaking.md): %s", ", ".join(script.dropped))
        return reading, plan_phrases(reading, script)

    def _synthesize(
        self, reading: Reading, phrases: list[Phrase], options: SayOptions
    ) -> Iterator[tuple[Phrase, SynthesisOutput]]:
        """Yield each phrase with its mel or wave, its pauses in it."""
        for phrase in phrases:
            speed = min(MAX_SPEED, max(MIN_SPEED, options.speed * phrase.rate))
            paced = options.model_copy(update={"speed": speed})
            output = self.acoustic.synthesize(phrase.sentence(reading), paced)
            yield phrase, with_pauses(output, phrase, self.audio)

    def _silence(self, frames: int) -> np.ndarray:
        return np.zeros(frames * self.audio.hop_samples, dtype=np.float32)

    def _wave(self, output: SynthesisOutput, options: SayOptions) -> np.ndarray:
        """Return the wave, through the vocoder where there is one, at its pitch, no louder than a file holds."""
        samples = output.wave
        if self.vocoder is not None and output.mel is not None:
            samples = self.vocoder.vocode(output.mel)
        assert samples is not None, "a role gives a mel or a wave"
        return limit(shift_pitch(samples, self.audio, options.pitch) if options.pitch else samples)


def load_voice(
    name: str | None = None,
    vocoder: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    lexicon: LexiconSource = None,
    runtime: str = "auto",
) -> Voice:
    """Return a voice, ready to speak.

    Args:
        name: a built-in name, a model's, an export's or run's folder, or a hub id; the built-in voice when not given.
        vocoder: the same for the vocoder; "griffin-lim" for none; the built-in one when not given, or the one that was
            exported with the voice.
        device, precision: as `resolve_runtime` takes them; a GPU where there is one.
        lexicon: a user's words, as `text.frontend.Frontend` takes them.
        runtime: as `runtime.onnx.chosen_runtime` takes it.
    Raises: ModelError if either is not there, or they disagree; DeviceError if this machine lacks the device;
        TextError naming a row of the lexicon.
    """
    own = user_lexicon(lexicon)
    wanted = DEFAULT_MODELS["voice"] if name is None else name

    def vocoder_of(model: SavedModel) -> Vocoder:
        exported = vocoder_beside(model) if vocoder is None else None
        if exported is not None:
            opened: Vocoder = SYSTEMS[exported.facts.system].resolve("onnx")(exported)
            return opened
        return load_vocoder(vocoder, model.facts.audio, device, precision, runtime)

    def opener(model: SavedModel, where: "Runtime | None") -> tuple[SavedModel, AcousticModel | EndToEndVoice]:
        if where is None and vocoder is None and model.facts.system in systems_of("acoustic model"):
            ahead.append(second.submit(vocoder_of, model))
        return model, open_synthesizer(model, where)

    ahead: list[Future[Vocoder]] = []
    with ThreadPoolExecutor(1) as second:  # graphs take as long to open as to say a sentence: two at once
        saved, acoustic = open_model(opener, wanted, runtime, device, precision)
        if name is not None and name not in {model.name for model in built_in()}:
            _tell_of_older_rules(saved)
        if acoustic.output == "mel":
            return Voice(acoustic, ahead[0].result() if ahead else vocoder_of(saved), own)
    if vocoder is not None:
        raise ModelError(f"a {acoustic.facts.system} makes the wave itself: name no vocoder ('{vocoder}')")
    return Voice(acoustic, lexicon=own)


def open_synthesizer(model: SavedModel, runtime: "Runtime | None" = None) -> AcousticModel | EndToEndVoice:
    """Return a saved model as what a voice needs of it, whatever computes it.

    Raises: ModelError if it is no voice, or learnt to read from another front-end.
    """
    system = model.facts.system
    if system not in systems_of(*_SPEAKING):
        raise ModelError(f"a {system} is no voice; one of {', '.join(systems_of(*_SPEAKING))} is")
    trained = model.facts.frontend.get("version")
    if "phonemes" in model.symbols and trained != FRONTEND_VERSION:
        raise ModelError(f"the voice was trained with front-end {trained}, this is {FRONTEND_VERSION}: train it anew")
    exported = isinstance(model.network, OnnxGraphs)
    if not exported:
        _check_sizes(model)
    adapter: Any = SYSTEMS[system].resolve("onnx" if exported else "adapter")
    return adapter(model, runtime)


def _tell_of_older_rules(model: SavedModel) -> None:
    """Log it where a voice has learnt from texts that were read by other rules than today's."""
    rules = model.facts.frontend.get("rules", "1")
    if "phonemes" in model.symbols and rules != RULES_VERSION:
        log.info(
            "the voice learnt by reading rules %s, these are %s: some words are read otherwise", rules, RULES_VERSION
        )


def _check_sizes(model: SavedModel) -> None:
    """Raise ModelError where a voice's network is not of the size that its symbols or its audio settings say."""
    config, audio = model.network.config, model.facts.audio
    made = getattr(getattr(config, "decoder", None), "samples_per_frame", audio.hop_samples)
    pairs = [
        (made, audio.hop_samples, "samples a frame, its audio.hop_samples"),
        (getattr(config, "mel_channels", audio.mel_channels), audio.mel_channels, "mel channels, its audio settings"),
    ]
    if "phonemes" in model.symbols:
        pairs.append((config.vocab, len(model.symbols["phonemes"]), "symbols, its symbols.json"))
    for found, wanted, what in pairs:
        if found != wanted:
            raise ModelError(f"the voice has {found} {what} {wanted}: they do not belong together")


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
