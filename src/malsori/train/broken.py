"""A step whose loss or gradient is not finite: what was met, and its batches kept for a look."""

import logging
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

    fields = {f"{number}.{name}": value for number, batch in enumerate(batches) for name, value in vars(batch).items()}
    tensors = {name: value.detach().cpu().contiguous() for name, value in fields.items() if isinstance(value, Tensor)}
    try:
        with atomic_file(path) as temporary:
            save_file(tensors, temporary, {"what": what, "ids": " ".join(ids)})
    except FileError as error:
        log.warning("%s", error)
