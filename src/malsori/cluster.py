"""The jobs of a corpus on other machines: the same functions, over a Ray cluster (extra `cluster`).

    jobs ─► at most two with each worker, as they finish ─► results in the order of the jobs
            a worker is lost: its jobs go to the others, and another is started where there is room

Every machine reads and writes one shared path and has the same version of malsori; a worker is given the function, with
the models that it holds, once.
"""

import logging
import os
import socket
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from malsori.errors import ClusterError, OptionError, SoundWarning
from malsori.extras import import_extra

logger = logging.getLogger(__name__)

Job = TypeVar("Job")
Result = TypeVar("Result")

#: A job during which so many workers were lost is what loses them.
MAX_LOST = 3

_ANSWER_SECONDS = 10.0
_BEGINNING = -1  # where a worker is before its first job
_QUEUED = 2  # jobs with a worker: one that it does and the next, so that it never waits
_AHEAD = 16  # jobs for each worker that may be done before the first of them is: bounds what is kept


class RayExecutor:
    """Does jobs on a Ray cluster; an `Executor` of `corpus.pool`."""

    def __init__(self, address: str, workers: int = 0, places: Sequence[Path] = ()):
        """Connect to a cluster.

        Args:
            address: of its head (host:6379, ray://host:10001); auto finds the one that runs on this machine.
            workers: how many jobs at a time; 0 is one for each processor of the cluster.
            places: files and folders that every machine has to see; relative paths are below this process's folder.
        Raises: MissingExtraError without Ray, OptionError if no cluster answers there.
        """
        self._ray = connect(address)
        self._workers = workers or max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        self._places = [str(place) for place in places]

    def map(self, make: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[Result]:
        """Yield make(job) of each job, in order.

        Args:
            make: can be pickled, with the models that it holds.
        Raises: what `make` raises; ClusterError if a machine has another version of malsori or does not see the
            places, or if a job loses its workers again and again.
        """
        count = min(self._workers, len(jobs))
        state = _Dealt(self._ray, jobs, [version("malsori"), os.getcwd(), self._places, [self._ray.put(make)]], count)
        try:
            yield from state.results()
        finally:
            for worker in state.workers:
                self._ray.kill(worker)


def connect(address: str) -> ModuleType:
    """Return Ray, connected to a cluster. Raises: as `RayExecutor`."""
    ray = import_extra("ray", "--cluster")
    if ray.is_initialized():
        return ray
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        _require_answer(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        raise OptionError(
            f"--cluster {address}: no Ray cluster answers ({str(error).splitlines()[0]}); start one with "
            "'ray start --head', or give the address of its head, such as host:6379"
        ) from error
    return ray


def _require_answer(address: str) -> None:
    """Raise OSError where nobody listens at a cluster's address: Ray itself would go on asking for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_ANSWER_SECONDS).close()


class _Worker:
    """What runs on a machine of the cluster: it holds a function, and does its jobs one by one."""

    def begin(self, needed: str, folder: str, places: list[str], make: list[Any]) -> None:
        """Take the function, a reference to it, and work in the folder that the paths are below, if it is there.

        Raises: ClusterError if the machine is not as the others are.
        """
        import ray
        import torch

        host = socket.gethostname()
        if version("malsori") != needed:
            raise ClusterError(f"{host}: has malsori {version('malsori')}, not {needed}; all machines need the same")
        if Path(folder).is_dir():
            os.chdir(folder)
        missing = [place for place in places if not Path(place).exists()]
        if missing:
            raise ClusterError(
                f"{host}: there is no {Path(folder, missing[0])}; all machines of a cluster share one path"
            )
        torch.set_num_threads(1)  # more would sum in another order and change last bits
        self._make = ray.get(make[0])

    def do(self, job: Any) -> tuple[Any, list[str]]:
        """Return the result of a job, and what was missing in the sounds that it read."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", SoundWarning)
            result = self._make(job)
        return result, [str(note.message) for note in caught if issubclass(note.category, SoundWarning)]


@dataclass
class _Dealt:
    """Jobs that are dealt out to workers as these become free."""

    ray: Any
    jobs: Sequence[Any]
    given: list[Any]
    count: int
    workers: list[Any] = field(default_factory=list)
    _running: dict[Any, tuple[Any, int]] = field(default_factory=dict)  # what is awaited: of which worker, which job
    _starting: dict[Any, Any] = field(default_factory=dict)
    _free: deque[Any] = field(default_factory=deque)
    _waiting: deque[int] = field(default_factory=deque)
    _lost: Counter[int] = field(default_factory=Counter)
    _done: dict[int, Any] = field(default_factory=dict)

    def results(self) -> Iterator[Any]:
        """Yield the results in order."""
        self._waiting = deque(range(len(self.jobs)))
        for _ in range(self.count):
            self._start()
        for number in range(len(self.jobs)):
            while number not in self._done:
                self._deal(number + _AHEAD * self.count)
                self._await()
            result, notes = self._done.pop(number)
            for note in notes:
                warnings.warn(note, SoundWarning, stacklevel=1)
            yield result

    def _start(self) -> None:
        worker = self.ray.remote(num_cpus=1)(_Worker).remote()
        self.workers.append(worker)
        self._starting[worker.begin.remote(*self.given)] = worker

    def _deal(self, limit: int) -> None:
        """Give free workers the next jobs, none of them beyond the limit."""
        while self._free and self._waiting and self._waiting[0] < limit:
            worker, number = self._free.popleft(), self._waiting.popleft()
            self._running[worker.do.remote(self.jobs[number])] = (worker, number)

    def _await(self) -> None:
        """Take what is ready next: a worker that has begun, a job's result, or the loss of a worker."""
        ready, _ = self.ray.wait([*self._running, *self._starting], num_returns=1)
        asked = ready[0]
        try:
            result = self.ray.get(asked)
        except self.ray.exceptions.RayActorError:
            self._replace(self._starting[asked] if asked in self._starting else self._running[asked][0])
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, Exception) else error from None
        else:
            if asked in self._starting:
                self._free.extend([self._starting.pop(asked)] * _QUEUED)
            else:
                worker, number = self._running.pop(asked)
                self._done[number] = result
                self._free.append(worker)

    def _replace(self, worker: Any) -> None:
        """Put the jobs of a lost worker back, and start another. Raises: ClusterError for a job that loses them all."""
        numbers = [number for own, number in self._running.values() if own is worker]
        logger.warning("a worker was lost; %d jobs are done again by others", len(numbers))
        at = numbers[0] if numbers else _BEGINNING
        self._lost[at] += 1
        if self._lost[at] == MAX_LOST:
            doing = f"at {self.jobs[at]!r:.200}" if numbers else "before their first job"
            raise ClusterError(
                f"{MAX_LOST} workers were lost {doing}, perhaps for want of memory; give --workers a number"
            )
        self._running = {asked: of for asked, of in self._running.items() if of[0] is not worker}
        self._starting = {asked: own for asked, own in self._starting.items() if own is not worker}
        self._free = deque(own for own in self._free if own is not worker)
        self._waiting.extendleft(sorted(numbers, reverse=True))
        self.workers.remove(worker)
        self._start()
