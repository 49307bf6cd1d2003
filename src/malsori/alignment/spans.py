"""Stretches of time with their text: what an aligner returns, and its JSON and subtitle forms."""

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal


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


def join_lines(words: Iterable[Span], max_characters: int = 32, max_pause: float = 0.6) -> list[Span]:
    """Return words joined into lines that a subtitle can show.

    A line ends where the next word would make it longer than max_characters, after a pause longer than max_pause
    seconds, and after the end of a sentence. A single longer word keeps a line of its own.

    >>> join_lines([Span("잘", 0.1, 0.3), Span("가.", 0.3, 0.6), Span("응.", 0.7, 0.9)])
    [Span(text='잘 가.', start=0.1, end=0.6), Span(text='응.', start=0.7, end=0.9)]
    """
    lines: list[Span] = []
    for word in words:
        line = lines[-1] if lines else None
        joined = f"{line.text} {word.text}" if line else word.text
        fits = line and len(joined) <= max_characters and word.start - line.end <= max_pause
        if line and fits and not line.text.endswith((".", "?", "!", "…")):
            lines[-1] = Span(joined, line.start, word.end)
        else:
            lines.append(word)
    return lines


def subtitles(lines: Sequence[Span], style: Literal["srt", "vtt"]) -> str:
    """Return a SubRip or WebVTT file's text, one cue for each line.

    >>> print(subtitles([Span("안녕하세요.", 0.25, 3661.5)], "srt"), end="")
    1
    00:00:00,250 --> 01:01:01,500
    안녕하세요.
    """
    comma = "," if style == "srt" else "."
    cues = []
    for number, line in enumerate(lines, start=1):
        head = f"{number}\n" if style == "srt" else ""
        # What a cue's text must not hold: in WebVTT the signs of markup, in SubRip the arrow.
        text = line.text.replace("-->", "→") if style == "srt" else html.escape(line.text, quote=False)
        cues.append(f"{head}{_clock(line.start, comma)} --> {_clock(line.end, comma)}\n{text}\n")
    return ("" if style == "srt" else "WEBVTT\n\n") + "\n".join(cues)


def _clock(seconds: float, comma: str) -> str:
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{comma}{milliseconds:03d}"
