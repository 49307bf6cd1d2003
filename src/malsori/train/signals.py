"""Signals that ask a run to stop: the step ends and is saved, whichever processes they reach."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def _stop_signals() -> list[signal.Signals]:
    """Return the signals that ask a run to stop: Ctrl-C, the system's, and that of a terminal that is closed.

    The last one is left alone where it is ignored already, as nohup has it.
    """
    found = [signal.SIGTERM, signal.SIGINT]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        found.append(signal.SIGHUP)
    return found


@contextmanager
def asked_to_stop() -> Iterator[list[int]]:
    """Collect the signals that ask to stop instead of dying of them: the step ends and is saved; a second one kills."""
    asked: list[int] = []

    def note(number: int, _frame: object) -> None:
        asked.append(number)
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, note) for number in _stop_signals()}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def held_back() -> Iterator[None]:
    """Hold the signals that ask to stop back, in the processes that are started here too, until those ignore them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _stop_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def quiet_worker(_number: int) -> None:
    """A worker leaves signals that ask to stop to the loop, which ends it; its niceness is a step below the loop's.

    What `timeout`, Slurm, systemd and containers send goes to the whole process group.
    """
    asked = _stop_signals()
    for number in asked:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, asked)
    torch.set_num_threads(1)
    if hasattr(os, "nice"):  # not on Windows
        os.nice(1)
