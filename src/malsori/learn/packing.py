"""Matrices for the toys in few bytes: 16 bits a number between two bounds, as base64."""

import base64
from typing import Any

import numpy as np

from malsori.annotations import Float

_STEPS = 65535


def packed(values: Float[np.ndarray, "rows columns"], low: float, high: float) -> dict[str, Any]:
    """Return a matrix as JSON for the toys; what lies beyond the bounds is brought to them."""
    steps = np.round((np.clip(values, low, high) - low) / (high - low) * _STEPS).astype("<u2")
    return {
        "rows": values.shape[0],
        "columns": values.shape[1],
        "low": low,
        "high": high,
        "data": base64.b64encode(steps.tobytes()).decode(),
    }


def unpacked(content: dict[str, Any]) -> Float[np.ndarray, "rows columns"]:
    """Return the matrix again, as the toys see it."""
    steps = np.frombuffer(base64.b64decode(content["data"]), dtype="<u2").astype(np.float32)
    values = content["low"] + steps / _STEPS * (content["high"] - content["low"])
    return values.reshape(content["rows"], content["columns"]).astype(np.float32)
