"""A step whose loss or gradient is not finite: what was met, and its batches kept for a look."""

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from malsori.errors import FileError
from malsori.files import atomic_file

log = logging.getLogger("malsori")


class NotFinite(Exception):
    """A turn's loss or gradient is NaN or infinite; the message names it, `rank` the process that met it.

    The message is empty where another process met it, which is not yet known.
    """

    def __init__(self, what: str, rank: int = 0) -> None:
        super().__init__(what)
        self.rank = rank


def broken_path(out: Path, step: int) -> Path:
    """Return where the batches of a step that was not finite are kept."""
    return out / "broken" / f"step_{step:08d}.safetensors"


def save_broken(path: Path, batches: list[Any], ids: list[str], what: str) -> None:
    """Write the tensors and the utterances' ids of a step that was not finite."""
    from safetensors.torch import save_file

    named = (pair for number, batch in enumerate(batches) for pair in _tensors(batch, str(number)))
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in named}
    try:
        with atomic_file(path) as temporary:
            save_file(tensors, temporary, {"what": what, "ids": " ".join(ids)})
    except FileError as error:
        log.warning("%s", error)


def _tensors(batch: Any, place: str) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a batch, and of batches in it, with their names."""
    for name, value in vars(batch).items():
        if isinstance(value, Tensor):
            yield f"{place}.{name}", value
        elif dataclasses.is_dataclass(value):
            yield from _tensors(value, f"{place}.{name}")
