"""Exported networks as onnxruntime computes them, on the CPU; and which of the two runtimes a model asks for."""

import functools
import importlib
import logging
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from malsori.config import nearest
from malsori.errors import DeviceError, MissingExtraError, ModelError
from malsori.pretrained.exported import OnnxGraphs, has_network, is_exported
from malsori.pretrained.folder import SavedModel
from malsori.pretrained.hub import load_saved, resolve
from malsori.runtime.threads import asked_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from malsori.runtime.device import Runtime

Opened = TypeVar("Opened")

log = logging.getLogger("malsori")

#: What `--runtime` accepts; "auto" is onnx for an exported model, and torch for every other. Where one folder serves
#: both, it is onnx on a CPU, unless a precision is asked for.
RUNTIMES = ("auto", "torch", "onnx")
#: What Linux has where there is a GPU that PyTorch may compute on: NVIDIA's, a Jetson's, AMD's, one behind WSL.
_GPU_FILES = ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/kfd", "/dev/dxg")


class OnnxSession:
    """One graph; safe for threads. Raises: ModelError if the file is damaged, or no ONNX file."""

    def __init__(self, graphs: OnnxGraphs, name: str) -> None:
        runtime = _onnxruntime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = asked_threads() or 0
        options.log_severity_level = 3
        options.add_session_config_entry("session.x64quantprecision", "1")  # else int8 overflows on CPUs without VNNI
        options.enable_mem_pattern = options.enable_cpu_mem_arena = False  # lengths differ: they hold memory, no time
        path = graphs.path(name)
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a class of its own for each fault, and no common one
            raise ModelError(f"{path}: damaged, or no ONNX file ({error})") from error
        self.inputs = tuple(one.name for one in self._session.get_inputs())

    def run(self, **inputs: np.ndarray | np.generic) -> list[np.ndarray]:
        """Return the outputs in their order; of the inputs those are left out that the graph does not take."""
        given = {name: np.asarray(value) for name, value in inputs.items() if name in self.inputs}
        outputs: list[np.ndarray] = self._session.run(None, given)
        return [one.view(np.int64) if one.dtype == np.int64 else one for one in outputs]  # it has C's long long


def open_graph(model: SavedModel, name: str) -> OnnxSession:
    """Return a graph of an exported model. Raises: ModelError if it has none of that name, or it is damaged."""
    return OnnxSession(model.network, name)


def chosen_runtime(asked: str, name: str, device: str = "auto", precision: str = "auto") -> Literal["torch", "onnx"]:
    """Return what computes a model, on a device in a precision.

    Raises: DeviceError for what is no runtime, or if the machine has no such device; ModelError if the model is of the
        other runtime, saying what to do.
    """
    if asked not in RUNTIMES:
        raise DeviceError(f"no runtime '{asked}'.{nearest(asked, list(RUNTIMES))}")
    exported, network = is_exported(resolve(name)), has_network(resolve(name))
    if asked == "torch" and not network:
        raise ModelError(f"{name}: was exported and runs with --runtime onnx; name the model it was made from")
    if asked == "onnx" and not exported:
        raise ModelError(f"{name}: is no exported model; make one: malsori export {name} FOLDER, and name FOLDER")
    if asked == "auto" and exported and network and find_spec("torch"):
        return "onnx" if precision == "auto" and _on_cpu(device) and _is_installed(name) else "torch"
    return "onnx" if exported and asked != "torch" else "torch"


def _on_cpu(device: str) -> bool:
    """Return whether a device is the CPU; for "auto" PyTorch, which takes a second to load, is asked if it need be."""
    if device != "auto":
        return device == "cpu"
    if sys.platform == "linux" and not any(Path(file).exists() for file in _GPU_FILES):
        return True
    from malsori.runtime.device import resolve_device

    return resolve_device().type == "cpu"


@functools.cache
def _is_installed(name: str) -> bool:
    """Return whether onnxruntime is installed; if not, it is told once that a model could be faster."""
    found = find_spec("onnxruntime") is not None
    if not found:
        log.warning("%s: PyTorch computes it; onnxruntime would be faster: pip install onnxruntime", name)
    return found


def _onnxruntime() -> ModuleType:
    """Return the package. Raises: MissingExtraError where malsori was installed without what it asks for."""
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise MissingExtraError(
            "an exported model needs onnxruntime, which is not installed; install it with: pip install onnxruntime"
        ) from error


def computed_by(asked: str, name: str, device: str, precision: str, quantize: bool = False) -> "Runtime | None":
    """Return where a model's network of PyTorch computes, as `resolve_runtime` says it; None for an exported model.

    Raises: as `chosen_runtime`, `check_onnx` and `resolve_runtime`.
    """
    if chosen_runtime(asked, name, device, precision) == "onnx":
        check_onnx(device, precision)
        return None
    from malsori.runtime.device import resolve_runtime

    return resolve_runtime(device, precision, quantize)


def open_model(
    opener: "Callable[[SavedModel, Runtime | None], Opened]",
    name: str,
    asked: str,
    device: str,
    precision: str,
    quantize: bool = False,
) -> "Opened":
    """Return a model by what computes it; by PyTorch, which is told, where graphs that nobody asked for do not open.

    Args:
        opener: makes a saved model what it is for; its runtime is None where graphs are computed.
    Raises: as `computed_by`, `load_saved` and the opener.
    """
    where = computed_by(asked, name, device, precision, quantize)
    try:
        return opener(load_saved(name, graphs=where is None), where)
    except (MissingExtraError, ModelError) as error:
        if where is not None or asked != "auto" or not has_network(resolve(name)):
            raise
        from malsori.runtime.device import use_threads

        log.warning("%s. PyTorch computes it instead", error)
        use_threads(asked_threads())
        return open_model(opener, name, "torch", device, precision, quantize)


def check_onnx(device: str, precision: str) -> None:
    """Raise DeviceError for a device or precision that exported models do not have."""
    if device not in ("auto", "cpu"):
        raise DeviceError(f"device '{device}': exported models are computed on the CPU")
    if precision != "auto":
        raise DeviceError(f"precision '{precision}': an exported model has the one it was exported in (--dtype)")
