"""What a stranger's settings may ask for: no more than the weights that come with them hold, and nothing that hangs.

A network is built twice: first on torch's `meta` device, where sizes cost no memory, and is measured there.
"""

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from malsori.errors import MalsoriError, ModelError

Built = TypeVar("Built")

#: No size of any network is greater: a vocabulary of all that is written has 0.3 million entries.
MAX_NUMBER = 10_000_000
#: Elements that may be worked out and not be saved: masks, windows, tables of sines.
_MAX_UNSAVED = 64_000_000
#: Parameters for a saved tensor: weight norm registers three for two, and learners hold more than they are given.
_PARAMETERS_PER_TENSOR, _FREE_PARAMETERS = 4, 64
#: What is at least 1 where there is any: parts that share a width, and steps.
_POSITIVE = ("heads", "groups", "strides", "rates", "dilation", "dilations", "reduction", "vocab", "speakers")
#: What making a network of impossible sizes raises.
_IMPOSSIBLE = (
    ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError,
)  # fmt: skip


class _TooManyParameters(Exception):
    """A network registers more parameters than there are weights for."""


def check_numbers(values: Mapping[str, Any], tensors: int, place: str) -> None:
    """Refuse numbers that no network has. Raises: ModelError naming the first by its dotted name.

    Args:
        values: a network's settings, nested.
        tensors: how many weights come with them: there are no more layers than that.
    """
    for name, value in _leaves(values):
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        last = name.rsplit(".", 1)[-1]
        counts = last.startswith("num_") and not last.endswith("bins")
        least = 1 if last.endswith(_POSITIVE) else 0 if isinstance(value, int) else -MAX_NUMBER
        most = tensors if counts else MAX_NUMBER
        if not (math.isfinite(value) and least <= value <= most):
            why = f"; only {tensors} weights come with it" if counts and value > most else ""
            raise ModelError(f"{place}: '{name}' = {value}: from {least} to {most} can be{why}")


def build_within(
    build: Callable[[], Built], network: Callable[[Built], nn.Module], weights: Mapping[str, Tensor], place: str
) -> Built:
    """Return what `build` makes, if its network is no greater than the weights that are there for it.

    Args:
        build: makes the network of some settings, with weights of any value.
        network: the network of what it has made.
    Raises: ModelError, before the network takes any memory, if it is greater or cannot be at all.
    """
    held = sum(tensor.numel() for tensor in weights.values())
    try:
        with _no_more_parameters(_PARAMETERS_PER_TENSOR * len(weights) + _FREE_PARAMETERS), torch.device("meta"):
            empty = network(build())
    except _TooManyParameters as error:
        raise ModelError(f"{place}: {error}") from error
    except (MalsoriError, ValidationError):  # these say what is wrong by themselves
        raise
    except _IMPOSSIBLE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(f"{place}: no network can be made of its settings: {reason}") from error
    wanted = sum(tensor.numel() for tensor in empty.state_dict().values())
    unsaved = sum(buffer.numel() for buffer in empty.buffers())
    if wanted > 2 * held + _MAX_UNSAVED / 64 or unsaved > held + _MAX_UNSAVED:
        raise ModelError(
            f"{place}: its settings ask for {wanted + unsaved:,} numbers, {held:,} are there: not its weights"
        )
    return build()


def check_finite(weights: Mapping[str, Tensor], place: str) -> None:
    """Raise ModelError naming the first weight that is no number, or infinite."""
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            count = int((~torch.isfinite(tensor)).sum())
            raise ModelError(f"{place}: weight '{name}' holds {count} values that are not finite: damaged")


@contextmanager
def _no_more_parameters(most: int) -> Iterator[None]:
    """Raise ModelError where this thread registers more parameters than this, however deep in a network."""
    thread, count = threading.get_ident(), 0

    def registered(_module: nn.Module, _name: str, _parameter: nn.Parameter) -> None:
        nonlocal count
        count += threading.get_ident() == thread
        if count > most:
            raise _TooManyParameters(f"its settings ask for more than {most} weights: not those that come with it")

    handle = register_module_parameter_registration_hook(registered)
    try:
        yield
    finally:
        handle.remove()


def _leaves(values: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the plain values of nested settings, each with its dotted name; those of a list with the list's."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from _leaves(value, f"{name}.{key}" if name else str(key))
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _leaves(value, name)
    else:
        yield name, values
