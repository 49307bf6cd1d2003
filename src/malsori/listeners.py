"""How each kind of recogniser turns one piece of sound into words: one class a system, and the table of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float

from malsori.decode.ctc import BeamOptions, Hypothesis, greedy_hypothesis, prefix_beam_search
from malsori.decode.ngram import NgramModel
from malsori.decode.transcript import HeardWord, Segment
from malsori.models.listening import Heard, hear
from malsori.models.saved import SavedModel
from malsori.text.hangul import from_jamo

_TOKEN_FLOOR = -7.0  # symbols less probable than e^-7 in a frame are not tried: a third of the time, the same texts


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


class Listener(Protocol):
    """What a recogniser asks of a kind of network.

    Attributes:
        languages: codes of the languages it can write.
        longest_seconds: no piece of sound should last longer.
    """

    languages: tuple[str, ...]
    longest_seconds: float

    def listen(self, wave: Float[np.ndarray, " samples"], rate: int, offset: float) -> Segment:
        """Return the words of one piece of sound, which begins `offset` seconds into the whole."""


class ConformerListener:
    """Prefix beam search over jamo, with a language model where there is one."""

    languages: tuple[str, ...] = ("ko",)
    longest_seconds: float = 18.0  # as long as training ever heard

    def __init__(self, model: SavedModel, language_model: NgramModel | None, options: ListenOptions) -> None:
        self.model, self.language_model, self.options = model, language_model, options

    def listen(self, wave: Float[np.ndarray, " samples"], rate: int, offset: float) -> Segment:
        """Return the words of one piece of sound."""
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


#: System → what makes its listener.
LISTENERS: dict[str, Callable[[SavedModel, NgramModel | None, ListenOptions], Listener]] = {
    "conformer": ConformerListener
}
