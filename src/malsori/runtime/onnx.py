"""Exported networks as onnxruntime computes them, on the CPU; and which of the two runtimes a model asks for."""

from typing import TYPE_CHECKING, Literal

import numpy as np

from malsori.config import nearest
from malsori.errors import DeviceError, ModelError
from malsori.extras import import_extra
from malsori.pretrained.exported import OnnxGraphs, is_exported
from malsori.pretrained.folder import SavedModel
from malsori.pretrained.hub import resolve
from malsori.runtime.threads import require_threads

if TYPE_CHECKING:
    from malsori.runtime.device import Runtime

#: What `--runtime` accepts; "auto" is onnx for an exported model, and torch for every other.
RUNTIMES = ("auto", "torch", "onnx")
_threads: list[int] = []  # that were asked for, of the whole process


class OnnxSession:
    """One graph; safe for threads. Raises: ModelError if the file is damaged, or no ONNX file."""

    def __init__(self, graphs: OnnxGraphs, name: str) -> None:
        runtime = import_extra("onnxruntime", "an exported model")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = _threads[-1] if _threads else 0
        options.log_severity_level = 3
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
        return outputs


def open_graph(model: SavedModel, name: str) -> OnnxSession:
    """Return a graph of an exported model. Raises: ModelError if it has none of that name, or it is damaged."""
    return OnnxSession(model.network, name)


def chosen_runtime(asked: str, name: str) -> Literal["torch", "onnx"]:
    """Return what computes a model.

    Raises: DeviceError for what is no runtime; ModelError if the model is of the other, saying what to do.
    """
    if asked not in RUNTIMES:
        raise DeviceError(f"no runtime '{asked}'.{nearest(asked, list(RUNTIMES))}")
    exported = is_exported(resolve(name))
    if asked == "torch" and exported:
        raise ModelError(f"{name}: was exported and runs with --runtime onnx; name the model it was made from")
    if asked == "onnx" and not exported:
        raise ModelError(f"{name}: is no exported model; make one: malsori export {name} FOLDER, and name FOLDER")
    return "onnx" if exported else "torch"


def computed_by(asked: str, name: str, device: str, precision: str, quantize: bool = False) -> "Runtime | None":
    """Return where a model's network of PyTorch computes, as `resolve_runtime` says it; None for an exported model.

    Raises: as `chosen_runtime`, `check_onnx` and `resolve_runtime`.
    """
    if chosen_runtime(asked, name) == "onnx":
        check_onnx(device, precision)
        return None
    from malsori.runtime.device import resolve_runtime

    return resolve_runtime(device, precision, quantize)


def check_onnx(device: str, precision: str) -> None:
    """Raise DeviceError for a device or precision that exported models do not have."""
    if device not in ("auto", "cpu"):
        raise DeviceError(f"device '{device}': exported models are computed on the CPU")
    if precision != "auto":
        raise DeviceError(f"precision '{precision}': an exported model has the one it was exported in (--dtype)")


def use_threads(count: int | None) -> None:
    """Let graphs that are opened from now on compute on so many threads; None leaves it as it is.

    Raises: DeviceError unless 1 <= count <= the machine's processors.
    """
    if count is not None:
        _threads[:] = [require_threads(count)]
