"""How many threads of this machine may compute, and how many were asked for."""

from os import cpu_count, environ

from malsori.errors import DeviceError

_asked: list[int] = []  # of the whole process


def use_threads(count: int | None) -> None:
    """Let what is opened from now on compute on so many threads; None leaves it as it is.

    Raises: DeviceError unless 1 <= count <= the machine's processors.
    """
    if count is not None:
        _asked[:] = [require_threads(count)]


def asked_threads() -> int | None:
    """Return how many were asked for, by `use_threads` or by OMP_NUM_THREADS, which PyTorch obeys by itself."""
    around = environ.get("OMP_NUM_THREADS", "")
    named = min(int(around), cpu_count() or 1) if around.isdecimal() else 0
    return _asked[-1] if _asked else named or None


def require_threads(count: int) -> int:
    """Return a number of threads that this machine has. Raises: DeviceError unless 1 <= count <= its processors."""
    processors = cpu_count() or 1
    if not 1 <= count <= processors:
        raise DeviceError(f"{count} threads: at least 1, and at most this machine's {processors} processors")
    return count
