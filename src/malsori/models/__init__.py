"""One paper a file: configuration, named output, layers, network; and how a trained one is saved and found."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def load_model(name: str) -> "nn.Module":
    """Return the network of a saved model in evaluation mode, the same object that trains.

    Args:
        name: a built-in name, a model's or a run's folder, or a hub id.
    Raises: ModelError if there is none, or its weights do not fit.
    """
    from malsori.models.catalogue import load_saved

    return load_saved(name).network
