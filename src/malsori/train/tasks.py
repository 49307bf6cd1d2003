"""What each system minimizes: a task yields its losses in turns, and the loop does the rest.

task.losses(batch)           yields Turn after Turn; between two of them the loop steps the first one's optimizer
task.optimized_modules()     turn → the module that its optimizer steps
task.exported_model()        the network that is shipped
task.validate(batches)       numbers on held-out speech; the first decides which weights are kept as the best
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Turn:
    """One optimizer's step within a training step: a GAN has one for each of its players, a single network one.

    Attributes:
        name: names the optimizer and the loss weights in the recipe.
        losses: by name, not yet weighted.
        diagnostics: what `train.monitor` checks beside the losses; no gradient is sent through them.
    """

    name: str
    losses: dict[str, Tensor]
    diagnostics: dict[str, Tensor] = field(default_factory=dict)


@runtime_checkable
class Task(Protocol):
    """What the loop asks of a system; every task is an nn.Module too."""

    def losses(self, batch: Any) -> Iterator[Turn]:
        """Yield the turns of one step."""

    def optimized_modules(self) -> dict[str, nn.Module]:
        """Return the module each turn's optimizer steps."""

    def exported_model(self) -> nn.Module:
        """Return the network that is shipped."""

    def validate(self, batches: Iterable[Any]) -> dict[str, float]:
        """Return measures on held-out batches, lower is better; the first decides."""

    def example(self) -> Any:
        """Return a tiny batch of noise that `losses` takes."""


class NetworkTask(nn.Module):
    """A task with one network, stepped in one turn and shipped whole; a system adds `losses`, `validate`, `example`.

    turn: the name of that turn.
    """

    turn: str

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def optimized_modules(self) -> dict[str, nn.Module]:
        """Return the module each turn's optimizer steps."""
        return {self.turn: self.network}

    def exported_model(self) -> nn.Module:
        """Return the network that is shipped."""
        return self.network


@torch.inference_mode()
def mean_losses(task: Task, batches: Iterable[Any]) -> dict[str, float]:
    """Return the mean of each loss of a task's first turn over held-out batches."""
    sums: dict[str, float] = {}
    count = 0
    for batch in batches:
        count += 1
        for name, loss in next(task.losses(batch)).losses.items():
            sums[name] = sums.get(name, 0.0) + loss.item()
    return {name: total / count for name, total in sums.items()}


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Keep gradients out of a module's weights for a while; they still pass through it."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
