"""The door to recognition: sound → Transcript, and a known text laid over its sound.

The command line, the server and Python all come through `Recognizer.transcribe` and `Recognizer.align`.
"""

import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from malsori.alignment.mismatch import find_mismatches
from malsori.alignment.phonemes import alignment_of, time_phonemes
from malsori.alignment.spans import Alignment
from malsori.annotations import Float
from malsori.asr.encode import phoneme_encoder
from malsori.asr.longform import SpeechWindow, SpeechWindows
from malsori.asr.options import AUTO, DecodingOptions
from malsori.asr.streaming import LiveSession, StreamOptions
from malsori.asr.vad import THRESHOLD
from malsori.audio.io import stream_audio
from malsori.audio.resampling import resample
from malsori.decode.ngram import NgramModel, load_ngram
from malsori.decode.transcript import Segment, Transcript, TranscriptWord
from malsori.errors import AlignmentError, ModelError, TextError
from malsori.pretrained.exported import has_network
from malsori.pretrained.folder import SavedModel, saved_lexicon
from malsori.pretrained.hub import DEFAULT_MODELS, resolve
from malsori.runtime.onnx import open_model
from malsori.systems import SYSTEMS, systems_of
from malsori.text.frontend import Frontend
from malsori.text.userwords import LexiconSource, user_lexicon

if TYPE_CHECKING:
    from malsori.runtime.device import Runtime

#: Stands beside the weights where a recogniser has a language model.
LANGUAGE_MODEL = "language_model.safetensors"

_PROMPT_CHARACTERS = 2000  # more of what came before no decoder has room for
_KEPT = 3  # recognizers that `shared_recognizer` holds
_lock = threading.Lock()  # two threads that ask for one model load it once


class SegmentDecoder(Protocol):
    """What a recognizer asks of a kind of network: one adapter a system (`malsori.systems`), safe for threads.

    Attributes:
        languages: codes of the languages it can write; the first is what it writes unless asked.
        max_seconds: no piece of sound should last longer.
        packs_speech: it hears spans of speech no worse when they are joined, whoever speaks in each.
        output_is_normalized: it writes Hangul as it is spoken; otherwise digits and punctuation too, as in texts.
        supported_options: the names of the options that it can serve.
    """

    languages: tuple[str, ...]
    max_seconds: float
    packs_speech: bool
    output_is_normalized: bool
    supported_options: frozenset[str]

    def check(self, options: DecodingOptions) -> None:
        """Refuse what cannot be served. Raises: OptionError naming the option and the system."""

    def detect_language(self, window: SpeechWindow) -> str:
        """Return the language that is most probably spoken in a window."""

    def decode(self, window: SpeechWindow, options: DecodingOptions) -> tuple[TranscriptWord, ...]:
        """Return the words of one window of sound at the model's rate; their times are the window's."""


class Recognizer:
    """A trained network with its decoder. It holds no options and is safe for threads.

    Args:
        language_model: for a network that CTC trains.
        runtime: where to compute, and in which numbers; where the network lies when not given.
        lexicon: a user's words that texts to be aligned are read by, beside those that the model has learnt to.
    Raises: ModelError if the model is no recognizer; TextError naming a row of the lexicon.
    """

    def __init__(
        self,
        model: SavedModel,
        language_model: NgramModel | None = None,
        runtime: "Runtime | None" = None,
        lexicon: LexiconSource = None,
    ) -> None:
        recognizers = systems_of("recognizer")
        if model.facts.system not in recognizers:
            raise ModelError(f"a {model.facts.system} is no recognizer; one of {', '.join(recognizers)} is")
        self.model, self.runtime = model, runtime
        self.frontend = Frontend(saved_lexicon(model.facts) + user_lexicon(lexicon))
        self.decoder: SegmentDecoder = SYSTEMS[model.facts.system].resolve("adapter")(model, language_model, runtime)

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages it can write."""
        return self.decoder.languages

    def transcribe(
        self,
        sound: "Path | str | Float[np.ndarray, ' samples']",
        options: DecodingOptions | None = None,
        *,
        sample_rate: int | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> Transcript:
        """Return what is said in a sound file, or in a wave (samples,) at sample_rate.

        Args:
            on_progress: called after each piece of the sound with how many seconds of it are done.
        Raises: AudioError if it cannot be read, or lasts less than 0.1 s; OptionError naming an option that the
            recognizer does not support.
        """
        options = options or DecodingOptions()
        self.decoder.check(options)
        speech = self._speech(options)
        spoken: list[Segment] = []
        language = self.languages[0] if options.language in (None, AUTO) else options.language
        for window, segments, heard in self._decoded(speech.windows(self._parts(sound, sample_rate)), options):
            spoken, language = spoken + segments, heard
            if on_progress:
                on_progress(window.end)
        text = " ".join(segment.text for segment in spoken)
        return Transcript(text, language, speech.seconds, tuple(spoken))

    def stream(
        self,
        sound: "Path | str | Float[np.ndarray, ' samples']",
        options: DecodingOptions | None = None,
        *,
        sample_rate: int | None = None,
    ) -> Iterator[Segment]:
        """Yield the segments of `transcribe`, each as soon as it is decoded; a file is read as far as needed.

        Raises: OptionError at once; AudioError when the fault is come to.
        """
        options = options or DecodingOptions()
        self.decoder.check(options)
        windows = self._speech(options).windows(self._parts(sound, sample_rate))
        return (segment for _, segments, _ in self._decoded(windows, options) for segment in segments)

    def stream_live(
        self, options: DecodingOptions | None = None, *, sample_rate: int, stream: StreamOptions | None = None
    ) -> LiveSession:
        """Return a session that takes samples as they come and gives partial and final results.

        Args:
            sample_rate: of the samples that will be pushed.
            stream: when results come.
        Raises: OptionError naming an option that the recognizer, or a stream, does not support.
        """
        options = options or DecodingOptions()
        self.decoder.check(options)
        return LiveSession(self.decoder, sample_rate, self.model.facts.audio.sample_rate, options, stream)

    def align(
        self,
        sound: "Path | str | Float[np.ndarray, ' samples']",
        text: str,
        sample_rate: int | None = None,
        *,
        on_progress: Callable[[float], None] | None = None,
    ) -> Alignment:
        """Return when each word, syllable and phone of a known text sounds, in a sound of any length.

        Args:
            on_progress: called as the sound, which is gone through twice, is worked off, with the seconds done.
        Raises: AudioError as transcribe; TextError if the text has nothing to say; AlignmentError if the sound is too
            short for it.
        """
        from malsori.alignment.boundaries import refine

        reading = self.frontend.read(text)
        if not reading.words:
            raise TextError(f"nothing to align in {text!r}: there is no letter or number in it")
        rate = self.model.facts.audio.sample_rate
        parts = _told(self._parts(sound, sample_rate), rate, 0.0, on_progress)
        found = phoneme_encoder(self.model, self.runtime).encode_stream(parts, with_jamo=False)
        times = time_phonemes(reading, found.phonemes, found.loudness, found.frame_seconds, found.seconds)
        if not np.isfinite(times.score):
            raise AlignmentError("the text cannot be laid over this sound at all")
        parts = _told(self._parts(sound, sample_rate), rate, found.seconds, on_progress)
        alignment = alignment_of(reading, refine(reading, parts, rate, times.ends))
        mismatches = find_mismatches(alignment.words, times.ratio, found.frame_seconds)
        return replace(alignment, score=times.score, mismatches=mismatches)

    def _speech(self, options: DecodingOptions) -> SpeechWindows:
        threshold = None if options.vad is False else options.vad_threshold or THRESHOLD
        rate, decoder = self.model.facts.audio.sample_rate, self.decoder
        return SpeechWindows(rate, decoder.max_seconds, threshold, decoder.packs_speech)

    def _decoded(
        self, windows: Iterable[SpeechWindow], options: DecodingOptions
    ) -> Iterator[tuple[SpeechWindow, list[Segment], str]]:
        """Yield the windows of a sound, each with what is said in it and in which language; the first decides that."""
        language, before = options.language or self.languages[0], options.prompt or ""
        for window in windows:
            if language == AUTO:
                language = self.decoder.detect_language(window)
            asked = {"language": language, "prompt": before[-_PROMPT_CHARACTERS:] or None}
            segments = list(window.segments(self.decoder.decode(window, options.model_copy(update=asked))))
            if options.condition_on_previous_text:
                before = " ".join([before, *(segment.text for segment in segments)])
            yield window, segments, language

    def _parts(self, sound: Any, sample_rate: int | None) -> Iterable[np.ndarray]:
        """Return a sound at the model's rate, part by part as a file is read; a wave is one part."""
        rate = self.model.facts.audio.sample_rate
        if isinstance(sound, str | Path):
            return stream_audio(sound, rate)
        if sample_rate is None:
            raise ValueError("a wave needs its sample_rate")
        return [resample(np.asarray(sound, dtype=np.float32), sample_rate, rate)]


def _told(
    parts: Iterable[np.ndarray], rate: int, before: float, on_progress: Callable[[float], None] | None
) -> Iterator[np.ndarray]:
    """Yield parts, telling after each how many seconds are done of a sound that is gone through twice."""
    samples = 0
    for part in parts:
        yield part
        samples += len(part)
        if on_progress:
            on_progress((before + samples / rate) / 2)


def load_recognizer(
    name: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    lexicon: LexiconSource = None,
    runtime: str = "auto",
) -> Recognizer:
    """Return a recognizer, with the language model that lies in its folder, if one does.

    Args:
        name: a built-in name, a model's, an export's or run's folder, or a hub id; the built-in one when not given.
        device, precision: as `resolve_runtime` takes them; a GPU where there is one.
        lexicon: as `Recognizer` takes it.
        runtime: as `runtime.onnx.chosen_runtime` takes it.
    Raises: ModelError if there is none; DeviceError if the machine has no such device, or it no such precision;
        TextError naming a row of the lexicon.
    """
    words = user_lexicon(lexicon)
    name = DEFAULT_MODELS["recognizer"] if name is None else name
    counted = resolve(name) / LANGUAGE_MODEL
    language_model = load_ngram(counted) if counted.is_file() else None

    def opener(model: SavedModel, where: "Runtime | None") -> Recognizer:
        return Recognizer(model, language_model, where, words)

    return open_model(opener, name, runtime, device, precision, quantize=True)


def load_aligner(
    name: str | None = None, device: str = "auto", precision: str = "auto", lexicon: LexiconSource = None
) -> Recognizer:
    """Return a recognizer that can lay a text over its sound.

    Arguments and errors as `load_recognizer`'s, and ModelError for a recognizer that gives no phonemes.
    """
    wanted = DEFAULT_MODELS["aligner"] if name is None else name
    runtime = "torch" if has_network(resolve(wanted)) else "auto"  # graphs do not align
    recognizer = load_recognizer(wanted, device, precision, lexicon, runtime)
    phoneme_encoder(recognizer.model, recognizer.runtime)  # refuses one that cannot
    return recognizer


@functools.lru_cache(maxsize=_KEPT)
def _kept_recognizer(name: str | None, device: str, precision: str) -> Recognizer:
    return load_recognizer(name, device, precision)


def shared_recognizer(name: str | None = None, device: str = "auto", precision: str = "auto") -> Recognizer:
    """Return what `load_recognizer` does, loaded once for all callers and threads; the last few are kept.

    It is shared: its weights must stay as they are. A run that goes on to train is seen as it was when first loaded.
    """
    with _lock:
        return _kept_recognizer(name, device, precision)


def align(sound: "Path | str | Float[np.ndarray, ' samples']", text: str, sample_rate: int | None = None) -> Alignment:
    """Return when each word, syllable and phone of a text sounds, by the built-in aligner, which is kept loaded."""
    return shared_recognizer(DEFAULT_MODELS["aligner"]).align(sound, text, sample_rate)
