"""Decoding a Whisper: mel ─► encoder ─► search with fallback ─► accepted, or rejected ─► words with times."""

import functools
import logging
import math
import threading
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from malsori.annotations import Bool, Float
from malsori.asr.encode import checked_seconds
from malsori.asr.longform import SpeechWindow
from malsori.asr.options import DecodingOptions, check_language, refuse_unsupported
from malsori.asr.vad import frame_levels
from malsori.config import AudioConfig
from malsori.decode.ngram import NgramModel
from malsori.decode.seq2seq import (
    DecoderState,
    DecodingConstraints,
    DecodingResult,
    FallbackOptions,
    constraints_from_tokenizer,
    decode_with_fallback,
    language_probabilities,
    rejection_reason,
    speech_log_likelihood_ratio,
)
from malsori.decode.transcript import TranscriptWord
from malsori.decode.word_times import token_steps, without_neighbors, without_pauses
from malsori.errors import OptionError
from malsori.pretrained.exported import OnnxGraphs
from malsori.pretrained.folder import SavedModel
from malsori.text.tokenizer import TIMESTAMP_SECONDS, Tokenizer

if TYPE_CHECKING:
    from malsori.runtime.device import Runtime

log = logging.getLogger("malsori")

_DEFAULT_LANGUAGE = "ko"
#: What a second of speech is written with at most: nobody says more than 10 syllables.
PIECES_PER_SECOND, _JAMO_PER_SECOND = 15, 30
_REFERENCE_SECONDS = 3.0  # of silence, noise and a chord
_REFERENCES = 3
_READ_BEFORE = ("prompt", "hotwords", "condition_on_previous_text")
#: Network → its state under sounds without speech; a network that is let go takes its state along.
_reference_states: "weakref.WeakKeyDictionary[Any, DecoderState]" = weakref.WeakKeyDictionary()
_reference_lock = threading.Lock()


@runtime_checkable
class WhisperSizes(Protocol):
    """What decoding asks of a Whisper's sizes; `malsori.models.whisper.WhisperConfig` says what they are."""

    @property
    def vocab(self) -> int:
        """Tokens that the decoder knows."""

    @property
    def decoder_positions(self) -> int:
        """The most tokens there can be."""

    @property
    def num_decoder_layers(self) -> int:
        """Blocks of the decoder."""

    @property
    def num_decoder_heads(self) -> int:
        """Heads of each of them."""

    @property
    def window_frames(self) -> int:
        """Mel frames of the window."""

    @property
    def frame_stride(self) -> int:
        """Mel frames to one step of the encoder's output."""


@runtime_checkable
class WhisperEngine(Protocol):
    """What computes a Whisper. Safe for threads.

    Attributes:
        network: what it computes; of two engines of one the same.
        max_seconds: no sound should last longer.
    """

    network: Any
    max_seconds: float

    @property
    def config(self) -> WhisperSizes:
        """Return its sizes."""

    def start(self, waves: Float[np.ndarray, "batch samples"]) -> DecoderState:
        """Return the decoder's state under sounds; short ones are encoded without the silence that fills the window."""

    def computing(self) -> AbstractContextManager[None]:
        """Return what everything that is computed for one window stands in."""


def whisper_engine(model: SavedModel, runtime: "Runtime | None" = None) -> WhisperEngine:
    """Return what computes a saved Whisper, of PyTorch or exported."""
    if isinstance(model.network, OnnxGraphs):
        from malsori.asr.whisper_onnx import OnnxWhisper

        return OnnxWhisper(model)
    from malsori.asr.whisper_network import NetworkWhisper

    return NetworkWhisper(model, runtime)


class WhisperSegmentDecoder:
    """A sequence decoder's text, given out only where the sound speaks for it (`decode.seq2seq`)."""

    packs_speech: bool = True  # it learnt from half minutes of anything
    supported_options = frozenset(
        {"language", "task", "beam", "timestamps", "temperatures", "logprob_threshold", "compression_ratio_threshold"}
        | {"no_speech_threshold", "min_log_likelihood_ratio", "best_of", "prompt", "hotwords"}
        | {"condition_on_previous_text"}
    )

    def __init__(
        self, model: SavedModel, _language_model: NgramModel | None = None, runtime: "Runtime | None" = None
    ) -> None:
        self.engine = whisper_engine(model, runtime)
        self.config = self.engine.config
        self.system, self.audio = model.facts.system, model.facts.audio
        self.tokenizer = Tokenizer(model.files, "the model's folder")
        self.max_seconds: float = self.engine.max_seconds
        self.output_is_normalized: bool = not self.tokenizer.is_token("1")
        known = self.tokenizer.languages
        first = _DEFAULT_LANGUAGE if _DEFAULT_LANGUAGE in known else known[0]
        self.languages: tuple[str, ...] = (first, *(code for code in known if code != first))
        self._constraints(DecodingOptions())  # a tokenizer that is not this network's is told now

    def check(self, options: DecodingOptions) -> None:
        """Refuse what this recognizer cannot serve. Raises: OptionError naming the option and the system."""
        refuse_unsupported(options, self.system, self.supported_options)
        check_language(options, self.languages)
        if options.task == "translate" and not self.tokenizer.multilingual:
            raise OptionError(f"task 'translate': this {self.system} knows English alone and cannot be asked to")
        if options.timestamps and self.config.vocab <= self.tokenizer.first_timestamp:
            raise OptionError(f"timestamps: this {self.system} has no tokens for times")
        read = next((name for name in _READ_BEFORE if getattr(options, name)), None)
        if read and not self.tokenizer.has_previous:
            raise OptionError(f"{read}: this {self.system} has no token for a text that came before")

    def detect_language(self, window: SpeechWindow) -> str:
        """Return the language that is most probably spoken in a window."""
        codes = self.tokenizer.language_ids
        if len(codes) < 2:
            return self.languages[0]
        with self.engine.computing():
            found = language_probabilities(self.engine.start(window.wave[None]), self.tokenizer.start, codes)
        return max(found, key=lambda code: found[code])

    def decode(self, window: SpeechWindow, options: DecodingOptions) -> tuple[TranscriptWord, ...]:
        """Return the words of one window of sound at the model's rate; none where nobody speaks.

        The sounds without speech that a text is compared with are encoded once a network, when a text first passes
        the cheap rules: three of 3 s.
        """
        seconds = checked_seconds(window.wave, self.audio.sample_rate)
        with self.engine.computing():
            constraints, fallback = self._constraints(options, seconds), _fallback(options)
            state = self.engine.start(window.wave[None])
            result = decode_with_fallback(state, constraints, fallback, self.tokenizer.decode)
            text = self.tokenizer.decode(result.ids)
            scored = functools.cache(lambda: self._score(state, constraints, result))
            why = rejection_reason(
                result, text.strip(), lambda: self._ratio(scored()[0], constraints, result), fallback
            )
            if not why:
                return tuple(self._words(result, scored()[1], constraints, window))
        log.info("from %.1f s: %r is rejected: %s", window.pieces[0].offset, text, why)
        return ()

    def _constraints(self, options: DecodingOptions, seconds: float = 0.0) -> DecodingConstraints:
        config, language, task = self.config, options.language or self.languages[0], options.task or "transcribe"
        sizes = config.vocab, config.decoder_positions
        before = " ".join(filter(None, (*(options.hotwords or ()), options.prompt)))
        found = constraints_from_tokenizer(
            self.tokenizer, *sizes, language, task, bool(options.timestamps), previous=before
        )
        most = _JAMO_PER_SECOND if self.output_is_normalized else PIECES_PER_SECOND
        spoken = round(most * (1 + seconds))  # so that a loop does not go on for long
        return replace(found, max_new_tokens=min(found.max_new_tokens, spoken))

    def _score(
        self, state: DecoderState, constraints: DecodingConstraints, result: DecodingResult
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the logits behind each token of the text, and where in the sound the heads that align look."""
        config = self.config
        upper = range(config.num_decoder_layers // 2, config.num_decoder_layers)
        every = [(block, head) for block in upper for head in range(config.num_decoder_heads)]
        heads = tuple((block, head) for block, head in self.tokenizer.settings.get("alignment_heads") or every)
        return state.score(np.array([[*constraints.prefix, *result.ids]]), heads)

    def _ratio(self, logits: np.ndarray, constraints: DecodingConstraints, result: DecodingResult) -> float:
        """Return for how much of its tokens' likelihood the sound is needed; the sounds without speech are kept."""
        with _reference_lock:
            network = self.engine.network
            if network not in _reference_states:
                _reference_states[network] = self.engine.start(without_speech(self.audio))
            without = _reference_states[network]
        return speech_log_likelihood_ratio(logits, without, _REFERENCES, constraints, result.ids)

    def _words(
        self, result: DecodingResult, attention: np.ndarray, constraints: DecodingConstraints, window: SpeechWindow
    ) -> Iterator[TranscriptWord]:
        """Yield the words with their times, between the timestamps that were decoded, if any were."""
        seconds = len(window.wave) / self.audio.sample_rate
        speech = self._speech(window, attention.shape[3])
        times = self._token_times(result.ids, attention[0, :, len(constraints.prefix) - 1 :], speech, seconds)
        first = constraints.first_timestamp
        for text, places in self.tokenizer.words(result.ids):
            low, high = 0.0, seconds
            if first is not None:
                marks = [(place, (index - first) * TIMESTAMP_SECONDS) for place, index in enumerate(result.ids)]
                told = [(place, time) for place, time in marks if time >= 0]
                low = max([time for place, time in told if place < places[0]], default=0.0)
                high = min([time for place, time in told if place > places[-1]], default=seconds)
            bounds = self._bounds(times[places[0], 0], times[places[-1], 1], speech)
            start, end = np.clip(bounds, low, max(low, min(high, seconds))).tolist()
            confidence = math.exp(sum(result.log_probs[place] for place in places) / len(places))
            yield TranscriptWord(text, start, end, confidence)

    @property
    def _step(self) -> float:
        """Seconds of a step of the encoder's output."""
        return self.config.frame_stride * self.audio.frame_seconds

    def _speech(self, window: SpeechWindow, most: int) -> Bool[np.ndarray, " time"]:
        """Return in which steps of a window, of so many at most, somebody speaks."""
        count = min(most, math.ceil(len(window.wave) / self.audio.sample_rate / self._step))
        levels = frame_levels(window.wave, count, self._step * self.audio.sample_rate)
        return without_pauses(window.is_speech((np.arange(count) + 0.5) * self._step), levels)

    def _bounds(self, start: float, end: float, speech: Bool[np.ndarray, " time"]) -> tuple[float, float]:
        """Return a word's times without what a pause parts from it."""
        first, last = without_neighbors(round(start / self._step), round(end / self._step), speech)
        return max(start, first * self._step), min(end, last * self._step)

    def _token_times(
        self,
        ids: tuple[int, ...],
        attention: Float[np.ndarray, "heads tokens time"],
        speech: Bool[np.ndarray, " steps"],
        seconds: float,
    ) -> Float[np.ndarray, "spoken 2"]:
        """Return when each token begins and ends, in seconds of the window."""
        steps = token_steps(attention[:, :, : len(speech)], speech)
        if steps is None:
            edges = np.linspace(0, seconds, len(ids) + 1)
            return np.stack([edges[:-1], edges[1:]], axis=1)
        return steps * self._step


def without_speech(audio: AudioConfig) -> Float[np.ndarray, "sounds samples"]:
    """Return silence, noise and a chord, which a text's likelihood under its own sound is compared with."""
    samples = round(_REFERENCE_SECONDS * audio.sample_rate)
    time = np.arange(samples) / audio.sample_rate
    noise = np.random.default_rng(0).normal(0, 0.03, len(time))
    chord = sum(0.05 * np.sin(2 * np.pi * hertz * time) for hertz in (220.0, 277.2, 329.6, 440.0))
    return np.stack([np.zeros_like(time), noise, chord]).astype(np.float32)


def _fallback(options: DecodingOptions) -> FallbackOptions:
    """Return the options as the search knows them; what was not given stays as it is there."""
    return FallbackOptions(
        **{name: value for name, value in options.given().items() if name in FallbackOptions.__dataclass_fields__}
    )
