"""How sure a number is: intervals by resampling utterances, and a verdict between two systems on the same utterances.

A measure is a ratio of sums over utterances: edits over units for error rates, a value over 1 for a mean. Utterances,
not words, are drawn again, because errors inside one utterance hang together.

Source: Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation", ICASSP 2004;
Hesterberg, "What teachers should know about the bootstrap", The American Statistician 69 (2015), for the widening of
percentile intervals that small samples need; Gillick and Cox, "Some statistical issues in the comparison of speech
recognition algorithms", ICASSP 1989, for matched pairs; Noreen, "Computer-intensive methods for testing hypotheses"
(1989), for their exchange at random.
"""

import functools
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from malsori.errors import MetricError

CONFIDENCE, DRAWS, EXCHANGES, SEED = 0.95, 1000, 10_000, 20240

#: Draws made at a time are of so many utterances, to bound the memory they take.
_BLOCK = 1_000_000


def bootstrap_intervals(
    sums: Float[np.ndarray, "utterances measures"],
    sizes: Float[np.ndarray, "utterances measures"],
    confidence: float = CONFIDENCE,
    draws: int = DRAWS,
    seed: int = SEED,
) -> list[tuple[float, float] | None]:
    """Return low and high end of each measure's interval; None where there are fewer than two utterances.

    Args:
        sums: what is added up over utterances (edits, or a value).
        sizes: what it is divided by (reference units, or 1).
        confidence: share of such intervals that hold the true rate.
        draws: samples of as many utterances as there are, with replacement.
        seed: makes the interval the same each time.
    """
    if len(sums) < 2:
        return [None] * sums.shape[1]
    ratios = _drawn_ratios(np.concatenate([sums, sizes], axis=1), draws, seed)
    tail = _widened_tail(confidence, len(sums))
    low, high = np.quantile(ratios, [tail, 1.0 - tail], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


@dataclass(frozen=True)
class Comparison:
    """One measure of two systems on the same utterances; the difference is B - A, and less is better.

    Attributes:
        low, high: the difference's interval, by paired bootstrap.
        bootstrap_p: twice the smaller share of draws on either side of no difference.
        matched_pairs_p: how often a difference as large arises when A and B are exchanged at random, utterance by
            utterance; the verdict goes by this one.
    """

    measure: str
    utterances: int
    a: float
    b: float
    difference: float
    low: float
    high: float
    bootstrap_p: float
    matched_pairs_p: float
    confidence: float = CONFIDENCE

    @property
    def different(self) -> bool:
        """Whether the difference is more than chance explains."""
        return self.matched_pairs_p < 1.0 - self.confidence

    @property
    def verdict(self) -> str:
        """The finding in a sentence."""
        interval = f"{self.confidence:.0%} interval of the difference {self.low:+.4f} to {self.high:+.4f}"
        found = f"p = {self.matched_pairs_p:.4f}, {interval}, {self.utterances} utterances"
        if not self.different:
            return f"No difference in {self.measure} can be told: A {self.a:.4f}, B {self.b:.4f} ({found})."
        better, change = ("B", "lower") if self.difference < 0 else ("A", "higher")
        part = f" ({abs(self.difference / self.a):.1%} {change} in B)" if self.a else ""
        return f"{better} is better in {self.measure}: A {self.a:.4f}, B {self.b:.4f}{part} ({found})."

    def as_json(self) -> dict[str, Any]:
        """Return every number and the verdict."""
        return asdict(self) | {"different": self.different, "verdict": self.verdict}


def compare(
    measure: str,
    sums_a: Float[np.ndarray, " utterances_a"],
    sums_b: Float[np.ndarray, " utterances_b"],
    sizes: Float[np.ndarray, " utterances_a"] | None = None,
    confidence: float = CONFIDENCE,
    seed: int = SEED,
) -> Comparison:
    """Return the difference between two systems and how sure it is.

    Args:
        measure: its name, for the verdict.
        sums_a, sums_b: what each utterance adds (edits, or a value), in the same order.
        sizes: what is divided by, the same for both; 1 each when not given.
        confidence: of the interval; a difference is called when its p lies below 1 - confidence.
        seed: makes the answer the same each time.
    Raises: MetricError for unequal numbers of utterances or fewer than two.
    """
    if len(sums_a) != len(sums_b) or len(sums_a) < 2:
        raise MetricError(
            f"{len(sums_a)} and {len(sums_b)} utterances: the same ones are needed in both, and two at least"
        )
    sizes = np.ones(len(sums_a)) if sizes is None else np.asarray(sizes, float)
    columns = np.stack([sums_a, sums_b, sizes, sizes], axis=1).astype(float)
    ratios = _drawn_ratios(columns, DRAWS, seed)
    differences = ratios[:, 1] - ratios[:, 0]
    tail = _widened_tail(confidence, len(sums_a))
    low, high = np.quantile(differences, [tail, 1.0 - tail])
    side = min((differences <= 0).mean(), (differences >= 0).mean())
    rate_a, rate_b = columns[:, :2].sum(axis=0) / _size(columns[:, 2:].sum(axis=0))
    return Comparison(
        measure=measure,
        utterances=len(sums_a),
        a=float(rate_a),
        b=float(rate_b),
        difference=float(rate_b - rate_a),
        low=float(low),
        high=float(high),
        bootstrap_p=float(min(1.0, 2.0 * side)),
        matched_pairs_p=_exchange(columns[:, 1] - columns[:, 0], seed),
        confidence=confidence,
    )


def _drawn_ratios(columns: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Return (draws, measures): sums over drawn utterances, the first half of the columns over the second."""
    generator = np.random.default_rng(seed)
    utterances, width = columns.shape
    block = max(1, _BLOCK // utterances)
    totals = np.empty((draws, width))
    for start in range(0, draws, block):
        rows = min(block, draws - start)
        drawn = generator.integers(utterances, size=(rows, utterances)) + utterances * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * utterances).reshape(rows, utterances)
        totals[start : start + rows] = times @ columns
    return totals[:, : width // 2] / _size(totals[:, width // 2 :])


def _size(totals: np.ndarray) -> np.ndarray:
    """Return what to divide by: nothing at all counts as one unit, as in ErrorRate."""
    return np.where(totals > 0, totals, 1.0)


@functools.lru_cache(maxsize=64)
def _widened_tail(confidence: float, utterances: int) -> float:
    """Return the share to cut off at each end: less than (1 - confidence) / 2, as Student's t is wider (Hesterberg)."""
    from scipy.stats import norm, t

    quantile = t.ppf((1.0 - confidence) / 2.0, utterances - 1)
    return float(norm.cdf(math.sqrt(utterances / (utterances - 1)) * quantile))


def _exchange(differences: np.ndarray, seed: int) -> float:
    """Return the share of random exchanges (signs) whose summed difference is as large as the one seen."""
    seen = abs(differences.sum())
    changed = differences[differences != 0]
    if not len(changed):
        return 1.0
    generator = np.random.default_rng(seed + 1)
    as_large, drawn = 0, 0
    while drawn < EXCHANGES:
        block = min(EXCHANGES - drawn, max(1, _BLOCK // len(changed)))
        signs = generator.integers(0, 2, size=(block, len(changed)), dtype=np.int8)
        sums = changed.sum() - 2.0 * (signs @ changed)
        as_large += int((np.abs(sums) >= seen - 1e-9 * max(seen, 1.0)).sum())
        drawn += block
    return (as_large + 1) / (EXCHANGES + 1)
