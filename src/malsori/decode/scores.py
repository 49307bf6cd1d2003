"""Scores of tokens as log-probabilities, and which are greatest."""

import numpy as np

from malsori.annotations import Float, Int


def log_softmax(logits: Float[np.ndarray, "*rows vocab"]) -> Float[np.ndarray, "*rows vocab"]:
    """Return the log-probabilities that scores stand for; -inf stays so."""
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def greatest(values: Float[np.ndarray, "rows vocab"], count: int) -> Int[np.ndarray, "rows count"]:
    """Return where each row's greatest values stand, the greatest first, and of equal ones the one that comes first."""
    places = np.sort(np.argpartition(-values, count - 1, axis=-1)[:, :count], axis=-1)
    order = np.argsort(-np.take_along_axis(values, places, -1), axis=-1, kind="stable")
    return np.take_along_axis(places, order, -1)
