"""The same work for every utterance, in several processes, with its progress, and ended cleanly by Ctrl-C.

Results come in the order of the jobs and do not depend on how many processes made them, or where.
"""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Protocol, TypeVar, runtime_checkable

from malsori.errors import CorpusError

logger = logging.getLogger(__name__)

#: More processes than this are a slip of the pen: each takes some 300 MB.
MAX_WORKERS = 256

Job = TypeVar("Job")
Result = TypeVar("Result")


@runtime_checkable
class Executor(Protocol):
    """Who does jobs elsewhere, such as `malsori.cluster`."""

    def map(self, make: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[Result]:
        """Yield make(job) of each job, in order; raises what `make` raises."""


def run_in_order(
    make: Callable[[Job], Result],
    jobs: Sequence[Job],
    workers: int,
    doing: str,
    apart: bool = False,
    executor: Executor | None = None,
) -> Generator[Result, None, None]:
    """Yield make(job) of each job, in order, showing a progress bar on a terminal and plain lines in a log.

    Args:
        make: a function of a module, so that another process can import it.
        workers: processes; 0 is one for each processor, 1 is this one.
        doing: what the progress is called, such as "preparing".
        apart: never in this process: what the jobs leave behind in it would change what comes after.
        executor: does them elsewhere; `workers` is its own matter then.
    Raises: CorpusError if a worker is killed; what `make` raises.
    """
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    if executor is not None:
        results = executor.map(make, jobs)
    else:
        results = _alone(make, jobs) if workers <= 1 and not apart else _together(make, jobs, workers)
    yield from _with_progress(results, len(jobs), doing)


def _alone(make: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[Result]:
    with _one_thread():
        yield from map(make, jobs)


def _together(make: Callable[[Job], Result], jobs: Sequence[Job], workers: int) -> Iterator[Result]:
    # Spawned, not forked: a fork would copy the locks of torch's threads. They import what they need anew.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker)
    try:
        with _interrupts_later():
            results = pool.map(make, jobs, chunksize=4)
        yield from results
    except BrokenProcessPool as error:
        raise CorpusError("a worker died, perhaps for want of memory; run again with fewer --workers") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """Hold Ctrl-C back while workers are started: one that is half started would die with a trace of its own."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker() -> None:
    """Let the parent alone answer Ctrl-C, leave when the parent is gone, and calculate on one thread."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Calculate on one thread, as the workers do: more would sum in another order and change last bits."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _with_progress(results: Iterator[Result], total: int, doing: str) -> Iterator[Result]:
    """Pass results on while showing how far the work is."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        for done, result in enumerate(results, start=1):
            if done * 10 // total > (done - 1) * 10 // total:
                logger.info("%s: %d of %d", doing, done, total)
            yield result
        return
    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=total)
        for result in results:
            progress.advance(task)
            yield result
