"""The door to recognition: sound → Transcript, and a known text laid over its sound.

The command line, the server and Python all come through `Recognizer.transcribe` and `Recognizer.align`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float

from malsori.alignment.boundaries import refine
from malsori.alignment.phonemes import alignment_of, time_phonemes
from malsori.alignment.spans import Alignment
from malsori.asr.encode import MIN_SECONDS, phoneme_encoder
from malsori.asr.options import DecodingOptions
from malsori.audio.io import load_audio, resample, stream_audio
from malsori.audio.mel import log_mel
from malsori.config import AudioConfig
from malsori.decode.ngram import NgramModel, load_ngram
from malsori.decode.transcript import Segment, Transcript
from malsori.errors import AlignmentError, ModelError, TextError
from malsori.pretrained.folder import SavedModel
from malsori.pretrained.hub import first_built_in, load_saved, resolve
from malsori.systems import SYSTEMS, systems_of
from malsori.text.frontend import Frontend

_QUIET_SECONDS = 0.3  # how long a quiet place must be judged over


#: Stands beside the weights where a recogniser has a language model.
LANGUAGE_MODEL = "language_model.safetensors"


class SegmentDecoder(Protocol):
    """What a recognizer asks of a kind of network: one adapter a system (`malsori.systems`), safe for threads.

    Attributes:
        languages: codes of the languages it can write; the first is what it writes unless asked.
        max_seconds: no piece of sound should last longer.
        output_is_normalized: it writes Hangul as it is spoken; otherwise digits and punctuation too, as in texts.
        supported_options: the names of the options that it can serve.
    """

    languages: tuple[str, ...]
    max_seconds: float
    output_is_normalized: bool
    supported_options: frozenset[str]

    def check(self, options: DecodingOptions) -> None:
        """Refuse what cannot be served. Raises: OptionError naming the option and the system."""

    def decode(self, wave: Float[np.ndarray, " samples"], offset: float, options: DecodingOptions) -> Segment:
        """Return the words of one piece of sound at the model's rate, which begins `offset` seconds into the whole."""


class Recognizer:
    """A trained network with its decoder. It holds no options and is safe for threads.

    Raises: ModelError if the model is no recognizer.
    """

    def __init__(self, model: SavedModel, language_model: NgramModel | None = None) -> None:
        recognizers = systems_of("recognizer")
        if model.facts.system not in recognizers:
            raise ModelError(f"a {model.facts.system} is no recognizer; one of {', '.join(recognizers)} is")
        self.model, self.frontend = model, Frontend()
        self.decoder: SegmentDecoder = SYSTEMS[model.facts.system].resolve("adapter")(model, language_model)

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
    ) -> Transcript:
        """Return what is said in a sound file, or in a wave (samples,) at sample_rate.

        Raises: AudioError if it cannot be read, or lasts less than 0.1 s; OptionError naming an option that the
            recognizer does not support.
        """
        options = options or DecodingOptions()
        self.decoder.check(options)
        wave, rate = self._load(sound, sample_rate)
        pieces = _pieces(wave, rate, self.model.facts.audio, self.decoder.max_seconds)
        segments = tuple(self.decoder.decode(wave[begin:end], begin / rate, options) for begin, end in pieces)
        spoken = tuple(segment for segment in segments if segment.words)
        text = " ".join(segment.text for segment in spoken)
        return Transcript(text, options.language or self.languages[0], len(wave) / rate, spoken)

    def align(
        self, sound: "Path | str | Float[np.ndarray, ' samples']", text: str, sample_rate: int | None = None
    ) -> Alignment:
        """Return when each word, syllable and phone of a known text sounds, in a sound of any length.

        Raises: AudioError as transcribe; TextError if the text has nothing to say; AlignmentError if the sound is too
            short for it.
        """
        rate = self.model.facts.audio.sample_rate

        def pieces() -> Iterable[np.ndarray]:
            return stream_audio(sound, rate) if isinstance(sound, str | Path) else [self._load(sound, sample_rate)[0]]

        reading = self.frontend.read(text)
        if not reading.words:
            raise TextError(f"nothing to align in {text!r}: there is no letter or number in it")
        found = phoneme_encoder(self.model).encode_stream(pieces(), with_jamo=False)
        times = time_phonemes(reading, found.phonemes, found.loudness, found.frame_seconds, found.seconds)
        if not np.isfinite(times.score):
            raise AlignmentError("the text cannot be laid over this sound at all")
        return alignment_of(reading, refine(reading, pieces(), rate, times.ends))

    def _load(self, sound: Any, sample_rate: int | None) -> tuple[np.ndarray, int]:
        rate = self.model.facts.audio.sample_rate
        if isinstance(sound, str | Path):
            return load_audio(sound, rate), rate
        if sample_rate is None:
            raise ValueError("a wave needs its sample_rate")
        return resample(np.asarray(sound, dtype=np.float32), sample_rate, rate), rate


def load_recognizer(name: str | None = None) -> Recognizer:
    """Return a recognizer, with the language model that lies in its folder, if one does.

    Args:
        name: a built-in name, a model's or run's folder, or a hub id; the built-in one when not given.
    Raises: ModelError if there is none.
    """
    name = name or first_built_in(*systems_of("recognizer"))
    counted = resolve(name) / LANGUAGE_MODEL
    return Recognizer(load_saved(name), load_ngram(counted) if counted.is_file() else None)


def align(sound: "Path | str | Float[np.ndarray, ' samples']", text: str, sample_rate: int | None = None) -> Alignment:
    """Return when each word, syllable and phone of a text sounds, by the built-in recognizer."""
    return load_recognizer().align(sound, text, sample_rate)


def _pieces(wave: np.ndarray, rate: int, audio: AudioConfig, max_seconds: float) -> list[tuple[int, int]]:
    """Return stretches (begin, end) in samples, cut at the quietest places, none longer than the longest piece."""
    longest = int(max_seconds * rate)
    if len(wave) <= longest:
        return [(0, len(wave))]
    level = log_mel(torch.from_numpy(wave)[None], audio)[0].mean(1).numpy()
    width = round(_QUIET_SECONDS / audio.frame_seconds)
    smooth = np.convolve(level, np.ones(width) / width, mode="same")
    pieces, begin = [], 0
    while len(wave) - begin > longest:
        first, last = (begin + longest // 2) // audio.hop_samples, (begin + longest) // audio.hop_samples
        cut = (first + int(np.argmin(smooth[first:last]))) * audio.hop_samples
        pieces.append((begin, cut))
        begin = cut
    if len(wave) - begin >= MIN_SECONDS * rate:
        pieces.append((begin, len(wave)))
    return pieces
