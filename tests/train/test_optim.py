"""Rates, groups and averages against written-out formulas."""

import itertools
import math

import pytest
import torch
from torch import nn

from malsori.errors import ConfigError
from malsori.train.optim import (
    Ema,
    ModuleConfig,
    OptimizerConfig,
    build_optimizer,
    learning_rate_at,
    set_learning_rate,
)


def config(**values) -> OptimizerConfig:
    return OptimizerConfig(**({"learning_rate": 0.1} | values))


@pytest.mark.parametrize(
    ("schedule", "step", "rate"),
    [
        ("constant", 0, 0.1 / 20), ("constant", 19, 0.1), ("constant", 9999, 0.1),
        ("cosine", 20, 0.1), ("cosine", 60, 0.1 * (0.01 + 0.99 * 0.5)), ("cosine", 100, 0.001), ("cosine", 500, 0.001),
        ("exponential", 20, 0.1), ("exponential", 60, 0.1 * 0.1), ("exponential", 100, 0.001),
        ("linear", 20, 0.1), ("linear", 60, 0.1 * (0.01 + 0.99 * 0.5)), ("linear", 100, 0.001),
        ("inverse_sqrt", 19, 0.1), ("inverse_sqrt", 79, 0.05), ("inverse_sqrt", 319, 0.025),
    ],
)  # fmt: skip
def test_the_learning_rate_is_a_pure_function_of_the_step(schedule, step, rate):
    assert math.isclose(learning_rate_at(step, config(schedule=schedule, warmup_steps=20), 100), rate, rel_tol=1e-12)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "exponential"])
def test_a_rate_is_held_before_it_falls(schedule):
    held = config(schedule=schedule, warmup_steps=10, hold_steps=40)
    rates = [learning_rate_at(step, held, 100) for step in range(101)]
    assert set(rates[10:51]) == {0.1} and rates[51] < 0.1 and rates[100] == pytest.approx(0.001)
    later = config(schedule=schedule, warmup_steps=50)
    assert rates[50:] == [learning_rate_at(step, later, 100) for step in range(50, 101)]


def test_a_module_begins_at_its_step():
    pair = Pair()
    later = config(schedule="constant", modules={"encoder": ModuleConfig(from_step=3)}, eps=1e-6)
    optimizer = build_optimizer(pair, later)
    assert optimizer.defaults["eps"] == 1e-6
    before = pair.encoder[0].weight.clone()
    for step in range(4):
        for parameter in pair.parameters():
            parameter.grad = torch.ones_like(parameter)
        assert set_learning_rate(optimizer, later, step, 10) == 0.1
        assert torch.equal(pair.encoder[0].weight, before)
        optimizer.step()
    assert not torch.equal(pair.encoder[0].weight, before)


def test_rates_rise_in_a_line_and_never_jump():
    for schedule in ("constant", "cosine", "exponential", "inverse_sqrt"):
        rates = [learning_rate_at(step, config(schedule=schedule, warmup_steps=50), 1000) for step in range(1000)]
        assert rates[:50] == pytest.approx([0.1 * (step + 1) / 50 for step in range(50)])
        assert max(abs(after - before) for before, after in itertools.pairwise(rates)) < 0.1 / 49


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
        self.decoder = nn.Linear(4, 2)


def test_only_matrices_are_decayed():
    groups = build_optimizer(Pair(), config(weight_decay=0.3)).param_groups
    assert [(len(group["params"]), group["weight_decay"]) for group in groups] == [(2, 0.3), (4, 0.0)]


def test_adamw_decay_is_decoupled_and_adams_is_not():
    """One step from weight 1 with gradient g: AdamW shrinks by rate * decay beside the unit step, Adam only steps."""
    after = {}
    for name in ("adamw", "adam"):
        layer = nn.Linear(1, 1, bias=False).double()
        nn.init.ones_(layer.weight)
        optimizer = build_optimizer(layer, config(name=name, weight_decay=0.5))
        layer.weight.grad = torch.tensor([[2.0]], dtype=torch.float64)
        optimizer.step()
        after[name] = layer.weight.item()
    assert after["adamw"] == pytest.approx(1 - 0.1 * 0.5 - 0.1, abs=1e-6)
    assert after["adam"] == pytest.approx(1 - 0.1, abs=1e-6)


def test_sgd_has_momentum():
    layer = nn.Linear(1, 1, bias=False).double()
    nn.init.zeros_(layer.weight)
    optimizer = build_optimizer(layer, config(name="sgd", momentum=0.5, weight_decay=0.0))
    for _ in range(2):
        layer.weight.grad = torch.ones(1, 1, dtype=torch.float64)
        optimizer.step()
    assert layer.weight.item() == pytest.approx(-0.1 - 0.15)


def test_a_module_can_have_a_rate_of_its_own_or_rest():
    modules = {"encoder": ModuleConfig(learning_rate=0.0), "encoder.1": ModuleConfig(learning_rate=0.02)}
    settings = config(modules=modules, warmup_steps=10, schedule="constant")
    module = Pair()
    optimizer = build_optimizer(module, settings)
    assert set_learning_rate(optimizer, settings, 4, 100) == pytest.approx(0.05)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    named = {name: rates[id(parameter)] for name, parameter in module.named_parameters()}
    assert named["decoder.weight"] == pytest.approx(0.05) and named["encoder.0.weight"] == 0.0
    assert named["encoder.1.weight"] == pytest.approx(0.01)
    with pytest.raises(ConfigError, match=r"modules\.encodr.*Did you mean 'encoder'"):
        build_optimizer(module, config(modules={"encodr": ModuleConfig()}))


def test_the_average_follows_its_formula_and_copies_counters():
    module = nn.BatchNorm1d(2)
    average = Ema(module, decay=0.5)
    expected = module.weight.detach().clone()
    for step in range(12):
        with torch.no_grad():
            module.weight.fill_(step)
            module.num_batches_tracked.fill_(step)
        average.update(module, step)
        keep = min(0.5, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * step
    assert torch.allclose(average.weights["weight"], expected)
    assert average.weights["num_batches_tracked"] == 11
