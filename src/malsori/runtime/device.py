"""Where a network computes, in which numbers, on how many threads: what is asked for, as this machine has it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import nn

from malsori.config import nearest
from malsori.errors import DeviceError
from malsori.runtime import threads
from malsori.runtime.memory import bound_kernels
from malsori.runtime.quantize import LinearWeights, prepared, serves_float16, serves_int8

#: What `--device` accepts; one GPU of several is "cuda:1".
DEVICES = ("auto", "cpu", "cuda", "mps")
#: What `--precision` accepts beside "auto". Weights stay float32; half precision is autocast's.
PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.float32,  # of what is no linear layer
}
#: The order in which "auto" looks.
_ACCELERATORS = ("cuda", "mps")

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Runtime:
    """Where and in which numbers networks compute, as this machine can.

    Attributes:
        device: holds the weights.
        dtype: of matrix products and convolutions.
        linear: in which numbers linear layers keep their weights; None for float32.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    linear: LinearWeights | None = None

    def place(self, network: Network) -> Network:
        """Return the network with its weights on the device, prepared to infer; the given one keeps its layers."""
        bound_kernels()
        return prepared(network.to(self.device), self.linear)

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Compute without a graph, in this precision, while the block lasts; of this thread alone."""
        half = self.dtype != torch.float32
        with torch.inference_mode(), torch.autocast(self.device.type, self.dtype if half else None, enabled=half):
            yield


def runtime_of(network: nn.Module) -> Runtime:
    """Return where a network computes that is placed already: where its weights lie, in float32."""
    weight = next(network.parameters(), None)
    return Runtime() if weight is None else Runtime(weight.device)


def resolve_runtime(device: str = "auto", precision: str = "auto", quantize: bool = False) -> Runtime:
    """Return where and in which numbers to compute.

    Args:
        device: one of DEVICES; "auto" is CUDA, else MPS, else the CPU.
        precision: one of PRECISIONS; "auto" is float32, on an x86 CPU with the weights of linear layers in float16,
            where `quantize` allows it. "int8" is of all linear layers.
        quantize: the network may keep its weights in smaller numbers.
    Raises: DeviceError if the machine has no such device, or the device cannot compute in that precision, saying
        which there are.
    """
    if precision != "auto" and precision not in PRECISIONS:
        raise DeviceError(f"no precision '{precision}'.{nearest(precision, ['auto', *PRECISIONS])}")
    found = resolve_device(device)
    served = tuple(name for name in supported_precisions(found) if quantize or name != "int8")
    if precision == "auto":
        return Runtime(found, linear="float16" if quantize and found.type == "cpu" and serves_float16() else None)
    if precision == "int8" and not quantize:
        raise DeviceError(f"int8 is for recognizers; a voice computes in {', '.join(served)}")
    if precision not in served:
        raise DeviceError(f"{found} does not compute in {precision} here; it does in {', '.join(served)}")
    return Runtime(found, PRECISIONS[precision], "int8" if precision == "int8" else None)


def resolve_device(name: str = "auto", accelerators: Sequence[str] = _ACCELERATORS) -> torch.device:
    """Return the device of that name.

    Args:
        name: one of DEVICES, or one GPU of several: "cuda:1".
        accelerators: what "auto" may take before the CPU, the best first.
    Raises: DeviceError if the machine has no such device, saying which there are.
    """
    there = available_devices()
    if name == "auto":
        return torch.device(next((kind for kind in accelerators if kind in there), "cpu"))
    kind, several, number = name.partition(":")
    if kind not in DEVICES[1:] or (several and (kind != "cuda" or not number.isdecimal())):
        raise DeviceError(f"no device '{name}'; one of {', '.join(DEVICES)}, or one GPU of several as cuda:1")
    if kind not in there or (number and int(number) >= torch.cuda.device_count()):
        raise DeviceError(f"device '{name}': this machine, with this PyTorch, has {', '.join(_named(there))}")
    return torch.device(name)


def available_devices() -> list[str]:
    """Return the kinds of device there are, "cpu" first."""
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return ["cpu", *(kind for kind in _ACCELERATORS if found[kind])]


def supported_precisions(device: torch.device) -> tuple[str, ...]:
    """Return the precisions a device computes in; a CPU's float16 is only emulated, slowly, and is not counted."""
    if device.type == "cuda":
        bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return ("float32", "bfloat16", "float16") if bfloat16 else ("float32", "float16")
    if device.type == "cpu":
        return ("float32", "bfloat16", "int8") if serves_int8() else ("float32", "bfloat16")
    return ("float32", "float16")


def use_threads(count: int | None) -> None:
    """Let PyTorch, and graphs opened from now on, compute on so many threads of the CPU; None leaves it as it is.

    Raises: DeviceError unless 1 <= count <= the machine's processors.
    """
    threads.use_threads(count)
    if count is not None:
        torch.set_num_threads(count)


def _named(kinds: list[str]) -> list[str]:
    """Return the kinds, each GPU of several by its own name."""
    gpus = torch.cuda.device_count()
    return [name for kind in kinds for name in ([f"cuda:{n}" for n in range(gpus)] if kind == "cuda" else [kind])]
