"""Loops that run as machine code: compiled by numba on the first call, kept on disk where that can be written."""

import functools
import inspect
from collections.abc import Callable
from typing import Any


def compiled(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """Return the kernel, compiled when it is first called; it runs without the interpreter's lock.

    numba is not imported before that, so a module full of kernels costs nothing to import; where it is not installed,
    Python runs the kernel. A kernel takes arrays and numbers and calls no other kernel.
    """
    # The shape checks of the tests wrap every function; numba wants the one inside.
    return functools.wraps(kernel)(_Compiled(inspect.unwrap(kernel)))


class _Compiled:
    def __init__(self, kernel: Callable[..., Any]) -> None:
        self._kernel = kernel

    def __call__(self, *arguments: Any) -> Any:
        return self._machine_code(*arguments)

    @functools.cached_property
    def _machine_code(self) -> Callable[..., Any]:
        try:
            import numba
        except ImportError:  # an install without PyTorch (docs/onnx.md): a hundred times slower, and still quick enough
            return self._kernel
        try:
            return numba.njit(nogil=True, cache=True)(self._kernel)
        except RuntimeError:  # neither beside the source nor in the home folder can a cache be written
            return numba.njit(nogil=True)(self._kernel)
