"""What an evaluation holds, and how its numbers come from utterances: rates, means, intervals."""

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from malsori.asr.recognizer import Recognizer
from malsori.config import AudioConfig
from malsori.metrics.error_rate import cer
from malsori.metrics.naturalness import dnsmos
from malsori.metrics.score_card import ScoreCard
from malsori.metrics.significance import bootstrap_intervals
from malsori.metrics.spoken_form import nearest_reading, stretches
from malsori.text.hangul import only_hangul

_RATES = ("cer", "cer_no_space", "wer", "swer", "jamo_error_rate")
#: Seconds of computing to a second of sound.
SPEED = "real_time_factor"
#: The opinion scores of a `Judge`.
OPINIONS = ("dnsmos_overall", "dnsmos_signal", "dnsmos_background")
#: Whose transcripts and opinions stand beside those of what was made.
RECORDINGS = "recordings"
OF_RECORDINGS = f"{RECORDINGS}_"
_PAIRED_RATE = "cer_no_space"
Progress = Callable[[list[Any]], Iterable[Any]]


@dataclass(frozen=True)
class Measure:
    """A value over a whole split and its 95 % interval, from draws of utterances; None where there are too few."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Row:
    """One utterance: what it says, the transcript, and its measures by name; the waves are for the page.

    recording: beside the wave of a voice or a vocoder; None where the wave is the recording.
    in_recording: the transcript of that.
    """

    id: str
    text: str
    hypothesis: str
    measures: dict[str, float]
    wave: Any
    recording: Any = None
    in_recording: str = ""


@dataclass(frozen=True)
class Evaluation:
    """The numbers of one model on one split.

    Attributes:
        system: of the model.
        split: of the corpus.
        audio: its settings.
        measures: name → value and interval; error rates from summed counts, others the mean of the utterances.
        cards: whose transcripts ("hypotheses", and "recordings" beside a voice's) → their score card.
        rows: utterance by utterance.
    """

    system: str
    split: str
    audio: AudioConfig
    measures: dict[str, Measure]
    cards: dict[str, ScoreCard]
    rows: tuple[Row, ...]

    def as_json(self) -> dict[str, Any]:
        """Return everything but the waves."""
        rows = [{"id": row.id, "text": row.text, "hypothesis": row.hypothesis, **row.measures} for row in self.rows]
        return {
            "system": self.system,
            "split": self.split,
            "utterances": len(self.rows),
            "measures": {name: asdict(measure) for name, measure in self.measures.items()},
            "score_cards": {name: card.as_json() for name, card in self.cards.items()},
            "rows": rows,
        }


@dataclass(frozen=True)
class Judge:
    """Who judges speech: a recognizer, and where it is asked for DNSMOS."""

    recognizer: Recognizer
    mos: bool

    def opinion(self, wave: np.ndarray, sample_rate: int) -> dict[str, float]:
        """Return the opinion scores of a wave, or none."""
        return dnsmos(wave, sample_rate).as_measures() if self.mos else {}

    def transcript(self, wave: np.ndarray, sample_rate: int, said: str) -> str:
        """Return the transcript of a wave as it is read aloud, as `read` does."""
        return self.read(self.recognizer.transcribe(wave, sample_rate=sample_rate).text, said)

    def read(self, text: str, said: str) -> str:
        """Return a text of the recognizer's as it is read aloud: digits in the reading nearest to what was said."""
        if self.recognizer.decoder.output_is_normalized:
            return text
        read = stretches(text, self.recognizer.frontend.normalized(text, keep_unreadable=True))
        return only_hangul(nearest_reading(read, said))

    def spoken_form(self, text: str) -> str:
        """Return a text as a recognizer should write it: spoken Hangul without punctuation."""
        return only_hangul(self.recognizer.frontend.read(text).normalized)


def error_measures(text: str, hypothesis: str) -> dict[str, float]:
    """Return the error rate of one utterance, by its name."""
    return {"cer_no_space": cer(text, hypothesis, spaces=False).rate}


def time_measures(began: float, seconds: float) -> dict[str, float]:
    """Return the time of computing since `began` to that of a sound."""
    return {SPEED: (time.perf_counter() - began) / seconds}


def rates(card: ScoreCard) -> dict[str, Measure]:
    """Return the error rates of a score card, by name."""
    return {
        name: Measure(rate.rate, *(card.intervals[name] or (None, None)))
        for name, rate in card.rates.items()
        if name in _RATES
    }


def differences(rows: list[Row], cards: dict[str, ScoreCard]) -> dict[str, Measure]:
    """Return what was made less its recordings, by name: paired, so that a hard text or a noisy room cancels out.

    Args:
        cards: of the transcripts of what was made ("hypotheses") and of the "recordings".
    """
    counts = {name: card.counts[_PAIRED_RATE] for name, card in cards.items()}
    edits = {name: of[:, :3].sum(axis=1, keepdims=True).astype(float) for name, of in counts.items()}
    pairs = {_PAIRED_RATE: (edits["hypotheses"] - edits[RECORDINGS], counts[RECORDINGS][:, 3:].astype(float))}
    for name in OPINIONS:
        if all(name in row.measures for row in rows):
            gained = [[row.measures[name] - row.measures[OF_RECORDINGS + name]] for row in rows]
            pairs[name] = (np.array(gained), np.ones((len(rows), 1)))
    return {
        f"{name}_difference": Measure(
            float(sums.sum() / max(sizes.sum(), 1.0)), *(bootstrap_intervals(sums, sizes)[0] or (None, None))
        )
        for name, (sums, sizes) in pairs.items()
    }


def means(rows: list[Row], names: Iterable[str]) -> dict[str, Measure]:
    """Return the means of measures over the utterances that have them, by name."""
    found = {}
    for name in names:
        values = np.array([[row.measures[name]] for row in rows if name in row.measures])
        if len(values):
            interval = bootstrap_intervals(values, np.ones_like(values))[0] or (None, None)
            found[name] = Measure(float(values.mean()), *interval)
    return found
