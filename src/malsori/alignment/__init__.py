"""Which stretch of a sound belongs to which part of its text.

The package shares its name with the public function `malsori.align`, so it can be called itself: whether the package
was imported before or not, `malsori.align(...)` is `malsori.recognizer.align(...)`.
"""

import importlib
import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return importlib.import_module("malsori.recognizer").align(*arguments, **options)


sys.modules[__name__].__class__ = _CallablePackage
