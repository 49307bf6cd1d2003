"""Numbers of the lessons on optimizers and on distances: Adam, AdamW, decoupled decay; L1, L2, norm, MSE."""

from functools import cache

import torch
from torch import nn

from malsori.learn import figures
from malsori.learn.lesson import Language
from malsori.losses.regression import huber_loss, l1_loss, l2_loss, l2_norm
from malsori.train.optim import OptimizerConfig, build_optimizer

#: The syllabus's vectors.
TARGET = torch.tensor([2.0, 3.0, 1.0])
PREDICTED = torch.tensor([2.5, 2.0, 0.0])

_RATE, _DECAY = 1e-4, 1e-2


def stepped(
    name: str, weight: float, gradient: float, steps: int = 1, decay: float = _DECAY, rate: float = _RATE
) -> float:
    """Return a weight after steps of an optimizer of malsori's, the gradient the same each time."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, weight)
    config = OptimizerConfig.parse(
        {"name": name, "learning_rate": rate, "weight_decay": decay, "betas": (0.9, 0.999)}, "the lesson"
    )
    optimizer = build_optimizer(layer, config)
    for _ in range(steps):
        layer.weight.grad = torch.full_like(layer.weight, gradient)
        optimizer.step()
    return layer.weight.item()


@cache
def optimizers() -> dict[str, str]:
    """Return first steps of Adam, SGD and AdamW, and what weight decay does in each."""
    return {
        "adam_step_small": f"{1 - stepped('adam', 1.0, 0.001, decay=0.0):.6f}",
        "adam_step_large": f"{1 - stepped('adam', 1.0, 1000.0, decay=0.0):.6f}",
        "sgd_step_small": f"{1 - stepped('sgd', 1.0, 0.001, decay=0.0):.7f}",
        "sgd_step_large": f"{1 - stepped('sgd', 1.0, 1000.0, decay=0.0):.1f}",
        "adamw_decayed": f"{stepped('adamw', 1.0, 0.0):.6f}",
        "adam_decayed": f"{stepped('adam', 1.0, 0.0):.6f}",
        "adam_decayed_ten": f"{stepped('adam', 1.0, 0.0, decay=10 * _DECAY):.6f}",
        "adamw_decayed_ten": f"{stepped('adamw', 1.0, 0.0, decay=10 * _DECAY):.6f}",
    }


def decay_curves(steps: int = 400) -> dict[str, list[float]]:
    """Return two weights of 1 as they decay under a noisy gradient of 0.01 or 10 in size, in Adam and in AdamW."""
    curves = {}
    for name in ("adam", "adamw"):
        for size in (0.01, 10.0):
            layer = nn.Linear(1, 1, bias=False)
            nn.init.ones_(layer.weight)
            settings = {"name": name, "learning_rate": 1e-3, "weight_decay": 0.5, "betas": (0.9, 0.999)}
            optimizer = build_optimizer(layer, OptimizerConfig.parse(settings, "the lesson"))
            random = torch.Generator().manual_seed(0)
            values = []
            for _ in range(steps):
                layer.weight.grad = size * torch.randn(1, 1, generator=random)
                optimizer.step()
                values.append(layer.weight.item())
            curves[f"{'AdamW' if name == 'adamw' else 'Adam + L2'}, |g| ≈ {size:g}"] = values
    return curves


def optimizer_answer() -> float:
    """Return AdamW's weight of 2 after one step without a gradient, at a rate of 0.1 and a decay of 0.1."""
    return round(stepped("adamw", 2.0, 0.0, decay=0.1, rate=0.1), 6)


def draw_optimizers(language: Language) -> bytes:
    """Return the picture of weights that decay, by Adam with an L2 term and by AdamW."""
    labels = {"ko": ("걸음", "가중치"), "en": ("step", "weight")}[language]
    return figures.curves(decay_curves(), labels)


def distances() -> dict[str, str]:
    """Return every distance between the syllabus's vectors, and what one outlier does to them."""
    difference = PREDICTED - TARGET
    wild = PREDICTED + torch.tensor([0.0, 0.0, -9.0])
    return {
        "difference": str(difference.tolist()),
        "squares": f"{difference.square().sum().item():g}",
        "l2_norm": f"{l2_norm(PREDICTED, TARGET).item():g}",
        "l2_loss": f"{l2_loss(PREDICTED, TARGET).item():g}",
        "l1_norm": f"{difference.abs().sum().item():g}",
        "l1_loss": f"{l1_loss(PREDICTED, TARGET).item():.3f}",
        "l1_wild": f"{l1_loss(wild, TARGET).item():.2f}",
        "l2_wild": f"{l2_loss(wild, TARGET).item():.2f}",
        "huber_wild": f"{huber_loss(wild, TARGET).item():.2f}",
        "best_l1": f"{best_constant('l1'):g}",
        "best_l2": f"{best_constant('l2'):g}",
    }


def best_constant(kind: str) -> float:
    """Return the one value nearest to 1, 1, 1, 1, 6 by L1 or by L2, to 0.01, found by trying."""
    values = torch.tensor([1.0, 1.0, 1.0, 1.0, 6.0])
    loss = l1_loss if kind == "l1" else l2_loss
    tried = [step / 100 for step in range(0, 701)]
    return min(tried, key=lambda guess: loss(torch.full_like(values, guess), values).item())


def distance_answer() -> float:
    """Return the MSE of [1, 2] against [3, 2]."""
    return l2_loss(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 2.0])).item()


def draw_distances(language: Language) -> bytes:
    """Return each loss over the size of one error."""
    errors = torch.linspace(-3, 3, 121)
    zero = torch.zeros(1)
    lines = {
        name: [loss(error[None], zero).item() for error in errors]
        for name, loss in (("L1  |e|", l1_loss), ("L2  e²", l2_loss), ("Huber", huber_loss))
    }
    labels = {"ko": ("오차 e", "손실"), "en": ("error e", "loss")}[language]
    return figures.curves(lines, labels, places=errors.tolist())
