"""Losses between two numbers: absolute, squared, and of durations."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from malsori.shapes import masked_mean


def l1_loss(
    predicted: Float[Tensor, "..."], target: Float[Tensor, "..."], mask: Bool[Tensor, "..."] | None = None
) -> Float[Tensor, ""]:
    """Return the mean absolute difference, mean |y - ŷ|, over real entries.

    >>> l1_loss(torch.tensor([2.5, 2.0, 0.0]), torch.tensor([2.0, 3.0, 1.0])).item()
    0.8333333134651184
    """
    return masked_mean((predicted - target).abs(), mask)


def l2_loss(
    predicted: Float[Tensor, "..."], target: Float[Tensor, "..."], mask: Bool[Tensor, "..."] | None = None
) -> Float[Tensor, ""]:
    """Return the mean squared difference (MSE), mean (y - ŷ)², over real entries.

    >>> l2_loss(torch.tensor([2.5, 2.0, 0.0]), torch.tensor([2.0, 3.0, 1.0])).item()
    0.75
    """
    return masked_mean((predicted - target).square(), mask)


def l2_norm(predicted: Float[Tensor, "..."], target: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Return the Euclidean distance, the root of the sum (not the mean) of squared differences.

    >>> l2_norm(torch.tensor([2.5, 2.0, 0.0]), torch.tensor([2.0, 3.0, 1.0])).item()
    1.5
    """
    return (predicted - target).square().sum().sqrt()


def log_duration_loss(
    log_predicted: Float[Tensor, "batch tokens"], durations: Int[Tensor, "batch tokens"], mask: Bool[Tensor, "batch tokens"]
) -> Float[Tensor, ""]:
    """Return the mean of (log_predicted - log(1 + d))² over real tokens.

    Args:
        log_predicted: predicted log(1 + frames) (batch, tokens).
        durations: frames a token lasts (batch, tokens), from forced alignment; may be 0.
        mask: True on real tokens.
    Source: FastSpeech (Ren et al. 2019, arXiv:1905.09263), 3.3: the logarithm makes ratios, not frames, count alike.

    >>> log_duration_loss(torch.zeros(1, 2), torch.tensor([[0, 5]]), torch.tensor([[True, False]])).item()
    0.0
    """
    return l2_loss(log_predicted, torch.log1p(durations.to(log_predicted.dtype)), mask)
