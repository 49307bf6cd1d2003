"""What a recogniser gives back: a transcript of segments of words, with times and confidences."""

from dataclasses import dataclass
from typing import Any

from malsori.alignment.spans import Span


@dataclass(frozen=True)
class TranscriptWord(Span):
    """A recognized word, and how sure the recognizer is of it (0 to 1)."""

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
    words: tuple[TranscriptWord, ...]

    def as_json(self) -> dict[str, Any]:
        """Return {"start", "end", "text", "words"}."""
        words = [word.as_json() for word in self.words]
        return {"start": round(self.start, 4), "end": round(self.end, 4), "text": self.text, "words": words}


@dataclass(frozen=True)
class Transcript:
    """What is said in a sound; `duration` in seconds."""

    text: str
    language: str
    duration: float
    segments: tuple[Segment, ...]

    def as_json(self) -> dict[str, Any]:
        """Return {"text", "language", "duration", "segments"}."""
        segments = [segment.as_json() for segment in self.segments]
        return {"text": self.text, "language": self.language, "duration": round(self.duration, 4), "segments": segments}
