"""Steps a second of the training loop beside a plain hand-written one of the same model, and the loop's own cost.

    python bench/train.py [--steps 8] [--rounds 3] [--balance] [--corpus work/voice] [RECIPE...]

Both meet the same batches with the same weights on one thread; a step is timed from one batch to the next, in seconds
of this process's own CPU time, so that other work on the machine does not count. The plain loop is what one writes by
hand for the same weights: forward, weighted sum, backward, clip, step, average. The loop adds what it promises: random
states as functions of the step, checks of losses and gradients, copies of buffers, the run log, the monitor. With
--balance, the measurement of the losses' gradients, which comes every 500 steps, is spread over them and stands apart.
"""

import argparse
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from malsori.corpus.batches import SpeechDataset, places, plan_epoch
from malsori.corpus.folder import Corpus, load_corpus
from malsori.train.loop import RunOptions, train
from malsori.train.optim import build_optimizer
from malsori.train.recipe import read_recipe
from malsori.train.setup import TrainingSetup
from malsori.train.systems import parse_recipe, set_up

RECIPES = ("fastspeech2-small", "hifigan-small", "conformer-small")
WARM_UP = 2  # steps before the clock counts
QUIET = (
    "data.workers=0", "train.log_every=4", "train.validate_every=100000", "train.save_every=100000",
    "data.batch_seconds=20.0", "data.batch_size=4", "seed=3",
)  # fmt: skip


@dataclass
class Clock:
    """Makes batches as another does, and notes the CPU time whenever one is asked for."""

    collate: Callable[..., Any]
    ticks: list[float] = field(default_factory=list)

    def __call__(self, *arguments: Any) -> Any:
        self.ticks.append(time.process_time())
        return self.collate(*arguments)

    @property
    def seconds(self) -> float:
        """The median step, warm-up left out."""
        return statistics.median(b - a for a, b in zip(self.ticks[WARM_UP:], self.ticks[WARM_UP + 1 :], strict=False))


def prepared(name: str, corpus: Corpus, steps: int, balance: int) -> tuple[TrainingSetup, Clock]:
    values = read_recipe(name, [*QUIET, f"train.steps={steps}", f"train.contributions_every={balance}"])
    setup = set_up(parse_recipe(values, name), corpus)
    clock = Clock(setup.collators["train"])
    setup.collators["train"] = clock
    return setup, clock


def plain(setup: TrainingSetup, steps: int) -> None:
    """Train as one writes it by hand."""
    recipe, task = setup.recipe, setup.task
    modules = task.optimized_modules()
    optimizers = {turn: build_optimizer(module, recipe.optimizers[turn]) for turn, module in modules.items()}
    data = SpeechDataset(setup.corpus, setup.cuts["train"], setup.collators["train"], recipe.seed)
    task.train()
    average = {name: tensor.clone() for name, tensor in task.exported_model().state_dict().items()}

    def plan(epoch: int) -> list[list[str]]:
        return plan_epoch(setup.cuts["train"], recipe.data, setup.by_seconds, recipe.seed, epoch)

    for place in places(plan, 0, steps):
        for turn in task.losses(data[place]):
            optimizers[turn.name].zero_grad(set_to_none=True)
            sum(loss * recipe.weights[turn.name][name] for name, loss in turn.losses.items()).backward()
            torch.nn.utils.clip_grad_norm_(modules[turn.name].parameters(), recipe.optimizers[turn.name].clip_norm)
            optimizers[turn.name].step()
        with torch.no_grad():
            for name, tensor in task.exported_model().state_dict().items():
                if tensor.is_floating_point():
                    average[name].lerp_(tensor, 1 - recipe.train.ema_decay)


def looped(setup: TrainingSetup) -> None:
    with tempfile.TemporaryDirectory() as folder:
        train(setup, RunOptions(out=Path(folder) / "run", device="cpu"))


def measure(name: str, corpus: Corpus, steps: int, rounds: int, with_balance: bool) -> str:
    """Return one line of the table."""
    kinds = ("plain", "loop", "balance") if with_balance else ("plain", "loop")
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(rounds):  # by turns, and the best of each: what disturbs only adds
        for kind in times:
            setup, clock = prepared(name, corpus, steps + WARM_UP + 1, balance=1 if kind == "balance" else 0)
            plain(setup, steps + WARM_UP + 1) if kind == "plain" else looped(setup)
            times[kind].append(clock.seconds)
    best = {kind: min(found) for kind, found in times.items()}
    by_hand, ours = best["plain"], best["loop"]
    spread = f"{(best['balance'] - ours) / 500 / by_hand:9.2%}" if with_balance else ""
    return f"{name:20} {1 / by_hand:8.3f} {1 / ours:8.3f} {ours / by_hand - 1:9.2%} {spread}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", default=RECIPES)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--balance", action="store_true", help="measure the balance's cost too")
    parser.add_argument("--corpus", type=Path, help="prepared corpus with durations; a planted one without")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        corpus = load_corpus(options.corpus or _planted(Path(folder)))
        print(f"{'recipe':20} {'plain/s':>8} {'loop/s':>8} {'own cost':>9} {'balance':>9}")
        for name in options.recipes:
            print(measure(name, corpus, options.steps, options.rounds, options.balance), flush=True)


def _planted(folder: Path) -> Path:
    path = Path(__file__).parent.parent / "tests" / "train" / "planted.py"
    spec = importlib.util.spec_from_file_location("planted", path)
    assert spec and spec.loader
    planted = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(planted)
    return planted.plant_corpus(folder / "corpus", copies=6)


if __name__ == "__main__":
    main()
