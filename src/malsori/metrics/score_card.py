"""The score card of a set of transcripts: every rate with its counts and interval, and the line that says how."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from malsori.annotations import Int
from malsori.errors import MetricError
from malsori.metrics.error_rate import AS_WRITTEN, ErrorRate, TextNormalizer, Unit, count_utterances, paired, total
from malsori.metrics.significance import CONFIDENCE, DRAWS, SEED, bootstrap_intervals
from malsori.metrics.spacing import count_spaces, match_spacing

#: The card's rates that compare the two texts as they are, and their units.
UNITS: dict[str, Unit] = {"cer": "characters", "cer_no_space": "letters", "wer": "words", "jamo_error_rate": "jamo"}

#: Every rate of the card, in the order it is shown.
RATES = ("cer", "cer_no_space", "wer", "swer", "jamo_error_rate", "sentence_error_rate")


@dataclass(frozen=True)
class ScoreCard:
    """Rates of a whole corpus from summed counts, their intervals, and the counts utterance by utterance.

    Attributes:
        rates: name → counts.
        intervals: name → low and high end of the 95 % interval; None for fewer than two utterances.
        spacing_f1: of spaces (see `metrics.spacing`).
        signature: unit, normalization, interval and version: with it two cards can be compared.
        counts: name → substitutions, deletions, insertions and reference length of each utterance.
    """

    rates: dict[str, ErrorRate]
    intervals: dict[str, tuple[float, float] | None]
    spacing_f1: float
    signature: str
    counts: dict[str, Int[np.ndarray, "utterances 4"]]

    def as_json(self) -> dict[str, Any]:
        """Return {"cer": {"rate", "low", "high", counts}, ..., "spacing_f1", "signature"}."""
        card: dict[str, Any] = {}
        for name, rate in self.rates.items():
            low, high = self.intervals[name] or (None, None)
            card[name] = {"rate": rate.rate, "low": low, "high": high} | rate.as_json()
        return card | {"spacing_f1": self.spacing_f1, "signature": self.signature}


def score(
    references: str | Sequence[str],
    hypotheses: str | Sequence[str],
    normalizer: TextNormalizer = AS_WRITTEN,
    draws: int = DRAWS,
    seed: int = SEED,
) -> ScoreCard:
    """Return the score card of hypotheses against references.

    Args:
        references: one text, or one for each utterance.
        hypotheses: as many.
        normalizer: applied to both sides first.
        draws: bootstrap samples for the intervals.
        seed: makes the intervals the same each time.
    Raises: MetricError if the numbers of texts differ or there are none.

    >>> score(["사랑해", "네"], ["사량해", "네"]).rates["cer"]
    ErrorRate(substitutions=1, deletions=0, insertions=0, reference_length=4)
    """
    references, hypotheses = paired(references, hypotheses)
    if not references:
        raise MetricError("0 references and 0 hypotheses: nothing to score")
    references, hypotheses = normalizer.apply_pairs(references, hypotheses)
    counts = {name: count_utterances(references, hypotheses, unit) for name, unit in UNITS.items()}
    alike = [match_spacing(*pair) for pair in zip(references, hypotheses, strict=True)]
    counts["swer"] = count_utterances(references, alike, "words")
    counts["sentence_error_rate"] = _whole_sentences(counts["cer"])
    counts = {name: counts[name] for name in RATES}
    sums = np.stack([count[:, :3].sum(axis=1) for count in counts.values()], axis=1).astype(float)
    sizes = np.stack([count[:, 3] for count in counts.values()], axis=1).astype(float)
    intervals = bootstrap_intervals(sums, sizes, CONFIDENCE, draws, seed)
    rates = {name: total(count) for name, count in counts.items()}
    return ScoreCard(
        rates=rates,
        intervals={name: _clip_interval(name, rates[name], ends) for name, ends in zip(counts, intervals, strict=True)},
        spacing_f1=_spacing_f1(references, hypotheses),
        signature=signature(len(references), normalizer, draws),
        counts=counts,
    )


def signature(utterances: int, normalizer: TextNormalizer, draws: int) -> str:
    """Return the line that says what was counted and how.

    >>> signature(2, AS_WRITTEN, 1000)
    'n:2|norm:NFC|space:collapsed|punct:kept|case:kept|empty-ref:1|ci:95%-bootstrap-t-1000|malsori:1'
    """
    parts = (
        f"n:{utterances}",
        "norm:NFC",
        "space:collapsed",
        f"punct:{normalizer.punctuation}",
        f"case:{normalizer.case}",
        *(["numbers:read"] if normalizer.numbers == "read" else []),
        "empty-ref:1",  # the rate of an empty reference is taken over one unit
        f"ci:{CONFIDENCE:.0%}-bootstrap-t-{draws}",
        "malsori:1",  # the version of these definitions, not of the package
    )
    return "|".join(parts)


def _clip_interval(name: str, rate: ErrorRate, interval: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return an interval within what a rate can be: a share of sentences ends at 1; no error seen is not none ever.

    Where no unit is wrong, or every one, the draws have nothing to tell: the end is the exact binomial one.
    """
    if interval is None:
        return None
    low, high = interval[0], min(interval[1], 1.0) if name == "sentence_error_rate" else interval[1]
    unseen = 1.0 - ((1.0 - CONFIDENCE) / 2.0) ** (1.0 / max(rate.reference_length, 1))
    if not rate.edits:
        return 0.0, unseen
    return (min(low, 1.0 - unseen) if rate.edits == rate.reference_length else low), high


def _whole_sentences(counts: Int[np.ndarray, "utterances 4"]) -> Int[np.ndarray, "utterances 4"]:
    """Return 1 substitution for each utterance with any fault, spaces included, and a length of 1."""
    wrong = counts[:, :3].sum(axis=1) > 0
    nothing = np.zeros_like(wrong)
    return np.stack([wrong, nothing, nothing, ~nothing], axis=1).astype(np.int64)


def _spacing_f1(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    right, ours, theirs = np.sum([count_spaces(*pair) for pair in zip(references, hypotheses, strict=True)], axis=0)
    return float(2 * right / (ours + theirs)) if ours + theirs else 1.0
