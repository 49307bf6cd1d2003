"""Stretches of time with their text: what an aligner returns, and its JSON form."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Span:
    """A stretch of a sound and what is said in it; times in seconds."""

    text: str
    start: float
    end: float

    def as_json(self) -> dict[str, Any]:
        """Return {"text", "start", "end"}, times to the tenth of a millisecond."""
        return {"text": self.text, "start": round(self.start, 4), "end": round(self.end, 4)}


@dataclass(frozen=True)
class Alignment:
    """A text laid over a sound, on three tiers; pauses are where no span is.

    Attributes:
        words: eojeol as they were written, with digits, Latin letters, brackets and punctuation.
        syllables: syllables as they are read.
        phones: sounds as they are spoken.
        duration: seconds of the whole sound.
        score: mean log posterior ratio of a phoneme (`malsori.alignment.mismatch`): 0 at best, about -0.5 for a right
            text and -5 for a wrong one; None where the times are not found but made, as a voice does.
        mismatches: stretches in which text and sound do not belong together, with the words there.
    """

    words: tuple[Span, ...]
    syllables: tuple[Span, ...]
    phones: tuple[Span, ...]
    duration: float
    score: float | None = None
    mismatches: tuple[Span, ...] = ()

    @property
    def tiers(self) -> dict[str, tuple[Span, ...]]:
        """The tiers by name, from the widest to the narrowest."""
        return {"words": self.words, "syllables": self.syllables, "phones": self.phones}

    def as_json(self) -> dict[str, Any]:
        """Return {"words": [SPAN], "syllables": [SPAN], "phones": [SPAN]}; "score" and "mismatches" where there are."""
        tiers = {name: [span.as_json() for span in spans] for name, spans in self.tiers.items()}
        if self.score is None:
            return tiers
        return tiers | {"score": round(self.score, 4), "mismatches": [span.as_json() for span in self.mismatches]}
