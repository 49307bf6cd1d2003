"""Shapes in annotations of arrays: jaxtyping's, where somebody checks them; in a program that runs, the array's type.

To import jaxtyping takes a tenth of a second or two, which whoever says a sentence without PyTorch would wait for.
Tests have it check annotations, and so have loaded it before.
"""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or "jaxtyping" in sys.modules:
    from jaxtyping import Bool as Bool
    from jaxtyping import Float as Float
    from jaxtyping import Int as Int
    from jaxtyping import Integer as Integer
    from jaxtyping import Shaped as Shaped
else:

    class Shaped:
        """An array of any kind of numbers."""

        def __class_getitem__(cls, asked: tuple[Any, str]) -> Any:
            return asked[0]

    Bool = Float = Int = Integer = Shaped
