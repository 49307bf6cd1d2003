"""Several processes that train one model together, as torchrun starts them: what they share, and what each does.

A step takes the recipe's `train.accumulate` batches, and the processes divide them: batch n is computed by process
n mod count. So the recipe alone says what is learnt, and the number of processes only how fast: gradients are those
that one process adds up, but for rounding. Batch norm sees one batch at a time here as there, and its running means are
averaged over the processes; with `train.sync_batch_norm` it takes the batches that are computed at once as one. The
first process validates, saves and logs.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Function

from malsori.errors import ConfigError, TrainingError
from malsori.nn.batch_norm import BatchNorm

_MEETING = timedelta(minutes=10)
_PATIENCE = timedelta(days=1)  # the others wait while the first validates; one that died is torchrun's to find

Value = TypeVar("Value")


@dataclass(frozen=True)
class Processes:
    """The processes of a run, seen by one of them: rank from 0 to count - 1."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that validates, saves and logs."""
        return self.rank == 0

    def numbers(self, batches: int) -> list[int]:
        """Return which of a step's batches this process computes.

        Raises: ConfigError unless every process gets as many.
        """
        if batches % self.count:
            told = f"train.accumulate = {batches}: {self.count} processes share a step's batches, each as many"
            raise ConfigError(f"recipe: {told}; give --set train.accumulate={self.count}, or a multiple of it")
        return list(range(self.rank, batches, self.count))

    def gathered(self, value: Value) -> list[Value]:
        """Return the value of each process, by rank; every process has to ask."""
        if self.count == 1:
            return [value]
        values: list[Value] = [value] * self.count
        with _all_there():
            dist.all_gather_object(values, value)
        return values

    def one_after_the_other(self, make: Callable[[], Value]) -> Value:
        """Return what the function makes, the first process before the others; every process has to call."""
        if not self.first:
            self.gathered(None)
        made = make()
        if self.first:
            self.gathered(None)
        return made

    def add_gradients(self, module: nn.Module) -> None:
        """Put the sum over all processes in the place of each gradient; one that no process has stays None."""
        if self.count == 1:
            return
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        there = [any(found) for found in zip(*self.gathered([p.grad is not None for p in parameters]), strict=True)]
        wanted = [parameter for parameter, found in zip(parameters, there, strict=True) if found]
        for parameter in wanted:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self._sum([parameter.grad for parameter in wanted if parameter.grad is not None])

    def join_batch_norm(self, module: nn.Module) -> bool:
        """Have every batch norm take the batches of all processes as one; return whether there are several processes.

        Raises: ConfigError if the module has none.
        """
        norms = [part for part in module.modules() if isinstance(part, BatchNorm)]
        if not norms:
            raise ConfigError("recipe: train.sync_batch_norm = true: this system has no batch norm; leave it out")
        if self.count > 1:
            for norm in norms:
                norm.total = _Total.apply
        return self.count > 1

    def average_buffers(self, module: nn.Module) -> None:
        """Put the mean over all processes in the place of each running mean and variance."""
        if self.count > 1:
            buffers = [buffer for buffer in module.buffers() if buffer.is_floating_point()]
            self._sum(buffers)
            for buffer in buffers:
                buffer /= self.count

    @torch.no_grad()
    def _sum(self, tensors: list[Tensor]) -> None:
        """Add tensors up over all processes, in place, in one message for each dtype."""
        for dtype in sorted({tensor.dtype for tensor in tensors}, key=str):
            alike = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.flatten() for tensor in alike])
            with _all_there():
                dist.all_reduce(flat)
            for tensor, part in zip(alike, flat.split([tensor.numel() for tensor in alike]), strict=True):
                tensor.copy_(part.view_as(tensor))


class _Total(Function):
    """The sum of a tensor over all processes; its gradient is that of all their losses."""

    @staticmethod
    def forward(context: Any, tensor: Tensor) -> Tensor:
        """Return the sum."""
        return _total(tensor)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        """Return the sum of the gradients."""
        return _total(gradients[0])


def _total(tensor: Tensor) -> Tensor:
    total = tensor.contiguous().clone()
    with _all_there():
        dist.all_reduce(total)
    return total


def local_device(name: str) -> str:
    """Return the device of this process: of several on a machine, each takes a GPU of its own."""
    number = os.environ.get("LOCAL_RANK")
    several = number is not None and name in ("auto", "cuda") and torch.cuda.is_available()
    return f"cuda:{number}" if several else name


def restarted() -> bool:
    """Return whether torchrun has started these processes again, after one of them ended before its time."""
    return _attempt() > 0


def _attempt() -> int:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def is_first() -> bool:
    """Return whether this process speaks for all, as torchrun's variables have it."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Join the processes that torchrun has started, over NCCL for GPUs and Gloo for CPUs; without torchrun be alone.

    All but the first keep their words to themselves, unless they are of an error.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes()
        return
    from torch._C._distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    if device.type == "cuda":
        torch.cuda.set_device(device)
    store, rank, count = next(iter(rendezvous("env://", timeout=_MEETING)))
    attempt = PrefixStore(f"attempt {_attempt()}", store)  # torchrun keeps where those before it could be reached
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=attempt, rank=rank, world_size=count, timeout=_PATIENCE)
    try:
        processes = Processes(rank, count)
        if not processes.first:
            logging.getLogger("malsori").setLevel(logging.ERROR)
        yield processes
    finally:
        dist.destroy_process_group()


@contextmanager
def _all_there() -> Iterator[None]:
    """Raise TrainingError where another process has gone in the middle of an exchange."""
    try:
        yield
    except RuntimeError as error:
        told = "another process of this run has ended; torchrun --max-restarts N starts all of them again"
        raise TrainingError(f"{told} ({str(error).splitlines()[0][:200]})") from error
