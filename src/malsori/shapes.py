"""Masks and lengths: how a padded batch says what is real. True = real, everywhere."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def length_mask(lengths: Int[Tensor, " batch"], maximum: int | None = None) -> Bool[Tensor, "batch time"]:
    """Return True where a step is real.

    Args:
        lengths: real steps of each item (batch,).
        maximum: width of the mask; the longest length if not given.

    >>> length_mask(torch.tensor([1, 3])).tolist()
    [[True, False, False], [True, True, True]]
    """
    width = int(lengths.max()) if maximum is None else maximum
    return torch.arange(width, device=lengths.device)[None, :] < lengths[:, None]


def masked_mean(values: Float[Tensor, "..."], mask: Bool[Tensor, "..."] | None = None) -> Float[Tensor, ""]:
    """Return the mean over real entries only, so that padding changes no loss.

    Args:
        values: any shape.
        mask: the same shape, or its first axes (the rest is broadcast); None when all is real.
    Raises: ValueError if nothing is real.

    >>> masked_mean(torch.tensor([[1.0, 9.0]]), torch.tensor([[True, False]])).item()
    1.0
    """
    if mask is None:
        return values.mean()
    while mask.dim() < values.dim():
        mask = mask.unsqueeze(-1)
    mask = mask.expand_as(values)
    total = mask.sum()
    if not torch.compiler.is_compiling() and total.item() == 0:
        raise ValueError(f"masked_mean over a mask of shape {tuple(mask.shape)} in which nothing is real")
    return torch.where(mask, values, 0.0).sum() / total


def pad_stack(items: list[Tensor], value: float = 0.0) -> tuple[Tensor, Int[Tensor, " batch"]]:
    """Return items of unequal first axis as one padded tensor (batch, longest, ...), and their lengths."""
    lengths = torch.tensor([len(item) for item in items])
    return torch.nn.utils.rnn.pad_sequence(items, batch_first=True, padding_value=value), lengths
