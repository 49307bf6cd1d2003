"""Checkpoints of a run: everything a step needs to go on exactly, in safetensors, whole or not at all."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from malsori.config import read_json
from malsori.errors import TrainingError
from malsori.models.saved import load_exactly, read_weights, whole_folder
from malsori.train.optim import Ema

_PREFIX = "step_"


class Checkpoints:
    """The checkpoint folders of one run: checkpoints/step_00001000/{task,ema,optimizers}.safetensors, state.json."""

    def __init__(self, run: Path, keep: int) -> None:
        self.folder = run / "checkpoints"
        self.keep = keep

    def steps(self) -> list[int]:
        """Return the steps that were saved whole, in order."""
        found = (path for path in self.folder.glob(f"{_PREFIX}*") if (path / "state.json").is_file())
        return sorted(int(path.name.removeprefix(_PREFIX)) for path in found)

    def save(
        self, step: int, task: nn.Module, ema: Ema, optimizers: dict[str, torch.optim.Optimizer], state: dict[str, Any]
    ) -> None:
        """Write a checkpoint after `step` finished steps, and drop the oldest beyond `keep`."""
        with whole_folder(self._path(step)) as partial:
            save_file(_plain(task.state_dict()), partial / "task.safetensors")
            save_file(_plain(ema.weights), partial / "ema.safetensors")
            save_file(_plain(_optimizer_tensors(optimizers)), partial / "optimizers.safetensors")
            (partial / "state.json").write_text(json.dumps({"step": step, **state}, indent=1) + "\n")
        for old in self.steps()[: -self.keep]:
            shutil.rmtree(self._path(old))

    def restore(
        self, step: int, task: nn.Module, ema: Ema, optimizers: dict[str, torch.optim.Optimizer]
    ) -> dict[str, Any]:
        """Put a checkpoint back and return its state. Raises: ModelError if a part is damaged or does not fit."""
        path = self._path(step)
        load_exactly(task, read_weights(path / "task.safetensors"), str(path))
        weights = read_weights(path / "ema.safetensors")
        if set(weights) != set(ema.weights):
            raise TrainingError(f"{path}: the averaged weights are not those of this recipe's model")
        for name, tensor in weights.items():
            ema.weights[name].copy_(tensor)
        _restore_optimizers(optimizers, read_weights(path / "optimizers.safetensors"))
        return read_json(path / "state.json")

    def _path(self, step: int) -> Path:
        return self.folder / f"{_PREFIX}{step:08d}"


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _optimizer_tensors(optimizers: dict[str, torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Flatten optimizer states to names: turn.index.key."""
    return {
        f"{turn}.{index}.{key}": tensor
        for turn, optimizer in optimizers.items()
        for index, entries in optimizer.state_dict()["state"].items()
        for key, tensor in entries.items()
    }


def _restore_optimizers(optimizers: dict[str, torch.optim.Optimizer], tensors: dict[str, Tensor]) -> None:
    """Undo `_optimizer_tensors`: the parameters' own order stands for their names."""
    states: dict[str, dict[int, dict[str, Tensor]]] = {turn: {} for turn in optimizers}
    for name, tensor in tensors.items():
        turn, index, key = name.rsplit(".", 2)
        if turn not in states:
            raise TrainingError(f"the checkpoint steps a part '{turn}' that this recipe does not have")
        states[turn].setdefault(int(index), {})[key] = tensor
    for turn, optimizer in optimizers.items():
        optimizer.load_state_dict({"state": states[turn], "param_groups": optimizer.state_dict()["param_groups"]})
