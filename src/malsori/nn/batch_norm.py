"""Batch norm over the real steps of a batch, or of all batches that several processes compute at once."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class BatchNorm(nn.BatchNorm1d):
    """Batch norm that counts no padding; its weights and running values go by PyTorch's names.

    Attributes:
        total: adds a tensor up over the processes that train together, and its gradient too (`train.processes`). With
            one that does, all of them normalize by the joined batch, as if one process had it (SyncBatchNorm).
    Source: Ioffe and Szegedy 2015 (arXiv:1502.03167), algorithm 1; over processes, Peng et al. 2017 (MegDet,
        arXiv:1711.07240), 3.3.
    """

    total: Callable[[Tensor], Tensor]

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.total = alone

    def forward(
        self, hidden: Float[Tensor, "batch time features"], mask: Bool[Tensor, "batch time"] | None = None
    ) -> Float[Tensor, "batch time features"]:
        """Return the features normalized; in training by what is real, which all is without a mask."""
        if not self.training:
            return super().forward(hidden.transpose(1, 2)).transpose(1, 2)
        values = hidden.to(torch.promote_types(hidden.dtype, torch.float32))
        real = hidden.new_ones(hidden.shape[:2]) if mask is None else mask
        real = real[..., None].to(values.dtype)
        steps = self.total(real.sum())
        mean = self.total((values * real).sum((0, 1))) / steps
        centered = values - mean
        variance = self.total((centered.square() * real).sum((0, 1))) / steps
        self._follow(mean, variance * steps / (steps - 1).clamp(min=1))
        scale = (variance + self.eps).rsqrt() * self.weight
        return (centered * scale + self.bias).to(hidden.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running values towards a batch's."""
        assert self.momentum and self.running_mean is not None and self.running_var is not None
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked += 1


def alone(value: Tensor) -> Tensor:
    """Return what a single process adds up: the value."""
    return value
