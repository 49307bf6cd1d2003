"""The listening face: sound → Transcript, and a known text laid over its sound.

The command line, the server and Python all come through `Recognizer.transcribe` and `Recognizer.align`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from malsori.alignment.boundaries import refine
from malsori.alignment.phonemes import alignment_of, time_phonemes
from malsori.alignment.spans import Alignment
from malsori.asr.encode import SHORTEST_SECONDS, hear_stream
from malsori.asr.whisper import LISTENERS, ListenOptions
from malsori.audio.io import load_audio, resample, stream_audio
from malsori.audio.mel import log_mel
from malsori.config import AudioConfig
from malsori.decode.ngram import NgramModel, load_ngram
from malsori.decode.transcript import Transcript
from malsori.errors import AlignmentError, ModelError, TextError
from malsori.pretrained.folder import SavedModel
from malsori.pretrained.hub import first_built_in, load_saved, locate
from malsori.text.frontend import Frontend

_QUIET_SECONDS = 0.3  # how long a quiet place must be judged over


#: Stands beside the weights where a recogniser has a language model.
LANGUAGE_MODEL = "language_model.safetensors"


class Recognizer:
    """A trained network with its decoder. Raises: ModelError if the model is no recogniser."""

    def __init__(
        self, model: SavedModel, language_model: NgramModel | None = None, options: ListenOptions | None = None
    ) -> None:
        if model.facts.system not in LISTENERS:
            raise ModelError(f"a {model.facts.system} does not listen; a recogniser is one of: {', '.join(LISTENERS)}")
        self.model, self.frontend = model, Frontend()
        self.listener = LISTENERS[model.facts.system](model, language_model, options or ListenOptions())

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages it can write."""
        return self.listener.languages

    def transcribe(
        self, sound: "Path | str | Float[np.ndarray, ' samples']", sample_rate: int | None = None
    ) -> Transcript:
        """Return what is said in a sound file, or in a wave (samples,) at sample_rate.

        Raises: AudioError if it cannot be read, or lasts less than 0.1 s.
        """
        wave, rate = self._load(sound, sample_rate)
        pieces = _pieces(wave, rate, self.model.facts.audio, self.listener.longest_seconds)
        segments = tuple(self.listener.listen(wave[begin:end], rate, begin / rate) for begin, end in pieces)
        spoken = [segment for segment in segments if segment.words]
        return Transcript(
            " ".join(segment.text for segment in spoken), self.languages[0], len(wave) / rate, tuple(spoken)
        )

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
        heard = hear_stream(self.model, pieces(), with_jamo=False)
        times = time_phonemes(reading, heard.phonemes, heard.loudness, heard.frame_seconds, heard.seconds)
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


def load_recognizer(name: str | None = None, options: ListenOptions | None = None) -> Recognizer:
    """Return a recogniser, ready to listen, with the language model that lies in its folder, if one does.

    Args:
        name: a built-in name, a model's or run's folder, or a hub id; the built-in one when not given.
    Raises: ModelError if there is none.
    """
    name = name or first_built_in(*LISTENERS)
    counted = locate(name) / LANGUAGE_MODEL
    return Recognizer(load_saved(name), load_ngram(counted) if counted.is_file() else None, options)


def align(sound: "Path | str | Float[np.ndarray, ' samples']", text: str, sample_rate: int | None = None) -> Alignment:
    """Return when each word, syllable and phone of a text sounds, by the built-in recogniser."""
    return load_recognizer().align(sound, text, sample_rate)


def _pieces(wave: np.ndarray, rate: int, audio: AudioConfig, longest_seconds: float) -> list[tuple[int, int]]:
    """Return stretches (begin, end) in samples, cut at the quietest places, none longer than the longest piece."""
    longest = int(longest_seconds * rate)
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
    if len(wave) - begin >= SHORTEST_SECONDS * rate:
        pieces.append((begin, len(wave)))
    return pieces
