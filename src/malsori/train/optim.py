"""Optimizers and learning rates. A rate is a pure function of the step, so that a resumed run needs no memory of it."""

import math
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from malsori.config import Config, nearest
from malsori.errors import ConfigError

Beta = Annotated[float, Field(ge=0, lt=1)]


class ModuleConfig(Config):
    """What one module of a part has for itself when a trained model is trained on (fine-tuning).

    learning_rate: its peak, on the same schedule as the rest; 0 leaves the module as it is.
    from_step: it stays as it is until then (the output layer alone learns first, say).
    """

    learning_rate: float | None = Field(None, ge=0)
    from_step: int = Field(0, ge=0)
    weight_decay: float | None = Field(None, ge=0)


class OptimizerConfig(Config):
    """How one part of a task is stepped.

    weight_decay is decoupled in AdamW (Loshchilov and Hutter 2017, arXiv:1711.05101): weights shrink by
    learning_rate * weight_decay a step, beside the gradient's step, not through it. In Adam and SGD it is added to the
    gradient (an L2 term), which Adam's adaptive scaling then distorts.
    betas and eps are Adam's, momentum is SGD's. modules: the beginning of parameter names → what differs there.
    """

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: float = Field(ge=0)
    betas: tuple[Beta, Beta] = (0.9, 0.98)
    eps: float = Field(1e-8, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(0.01, ge=0)
    clip_norm: float = Field(1.0, gt=0)
    schedule: Literal["cosine", "exponential", "linear", "inverse_sqrt", "constant"] = "cosine"
    warmup_steps: int = Field(0, ge=0)
    hold_steps: int = Field(0, ge=0)
    final_fraction: float = Field(0.01, ge=0)
    modules: dict[str, ModuleConfig] = Field(default_factory=dict)


def learning_rate_at(step: int, config: OptimizerConfig, total_steps: int) -> float:
    """Return the learning rate of a step, counted from 0.

    It rises in a straight line over warmup_steps, stays for hold_steps, then falls: to learning_rate * final_fraction
    at total_steps, along half a cosine, in a straight line (linear) or by the same factor every step (exponential); or
    as sqrt(warmup_steps / steps taken), wherever the run ends (inverse_sqrt; Vaswani et al. 2017, arXiv:1706.03762,
    5.3), which does not stay; or not at all (constant).

    >>> config = OptimizerConfig(learning_rate=1.0, warmup_steps=10, schedule="constant")
    >>> learning_rate_at(4, config, 100)
    0.5
    >>> learning_rate_at(39, config.model_copy(update={"schedule": "inverse_sqrt"}), 100)
    0.5
    """
    peak, warmup = config.learning_rate, config.warmup_steps
    if step < warmup:
        return peak * (step + 1) / warmup
    if config.schedule == "constant":
        return peak
    if config.schedule == "inverse_sqrt":
        return peak * math.sqrt(max(1, warmup) / (step + 1))
    held = warmup + config.hold_steps
    done = min(1.0, max(0, step - held) / max(1, total_steps - held))
    low = peak * config.final_fraction
    if config.schedule == "exponential":
        return peak * config.final_fraction**done
    if config.schedule == "linear":
        return peak + (low - peak) * done
    return low + (peak - low) * 0.5 * (1 + math.cos(math.pi * done))


def set_learning_rate(optimizer: torch.optim.Optimizer, config: OptimizerConfig, step: int, total_steps: int) -> float:
    """Give every group of an optimizer its rate of a step, and return that of the groups without one of their own."""
    rate = learning_rate_at(step, config, total_steps)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"] if step >= group.get("from_step", 0) else 0.0
    return rate


def build_optimizer(module: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Return the optimizer of a module's parameters; biases, norms and other vectors are not decayed.

    Raises: ConfigError if `config.modules` names a module that is not there.
    """
    named = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    prefixes = sorted(config.modules, key=len, reverse=True)  # the most particular first
    members: dict[str, list[Tensor]] = {prefix: [] for prefix in ["", *prefixes]}
    for name, parameter in named.items():
        members[next((prefix for prefix in prefixes if _lies_in(name, prefix)), "")].append(parameter)
    for prefix in prefixes:
        if not members[prefix]:
            inside = sorted({part for part, _ in module.named_modules() if part})
            raise ConfigError(f"recipe: 'modules.{prefix}' has no parameters here.{nearest(prefix, inside)}")
    groups = [group for prefix, parameters in members.items() for group in _groups(parameters, prefix, config)]
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[config.name]
    return kind(groups, lr=config.learning_rate, betas=config.betas, eps=config.eps)


def _lies_in(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def _groups(parameters: list[Tensor], prefix: str, config: OptimizerConfig) -> list[dict[str, Any]]:
    """Return the decayed and the undecayed group of one module; scale: its rate as a share of the part's."""
    own = config.modules.get(prefix, ModuleConfig())
    decay = config.weight_decay if own.weight_decay is None else own.weight_decay
    scale = 1.0 if own.learning_rate is None else own.learning_rate / config.learning_rate
    own_rate = {"scale": scale, "from_step": own.from_step}
    return [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": decay} | own_rate,
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0} | own_rate,
    ]


class Ema:
    """An exponential moving average of a module's weights; the average is what is shipped.

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
        averages, news = [], []
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                averages.append(self.weights[name])
                news.append(tensor)
            else:
                self.weights[name].copy_(tensor)
        torch._foreach_lerp_(averages, news, 1 - keep)
