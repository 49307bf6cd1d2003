"""The one loop: every system trains here, GANs too.

    for each step: rates ─► batch ─► turns (losses ─► weights ─► backward ─► clip ─► step) ─► average ─► log
    now and then:  validate ─► save a checkpoint ─► keep the best as the run's model

What a step does is a pure function of the weights, the seed and the step. So a run that was broken off and taken up
again ends with the same weights, bit for bit on the same machine, as one that was not.
"""

import json
import logging
import math
import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from malsori.config import Config, read_json
from malsori.corpus.batches import Speech, on_device, places, plan_epoch
from malsori.errors import ConfigError, TrainingError
from malsori.models.saved import SavedModel, save_model
from malsori.train.checkpoint import Checkpoints
from malsori.train.journal import Journal
from malsori.train.optim import Ema, OptimizerConfig, build_optimizer, learning_rate_at
from malsori.train.recipe import Recipe
from malsori.train.systems import Setup
from malsori.train.tasks import Turn

log = logging.getLogger("malsori")


class RunOptions(Config):
    """How a run is started: where, and whether it goes on with an earlier one."""

    out: Path
    resume: bool = False
    device: str = "cuda" if torch.cuda.is_available() else "cpu"


def train(setup: Setup, options: RunOptions) -> dict[str, float]:
    """Train to the recipe's last step and return the last validation's numbers.

    Raises: TrainingError if the run folder is in use without --resume, the recipe changed, or a loss is not finite;
        ConfigError if the recipe's weights or optimizers do not name the task's losses and turns.
    """
    return _Run(setup, options).go()


class _Run:
    """What one run holds while it goes."""

    def __init__(self, setup: Setup, options: RunOptions) -> None:
        self.setup, self.recipe, self.out = setup, setup.recipe, options.out
        self.device = torch.device(options.device)
        self.task = setup.task.to(self.device)
        parts = self.task.parts()
        check_names("optimizers", set(self.recipe.optimizers), set(parts))
        self.optimizers = {turn: build_optimizer(part, self.recipe.optimizers[turn]) for turn, part in parts.items()}
        self.ema = Ema(self.task.product(), self.recipe.train.ema_decay)
        self.checkpoints = Checkpoints(self.out, self.recipe.train.keep)
        self.best = math.inf
        self.start = self._open(options.resume)

    def _open(self, resume: bool) -> int:
        """Return the step to start from: 0 in a new folder, the last checkpoint's in one that is taken up again."""
        saved = self.checkpoints.steps()
        recipe = self.recipe.model_dump(mode="json")
        if saved and not resume:
            raise TrainingError(f"{self.out}: holds a run of {saved[-1]} steps. Go on with --resume, or name another --out.")
        if (self.out / "recipe.json").is_file() and resume:
            _same_recipe(read_json(self.out / "recipe.json"), recipe, self.out)
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "recipe.json").write_text(json.dumps(recipe, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        if not saved:
            return 0
        state = self.checkpoints.restore(saved[-1], self.task, self.ema, self.optimizers)
        self.best = state["best"] if state["best"] is not None else math.inf
        return saved[-1]

    def go(self) -> dict[str, float]:
        """Run from the start step to the last."""
        total, loop = self.recipe.train.steps, self.recipe.train
        measured: dict[str, float] = {}
        if self.start >= total:
            log.info("%s has finished its %d steps already", self.out, total)
            return measured
        with Journal(self.out, self.start, total) as journal, _asked_to_stop() as asked:
            for step, batch in enumerate(self._batches(self.start, total), start=self.start):
                values = self._step(step, batch)
                done = step + 1
                journal.step(done, values, force=done % loop.log_every == 0 or done == total)
                if done % loop.validate_every == 0 or done == total:
                    measured = self._validate(done, journal)
                if done % loop.save_every == 0 or done == total or asked:
                    best = None if math.isinf(self.best) else self.best
                    self.checkpoints.save(done, self.task, self.ema, self.optimizers, {"best": best})
                if asked:
                    raise TrainingError(f"{self.out}: asked to stop at step {done}, saved. Go on with --resume.")
        return measured

    def _step(self, step: int, batch: Any) -> dict[str, float]:
        """Take every turn of one step and return its losses and gradient norms, by name."""
        seed_everything(self.recipe.seed, step)
        self.task.train()
        values: dict[str, float] = {}
        half = self.recipe.train.precision == "bfloat16" and self.device.type == "cuda"
        turns = self.task.losses(on_device(batch, self.device))
        while True:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
                turn = next(turns, None)
            if turn is None:
                break
            values |= self._take(turn, step)
        self.ema.update(self.task.product(), step)
        return values

    def _take(self, turn: Turn, step: int) -> dict[str, float]:
        """Weigh a turn's losses, step its optimizer, and return what was measured."""
        weights = self.recipe.weights.get(turn.name, {})
        check_names(f"weights.{turn.name}", set(weights), set(turn.losses))
        values = {f"{turn.name}/{name}": loss.item() for name, loss in turn.losses.items()}
        broken = [name for name, value in values.items() if not math.isfinite(value)]
        if broken:
            raise TrainingError(f"step {step}: loss {broken[0]} is {values[broken[0]]}. Lower learning_rate or clip_norm.")
        config, optimizer = self.recipe.optimizers[turn.name], self.optimizers[turn.name]
        optimizer.zero_grad(set_to_none=True)
        weighted = [loss * weights[name] for name, loss in turn.losses.items()]
        torch.stack(weighted).sum().backward()
        values[f"{turn.name}/gradient_norm"] = self._clip(turn.name, config).item()
        values[f"{turn.name}/learning_rate"] = self._set_rate(optimizer, config, step)
        optimizer.step()
        return values

    def _clip(self, turn: str, config: OptimizerConfig) -> Tensor:
        return torch.nn.utils.clip_grad_norm_(self.task.parts()[turn].parameters(), config.clip_norm)

    def _set_rate(self, optimizer: torch.optim.Optimizer, config: OptimizerConfig, step: int) -> float:
        rate = learning_rate_at(step, config, self.recipe.train.steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _validate(self, step: int, journal: Journal) -> dict[str, float]:
        """Measure the averaged weights on held-out speech; keep them as the run's model if they are the best yet."""
        product = self.task.product()
        current = {name: tensor.clone() for name, tensor in product.state_dict().items()}
        product.load_state_dict(self.ema.weights)
        self.task.eval()
        measured = self.task.validate(on_device(batch, self.device) for batch in self._held_out())
        journal.validation(step, measured)
        decisive = next(iter(measured.values()))
        if decisive < self.best:
            self.best = decisive
            self._keep(step, measured)
        product.load_state_dict(current)
        return measured

    def _keep(self, step: int, measured: dict[str, float]) -> None:
        facts = self.setup.facts
        trained = facts.trained | {"steps": step, "validation": {k: round(v, 5) for k, v in measured.items()}}
        facts = facts.model_copy(update={"trained": trained})
        card = f"# {facts.system}\n\nTrained by malsori for {step} steps on {facts.trained['corpus']}.\n"
        saved = SavedModel(facts, self.setup.symbols, self.task.product(), card)
        save_model(saved, self.out / "model", half=self.recipe.half)

    def _batches(self, start: int, stop: int) -> Iterator[Any]:
        """Yield the training batches of steps start to stop."""
        data, cuts = self.recipe.data, self.setup.cuts["train"]
        dataset = Speech(self.setup.corpus, cuts, self.setup.collators["train"], self.recipe.seed)

        def plan(epoch: int) -> list[list[str]]:
            return plan_epoch(cuts, data, self.setup.by_seconds, self.recipe.seed, epoch)

        loader = torch.utils.data.DataLoader(
            dataset,
            batch_size=None,
            sampler=places(plan, start, stop),  # type: ignore[arg-type]
            num_workers=data.workers,
            prefetch_factor=4 if data.workers else None,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=_quiet_worker,
        )
        yield from loader

    def _held_out(self) -> Iterator[Any]:
        """Yield the validation batches: always the same."""
        cuts = self.setup.cuts["dev"]
        dataset = Speech(self.setup.corpus, cuts, self.setup.collators["dev"], self.recipe.seed)
        for number, ids in enumerate(plan_epoch(cuts, self.recipe.data, self.setup.by_seconds, self.recipe.seed, 0)):
            yield dataset[number, ids]


def seed_everything(seed: int, step: int) -> None:
    """Make every random draw of a step a function of (seed, step)."""
    mixed = int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0])
    torch.manual_seed(mixed)
    np.random.seed(mixed % 2**32)
    random.seed(mixed)


def check_names(section: str, given: set[str], wanted: set[str]) -> None:
    """Raise ConfigError unless a recipe's section names exactly what the task has."""
    for name in sorted(given - wanted):
        raise ConfigError(f"recipe: '{section}.{name}' is not of this task, which has: {', '.join(sorted(wanted))}")
    for name in sorted(wanted - given):
        raise ConfigError(f"recipe: '{section}.{name}' is missing")


def _same_recipe(before: dict[str, Any], now: dict[str, Any], place: Path) -> None:
    """Raise TrainingError naming what changed since the run began; a longer run is allowed."""
    changed = sorted(_leaves(before).items() ^ _leaves(now).items())
    names = sorted({name for name, _ in changed} - {"train.keep", "data.workers"})
    if names:
        raise TrainingError(f"{place}: --resume with another recipe: {', '.join(names)} changed. Start anew in another --out.")


def _leaves(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Return a nested recipe as dotted names and printed values."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        flat |= _leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: json.dumps(value)}
    return flat


@contextmanager
def _asked_to_stop() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT instead of dying of them, so that the step ends and is saved; a second one kills."""
    asked: list[int] = []

    def note(number: int, _frame: object) -> None:
        asked.append(number)
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _quiet_worker(_number: int) -> None:
    """A worker leaves interrupts to the loop, and its niceness a step below it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    os.nice(1)
