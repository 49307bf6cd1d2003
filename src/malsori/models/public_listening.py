"""What public recognisers say of themselves, as our settings: one function a layout.

Each returns the model with an untrained network; `layouts.adopt` puts the weights in.
"""

from collections.abc import Callable

from malsori.models.layouts import Public
from malsori.models.saved import SavedModel

#: Layout → what its settings ask for.
READERS: dict[str, Callable[[Public], SavedModel]] = {}
