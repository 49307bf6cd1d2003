"""How sure a number is: intervals by resampling utterances, and the comparison of two systems on the same utterances.

A measure is a ratio of sums over utterances: edits over units for error rates, a value over 1 for a mean. Utterances,
not words, are drawn again, because errors inside one utterance hang together.

Source: Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation", ICASSP 2004;
Davison and Hinkley, "Bootstrap methods and their application" (1997), 5.2, for studentized ends (each draw measured by
its own spread); Hesterberg, "What teachers should know about the bootstrap", The American Statistician 69 (2015), for
percentiles widened as small samples need; Gillick and Cox, "Some statistical issues in the comparison of speech
recognition algorithms", ICASSP 1989, for matched pairs; Noreen, "Computer-intensive methods for testing hypotheses"
(1989), for their exchange at random.
"""

import math
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from malsori.annotations import Float
from malsori.errors import MetricError

CONFIDENCE, DRAWS, PERMUTATIONS, SEED = 0.95, 1000, 10_000, 20240

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
    found = _ratios(sums.sum(axis=0), sizes.sum(axis=0))
    away, spreads = _draw(sums - found * sizes, sizes, draws, seed)
    spread = np.sqrt(np.square(sums - found * sizes).sum(axis=0)) / np.maximum(sizes.sum(axis=0), 1.0)
    ends = found + _ends(away, spreads, spread, len(sums), confidence)
    # Where no utterance lies beyond 0, no end does.
    lower, upper = np.where((sums >= 0).all(axis=0), 0.0, -np.inf), np.where((sums <= 0).all(axis=0), 0.0, np.inf)
    return [(low, high) for low, high in np.clip(ends, lower, np.maximum(upper, lower)).T.tolist()]


@dataclass(frozen=True)
class Comparison:
    """One measure of two systems on the same utterances; the difference is B - A, and less is better.

    Attributes:
        low, high: the difference's interval, by paired bootstrap.
        bootstrap_p: twice the smaller share of draws on either side of no difference.
        matched_pairs_p: how often a difference as large arises when A and B are exchanged at random, utterance by
            utterance; the conclusion goes by this one.
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
    def conclusion(self) -> str:
        """The finding in a sentence."""
        interval = f"{self.confidence:.0%} interval of the difference {self.low:+.4f} to {self.high:+.4f}"
        found = f"p = {self.matched_pairs_p:.4f}, {interval}, {self.utterances} utterances"
        if not self.different:
            return f"No difference in {self.measure} can be shown: A {self.a:.4f}, B {self.b:.4f} ({found})."
        better, change = ("B", "lower") if self.difference < 0 else ("A", "higher")
        part = f" ({abs(self.difference / self.a):.1%} {change} in B)" if self.a else ""
        return f"{better} is better in {self.measure}: A {self.a:.4f}, B {self.b:.4f}{part} ({found})."

    def as_json(self) -> dict[str, Any]:
        """Return every number, and the conclusion as "verdict"."""
        return asdict(self) | {"different": self.different, "verdict": self.conclusion}


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
        measure: its name, for the conclusion.
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
    gained, size = np.asarray(sums_b, float) - sums_a, max(float(sizes.sum()), 1.0)
    difference = float(gained.sum()) / size
    [ends] = bootstrap_intervals(gained[:, None], sizes[:, None], confidence, DRAWS, seed)
    drawn = difference + _draw((gained - difference * sizes)[:, None], sizes[:, None], DRAWS, seed)[0]
    side = min((drawn <= 0).mean(), (drawn >= 0).mean())
    return Comparison(
        measure=measure,
        utterances=len(sums_a),
        a=float(sums_a.sum()) / size,
        b=float(sums_b.sum()) / size,
        difference=difference,
        low=ends[0] if ends else difference,
        high=ends[1] if ends else difference,
        bootstrap_p=float(min(1.0, 2.0 * side)),
        matched_pairs_p=_matched_pairs_p(gained, seed),
        confidence=confidence,
    )


def _draw(residuals: np.ndarray, sizes: np.ndarray, draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how far each draw's ratios lie from the ratios found, and their standard errors; (draws, measures) each.

    Args:
        residuals: what each utterance adds beyond its due, found ratio x size (utterances, measures).
    """
    generator = np.random.default_rng(seed)
    utterances, measures = residuals.shape
    columns = np.concatenate([residuals, sizes, residuals**2, residuals * sizes, sizes**2], axis=1)
    totals = np.empty((draws, 5 * measures))
    block = max(1, _BLOCK // utterances)
    for start in range(0, draws, block):
        rows = min(block, draws - start)
        drawn = generator.integers(utterances, size=(rows, utterances)) + utterances * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * utterances).reshape(rows, utterances)
        totals[start : start + rows] = times @ columns
    beyond, size, squares, products, size_squares = np.split(totals, 5, axis=1)
    away = _ratios(beyond, size)
    # linearized: the draw's own residuals, away x size less, squared and summed
    own = np.maximum(squares - 2.0 * away * products + away**2 * size_squares, 0.0)
    return away, _ratios(np.sqrt(own), size)


def _ratios(values: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return values over sizes; nothing at all counts as one unit, as in ErrorRate."""
    return values / np.where(sizes > 0, sizes, 1.0)


def _ends(
    away: np.ndarray, spreads: np.ndarray, spread: np.ndarray, utterances: int, confidence: float
) -> Float[np.ndarray, "2 measures"]:
    """Return the ends of each measure's interval, from the ratio found.

    Studentized. Where so many draws hold utterances all alike (no spread) that an end has none, it is the
    percentile, as far out as Student's t is wider than the normal distribution.
    """
    tail = (1.0 - confidence) / 2.0
    flat = spreads <= 1e-6 * spread  # own spreads are differences: what is left of rounding lies near 1e-8
    unbounded = np.where(away == 0.0, 0.0, np.copysign(np.inf, away))
    scaled = np.sort(np.where(flat, unbounded, away / np.where(flat, 1.0, spreads)), axis=0)
    cut = int(tail * len(away))
    reached = -scaled[[-1 - cut, cut]]
    bounded = np.isfinite(reached)
    wider = math.sqrt(utterances / (utterances - 1)) * student_quantile(tail, utterances - 1)
    widened = NormalDist().cdf(wider)
    percentiles = np.quantile(away, [widened, 1.0 - widened], axis=0)
    ends = np.where(bounded, np.where(bounded, reached, 0.0) * spread, percentiles)
    return np.stack([np.minimum(ends[0], 0.0), np.maximum(ends[1], 0.0)])


def _matched_pairs_p(differences: np.ndarray, seed: int) -> float:
    """Return the share of random exchanges (signs) whose summed difference is as large as the one seen."""
    seen = abs(differences.sum())
    changed = differences[differences != 0]
    if not len(changed):
        return 1.0
    generator = np.random.default_rng(seed + 1)
    as_large, drawn = 0, 0
    while drawn < PERMUTATIONS:
        block = min(PERMUTATIONS - drawn, max(1, _BLOCK // len(changed)))
        signs = generator.integers(0, 2, size=(block, len(changed)), dtype=np.int8)
        sums = changed.sum() - 2.0 * (signs @ changed)
        as_large += int((np.abs(sums) >= seen - 1e-9 * max(seen, 1.0)).sum())
        drawn += block
    return (as_large + 1) / (PERMUTATIONS + 1)


def student_quantile(probability: float, freedom: int) -> float:
    """Return the quantile of Student's t distribution, to 1e-9 of its size, by halving.

    Args:
        probability: between 0 and 1.
        freedom: degrees of freedom, at least 1.

    >>> round(student_quantile(0.025, 10), 4)
    -2.2281
    """
    low, high = 0.0, 1.0  # of the angle's share of pi / 2
    within = abs(2.0 * probability - 1.0)
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if _student_within(middle * math.pi / 2.0, freedom) < within else (low, middle)
    return math.copysign(math.sqrt(freedom) * math.tan(low * math.pi / 2.0), probability - 0.5)


def _student_within(angle: float, freedom: int) -> float:
    """Return the probability that |t| < sqrt(freedom) tan(angle).

    Source: Abramowitz and Stegun, "Handbook of Mathematical Functions" (1964), 26.7.3 and 26.7.4.
    """
    odd = freedom % 2
    steps = np.arange(1 + odd, freedom - 2, 2)  # 2, 4, ... or 1, 3, ...: each term is n / (n + 1) of the one before
    series = 1.0 + float(np.cumprod(steps / (steps + 1.0) * math.cos(angle) ** 2).sum())
    if not odd:
        return math.sin(angle) * series
    return 2.0 / math.pi * (angle + (math.sin(angle) * math.cos(angle) * series if freedom > 1 else 0.0))
