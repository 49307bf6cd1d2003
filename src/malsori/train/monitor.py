"""The run doctor: watches what a run measures of itself, and warns once of each illness, with what to do.

A task gives diagnostics beside its losses (`Turn.diagnostics`): how often discriminators judge right, how
many frames a recogniser leaves blank, how diagonal an attention is. The table below says which values are an illness.
"""

import logging
import math
import statistics
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

log = logging.getLogger("malsori")


@dataclass(frozen=True)
class Illness:
    """A sign whose mean over `patience` steps, from step `after` on, must not be ill.

    Attributes:
        name: what is told, and by what it is told only once.
        sign: the last part of the value's name.
        ill: True for a mean that is.
        advice: what to do.
    """

    name: str
    sign: str
    after: int
    patience: int
    ill: Callable[[float], bool]
    advice: str


ILLNESSES = (
    Illness(
        "the discriminator wins",
        "discriminator_accuracy",
        after=300,
        patience=200,
        ill=lambda mean: mean > 0.98,
        advice="The generator learns nothing from a judge who is always right: lower optimizers.discriminator."
        "learning_rate, or raise weights.generator.features.",
    ),
    Illness(
        "only blanks",
        "blank_share",
        after=1500,
        patience=200,
        ill=lambda mean: mean > 0.995,
        advice="A recogniser writes only blanks for its first few hundred steps, not longer: raise learning_rate or "
        "warmup_steps, sort out utterances whose text is not what is said ('malsori corpus check'), start short.",
    ),
    Illness(
        "attention is not diagonal",
        "attention_diagonality",
        after=3000,
        patience=200,
        ill=lambda mean: mean < 0.6,
        advice="Speech is read from left to right: raise the weight of the guided attention loss, and look for "
        "utterances with long silences or texts that are not theirs.",
    ),
    Illness(
        "the codebooks have collapsed",
        "codes_used",
        after=1000,
        patience=200,
        ill=lambda mean: mean < 0.05,
        advice="Nearly every sound is quantised to the same few codes, so that there is nothing to tell apart: raise "
        "the weight of diversity, or lower learning_rate.",
    ),
)

_NORM_STEPS, _LATEST, _EXPLODED = 200, 10, 10.0  # the last 10 norms against the median of the 190 before
_STILL = 6  # validations without a new best


class Doctor:
    """Notes a run's values step by step.

    Args:
        told: illnesses that the run was told of before; it is not told again.
        write: takes the record of each warning.
    """

    def __init__(self, told: set[str], write: Callable[[dict[str, Any]], None]) -> None:
        self.told, self.write = set(told), write
        self.means: dict[str, deque[float]] = {}
        self.norms: dict[str, deque[float]] = {}

    def step(self, step: int, values: dict[str, float]) -> None:
        """Look at the values of one step, named turn/sign and turn/gradient_norm."""
        for name, value in values.items():
            turn, _, sign = name.rpartition("/")
            if sign == "gradient_norm" and turn.count("/") == 0:
                self._norm(step, turn, value)
            for illness in ILLNESSES:
                if sign == illness.sign and step >= illness.after:
                    self._sign(step, illness, value)

    def validated(self, step: int, measured: list[float]) -> None:
        """Look at all validations so far, the latest last; lower is better."""
        if len(measured) > _STILL and min(measured[-_STILL:]) >= min(measured[:-_STILL]):
            advice = f"The best was {min(measured):.4g}. The run has learnt what it can: stop it, or give it more data."
            self.tell(step, "validation stands still", f"no better in {_STILL} validations. {advice}")

    def tell(self, step: int, illness: str, message: str) -> None:
        """Warn of an illness, if this run has not been told of it yet."""
        if illness in self.told:
            return
        self.told.add(illness)
        log.warning("step %d: %s: %s", step, illness, message)
        self.write({"step": step, "illness": illness, "message": message})

    def _sign(self, step: int, illness: Illness, value: float) -> None:
        latest = self.means.setdefault(illness.name, deque(maxlen=illness.patience))
        latest.append(value)
        if illness.name in self.told or len(latest) < illness.patience:
            return
        mean = sum(latest) / len(latest)
        if illness.ill(mean):
            over = f"{illness.sign} is {mean:.3f} over the last {illness.patience} steps."
            self.tell(step, illness.name, f"{over} {illness.advice}")

    def _norm(self, step: int, turn: str, norm: float) -> None:
        name = f"gradients of '{turn}' explode"
        norms = self.norms.setdefault(turn, deque(maxlen=_NORM_STEPS))
        norms.append(norm)
        if name in self.told or len(norms) < _NORM_STEPS // 4 or norm <= _EXPLODED * min(norms):
            return  # the medians are worth their time only when something stands out
        usual = statistics.median(list(norms)[:-_LATEST])
        latest = statistics.median(list(norms)[-_LATEST:])
        if latest > _EXPLODED * usual or not math.isfinite(latest):
            advice = f"Lower optimizers.{turn}.learning_rate, set clip_norm near {usual:.2g}, or lengthen warmup_steps."
            self.tell(step, name, f"their norm is {latest:.3g}, it used to be {usual:.3g}. {advice}")
