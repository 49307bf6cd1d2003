"""End-to-end voices: from a sentence's phonemes or letters to its wave."""

from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from malsori.errors import ModelError
from malsori.text.romanize import spell
from malsori.text.symbols import PAUSE, PHONEMES, SPACE, SymbolTable
from malsori.tts.acoustic import NetworkSynthesizer, as_array
from malsori.tts.options import SayOptions
from malsori.tts.roles import EndToEndVoice, SynthesisInput, SynthesisOutput

if TYPE_CHECKING:
    from malsori.models.vits import Vits

_BOUNDARIES = (SPACE, PAUSE)


class VitsAdapter(NetworkSynthesizer, EndToEndVoice):
    """VITS, of ours or public: the same noise each time, so that one text has one wave."""

    output: Literal["wave"] = "wave"

    def _infer(self, sentence: SynthesisInput, speaker: int, options: SayOptions) -> SynthesisOutput:
        from malsori.models.vits import join_blanks, with_blanks

        network: Vits = self.network
        romanized = self.facts.frontend.get("romanized", False)
        letters = "" if "phonemes" in self.symbols else spell(sentence.text, self._letters(), romanized)
        token_ids = self._letters().encode(letters) if letters else PHONEMES.encode(sentence.phonemes)
        output = network.infer(
            self._batch(with_blanks(token_ids) if network.config.blanks else token_ids),
            speaker_ids=self._batch([speaker])[0],
            speed=options.speed,
            generator=torch.Generator().manual_seed(0),
        )
        durations = as_array(output.durations[0])
        durations = join_blanks(durations) if network.config.blanks else durations
        durations = durations_by_words(letters, durations, sentence.phonemes) if letters else durations
        return SynthesisOutput(durations, wave=as_array(output.wave[0]))

    def _letters(self) -> SymbolTable:
        """Return the alphabet of a voice that reads letters. Raises: ModelError if malsori cannot spell for it."""
        cleaners = self.facts.frontend.get("cleaners")
        if "letters" not in self.symbols or cleaners:
            raise ModelError(
                f"this voice reads symbols of its makers ({', '.join(cleaners or ['not named'])}), neither Korean "
                "phonemes nor letters; 'malsori.load_model' gives its network, which takes their ids"
            )
        return self.symbols["letters"]


def durations_by_words(letters: str, frames: np.ndarray, phonemes: tuple[str, ...]) -> np.ndarray:
    """Return how long each phoneme lasts when letters were timed: words keep their frames, shared alike within one.

    Where letters and phonemes disagree about the words, all frames are shared alike.

    Args:
        letters: with spaces between the words.
        frames: how long each letter lasts (letters,).
        phonemes: of the same text, from the opening silence to the closing mark.

    >>> durations_by_words("ab c", np.array([3, 3, 2, 4]), ("^", "ㄱ", "ㅏ", " ", "ㄴ", ".")).tolist()
    [0, 3, 3, 2, 4, 0]
    """
    of_words = [int(frames[begin:end].sum()) for begin, end in _runs([letter == " " for letter in letters])]
    counts = [end - begin for begin, end in _runs([symbol in _BOUNDARIES for symbol in phonemes[1:-1]])]
    same = len(of_words) == len(counts)
    shares = zip(of_words, counts, strict=True) if same else [(int(frames.sum()), len(phonemes) - 2)]
    shared = [np.diff(np.linspace(0, total, count + 1).round().astype(np.int64)) for total, count in shares]
    return np.concatenate([[0], *shared, [0]])


def _runs(marks: list[bool]) -> list[tuple[int, int]]:
    """Return where each run of equal marks begins and ends."""
    edges = [0, *(place for place in range(1, len(marks)) if marks[place] != marks[place - 1]), len(marks)]
    return list(pairwise(edges))
