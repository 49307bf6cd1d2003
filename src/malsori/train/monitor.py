"""The training monitor: reads what a run measures of itself, and warns once of each problem, with what to do.

A task gives diagnostics beside its losses (`Turn.diagnostics`): the accuracy of discriminators, the share of frames
that a recognizer leaves blank, how diagonal an attention is. `WARNING_KINDS` says which values are worth a warning.
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
class WarningKind:
    """A condition on the mean of a diagnostic over the last `window_steps`, checked from step `first_step` on.

    Attributes:
        name: shown and logged; each is warned of once a run.
        diagnostic: the last part of the value's name.
        triggers: True for a mean to warn of.
        advice: what to do.
    """

    name: str
    diagnostic: str
    first_step: int
    window_steps: int
    triggers: Callable[[float], bool]
    advice: str


WARNING_KINDS = (
    WarningKind(
        "the discriminator wins",
        "discriminator_accuracy",
        first_step=300,
        window_steps=200,
        triggers=lambda mean: mean > 0.98,
        advice="The generator gets no useful gradient from a discriminator that is always right: lower "
        "optimizers.discriminator.learning_rate, or raise weights.generator.feature_matching.",
    ),
    WarningKind(
        "only blanks",
        "blank_share",
        first_step=1500,
        window_steps=200,
        triggers=lambda mean: mean > 0.995,
        advice="A recognizer emits only blanks for its first few hundred steps, not longer: raise learning_rate or "
        "warmup_steps, sort out utterances whose text is not what is said ('malsori corpus check'), start short.",
    ),
    WarningKind(
        "attention is not diagonal",
        "attention_diagonality",
        first_step=3000,
        window_steps=200,
        triggers=lambda mean: mean < 0.6,
        advice="Speech is read from left to right: raise the weight of the guided attention loss, and look for "
        "utterances with long silences or texts that are not theirs.",
    ),
    WarningKind(
        "the codebooks have collapsed",
        "codes_used",
        first_step=1000,
        window_steps=200,
        triggers=lambda mean: mean < 0.05,
        advice="Nearly every sound is quantised to the same few codes, so that there is nothing to tell apart: raise "
        "the weight of diversity, or lower learning_rate.",
    ),
)

_NORM_STEPS, _LATEST, _EXPLODED = 200, 10, 10.0  # the last 10 norms against the median of the 190 before
_PLATEAU_VALIDATIONS = 6  # validations without a new best


class TrainingMonitor:
    """Checks a run's values step by step.

    Args:
        warned: names of the warnings that the run has had before, which are not repeated.
        write: takes the record of each warning.
    """

    def __init__(self, warned: set[str], write: Callable[[dict[str, Any]], None]) -> None:
        self.warned, self.write = set(warned), write
        self.means: dict[str, deque[float]] = {}
        self.norms: dict[str, deque[float]] = {}

    def step(self, step: int, values: dict[str, float]) -> None:
        """Look at the values of one step, named turn/diagnostic and turn/gradient_norm."""
        for name, value in values.items():
            turn, _, diagnostic = name.rpartition("/")
            if diagnostic == "gradient_norm" and turn.count("/") == 0:
                self._check_norm(step, turn, value)
            for kind in WARNING_KINDS:
                if diagnostic == kind.diagnostic and step >= kind.first_step:
                    self._check_diagnostic(step, kind, value)

    def validated(self, step: int, measured: list[float]) -> None:
        """Look at all validations so far, the latest last; lower is better."""
        if len(measured) > _PLATEAU_VALIDATIONS and min(measured[-_PLATEAU_VALIDATIONS:]) >= min(
            measured[:-_PLATEAU_VALIDATIONS]
        ):
            advice = f"The best was {min(measured):.4g}. The run has learnt what it can: stop it, or give it more data."
            self.warn(step, "validation stands still", f"no better in {_PLATEAU_VALIDATIONS} validations. {advice}")

    def warn(self, step: int, name: str, message: str) -> None:
        """Log and record a warning, if this run has not had one of that name yet."""
        if name in self.warned:
            return
        self.warned.add(name)
        log.warning("step %d: %s: %s", step, name, message)
        self.write({"step": step, "warning": name, "message": message})

    def _check_diagnostic(self, step: int, kind: WarningKind, value: float) -> None:
        latest = self.means.setdefault(kind.name, deque(maxlen=kind.window_steps))
        latest.append(value)
        if kind.name in self.warned or len(latest) < kind.window_steps:
            return
        mean = sum(latest) / len(latest)
        if kind.triggers(mean):
            over = f"{kind.diagnostic} is {mean:.3f} over the last {kind.window_steps} steps."
            self.warn(step, kind.name, f"{over} {kind.advice}")

    def _check_norm(self, step: int, turn: str, norm: float) -> None:
        name = f"gradients of '{turn}' explode"
        norms = self.norms.setdefault(turn, deque(maxlen=_NORM_STEPS))
        norms.append(norm)
        if name in self.warned or len(norms) < _NORM_STEPS // 4 or norm <= _EXPLODED * min(norms):
            return  # the medians are worth their time only when something stands out
        usual = statistics.median(list(norms)[:-_LATEST])
        latest = statistics.median(list(norms)[-_LATEST:])
        if latest > _EXPLODED * usual or not math.isfinite(latest):
            advice = f"Lower optimizers.{turn}.learning_rate, set clip_norm near {usual:.2g}, or lengthen warmup_steps."
            self.warn(step, name, f"their norm is {latest:.3g}, it used to be {usual:.3g}. {advice}")
