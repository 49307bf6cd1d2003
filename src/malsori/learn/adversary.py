"""A GAN as two boards that take turns: a judge drawn as a curve, a generator of two numbers.

What is real is a bell of log-pitches around 1. The judge is a sum of nine bumps, so that it can be drawn and its step
is worked out by hand in the toy; the generator moves and widens noise, G(z) = shift + scale z. The losses are those
that train HiFi-GAN and VITS (least squares), the gradients autograd's.
"""

from functools import cache
from typing import Any

import torch

from malsori.learn import figures
from malsori.learn.lesson import Language
from malsori.losses.adversarial import discriminator_loss, feature_matching_loss, generator_loss

CENTERS = torch.linspace(-3.0, 3.0, 9)
WIDTH = 0.75
#: Real values and noise: even quantiles of a bell, so that every turn is the same anywhere.
_QUANTILES = torch.special.ndtri(torch.linspace(0.02, 0.98, 32))
REAL, NOISE = 1.0 + 0.4 * _QUANTILES, _QUANTILES
JUDGE_RATE, GENERATOR_RATE = 0.3, 0.2
START = (-1.5, 0.3)


class Game:
    """Both players, and whose turn did what. Raises nothing; steps are plain gradient descent."""

    def __init__(self, shift: float = START[0], scale: float = START[1]) -> None:
        self.judge = torch.zeros(len(CENTERS), requires_grad=True)
        self.generator = torch.tensor([shift, scale], requires_grad=True)

    def scores(self, values: torch.Tensor) -> torch.Tensor:
        """Return the judge's score of each value."""
        bumps = torch.exp(-((values[:, None] - CENTERS) ** 2) / (2 * WIDTH**2))
        return bumps @ self.judge

    def fake(self) -> torch.Tensor:
        """Return what the generator makes of the noise."""
        return self.generator[0] + self.generator[1] * NOISE

    def losses(self) -> dict[str, torch.Tensor]:
        """Return both players' losses as they stand."""
        real, fake = self.scores(REAL), self.scores(self.fake())
        return {
            "judge": discriminator_loss([real[None]], [self.scores(self.fake().detach())[None]]),
            "generator": generator_loss([fake[None]]),
        }

    def turn(self, player: str) -> None:
        """Step one player, the other as it is."""
        parameters, rate = (self.judge, JUDGE_RATE) if player == "judge" else (self.generator, GENERATOR_RATE)
        (slope,) = torch.autograd.grad(self.losses()[player], parameters)
        with torch.no_grad():
            parameters -= rate * slope


def played(rounds: int, judge_steps: int = 1, generator_steps: int = 1) -> tuple[Game, list[dict[str, float]]]:
    """Return a game after a number of rounds, and after each its losses and the generator's two numbers."""
    game, log = Game(), []
    for _ in range(rounds):
        for player, steps in (("judge", judge_steps), ("generator", generator_steps)):
            for _ in range(steps):
                game.turn(player)
        values = {name: loss.item() for name, loss in game.losses().items()}
        log.append(values | {"shift": game.generator[0].item(), "scale": game.generator[1].item()})
    return game, log


@cache
def gan() -> dict[str, str]:
    """Return the losses at the start, at a draw, and after games of several kinds."""
    start = Game().losses()
    even = torch.full((1, 8), 0.5)
    _, log = played(100)
    _, alone = played(100, judge_steps=0)
    narrowest = min(log, key=lambda entry: abs(entry["scale"]))
    real_maps, fake_maps = torch.tensor([[0.2, 0.8, 0.5]]), torch.tensor([[0.1, 0.9, 0.1]])
    return {
        "start_judge": f"{start['judge'].item():.2f}",
        "start_generator": f"{start['generator'].item():.2f}",
        "fooled_judge": f"{discriminator_loss([even], [even]).item():.2f}",
        "fooled_generator": f"{generator_loss([even]).item():.2f}",
        "right_judge": f"{discriminator_loss([torch.ones(1, 8)], [torch.zeros(1, 8)]).item():.2f}",
        "right_generator": f"{generator_loss([torch.zeros(1, 8)]).item():.2f}",
        "real_mean": f"{REAL.mean().item():.2f}",
        "shift_start": f"{START[0]:g}",
        "shift_end": f"{log[-1]['shift']:.2f}",
        "scale_end": f"{abs(log[-1]['scale']):.2f}",
        "shift_alone": f"{alone[-1]['shift']:.2f}",
        "narrowest": f"{abs(narrowest['scale']):.2f}",
        "narrowest_round": str(log.index(narrowest) + 1),
        "end_judge": f"{log[-1]['judge']:.2f}",
        "end_generator": f"{log[-1]['generator']:.2f}",
        "feature_matching": f"{feature_matching_loss([[real_maps]], [[fake_maps]]).item():.2f}",
    }


def gan_answer() -> float:
    """Return the judge's least-squares loss if it says 0.5 of all."""
    even = torch.full((1, 4), 0.5)
    return discriminator_loss([even], [even]).item()


def draw_gan(language: Language) -> bytes:
    """Return the generator's shift over 100 rounds, and both losses."""
    _, log = played(100)
    names = {
        "ko": ("G의 위치", "판별기 손실", "생성기 손실"),
        "en": ("G's place", "discriminator's loss", "generator's loss"),
    }[language]
    lines = {
        name: [entry[key] for entry in log] for name, key in zip(names, ("shift", "judge", "generator"), strict=True)
    }
    return figures.curves(lines, {"ko": ("라운드", ""), "en": ("round", "")}[language])


def gan_toy() -> dict[str, Any]:
    """Return what the toy begins with."""
    return {
        "centers": CENTERS.tolist(),
        "width": WIDTH,
        "real": REAL.tolist(),
        "noise": NOISE.tolist(),
        "judgeRate": JUDGE_RATE,
        "generatorRate": GENERATOR_RATE,
        "start": list(START),
    }
