"""How losses combine: each system's own task, one batch, and what every loss then has of the total and of the gradient.

The values are measured at build by the code that trains: the recipe's small network before its first step, on the
task's own example batch. Runs that were trained have other shares: `malsori diagram RUN` shows those of any run.
"""

from functools import cache
from typing import Any

import torch

from malsori.learn import figures
from malsori.learn.lesson import Language
from malsori.report.terms import term
from malsori.train.contributions import measure_contributions
from malsori.train.recipe import read_recipe
from malsori.train.systems import build_task, parse_recipe

#: System → the recipe whose weights and sizes are taken: those for two cores.
RECIPES = {
    name: f"{name}-small"
    for name in (
        "tacotron", "tacotron2", "fastspeech", "fastspeech2", "vits", "hifigan", "vocos",
        "conformer", "whisper", "wav2vec2", "wav2vec2-pretrain",
    )
}  # fmt: skip


@cache
def contributions(system: str) -> dict[str, dict[str, dict[str, float]]]:
    """Return turn → loss → its value, weight, share of the turn's total and gradient norm."""
    torch.manual_seed(0)
    recipe = parse_recipe(read_recipe(RECIPES[system]), RECIPES[system])
    task: Any = build_task(recipe)
    modules, measured = task.optimized_modules(), {}
    for turn in task.losses(task.example()):
        weights = recipe.weights[turn.name]
        found = measure_contributions(turn.losses, weights, modules[turn.name])
        measured[turn.name] = {
            name: {"value": one.value, "weight": weights[name], "share": one.share, "gradient": one.gradient_norm}
            for name, one in found.items()
        }
    return measured


def shares(values: dict[str, float], weights: dict[str, float]) -> dict[str, float]:
    """Return each loss's share of the weighted total, sizes taken as absolute."""
    weighted = {name: abs(value * weights[name]) for name, value in values.items()}
    total = sum(weighted.values())
    return {name: part / total if total else 0.0 for name, part in weighted.items()}


@cache
def combining() -> dict[str, str]:
    """Return measured values and shares of the systems that the lesson talks of."""
    hifigan, fastspeech2 = contributions("hifigan")["generator"], contributions("fastspeech2")["acoustic"]
    unweighted = shares({name: one["value"] for name, one in hifigan.items()}, dict.fromkeys(hifigan, 1.0))
    numbers = {f"hifigan_{name}": f"{one['value']:.2f}" for name, one in hifigan.items()}
    numbers |= {f"hifigan_{name}_share": f"{one['share']:.0%}" for name, one in hifigan.items()}
    numbers |= {f"hifigan_{name}_equal": f"{share:.0%}" for name, share in unweighted.items()}
    numbers |= {f"fastspeech2_{name}": f"{one['value']:.2f}" for name, one in fastspeech2.items()}
    numbers |= {f"fastspeech2_{name}_share": f"{one['share']:.0%}" for name, one in fastspeech2.items()}
    return numbers | {"systems": str(len(RECIPES))}


def combining_answer() -> float:
    """Return the share in per cent of a loss of 0.5 weighted 45 beside one of 2.5 weighted 1."""
    return round(100 * shares({"mel": 0.5, "adversarial": 2.5}, {"mel": 45.0, "adversarial": 1.0})["mel"], 1)


def draw_combining(language: Language) -> bytes:
    """Return a bar a system and turn: what each loss has of the total."""
    groups = {
        f"{system} · {term(turn, language)}": {term(name, language): one["share"] for name, one in losses.items()}
        for system in RECIPES
        for turn, losses in contributions(system).items()
    }
    return figures.bars(groups, {"ko": "가중치를 곱한 손실의 몫", "en": "share of the weighted total"}[language])


def combining_toy() -> dict[str, Any]:
    """Return every system's measured losses and weights, names in both languages."""
    return {
        "systems": [
            {
                "name": system,
                "turns": [
                    {
                        "name": {"ko": term(turn, "ko"), "en": term(turn, "en")},
                        "losses": [
                            {"name": {"ko": term(name, "ko"), "en": term(name, "en")}, **one}
                            for name, one in losses.items()
                        ],
                    }
                    for turn, losses in contributions(system).items()
                ],
            }
            for system in RECIPES
        ]
    }
