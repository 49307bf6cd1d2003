"""The listening face: sound → Transcript, and a known text laid over its sound.

The command line, the server and Python all come through `Recognizer.transcribe` and `Recognizer.align`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from malsori.align.phonemes import alignment_of, time_phonemes
from malsori.align.spans import Alignment, Span
from malsori.audio.io import load_audio, resample
from malsori.audio.mel import log_mel
from malsori.decode.ctc import BeamOptions, Hypothesis, greedy_hypothesis, prefix_beam_search
from malsori.decode.ngram import NgramModel, load_ngram
from malsori.errors import AlignmentError, ModelError, TextError
from malsori.models.catalogue import first_built_in, locate
from malsori.models.listening import SHORTEST_SECONDS, Heard, hear
from malsori.models.saved import SavedModel, open_model
from malsori.text.frontend import Frontend
from malsori.text.hangul import from_jamo

_SYSTEMS = ("conformer",)
#: Longer sound is cut at its quietest places into pieces of at most this length, as long as training ever heard.
LONGEST_PIECE_SECONDS = 18.0
_TOKEN_FLOOR = -7.0  # symbols less probable than e^-7 in a frame are not tried: a third of the time, the same texts
_QUIET_SECONDS = 0.3  # how long a quiet place must be judged over


#: Stands beside the weights where a recogniser has a language model.
LANGUAGE_MODEL = "language_model.safetensors"


@dataclass(frozen=True)
class ListenOptions:
    """How a recogniser decides what it heard.

    Attributes:
        beam: texts kept in mind at a time; 1 takes each frame's best symbol and asks no language model.
        language_weight: what the language model counts beside the sound.
        token_bonus: added for each jamo, against the language model's liking for short texts.
    """

    beam: int = 16
    language_weight: float = 0.6
    token_bonus: float = 1.0


@dataclass(frozen=True)
class HeardWord(Span):
    """A word that was heard, and how sure the recogniser is of it (0 to 1)."""

    confidence: float

    def as_json(self) -> dict[str, Any]:
        """Return {"text", "start", "end", "confidence"}."""
        return super().as_json() | {"confidence": round(self.confidence, 4)}


@dataclass(frozen=True)
class Segment:
    """A stretch of sound between two quiet places, with its words; times in seconds."""

    start: float
    end: float
    text: str
    words: tuple[HeardWord, ...]

    def as_json(self) -> dict[str, Any]:
        """Return {"start", "end", "text", "words"}."""
        words = [word.as_json() for word in self.words]
        return {"start": round(self.start, 4), "end": round(self.end, 4), "text": self.text, "words": words}


@dataclass(frozen=True)
class Transcript:
    """What was heard in a sound; `duration` in seconds."""

    text: str
    language: str
    duration: float
    segments: tuple[Segment, ...]

    def as_json(self) -> dict[str, Any]:
        """Return {"text", "language", "duration", "segments"}."""
        segments = [segment.as_json() for segment in self.segments]
        return {"text": self.text, "language": self.language, "duration": round(self.duration, 4), "segments": segments}


class Recognizer:
    """A trained network with its decoder. Raises: ModelError if the model is no recogniser."""

    def __init__(
        self, model: SavedModel, language_model: NgramModel | None = None, options: ListenOptions | None = None
    ) -> None:
        if model.facts.system not in _SYSTEMS:
            raise ModelError(f"a {model.facts.system} does not listen; a recogniser is one of: {', '.join(_SYSTEMS)}")
        self.model, self.language_model, self.frontend = model, language_model, Frontend()
        self.options = options or ListenOptions()

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages it can write."""
        return ("ko",)

    def transcribe(
        self, sound: "Path | str | Float[np.ndarray, ' samples']", sample_rate: int | None = None
    ) -> Transcript:
        """Return what is said in a sound file, or in a wave (samples,) at sample_rate.

        Raises: AudioError if it cannot be read, or lasts less than 0.1 s.
        """
        wave, rate = self._load(sound, sample_rate)
        pieces = _pieces(wave, rate, self.model)
        segments = tuple(self._listen(wave[begin:end], rate, begin / rate) for begin, end in pieces)
        spoken = [segment for segment in segments if segment.words]
        return Transcript(" ".join(segment.text for segment in spoken), "ko", len(wave) / rate, tuple(spoken))

    def align(
        self, sound: "Path | str | Float[np.ndarray, ' samples']", text: str, sample_rate: int | None = None
    ) -> Alignment:
        """Return when each word, syllable and phone of a known text sounds.

        Raises: AudioError as transcribe; TextError if the text has nothing to say; AlignmentError if the sound is too
            short for it.
        """
        wave, rate = self._load(sound, sample_rate)
        reading = self.frontend.read(text)
        if not reading.words:
            raise TextError(f"nothing to align in {text!r}: there is no letter or number in it")
        heard = hear(self.model, wave, rate)
        times = time_phonemes(reading, heard.phonemes, heard.loudness, heard.frame_seconds, heard.seconds)
        if not np.isfinite(times.score):
            raise AlignmentError("the text cannot be laid over this sound at all")
        return alignment_of(reading, times.ends)

    def _load(self, sound: Any, sample_rate: int | None) -> tuple[np.ndarray, int]:
        rate = self.model.facts.audio.sample_rate
        if isinstance(sound, str | Path):
            return load_audio(sound, rate), rate
        if sample_rate is None:
            raise ValueError("a wave needs its sample_rate")
        return resample(np.asarray(sound, dtype=np.float32), sample_rate, rate), rate

    def _listen(self, wave: np.ndarray, rate: int, offset: float) -> Segment:
        """Return one piece's words."""
        heard = hear(self.model, wave, rate)
        words = tuple(self._words(self._decide(heard.jamo), heard, offset))
        text = " ".join(word.text for word in words)
        return Segment(offset, offset + heard.seconds, text, words)

    def _decide(self, log_probs: np.ndarray) -> Hypothesis:
        """Return the most probable text of one piece."""
        if self.options.beam == 1:
            return greedy_hypothesis(log_probs)
        weight, bonus = self.options.language_weight, self.options.token_bonus
        if self.language_model is None:
            weight = bonus = 0.0
        beam = BeamOptions(self.options.beam, weight, bonus, token_floor=_TOKEN_FLOOR)
        return prefix_beam_search(log_probs, beam, self.language_model)[0]

    def _words(self, hypothesis: Hypothesis, heard: Heard, offset: float) -> Iterator[HeardWord]:
        """Yield the words between the spaces of a hypothesis; the network's last frame may reach beyond the sound."""
        symbols = self.model.symbols["jamo"].decode(hypothesis.ids)
        members: list[int] = []
        for place, symbol in enumerate([*symbols, " "]):
            if symbol != " ":
                members.append(place)
                continue
            if members:
                frames = hypothesis.starts[members[0]], hypothesis.ends[members[-1]]
                start, end = (offset + min(frame * heard.frame_seconds, heard.seconds) for frame in frames)
                confidence = float(np.prod([hypothesis.confidences[m] for m in members]) ** (1 / len(members)))
                text = from_jamo(symbols[m] for m in members)
                yield HeardWord(text, start, end, confidence)
            members = []


def load_recognizer(name: str | None = None, options: ListenOptions | None = None) -> Recognizer:
    """Return a recogniser, ready to listen, with the language model that lies in its folder, if one does.

    Args:
        name: a built-in name, a model's or run's folder, or a hub id; the built-in one when not given.
    Raises: ModelError if there is none.
    """
    folder = locate(name or first_built_in(*_SYSTEMS))
    counted = folder / LANGUAGE_MODEL
    return Recognizer(open_model(folder), load_ngram(counted) if counted.is_file() else None, options)


def align(sound: "Path | str | Float[np.ndarray, ' samples']", text: str, sample_rate: int | None = None) -> Alignment:
    """Return when each word, syllable and phone of a text sounds, by the built-in recogniser."""
    return load_recognizer().align(sound, text, sample_rate)


def _pieces(wave: np.ndarray, rate: int, model: SavedModel) -> list[tuple[int, int]]:
    """Return stretches (begin, end) in samples, cut at the quietest places, none longer than the longest piece."""
    longest = int(LONGEST_PIECE_SECONDS * rate)
    if len(wave) <= longest:
        return [(0, len(wave))]
    audio = model.facts.audio
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
