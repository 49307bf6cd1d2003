"""Optimizers and learning rates. A rate is a pure function of the step, so that a resumed run needs no memory of it."""

import math
from typing import Literal

import torch
from torch import nn

from malsori.config import Config


class OptimizerConfig(Config):
    """How one part of a task is stepped.

    weight_decay is decoupled in AdamW (Loshchilov and Hutter 2017, arXiv:1711.05101): weights shrink by
    learning_rate * weight_decay a step, beside the gradient's step, not through it. In Adam it is added to the
    gradient (an L2 term), which the adaptive scaling then distorts.
    """

    name: Literal["adamw", "adam"] = "adamw"
    learning_rate: float
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    schedule: Literal["cosine", "exponential", "constant"] = "cosine"
    warmup_steps: int = 0
    final_fraction: float = 0.01


def learning_rate_at(step: int, config: OptimizerConfig, total_steps: int) -> float:
    """Return the learning rate of a step.

    It rises in a straight line over warmup_steps, then falls to learning_rate * final_fraction at total_steps: along
    half a cosine, or by the same factor every step (exponential), or not at all (constant).

    >>> config = OptimizerConfig(learning_rate=1.0, warmup_steps=10, schedule="constant")
    >>> learning_rate_at(4, config, 100)
    0.5
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.learning_rate
    done = min(1.0, (step - config.warmup_steps) / max(1, total_steps - config.warmup_steps))
    if config.schedule == "exponential":
        return config.learning_rate * config.final_fraction**done
    low = config.learning_rate * config.final_fraction
    return low + (config.learning_rate - low) * 0.5 * (1 + math.cos(math.pi * done))


def build_optimizer(module: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Return the optimizer of a module's parameters; biases, norms and other vectors are not decayed."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[config.name]
    return kind(groups, lr=config.learning_rate, betas=config.betas)


class Ema:
    """A slow copy of a module: each step a little of the new weights enters, and the copy is what is shipped.

    Source: Polyak and Juditsky 1992, averaging of stochastic approximations. The decay rises with the first steps,
    min(decay, (1 + step) / (10 + step)), so that the start is soon forgotten.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move the copy towards the module; integer buffers are copied."""
        keep = min(self.decay, (1 + step) / (10 + step))
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                self.weights[name].lerp_(tensor.detach(), 1 - keep)
            else:
                self.weights[name].copy_(tensor)
