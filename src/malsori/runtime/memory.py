"""What keeps the memory of a process flat that computes for long: bound what is kept, give back what is free."""

import ctypes
import os

#: oneDNN keeps the machine code of each shape of input that it met, 1024 of them unless told: every text and recording
#: has its own length, so that is what the memory of a server, or of a long list of recordings, grew by.
_KERNELS = "128"


def bound_kernels() -> None:
    """Keep the machine code of fewer shapes of input; called before a network is placed."""
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", _KERNELS)


def return_free_memory() -> None:
    """Give the system back what the C library holds though nobody uses it; only glibc knows how."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return
    trim(0)
