"""Self-attention and the positions it needs."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


def sinusoid_positions(
    length: int, features: int, device: torch.device | None = None
) -> Float[Tensor, "time features"]:
    """Return sines in the first half of the features and cosines in the second, wavelengths from 2 pi to 20000 pi.

    Source: Attention Is All You Need (Vaswani et al. 2017, arXiv:1706.03762), 3.5.
    """
    rates = torch.exp(torch.arange(0, features, 2, device=device) * (-math.log(10000.0) / features))
    angles = torch.arange(length, device=device)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def rotate_by_position(heads: Float[Tensor, "batch heads time size"]) -> Float[Tensor, "batch heads time size"]:
    """Return queries or keys turned by an angle that grows with their position, so that products see distance only.

    Source: RoFormer (Su et al. 2021, arXiv:2104.09864), eq. 34.
    """
    half = heads.shape[-1] // 2
    rates = torch.exp(torch.arange(half, device=heads.device) * (-math.log(10000.0) / half))
    angles = torch.arange(heads.shape[2], device=heads.device)[:, None] * rates
    cosine, sine = angles.cos().to(heads.dtype), angles.sin().to(heads.dtype)
    first, second = heads[..., :half], heads[..., half:]
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)


class SelfAttention(nn.Module):
    """Multi-head self-attention over real positions only.

    Args:
        features: width of input and output.
        heads: number of heads; divides features.
        dropout: on the attention weights.
        rotary: turn queries and keys by position (relative distance), instead of positions added to the input.
    Source: Vaswani et al. 2017 (arXiv:1706.03762), 3.2.2.
    """

    def __init__(self, features: int, heads: int, dropout: float = 0.0, rotary: bool = False) -> None:
        super().__init__()
        if features % heads:
            raise ValueError(f"{features} features cannot be split into {heads} heads")
        self.heads, self.dropout, self.rotary = heads, dropout, rotary
        self.project_in = nn.Linear(features, 3 * features)
        self.project_out = nn.Linear(features, features)

    def forward(
        self, hidden: Float[Tensor, "batch time features"], mask: Bool[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time features"]:
        """Return each position's mixture of the real positions."""
        batch, time, features = hidden.shape
        split = self.project_in(hidden).view(batch, time, 3, self.heads, features // self.heads)
        queries, keys, values = split.permute(2, 0, 3, 1, 4)
        if self.rotary:
            queries, keys = rotate_by_position(queries), rotate_by_position(keys)
        mixed = nn.functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask[:, None, None, :], dropout_p=self.dropout if self.training else 0.0
        )
        return self.project_out(mixed.transpose(1, 2).reshape(batch, time, features))
