"""Pickles of other people, opened in a process of their own that has little memory and time.

`torch.load(weights_only=True)` runs no code of theirs. Yet a small file can ask for much: what it asks for is the
process's, which may take the file's size a few times over and no more.
"""

import multiprocessing
import os
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from malsori.errors import ModelError

_SCALAR = np.float64(0).__reduce__()[0]
#: What a number of NumPy's is pickled as, under its old name too: ming024's optimizer has its learning rate so.
_NUMBERS: list[Any] = [np.dtype, type(np.dtype("f8")), _SCALAR, (_SCALAR, "numpy.core.multiarray.scalar")]
_UNREADABLE = (
    pickle.UnpicklingError, OSError, RuntimeError, EOFError, LookupError, ValueError, AttributeError, TypeError,
    MemoryError, RecursionError, AssertionError, ImportError, ArithmeticError,
)  # fmt: skip

#: Bytes that the process may take beyond what this one holds: so many times the file, and so many more.
_TIMES, _MORE = 6, 1 << 30
_SECONDS = 60.0  # and as many more as the file has 10 MB


def read_pickle(path: Path) -> Any:
    """Return what a pickle of torch holds: tensors and plain values.

    Raises: ModelError if it cannot be read so, or asks for more memory or time than a file of its size needs.
    """
    size = path.stat().st_size
    if sys.platform != "linux":  # the system would not hold a process to a limit, or a fork is not safe
        return _load(path)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_load_within, args=(path, _TIMES * size + _MORE, theirs), daemon=True)
    child.start()
    theirs.close()
    try:
        if not ours.poll(_SECONDS + size / 1e7):
            raise ModelError(f"{path}: not read after {_SECONDS + size / 1e7:.0f} s: no file of weights takes so long")
        found = ours.recv()
    except EOFError as error:
        raise ModelError(f"{path}: reading it takes far more memory than its {size} bytes: damaged, or a trap") from (
            error
        )
    finally:
        ours.close()
        child.kill()
        child.join()
    if isinstance(found, str):
        raise ModelError(found)
    return _joined(found[0])


def _load_within(path: Path, more_bytes: int, theirs: Any) -> None:
    """Send what a file holds, or the message of why it cannot be read, from a process that may grow so much."""
    import resource

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + more_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    torch.set_num_threads(1)  # a fork has none of the threads that torch would wait for
    try:
        theirs.send((_parted(_load(path)),))
    except ModelError as error:
        theirs.send(str(error))
    except (MemoryError, RuntimeError):
        os._exit(1)  # no memory, and none to say so; that nothing was sent does


def _load(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(_NUMBERS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError as error:
        raise ModelError(f"{path}: reading it takes far more memory than it is long: damaged, or a trap") from error
    except _UNREADABLE as error:
        held = re.search(r"GLOBAL ([\w.]+)", str(error))
        said = str(error).strip().split("\n")[0].split(". ")[0] or type(error).__name__
        reason = f"it holds a {held[1]}" if held else said
        raise ModelError(
            f"{path}: not a file of weights that can be opened without running its code ({reason})"
        ) from error


def _parted(value: Any) -> Any:
    """Return nested values with each tensor as an array, which a pipe carries by its bytes."""
    if isinstance(value, Tensor):
        dense = value.detach().contiguous()
        if dense.dtype == torch.bfloat16:
            dense = dense.float()
        return ("tensor", dense.numpy().copy())
    if isinstance(value, dict):
        return ("dict", [(key, _parted(each)) for key, each in value.items()])
    if isinstance(value, list | tuple):
        return ("list" if isinstance(value, list) else "tuple", [_parted(each) for each in value])
    return ("plain", value if isinstance(value, str | int | float | bool | bytes | None | np.generic) else str(value))


def _joined(value: Any) -> Any:
    """Undo `_parted`."""
    kind, content = value
    if kind == "tensor":
        return torch.from_numpy(content)
    if kind == "dict":
        return {key: _joined(each) for key, each in content}
    if kind in ("list", "tuple"):
        return (list if kind == "list" else tuple)(_joined(each) for each in content)
    return content
