"""How many threads of this machine may compute."""

from os import cpu_count

from malsori.errors import DeviceError


def require_threads(count: int) -> int:
    """Return a number of threads that this machine has. Raises: DeviceError unless 1 <= count <= its processors."""
    processors = cpu_count() or 1
    if not 1 <= count <= processors:
        raise DeviceError(f"{count} threads: at least 1, and at most this machine's {processors} processors")
    return count
