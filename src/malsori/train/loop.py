"""The one loop: every system trains here, GANs too.

    for each step: rates ─► batches ─► turns (losses ─► weights ─► backward ─► clip ─► step) ─► average ─► log
    now and then:  contributions of the losses ─► validate ─► keep the best as the run's model ─► save a checkpoint

What a step does is a pure function of the weights, the seed and the step. So a run that was interrupted and
resumed ends with the same weights, bit for bit on the same machine, as one that was not.
"""

import json
import logging
import math
import random
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from malsori.config import Config, nearest
from malsori.corpus.batches import SpeechDataset, on_device, places, plan_epoch, too_long
from malsori.errors import ConfigError, FileError, MalsoriError, TrainingError
from malsori.files import atomic_file, read_json, write_json
from malsori.pretrained.folder import SavedModel, read_model_facts, save_model
from malsori.pretrained.legacy import current_recipe
from malsori.runtime.device import resolve_device
from malsori.train.checkpoint import Checkpoints, Trained, held
from malsori.train.contributions import measure_contributions
from malsori.train.monitor import TrainingMonitor
from malsori.train.optim import Ema, build_optimizer, set_learning_rate
from malsori.train.recipe import Recipe
from malsori.train.run_log import RunLogger, read_warnings
from malsori.train.samples import recordings, validation_samples, write_samples
from malsori.train.setup import TrainingSetup, warn_of_other_pitch
from malsori.train.signals import asked_to_stop, held_back, quiet_worker
from malsori.train.tasks import Turn

log = logging.getLogger("malsori")

_HARMLESS = {"train.keep", "train.log_every", "train.samples", "data.workers"}  # keys that change no step
_BROKEN_WINDOW = 1000  # steps within which `train.broken_steps` may be skipped


class RunOptions(Config):
    """Where a run is written, whether it resumes an earlier one, and if so under a changed recipe.

    device: as `resolve_device` takes it; "auto" is CUDA or the CPU, as not all losses are there for MPS.
    """

    out: Path
    resume: bool = False
    accept_changes: bool = False
    device: str = "auto"


def train(setup: TrainingSetup, options: RunOptions) -> dict[str, float]:
    """Train to the recipe's last step and return the last validation's numbers.

    Raises: TrainingError if the run folder is in use without --resume, the recipe changed, too many steps had a loss
        that is not finite, or it was asked to stop (it has saved then);
        ConfigError if the recipe's weights or optimizers do not name the task's losses and turns.
    """
    _log_training_data(setup)
    with held(options.out):
        return _Run(setup, options).go()


class _NotFinite(Exception):
    """A turn's loss or gradient is NaN or infinite; the message names it."""


class _Run:
    """The state of one run."""

    def __init__(self, setup: TrainingSetup, options: RunOptions) -> None:
        self.setup, self.recipe, self.out = setup, setup.recipe, options.out
        self.device = resolve_device(options.device, accelerators=("cuda",))
        self.task = setup.task.to(self.device)
        self.optimized: dict[str, nn.Module] = self.task.optimized_modules()
        check_names("optimizers", set(self.recipe.optimizers), set(self.optimized))
        settings = self.recipe.optimizers
        optimizers = {turn: build_optimizer(module, settings[turn]) for turn, module in self.optimized.items()}
        self.trained = Trained(self.task, Ema(self.task.exported_model(), self.recipe.train.ema_decay), optimizers)
        self.checkpoints = Checkpoints(self.out, self.recipe.train.keep)
        self.measured: list[float] = []  # the deciding number of each validation so far
        self.broken: list[int] = []  # steps that were skipped lately
        self.start = self._open(options)

    def _open(self, options: RunOptions) -> int:
        """Return the step to start from: 0 in a new folder, the last checkpoint's in one that is resumed."""
        saved, path = self.checkpoints.steps(), self.out / "recipe.json"
        if saved and not options.resume:
            raise TrainingError(
                f"{self.out}: holds a run of {saved[-1]} steps. Go on with --resume, or name another --out."
            )
        if saved and path.is_file():
            values = current_recipe(read_json(path), str(path))
            if values.get("system") != self.recipe.system:
                before, now = values.get("system"), self.recipe.system
                raise TrainingError(
                    f"{self.out}: holds a run of a {before}, and the recipe is of a {now}. Name another --out."
                )
            if not options.accept_changes:
                refuse_changes(type(self.recipe).parse(values, str(path)), self.recipe, self.out)
        if saved and (kept := self.out / "model" / "config.json").is_file():
            warn_of_other_pitch(read_model_facts(kept.parent), self.setup.corpus, str(self.out))
        state = self.checkpoints.restore(self.trained)
        write_json(path, self.recipe.model_dump(mode="json"))
        if state is None:
            return 0
        best = state.get("best")
        self.measured = state.get("measured", [] if best is None else [best])
        self.broken = state.get("broken", [])
        return state["step"]

    def go(self) -> dict[str, float]:
        """Run from the start step to the last."""
        total, loop = self.recipe.train.steps, self.recipe.train
        latest: dict[str, float] = {}
        if self.start >= total:
            log.info("%s has finished its %d steps already", self.out, total)
            return latest
        with RunLogger(self.out, self.start, total) as self.logger, asked_to_stop() as asked:
            warned = {entry["warning"] for entry in read_warnings(self.out)}
            self.monitor = TrainingMonitor(warned, self.logger.warning)
            for step, batches in enumerate(self._batches(self.start, total), start=self.start):
                values = self._step(step, batches)
                done = step + 1
                self.monitor.step(done, values)
                self.logger.step(done, values, force=done % loop.log_every == 0 or done == total)
                if done % loop.validate_every == 0 or done == total:
                    latest = self._validate(done)
                if done % loop.save_every == 0 or done == total or asked:
                    self._save(done, needed=done == total or bool(asked))
                if asked:
                    raise TrainingError(f"{self.out}: asked to stop at step {done}, saved. Go on with --resume.")
        return latest

    def _step(self, step: int, batches: list[Any]) -> dict[str, float]:
        """Take every turn of one step and return its losses and gradient norms, by name; nothing if it is skipped."""
        seed_everything(self.recipe.seed, step)
        self.task.train()
        buffers = list(self.task.buffers())
        before = [buffer.clone() for buffer in buffers]  # running means, which a broken batch would spoil for good
        try:
            values = self._turns(step, batches)
        except _NotFinite as broken:
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)
            self._skip(step, batches, str(broken))
            return {}
        self.trained.ema.update(self.task.exported_model(), step)
        return values

    def _turns(self, step: int, batches: list[Any]) -> dict[str, float]:
        """Take the turns one after the other, each over all batches of the step before the next begins."""
        tasks = [self.task.losses(on_device(batch, self.device)) for batch in batches]
        values: dict[str, float] = {}
        try:
            while name := self._gather(tasks, step, values):
                values |= self._update(name, step)
        finally:
            for task in tasks:
                task.close()  # a task that is left in the middle of a turn thaws what it froze
        return values

    def _gather(self, tasks: list[Any], step: int, values: dict[str, float]) -> str:
        """Gather the gradients of the next turn over all batches, and return its name; "" after the last."""
        half = self.recipe.train.precision == "bfloat16" and self.device.type == "cuda"
        name = ""
        for number, task in enumerate(tasks):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
                turn = next(task, None)
            if turn is not None:
                name = turn.name
                for key, value in self._backward(turn, step, number, len(tasks)).items():
                    values[key] = values.get(key, 0.0) + value / len(tasks)
        return name

    def _backward(self, turn: Turn, step: int, number: int, count: int) -> dict[str, float]:
        """Weigh a turn's losses, send their gradients back, and return what was measured."""
        weights = self.recipe.weights.get(turn.name, {})
        check_names(f"weights.{turn.name}", set(weights), set(turn.losses))
        measured = turn.losses | turn.diagnostics
        detached = [torch.as_tensor(value).detach().float().to(self.device) for value in measured.values()]
        values = dict(zip(measured, torch.stack(detached).tolist(), strict=True))
        broken = [name for name in turn.losses if not math.isfinite(values[name])]
        if broken:
            raise _NotFinite(f"loss {turn.name}/{broken[0]} is {values[broken[0]]}")
        if number == 0:
            self.trained.optimizers[turn.name].zero_grad(set_to_none=True)
            every = self.recipe.train.contributions_every
            if every and (step + 1) % every == 0:
                contributions = measure_contributions(turn.losses, weights, self.optimized[turn.name])
                self.logger.contributions(step + 1, turn.name, contributions)
        weighted = [loss * (weights[name] / count) for name, loss in turn.losses.items()]
        torch.stack(weighted).sum().backward()
        return {f"{turn.name}/{name}": value for name, value in values.items()}

    def _update(self, turn: str, step: int) -> dict[str, float]:
        """Step a turn's optimizer by the gradients that have been gathered."""
        config, optimizer = self.recipe.optimizers[turn], self.trained.optimizers[turn]
        norm = torch.nn.utils.clip_grad_norm_(self.optimized[turn].parameters(), config.clip_norm).item()
        if not math.isfinite(norm):
            raise _NotFinite(f"the gradient of '{turn}' is {norm}")
        rate = set_learning_rate(optimizer, config, step, self.recipe.train.steps)
        optimizer.step()
        return {f"{turn}/gradient_norm": norm, f"{turn}/learning_rate": rate}

    def _skip(self, step: int, batches: list[Any], what: str) -> None:
        """Keep the batches of a broken step for a look, and stop when there have been too many."""
        count = self.recipe.train.accumulate
        plan = places(self._plan("train"), step * count, (step + 1) * count)
        ids = [name for _, names in plan for name in names]
        path = save_broken(self.out, step, batches, ids, what)
        self.broken = [*(old for old in self.broken if old > step - _BROKEN_WINDOW), step]
        advice = f"{path} holds the batch ({', '.join(ids[:5])}{', ...' if len(ids) > 5 else ''})."
        log.warning("step %d: %s; skipped. %s", step, what, advice)
        self.monitor.warn(step, "not finite", f"{what}; the step was skipped. {advice} Listen to its recordings.")
        if len(self.broken) > self.recipe.train.broken_steps:
            raise TrainingError(
                f"{self.out}: {len(self.broken)} of the last {_BROKEN_WINDOW} steps were not finite, the last {step}: "
                f"{what}. {advice} Lower learning_rate or clip_norm; go on from the last checkpoint with --resume."
            )

    def _save(self, step: int, needed: bool) -> None:
        """Save a checkpoint; if the disk refuses it, warn, and try again at the next time."""
        best = min(self.measured, default=None)
        try:
            self.checkpoints.save(step, self.trained, {"best": best, "measured": self.measured, "broken": self.broken})
        except TrainingError as error:
            if needed:
                raise
            log.warning("%s", error)

    def _validate(self, step: int) -> dict[str, float]:
        """Measure the averaged weights on held-out speech; keep them as the run's model if they are the best yet."""
        model = self.task.exported_model()
        current = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        model.load_state_dict(self.trained.ema.weights)
        self.task.eval()
        measured = self.task.validate(on_device(batch, self.device) for batch in self._held_out())
        self.logger.validation(step, measured)
        self._sample(step, model)
        decisive = next(iter(measured.values()))
        if decisive < min(self.measured, default=math.inf):
            self._keep(step, measured)
        self.measured.append(decisive)
        self.monitor.validated(step, self.measured)
        model.load_state_dict(current)
        return measured

    def _sample(self, step: int, model: nn.Module) -> None:
        """Write what a voice or a vocoder makes of a few held-out utterances; where it cannot be, say so."""
        count, folder, audio = self.recipe.train.samples, self.out / "samples", self.setup.corpus.audio
        try:
            made = validation_samples(self.setup, model, count) if count else []
            write_samples(folder, f"{step:08}", made, audio)
            if made and not (folder / made[0].id / "recording.wav").exists():
                write_samples(folder, "recording", recordings(self.setup, count), audio)
        except MalsoriError as error:
            log.warning("step %d: no samples: %s", step, error)
            return
        for sample in made:
            self.logger.sample(step, sample, audio)

    def _keep(self, step: int, measured: dict[str, float]) -> None:
        facts = self.setup.facts
        trained = facts.trained | {"steps": step, "validation": {k: round(v, 5) for k, v in measured.items()}}
        facts = facts.model_copy(update={"trained": trained})
        card = f"# {facts.system}\n\nTrained by malsori for {step} steps on {facts.trained['corpus']}.\n"
        saved = SavedModel(facts, self.setup.symbols, self.task.exported_model(), card, self.setup.files)
        try:
            save_model(saved, self.out / "model", "float16" if self.recipe.half else "float32")
        except OSError as error:
            log.warning("%s: the best model yet cannot be written: %s. Make room.", self.out / "model", error)

    def _plan(self, split: str) -> Callable[[int], list[list[str]]]:
        """Return epoch → the ids of its batches."""
        return partial(plan_epoch, self.setup.cuts[split], self.recipe.data, self.setup.by_seconds, self.recipe.seed)

    def _batches(self, start: int, stop: int) -> Iterator[list[Any]]:
        """Yield the training batches of each step from start to stop."""
        data, count = self.recipe.data, self.recipe.train.accumulate
        speech = SpeechDataset(
            self.setup.corpus, self.setup.cuts["train"], self.setup.collators["train"], self.recipe.seed
        )
        loader = torch.utils.data.DataLoader(
            _Seeded(speech, self.recipe.seed),
            batch_size=None,
            sampler=places(self._plan("train"), start * count, stop * count),
            num_workers=data.workers,
            prefetch_factor=4 if data.workers else None,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=quiet_worker,
        )
        with held_back():  # until the workers ignore them: none dies of a signal to the whole process group
            batches = iter(loader)
        while step := list(islice(batches, count)):
            yield step

    def _held_out(self) -> Iterator[Any]:
        """Yield the validation batches: always the same."""
        dataset = SpeechDataset(
            self.setup.corpus, self.setup.cuts["dev"], self.setup.collators["dev"], self.recipe.seed
        )
        for place in enumerate(self._plan("dev")(0)):
            yield dataset[place]


class _Seeded(torch.utils.data.Dataset):
    """Batches whose every random draw, in whichever worker, is a function of (seed, place)."""

    def __init__(self, speech: SpeechDataset, seed: int) -> None:
        self.speech, self.seed = speech, seed

    def __getitem__(self, place: tuple[int, list[str]]) -> Any:
        seed_everything(self.seed, place[0], stream=1)
        return self.speech[place]


def seed_everything(seed: int, step: int, stream: int | None = None) -> None:
    """Make every random draw of torch, numpy and Python a function of (seed, step), and of a stream beside others."""
    sequence = [seed, step] if stream is None else [seed, step, stream]
    mixed = int(np.random.SeedSequence(sequence).generate_state(1, np.uint64)[0])
    torch.manual_seed(mixed)
    np.random.seed(mixed % 2**32)
    random.seed(mixed)


def check_names(section: str, given: set[str], wanted: set[str]) -> None:
    """Raise ConfigError unless a recipe's section names exactly what the task has."""
    for name in sorted(given - wanted):
        raise ConfigError(f"recipe: '{section}.{name}' is not of this task.{nearest(name, sorted(wanted))}")
    for name in sorted(wanted - given):
        raise ConfigError(f"recipe: '{section}.{name}' is missing; the task has: {', '.join(sorted(wanted))}")


def refuse_changes(before: Recipe, now: Recipe, place: Path) -> None:
    """Raise TrainingError naming the keys in which two recipes differ, but for those that change no step."""
    old, new = (_leaves(recipe.model_dump(mode="json")) for recipe in (before, now))
    names = sorted({name for name, _ in old.items() ^ new.items()} - _HARMLESS)
    if names:
        changes = ", ".join(f"{name} ({old.get(name, 'unset')} → {new.get(name, 'unset')})" for name in names)
        raise TrainingError(
            f"{place}: --resume with another recipe: {changes}. Go on with --accept-changes, or start in another --out."
        )


def save_broken(out: Path, step: int, batches: list[Any], ids: list[str], what: str) -> Path:
    """Write the tensors and the utterances' ids of a step that was not finite, and return the file."""
    from safetensors.torch import save_file

    path = out / "broken" / f"step_{step:08d}.safetensors"
    fields = {f"{number}.{name}": value for number, batch in enumerate(batches) for name, value in vars(batch).items()}
    tensors = {name: value.detach().cpu().contiguous() for name, value in fields.items() if isinstance(value, Tensor)}
    try:
        with atomic_file(path) as temporary:
            save_file(tensors, temporary, {"what": what, "ids": " ".join(ids)})
    except FileError as error:
        log.warning("%s", error)
    return path


def _log_training_data(setup: TrainingSetup) -> None:
    """Log how much speech each split has, and what is skipped, by reason."""
    for split, cuts in setup.cuts.items():
        hours = sum(cut.duration for cut in cuts.values()) / 3600
        log.info("%s, %s, %s: %d utterances, %.3f h", setup.recipe.system, setup.corpus.name, split, len(cuts), hours)
    long = [name for split in setup.cuts for name in too_long(setup.corpus, split, setup.recipe.data)]
    left_out = {f"longer than data.max_seconds={setup.recipe.data.max_seconds:g}": long} if long else {}
    for reason, ids in (setup.skipped | left_out).items():
        log.info("skipped, %s: %d (%s%s)", reason, len(ids), ", ".join(ids[:5]), ", ..." if len(ids) > 5 else "")


def _leaves(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Return a nested recipe as dotted names and printed values."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        flat |= _leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: json.dumps(value)}
    return flat
