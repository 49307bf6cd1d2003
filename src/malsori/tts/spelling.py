"""What an end-to-end voice reads: phonemes or letters, with blanks or not, and how long each phoneme then lasts."""

from itertools import pairwise

import numpy as np

from malsori.annotations import Int
from malsori.errors import ModelError
from malsori.pretrained.folder import ModelFacts
from malsori.text.romanize import spell
from malsori.text.symbols import PAUSE, PHONEMES, SPACE, SymbolTable
from malsori.tts.roles import SynthesisInput

_BOUNDARIES = (SPACE, PAUSE)


class Spelling:
    """How a voice's sentences become tokens.

    Args:
        blanks: token 0 stands before, between and behind the tokens of a sentence.
    """

    def __init__(self, facts: ModelFacts, symbols: dict[str, SymbolTable], blanks: bool) -> None:
        self.facts, self.symbols, self.blanks = facts, symbols, blanks

    def token_ids(self, sentence: SynthesisInput) -> list[int]:
        """Return a sentence's tokens. Raises: ModelError if malsori cannot spell for the voice."""
        letters = self._spelled(sentence)
        ids = self._letters().encode(letters) if letters else PHONEMES.encode(sentence.phonemes)
        return with_blanks(ids) if self.blanks else ids

    def phoneme_durations(self, sentence: SynthesisInput, frames: Int[np.ndarray, " tokens"]) -> np.ndarray:
        """Return how long each phoneme of a sentence lasts whose tokens last so many frames."""
        frames, letters = join_blanks(frames) if self.blanks else frames, self._spelled(sentence)
        return durations_by_words(letters, frames, sentence.phonemes) if letters else frames

    def _spelled(self, sentence: SynthesisInput) -> str:
        """Return a sentence in the voice's letters; "" where it reads phonemes."""
        if "phonemes" in self.symbols:
            return ""
        return spell(sentence.text, self._letters(), self.facts.frontend.get("romanized", False))

    def _letters(self) -> SymbolTable:
        """Return the alphabet of a voice that reads letters. Raises: ModelError if malsori cannot spell for it."""
        cleaners = self.facts.frontend.get("cleaners")
        if "letters" not in self.symbols or cleaners:
            raise ModelError(
                f"this voice reads symbols of its makers ({', '.join(cleaners or ['not named'])}), neither Korean "
                "phonemes nor letters; 'malsori.load_model' gives its network, which takes their ids"
            )
        return self.symbols["letters"]


def with_blanks(token_ids: list[int]) -> list[int]:
    """Return tokens with token 0 before, between and behind them.

    >>> with_blanks([5, 7])
    [0, 5, 0, 7, 0]
    """
    return [0, *(one for token in token_ids for one in (token, 0))]


def join_blanks(durations: Int[np.ndarray, " tokens"]) -> Int[np.ndarray, " _"]:
    """Return the durations of the tokens between blanks: half of each blank goes to either side, the outer ones whole.

    >>> join_blanks(np.array([2, 5, 3, 7, 1])).tolist()
    [8, 10]
    """
    before, behind = durations[0:-1:2].copy(), durations[2::2].copy()
    inner = durations[2:-1:2]
    behind[:-1] = inner // 2
    before[1:] = inner - inner // 2
    return durations[1::2] + before + behind


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
