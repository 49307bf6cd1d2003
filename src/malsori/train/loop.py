"""The one loop: every system trains here, GANs too.

    for each step: rates ─► batches ─► turns (losses ─► weights ─► backward ─► clip ─► step) ─► average ─► log
    now and then:  contributions of the losses ─► validate ─► keep the best as the run's model ─► save a checkpoint

What a step does is a pure function of the weights, the seed and the step. So a run that was interrupted and
resumed ends with the same weights, bit for bit on the same machine, as one that was not.
"""

import logging
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from malsori.config import Config
from malsori.corpus.batches import SpeechDataset, on_device, places, plan_epoch
from malsori.errors import MalsoriError, TrainingError
from malsori.files import read_json, write_json
from malsori.pretrained.folder import SavedModel, read_model_facts, save_model
from malsori.pretrained.legacy import current_recipe
from malsori.runtime.device import resolve_device
from malsori.train.broken import NotFinite, broken_path, save_broken
from malsori.train.checkpoint import Checkpoints, Trained, held
from malsori.train.compilation import compile_networks
from malsori.train.contributions import measure_contributions
from malsori.train.monitor import TrainingMonitor
from malsori.train.optim import Ema, build_optimizer, set_learning_rate
from malsori.train.processes import Processes, joined, local_device, restarted
from malsori.train.recipe import check_names, refuse_changes
from malsori.train.run_log import RunLogger, read_warnings
from malsori.train.samples import recordings, validation_samples, write_samples
from malsori.train.setup import TrainingSetup, log_training_data, warn_of_other_pitch
from malsori.train.signals import asked_to_stop, held_back, quiet_worker
from malsori.train.tasks import Turn

log = logging.getLogger("malsori")

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
    device = resolve_device(local_device(options.device), accelerators=("cuda",))
    options = options.model_copy(update={"resume": options.resume or restarted()})
    with joined(device) as processes, held(options.out) if processes.first else nullcontext():
        log_training_data(setup)
        return processes.one_after_the_other(lambda: _Run(setup, options, device, processes)).go()


class _Run:
    """The state of one run."""

    def __init__(
        self, setup: TrainingSetup, options: RunOptions, device: torch.device, processes: Processes | None = None
    ) -> None:
        self.setup, self.recipe, self.out = setup, setup.recipe, options.out
        self.device, self.processes = device, processes or Processes()
        self.count = self.recipe.train.accumulate
        self.numbers = self.processes.numbers(self.count)  # of a step's batches, those that are computed here
        self.task = setup.task.to(self.device)
        self.joint = self.recipe.train.sync_batch_norm and self.processes.join_batch_norm(self.task)
        if self.recipe.train.compile:
            compile_networks(self.task, self.recipe.system, self.device)
        self.half = self.recipe.train.precision == "bfloat16" and self.device.type == "cuda"
        if self.recipe.train.precision == "bfloat16" and not self.half and self.processes.first:
            log.warning("train.precision = bfloat16 is for GPUs of CUDA; on %s float32 is computed", self.device)
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
        if self.processes.first:
            write_json(path, self.recipe.model_dump(mode="json"))
        if state is None:
            return 0
        best = state.get("best")
        self.measured = state.get("measured", [] if best is None else [best])
        self.broken = state.get("broken", [])
        return state["step"]

    def go(self) -> dict[str, float]:
        """Run from the start step to the last."""
        total = self.recipe.train.steps
        latest: dict[str, float] = {}
        if self.start >= total:
            log.info("%s has finished its %d steps already", self.out, total)
            return latest
        with ExitStack() as opened:
            asked = opened.enter_context(asked_to_stop())
            if self.processes.first:
                self.logger = opened.enter_context(RunLogger(self.out, self.start, total))
                warned = {entry["warning"] for entry in read_warnings(self.out)}
                self.monitor = TrainingMonitor(warned, self.logger.warning)
            for step, batches in enumerate(self._batches(self.start, total), start=self.start):
                values = self._step(step, batches)
                stop = any(self.processes.gathered(bool(asked)))
                if self.processes.first:
                    latest = self._report(step + 1, values, stop) or latest
                if stop:
                    raise TrainingError(f"{self.out}: asked to stop at step {step + 1}, saved. Go on with --resume.")
        return latest

    def _report(self, done: int, values: dict[str, float], stop: bool) -> dict[str, float]:
        """Write down what a step did, and validate and save where it is time; return what was measured."""
        loop = self.recipe.train
        last = done == loop.steps
        self.monitor.step(done, values)
        self.logger.step(done, values, force=done % loop.log_every == 0 or last)
        measured = self._validate(done) if done % loop.validate_every == 0 or last else {}
        if done % loop.save_every == 0 or last or stop:
            self._save(done, needed=last or stop)
        return measured

    def _step(self, step: int, batches: list[Any]) -> dict[str, float]:
        """Take every turn of one step and return its losses and gradient norms, by name; nothing if it is skipped."""
        seed_everything(self.recipe.seed, step)
        self.task.train()
        buffers = list(self.task.buffers())
        before = [buffer.clone() for buffer in buffers]  # running means, which a broken batch would spoil for good
        try:
            values = self._turns(step, batches)
        except NotFinite as broken:
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)
            self._skip(step, batches, broken)
            return {}
        self.processes.average_buffers(self.task)
        self.trained.ema.update(self.task.exported_model(), step)
        return values

    def _turns(self, step: int, batches: list[Any]) -> dict[str, float]:
        """Take the turns one after the other, each over all batches of the step before the next begins."""
        tasks = [self.task.losses(on_device(batch, self.device)) for batch in batches]
        values: dict[str, float] = {}
        try:
            for place in count():
                if not (name := self._gather(tasks, step, place, values)):
                    return values
                values |= self._update(name, step)
        finally:
            for task in tasks:
                task.close()  # a task that is left in the middle of a turn thaws what it froze
        return values

    def _gather(self, tasks: list[Any], step: int, place: int, values: dict[str, float]) -> str:
        """Gather the gradients of the next turn over all batches, and return its name; "" after the last."""
        name, own, broken = "", Counter[str](), ""
        try:
            for number, task in zip(self.numbers, tasks, strict=True):
                if turn := self._next_turn(task, step, place, number):
                    name = turn.name
                    own.update(self._backward(turn, step, number))
        except NotFinite as error:
            broken = str(error)
        for rank, (others, what) in enumerate(self.processes.gathered((dict(own), broken))):
            if what:
                raise NotFinite(what, rank)
            for key, value in others.items():
                values[key] = values.get(key, 0.0) + value / self.count
        return name

    def _next_turn(self, task: Any, step: int, place: int, number: int) -> Turn | None:
        """Have a batch's next turn computed; each of several batches draws by its number, whoever computes it."""
        if self.count > 1:
            seed_everything(self.recipe.seed, step, stream=2 + place * self.count + number)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            return next(task, None)

    def _backward(self, turn: Turn, step: int, number: int) -> dict[str, float]:
        """Weigh a turn's losses, send their gradients back, and return what was measured."""
        weights = self.recipe.weights.get(turn.name, {})
        check_names(f"weights.{turn.name}", set(weights), set(turn.losses))
        measured = turn.losses | turn.diagnostics
        detached = [torch.as_tensor(value).detach().float().to(self.device) for value in measured.values()]
        values = dict(zip(measured, torch.stack(detached).tolist(), strict=True))
        broken = [name for name in turn.losses if not math.isfinite(values[name])]
        what = f"loss {turn.name}/{broken[0]} is {values[broken[0]]}" if broken else ""
        if any(self.processes.gathered(what) if self.joint else [what]):  # together, as all go backward or none does
            raise NotFinite(what)
        if number == self.numbers[0]:
            self.trained.optimizers[turn.name].zero_grad(set_to_none=True)
        every = self.recipe.train.contributions_every
        measuring = number == 0 or (self.joint and number == self.numbers[0])
        if measuring and every and (step + 1) % every == 0:
            contributions = measure_contributions(turn.losses, weights, self.optimized[turn.name])
            if self.processes.first:
                self.logger.contributions(step + 1, turn.name, contributions)
        weighted = [loss * (weights[name] / self.count) for name, loss in turn.losses.items()]
        torch.stack(weighted).sum().backward()
        return {f"{turn.name}/{name}": value for name, value in values.items()}

    def _update(self, turn: str, step: int) -> dict[str, float]:
        """Step a turn's optimizer by the gradients that have been gathered."""
        config, optimizer = self.recipe.optimizers[turn], self.trained.optimizers[turn]
        self.processes.add_gradients(self.optimized[turn])
        norm = torch.nn.utils.clip_grad_norm_(self.optimized[turn].parameters(), config.clip_norm).item()
        if not math.isfinite(norm):
            raise NotFinite(f"the gradient of '{turn}' is {norm}")
        rate = set_learning_rate(optimizer, config, step, self.recipe.train.steps)
        optimizer.step()
        return {f"{turn}/gradient_norm": norm, f"{turn}/learning_rate": rate}

    def _skip(self, step: int, batches: list[Any], broken: NotFinite) -> None:
        """Keep the batches of a broken step for a look, and stop when there have been too many."""
        plan = list(places(self._plan("train"), step * self.count, (step + 1) * self.count))
        ids = [name for _, names in plan[broken.rank :: self.processes.count] for name in names]
        path = broken_path(self.out, step)
        if self.processes.rank == broken.rank:
            save_broken(path, batches, ids, str(broken))
        self.broken = [*(old for old in self.broken if old > step - _BROKEN_WINDOW), step]
        advice = f"{path} holds the batch ({', '.join(ids[:5])}{', ...' if len(ids) > 5 else ''})."
        log.warning("step %d: %s; skipped. %s", step, broken, advice)
        if self.processes.first:
            told = f"{broken}; the step was skipped. {advice} Listen to its recordings."
            self.monitor.warn(step, "not finite", told)
        if len(self.broken) > self.recipe.train.broken_steps:
            raise TrainingError(
                f"{self.out}: {len(self.broken)} of the last {_BROKEN_WINDOW} steps were not finite, the last {step}: "
                f"{broken}. {advice} Lower learning_rate or clip_norm; go on from the last checkpoint with --resume."
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
        with torch.compiler.set_stance("force_eager") if self.recipe.train.compile else nullcontext():
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
        data = self.recipe.data
        own = (
            place for place in places(self._plan("train"), start * self.count, stop * self.count)
            if place[0] % self.processes.count == self.processes.rank
        )  # fmt: skip
        speech = SpeechDataset(
            self.setup.corpus, self.setup.cuts["train"], self.setup.collators["train"], self.recipe.seed
        )
        loader = torch.utils.data.DataLoader(
            _Seeded(speech, self.recipe.seed),
            batch_size=None,
            sampler=own,
            num_workers=data.workers,
            prefetch_factor=4 if data.workers else None,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=quiet_worker,
        )
        with held_back():  # until the workers ignore them: none dies of a signal to the whole process group
            batches = iter(loader)
        try:
            while step := list(islice(batches, len(self.numbers))):
                for error in (batch for batch in step if isinstance(batch, MalsoriError)):
                    raise error
                yield step
        finally:
            del batches  # ends the workers, who ignore signals, though an error's traceback still holds this frame

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
        try:
            return self.speech[place]
        except MalsoriError as error:  # raised in a worker, it would come with the trace of that process in its message
            return error


def seed_everything(seed: int, step: int, stream: int | None = None) -> None:
    """Make every random draw of torch, numpy and Python a function of (seed, step), and of a stream beside others."""
    sequence = [seed, step] if stream is None else [seed, step, stream]
    mixed = int(np.random.SeedSequence(sequence).generate_state(1, np.uint64)[0])
    torch.manual_seed(mixed)
    np.random.seed(mixed % 2**32)
    random.seed(mixed)
