"""Checkpoints of a run: everything a step needs to go on exactly, in safetensors, whole or not at all."""

import logging
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from malsori import files
from malsori.errors import ConfigError, FileError, ModelError, TrainingError
from malsori.files import atomic_folder, clear_interrupted, read_json, write_json
from malsori.pretrained.folder import SavedModel, load_exactly, open_model, read_weights, save_tensors
from malsori.pretrained.legacy import TURNS
from malsori.train.optim import Ema

log = logging.getLogger("malsori")

_PREFIX = "step_"


@dataclass(frozen=True)
class Trained:
    """What a step changes: the task with all its networks, the average that is shipped, the optimizers by turn."""

    task: nn.Module
    ema: Ema
    optimizers: dict[str, torch.optim.Optimizer]


class Checkpoints:
    """The checkpoint folders of one run: checkpoints/step_00001000/{task,ema,optimizers}.safetensors, state.json.

    state.json names the length and the CRC-32 of the other files, so that a torn or damaged one is found out.
    """

    def __init__(self, run: Path, keep: int) -> None:
        self.folder = run / "checkpoints"
        self.keep = keep

    def steps(self) -> list[int]:
        """Return the steps that were saved whole, in order."""
        found = (path for path in self.folder.glob(f"{_PREFIX}*") if (path / "state.json").is_file())
        numbers = (path.name.removeprefix(_PREFIX) for path in found)
        return sorted(int(number) for number in numbers if number.isdecimal())

    def save(self, step: int, trained: Trained, state: dict[str, Any]) -> None:
        """Write a checkpoint after `step` finished steps, and drop the oldest beyond `keep`.

        Raises: TrainingError if the disk does not take it; what was there before stays.
        """
        parts = {
            "task": trained.task.state_dict(),
            "ema": trained.ema.weights,
            "optimizers": _optimizer_tensors(trained.optimizers),
        }
        try:
            with atomic_folder(self._path(step)) as partial:
                for name, tensors in parts.items():
                    save_tensors(partial / f"{name}.safetensors", _plain(tensors))
                files = {f"{name}.safetensors": _digest(partial / f"{name}.safetensors") for name in parts}
                write_json(partial / "state.json", {"step": step, **state, "files": files})
        except FileError as error:
            raise TrainingError(f"{error}. Make room on the disk.") from error
        for old in self.steps()[: -self.keep]:
            shutil.rmtree(self._path(old))

    def restore(self, trained: Trained) -> dict[str, Any] | None:
        """Put the last checkpoint that is undamaged back and return its state; None if nothing was saved yet.

        Damaged ones are set aside as damaged_step_..., and logged.
        Raises: TrainingError if all are damaged; ModelError if one is whole but of another model.
        """
        saved = self.steps()
        for step in reversed(saved):
            path = self._path(step)
            try:
                state, parts = _read(path)
            except (ModelError, ConfigError, TrainingError) as error:
                log.warning("%s. Going on from the checkpoint before it.", error)
                shutil.rmtree(aside := path.with_name(f"damaged_{path.name}"), ignore_errors=True)
                path.replace(aside)
                continue
            _put_back(trained, parts, str(path))
            return state
        if saved:
            raise TrainingError(f"{self.folder}: no checkpoint can be read. Start anew in another --out.")
        return None

    def _path(self, step: int) -> Path:
        return self.folder / f"{_PREFIX}{step:08d}"


def checkpoint_steps(run: Path) -> list[int]:
    """Return the steps of a run whose checkpoints are there, in order."""
    return Checkpoints(run, keep=0).steps()


def model_at(run: Path, step: int) -> SavedModel:
    """Return a run's model with the averaged weights of one of its checkpoints.

    Raises: ModelError if the run has saved no model yet, or the checkpoint is of another one.
    """
    model = open_model(run / "model")
    weights = Checkpoints(run, keep=0).folder / f"{_PREFIX}{step:08d}" / "ema.safetensors"
    load_exactly(model.network, read_weights(weights), str(weights))
    return model


@contextmanager
def held(run: Path) -> Iterator[None]:
    """Hold a run folder for this process alone, and clear what a killed one left half done in it.

    Raises: TrainingError if another process trains in it.
    """
    taken = TrainingError(f"{run}: another process is training in it. Name another --out.")
    with files.held(run, taken):
        for folder in (run, run / "checkpoints"):
            clear_interrupted(folder)
        yield


def _read(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    """Return a checkpoint's state and tensors. Raises: ModelError, ConfigError or TrainingError if it is damaged."""
    state = read_json(path / "state.json")
    _check_state(state, path)
    for name, digest in state.pop("files", {}).items():
        if not (path / name).is_file() or _digest(path / name) != digest:
            raise TrainingError(f"{path / name}: damaged, its bytes are not those that were written")
    return state, {name: read_weights(path / f"{name}.safetensors") for name in ("task", "ema", "optimizers")}


def _check_state(state: dict[str, Any], path: Path) -> None:
    """Raise TrainingError if what state.json says cannot have been written by a run."""
    measured, broken = state.get("measured", []), state.get("broken", [])
    numbers = isinstance(measured, list) and all(isinstance(value, int | float) for value in measured)
    steps = isinstance(broken, list) and all(type(step) is int for step in broken)
    best = isinstance(state.get("best"), int | float | None)
    named = type(state.get("step")) is int and path.name == f"{_PREFIX}{state['step']:08d}"
    if not (named and numbers and steps and best):
        raise TrainingError(f"{path / 'state.json'}: damaged, it is not what a run writes")
    if not isinstance(state.get("files", {}), dict):
        raise TrainingError(f"{path / 'state.json'}: damaged, 'files' names no files")


def _put_back(trained: Trained, parts: dict[str, dict[str, Tensor]], place: str) -> None:
    load_exactly(trained.task, parts["task"], place)
    averages = trained.ema.weights
    if set(parts["ema"]) != set(averages):
        raise ModelError(f"{place}: the averaged weights are not those of this recipe's model")
    for name, tensor in parts["ema"].items():
        averages[name].copy_(tensor)
    _restore_optimizers(trained.optimizers, parts["optimizers"], place)


def _digest(path: Path) -> list[int]:
    """Return a file's length and CRC-32."""
    length, crc = 0, 0
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            length, crc = length + len(block), zlib.crc32(block, crc)
    return [length, crc]


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _optimizer_tensors(optimizers: dict[str, torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Flatten optimizer states to names: turn.index.key."""
    return {
        f"{turn}.{index}.{key}": tensor
        for turn, optimizer in optimizers.items()
        for index, entries in optimizer.state_dict()["state"].items()
        for key, tensor in entries.items()
        if isinstance(tensor, Tensor)
    }


def _restore_optimizers(optimizers: dict[str, torch.optim.Optimizer], tensors: dict[str, Tensor], place: str) -> None:
    """Undo `_optimizer_tensors`: the parameters' own order stands for their names."""
    states: dict[str, dict[int, dict[str, Tensor]]] = {turn: {} for turn in optimizers}
    for name, tensor in tensors.items():
        turn, index, key = name.rsplit(".", 2)
        turn = TURNS.get(turn, turn)
        if turn not in states:
            raise ModelError(f"{place}: steps a part '{turn}' that this recipe does not have")
        states[turn].setdefault(int(index), {})[key] = tensor
    for turn, optimizer in optimizers.items():
        optimizer.load_state_dict({"state": states[turn], "param_groups": optimizer.state_dict()["param_groups"]})
