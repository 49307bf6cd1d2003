"""What a long-lived process must do so that its memory stays flat: bound what is kept, give back what is free."""

import ctypes
import os

#: oneDNN keeps the machine code of each shape of input that it met, 1024 of them unless told: every text has its own
#: length, so that is what a server's memory grew by.
_KERNELS = "128"


def bound_kernels() -> None:
    """Keep the machine code of fewer shapes of input; call it before the first network computes."""
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", _KERNELS)


def return_free_memory() -> None:
    """Give the system back what the C library holds though nobody uses it; only glibc knows how."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return
    trim(0)
