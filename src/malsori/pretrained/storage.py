"""How weights lie in a file: float32, float16, or int8 rows with a scale each; in memory they are always float32.

A matrix W is stored as int8 with one float32 scale a row, `NAME.row_scale`: W ≈ scale * int8, the greatest of each row
at 127, so that no element is off by more than half a step of its own row. Vectors, and what is small, stay float16.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

Storage = Literal["float32", "float16", "int8"]

_SCALE = ".row_scale"
_GREATEST = 127
_MIN_ELEMENTS = 4096  # a smaller tensor saves nothing worth its error


def pack(weights: Mapping[str, Tensor], storage: Storage) -> dict[str, Tensor]:
    """Return tensors as they are stored, on the CPU.

    Args:
        storage: "float16" leaves a tensor that holds a greater number than it can as float32; so does "int8" for what
            it does not turn into rows.
    """
    packed: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        tensor = tensor.detach().cpu().contiguous()
        if storage == "int8" and tensor.is_floating_point() and tensor.dim() > 1 and tensor.numel() >= _MIN_ELEMENTS:
            packed[name], packed[name + _SCALE] = quantize_rows(tensor)
        else:
            packed[name] = tensor if storage == "float32" else _as_half(tensor)
    return packed


def unpack(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return stored tensors under their own names, floating-point ones and rows as float32."""
    weights: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        if name.endswith(_SCALE) and name.removesuffix(_SCALE) in stored:
            continue
        scale = stored.get(name + _SCALE)
        if scale is not None and tensor.dtype == torch.int8:
            tensor = tensor * scale.float().reshape(-1, *[1] * (tensor.dim() - 1))
        weights[name] = tensor.float() if tensor.is_floating_point() else tensor
    return weights


def quantize_rows(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 rows and their scales (rows,); what multiplies a row of zeros is 0.

    >>> rows, scale = quantize_rows(torch.tensor([[127.0, -2.0], [0.0, 0.0]]))
    >>> rows.tolist(), scale.tolist()
    ([[127, -2], [0, 0]], [1.0, 0.0])
    """
    scale = tensor.float().abs().flatten(1).amax(1) / _GREATEST
    steps = scale.clamp(min=torch.finfo(torch.float32).tiny).reshape(-1, *[1] * (tensor.dim() - 1))
    return (tensor.float() / steps).round().clamp(-_GREATEST, _GREATEST).to(torch.int8), scale


def _as_half(tensor: Tensor) -> Tensor:
    fits = tensor.is_floating_point() and not (tensor.abs() > torch.finfo(torch.float16).max).any()
    return tensor.to(torch.float16) if fits else tensor
