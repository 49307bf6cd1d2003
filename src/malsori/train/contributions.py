"""How much each named loss contributes to a turn: its share of the total, and its gradient in each module."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class LossContribution:
    """One loss within its turn.

    Attributes:
        value: as the task yields it.
        share: its weighted value over the sum of the turn's weighted values (absolute ones).
        gradient_norm: Euclidean norm of the weighted loss's gradient over the turn's optimized module.
        modules: the same by submodule; a module that the loss does not reach is missing.
    """

    value: float
    share: float
    gradient_norm: float
    modules: dict[str, float]


def units(module: nn.Module) -> dict[str, nn.Module]:
    """Return, by dotted name, the submodules that a table or a picture shows.

    They are its children; a child that only holds others (a list, or a class without a `forward`) is opened. Parameters
    that the module itself owns go by the name "".
    """
    found: dict[str, nn.Module] = {}
    for name, child in module.named_children():
        if type(child).forward is nn.Module.forward:
            found |= {f"{name}.{inner}" if inner else name: unit for inner, unit in units(child).items()}
        else:
            found[name] = child
    if next(module.parameters(recurse=False), None) is not None:
        found[""] = module
    return found


def unit_parameters(module: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Return the parameters of each unit of a module; one that two units share belongs to the first."""
    seen: set[nn.Parameter] = set()
    owned: dict[str, list[nn.Parameter]] = {}
    for name, unit in units(module).items():
        parameters = [p for p in unit.parameters(recurse=name != "") if p.requires_grad and p not in seen]
        seen.update(parameters)
        if parameters:
            owned[name] = parameters
    return owned


def measure_contributions(
    losses: dict[str, Tensor], weights: dict[str, float], module: nn.Module
) -> dict[str, LossContribution]:
    """Return each loss's contribution to its turn; the graph and the parameters' own gradients are left as they are.

    It costs one backward pass a loss.
    """
    owned = unit_parameters(module)
    values = {name: loss.item() for name, loss in losses.items()}
    total = sum(abs(value * weights[name]) for name, value in values.items())
    contributions = {}
    for name, loss in losses.items():
        modules = _norms(loss * weights[name], owned)
        whole = sum(norm**2 for norm in modules.values()) ** 0.5
        share = abs(values[name] * weights[name]) / total if total else 0.0
        contributions[name] = LossContribution(values[name], share, whole, modules)
    return contributions


def _norms(loss: Tensor, owned: dict[str, list[nn.Parameter]]) -> dict[str, float]:
    """Return the norm of a loss's gradient in each unit it reaches."""
    if not loss.requires_grad:
        return {}
    flat = [parameter for parameters in owned.values() for parameter in parameters]
    gradients = iter(torch.autograd.grad(loss, flat, retain_graph=True, allow_unused=True))
    norms: dict[str, Tensor] = {}
    for name, parameters in owned.items():
        reached = [gradient for gradient in [next(gradients) for _ in parameters] if gradient is not None]
        if reached:
            norms[name] = torch.stack([gradient.float().norm() for gradient in reached]).norm()
    measured = torch.stack(list(norms.values())).tolist() if norms else []
    return dict(zip(norms, measured, strict=True))
