"""How frames of speech are told where they stand: by convolutions over what is around them, by a bias on distances.

ConvolutionPositions    one wide convolution (wav2vec 2.0); its input normalized over the batch (mHuBERT)
StackedPositions        several narrow ones, each normalized (data2vec)
DistanceBias            a learnt score for each range of distances, which a DistanceGate weighs in each block (WavLM)
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from malsori.nn.batch_norm import BatchNorm


class ConvolutionPositions(nn.Module):
    """A wide grouped convolution that tells each frame what stands around it.

    Args:
        normalized: normalize its input over the batch, instead of its weights.
    Source: wav2vec 2.0 (Baevski et al. 2020, arXiv:2006.11477), 2, after Mohamed et al. 2019 (arXiv:1904.11660);
        normalized: mHuBERT-147 (Zanon Boito et al. 2024, arXiv:2406.06371).
    """

    def __init__(self, hidden_size: int, kernel_size: int, groups: int, normalized: bool = False) -> None:
        super().__init__()
        convolution = nn.Conv1d(hidden_size, hidden_size, kernel_size, padding=kernel_size // 2, groups=groups)
        nn.init.normal_(convolution.weight, std=2 / (kernel_size * hidden_size) ** 0.5)
        self.norm = BatchNorm(hidden_size) if normalized else nn.Identity()
        self.convolution = convolution if normalized else weight_norm(convolution, dim=2)

    def forward(self, hidden: Float[Tensor, "batch frames features"]) -> Float[Tensor, "batch frames features"]:
        """Return what is to be added; an even kernel's one frame too many is cut off at the end."""
        around = self.convolution(self.norm(hidden).transpose(1, 2)).transpose(1, 2)[:, : hidden.shape[1]]
        return nn.functional.gelu(around)


class StackedPositions(nn.Module):
    """Grouped convolutions one behind the other, each over a part of what the wide one sees.

    Source: data2vec (Baevski et al. 2022, arXiv:2202.03555), 4.2.
    """

    def __init__(self, hidden_size: int, kernel_size: int, groups: int, num_layers: int) -> None:
        super().__init__()
        self.sizes = (hidden_size,)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(hidden_size, hidden_size, kernel_size, padding=kernel_size // 2, groups=groups)
            for _ in range(num_layers)
        )

    def forward(self, hidden: Float[Tensor, "batch frames features"]) -> Float[Tensor, "batch frames features"]:
        """Return what is to be added."""
        around = hidden
        for convolution in self.convolutions:
            around = convolution(around.transpose(1, 2)).transpose(1, 2)[:, : hidden.shape[1]]
            around = nn.functional.gelu(nn.functional.layer_norm(around, self.sizes))
        return around


class DistanceBias(nn.Module):
    """A learnt score for each distance between two frames: near ones each their own, far ones by ever wider ranges.

    Source: WavLM (Chen et al. 2021, arXiv:2110.13900), 3.1; the ranges are T5's (arXiv:1910.10683).
    """

    def __init__(self, num_heads: int, num_buckets: int, max_distance: int) -> None:
        super().__init__()
        if num_buckets < 4 or max_distance <= num_buckets // 4:
            raise ValueError(
                f"{num_buckets} ranges of distances up to {max_distance}: at least 4, and farther than 1/4"
            )
        self.num_buckets, self.max_distance = num_buckets, max_distance
        self.scores = nn.Embedding(num_buckets, num_heads)

    def forward(self, frames: int) -> Float[Tensor, "heads frames frames"]:
        """Return the score of every pair of frames."""
        places = torch.arange(frames, device=self.scores.weight.device)
        distances = places[None, :] - places[:, None]
        ways, size = self.num_buckets // 2, distances.abs()
        near = ways // 2
        wide = (size.clamp(min=1).float() / near).log() / math.log(self.max_distance / near) * (ways - near)
        ranges = torch.where(size < near, size, (near + wide).long().clamp(max=ways - 1))
        scores: Tensor = self.scores(ranges + ways * (distances > 0))
        return scores.permute(2, 0, 1)


class DistanceGate(nn.Module):
    """How much of the bias each frame takes in one block, by what the frame is. Source: WavLM, 3.1, eq. 4 to 6."""

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.project = nn.Linear(hidden_size // num_heads, 8)
        self.scale = nn.Parameter(torch.ones(1, num_heads, 1, 1))

    def forward(
        self, hidden: Float[Tensor, "batch frames features"], bias: Float[Tensor, "heads frames frames"]
    ) -> Float[Tensor, "batch heads frames frames"]:
        """Return the bias as each frame takes it."""
        batch, frames, _ = hidden.shape
        parts = hidden.view(batch, frames, self.num_heads, -1).transpose(1, 2)
        gates = self.project(parts).view(batch, self.num_heads, frames, 2, 4).sum(-1).sigmoid()
        update, reset = gates.chunk(2, dim=-1)
        return (update * (reset * self.scale - 1.0) + 2.0) * bias
