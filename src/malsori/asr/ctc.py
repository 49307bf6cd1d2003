"""Decoding a network trained by CTC: posteriors ─► greedy or prefix beam search ─► words with times."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from malsori.asr.encode import WINDOW_SECONDS, CtcPosteriors, ctc_encoder
from malsori.asr.longform import SpeechWindow
from malsori.asr.options import DecodingOptions, check_language, refuse_unsupported
from malsori.decode.ctc import BeamOptions, Hypothesis, greedy_hypothesis, prefix_beam_search
from malsori.decode.hotwords import PARTICLES, Hotwords
from malsori.decode.ngram import NgramModel
from malsori.decode.transcript import TranscriptWord
from malsori.errors import ModelError, OptionError, TextError
from malsori.pretrained.folder import SavedModel
from malsori.text.letters import LETTERS, decode_words, encode_letters
from malsori.text.normalize import normalize
from malsori.text.symbols import JAMO

if TYPE_CHECKING:
    from malsori.runtime.device import Runtime

_BEAM, _LANGUAGE_WEIGHT, _TOKEN_BONUS = 16, 0.6, 1.0
_HOTWORD_BONUS = 1.5
_TOKEN_FLOOR = -7.0  # symbols less probable than e^-7 in a frame are not tried: a third of the time, the same texts


class CtcSegmentDecoder:
    """Prefix beam search over the letters of a network trained by CTC, with a language model where there is one.

    Raises: ModelError if the model has no letters.
    """

    languages: tuple[str, ...] = ("ko",)
    max_seconds: float = WINDOW_SECONDS
    packs_speech: bool = False  # its attention learnt from one utterance at a time
    output_is_normalized: bool = True
    supported_options = frozenset(
        {"language", "task", "beam", "language_weight", "token_bonus", "hotwords", "hotword_bonus"}
    )

    def __init__(
        self, model: SavedModel, language_model: NgramModel | None = None, runtime: "Runtime | None" = None
    ) -> None:
        tables = [model.symbols[kind] for kind in (JAMO.kind, LETTERS) if kind in model.symbols]
        if not tables:
            raise ModelError(f"this {model.facts.system} has no letters: is vocab.json missing from its folder?")
        self.system, self.encoder = model.facts.system, ctc_encoder(model, runtime)
        self.language_model, self.table = language_model, tables[0]

    def check(self, options: DecodingOptions) -> None:
        """Refuse what this recognizer cannot serve. Raises: OptionError naming the option and the system."""
        refuse_unsupported(options, self.system, self.supported_options)
        check_language(options, self.languages)
        if options.task not in (None, "transcribe"):
            raise OptionError(f"task '{options.task}': a {self.system} transcribes only; a Whisper translates too")
        searches = ("language_weight", "token_bonus", "hotwords")
        named = next((name for name in searches if getattr(options, name) is not None), None)
        if named and options.beam == 1:
            raise OptionError(f"{named}: beam 1 takes the best letter each time and weighs nothing; give a beam of 2")
        if options.language_weight is not None and self.language_model is None:
            raise OptionError(f"language_weight: this {self.system} has no language model in its folder")
        self._hotwords(options)

    def detect_language(self, _window: SpeechWindow) -> str:
        """Return the language that it writes: there is one."""
        return self.languages[0]

    def decode(self, window: SpeechWindow, options: DecodingOptions) -> tuple[TranscriptWord, ...]:
        """Return the words of one window of sound at the model's rate."""
        posteriors = self.encoder.posteriors(window.wave)
        return tuple(self._words(self._search(posteriors, options), posteriors))

    def _search(self, posteriors: CtcPosteriors, options: DecodingOptions) -> Hypothesis:
        """Return the most probable text of one piece."""
        if options.beam == 1:
            return greedy_hypothesis(posteriors.log_probs, posteriors.blank)
        found = self.language_model is not None
        weight, bonus = options.language_weight, options.token_bonus
        weight = weight if weight is not None else _LANGUAGE_WEIGHT if found else 0.0
        bonus = bonus if bonus is not None else _TOKEN_BONUS if found else 0.0
        beam = BeamOptions(options.beam or _BEAM, weight, bonus, token_floor=_TOKEN_FLOOR)
        hotwords = self._hotwords(options)
        return prefix_beam_search(posteriors.log_probs, beam, self.language_model, posteriors.blank, hotwords=hotwords)[
            0
        ]

    def _hotwords(self, options: DecodingOptions) -> Hotwords | None:
        """Return the bonus of the hotwords as they are spoken. Raises: OptionError for one that has no letters here."""
        if not options.hotwords:
            return None
        bonus = options.hotword_bonus if options.hotword_bonus is not None else _HOTWORD_BONUS
        try:
            spelled = [encode_letters(self.table, _spoken(word)) for word in options.hotwords]
        except TextError as error:
            raise OptionError(f"hotwords: {error}") from error
        particles = [encode_letters(self.table, particle) for particle in PARTICLES]
        return Hotwords(spelled, particles, encode_letters(self.table, " ")[0], bonus)

    def _words(self, hypothesis: Hypothesis, posteriors: CtcPosteriors) -> Iterator[TranscriptWord]:
        """Yield the words between the spaces of a hypothesis; the network's last frame may reach beyond the sound."""
        for text, places in decode_words(self.table, hypothesis.ids):
            frames = hypothesis.starts[places[0]], hypothesis.ends[places[-1]]
            times = [posteriors.first_seconds + frame * posteriors.frame_seconds for frame in frames]
            start, end = (min(time, posteriors.seconds) for time in times)
            confidence = float(np.prod([hypothesis.confidences[place] for place in places]) ** (1 / len(places)))
            yield TranscriptWord(text, start, end, confidence)


def _spoken(word: str) -> str:
    """Return a word as it is read aloud: letters and the spaces between."""
    spoken = normalize(word).text
    return " ".join("".join(character if character.isalnum() else " " for character in spoken).split())
