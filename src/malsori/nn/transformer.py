"""Self-attention, the positions it needs, and the blocks made of them."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


def sinusoid_positions(
    length: int, hidden_size: int, device: torch.device | None = None, interleaved: bool = False
) -> Float[Tensor, "time features"]:
    """Return sines in the first half of the features and cosines in the second, wavelengths from 2 pi to 20000 pi.

    Args:
        interleaved: a sine and its cosine side by side instead, as the paper writes them.
    Source: Attention Is All You Need (Vaswani et al. 2017, arXiv:1706.03762), 3.5.
    """
    rates = torch.exp(torch.arange(0, hidden_size, 2, device=device) * (-math.log(10000.0) / hidden_size))
    angles = torch.arange(length, device=device)[:, None] * rates
    both = [angles.sin(), angles.cos()]
    return torch.stack(both, dim=-1).flatten(1) if interleaved else torch.cat(both, dim=-1)


def rotate_by_position(parts: Float[Tensor, "batch heads time size"]) -> Float[Tensor, "batch heads time size"]:
    """Return queries or keys turned by an angle that grows with their position, so that products see distance only.

    Source: RoFormer (Su et al. 2021, arXiv:2104.09864), eq. 34.
    """
    half = parts.shape[-1] // 2
    rates = torch.exp(torch.arange(half, device=parts.device) * (-math.log(10000.0) / half))
    angles = torch.arange(parts.shape[2], device=parts.device)[:, None] * rates
    cosine, sine = angles.cos().to(parts.dtype), angles.sin().to(parts.dtype)
    first, second = parts[..., :half], parts[..., half:]
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)


class TiedEmbedding(nn.Embedding):
    """Token vectors that are the output layer too (Press and Wolf 2016, arXiv:1608.05859)."""

    def logits(self, hidden: Float[Tensor, "*rows features"]) -> Float[Tensor, "*rows vocab"]:
        """Return each token's score: the product of its vector with the hidden state."""
        return nn.functional.linear(hidden, self.weight)


class SelfAttention(nn.Module):
    """Multi-head self-attention over real positions only.

    Args:
        hidden_size: width of input and output.
        num_heads: divides hidden_size.
        dropout: on the attention weights.
        rotary: turn queries and keys by position (relative distance), instead of positions added to the input.
    Source: Vaswani et al. 2017 (arXiv:1706.03762), 3.2.2.
    """

    def __init__(self, hidden_size: int, num_heads: int, dropout: float = 0.0, rotary: bool = False) -> None:
        super().__init__()
        if hidden_size % num_heads:
            raise ValueError(f"{hidden_size} features cannot be split into {num_heads} heads")
        self.num_heads, self.dropout, self.rotary = num_heads, dropout, rotary
        self.project_in = nn.Linear(hidden_size, 3 * hidden_size)
        self.project_out = nn.Linear(hidden_size, hidden_size)

    def forward(
        self,
        hidden: Float[Tensor, "batch time features"],
        mask: Bool[Tensor, "batch time"],
        bias: Float[Tensor, "batch heads time time"] | None = None,
    ) -> Float[Tensor, "batch time features"]:
        """Return each position's mixture of the real positions; `bias` is added to what each pair scores."""
        batch, time, hidden_size = hidden.shape
        allowed = mask[:, None, None, :]
        split = self.project_in(hidden).view(batch, time, 3, self.num_heads, hidden_size // self.num_heads)
        queries, keys, values = split.permute(2, 0, 3, 1, 4)
        if self.rotary:
            queries, keys = rotate_by_position(queries), rotate_by_position(keys)
        mixed = nn.functional.scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=allowed if bias is None else bias.masked_fill(~allowed, -math.inf),
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.project_out(mixed.transpose(1, 2).reshape(batch, time, hidden_size))


class LanguageAdapter(nn.Module):
    """A narrow layer behind each block, which a language brings for itself (MMS, Pratap et al. 2023, arXiv:2305.13516).

    Source: Houlsby et al. 2019 (arXiv:1902.00751), with the norm in front.
    """

    def __init__(self, hidden_size: int, adapter_size: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden_size)
        self.narrow, self.widen = nn.Linear(hidden_size, adapter_size), nn.Linear(adapter_size, hidden_size)

    def forward(self, hidden: Float[Tensor, "batch time features"]) -> Float[Tensor, "batch time features"]:
        """Return the frames with what the language adds to them."""
        added: Tensor = self.widen(nn.functional.relu(self.narrow(self.norm(hidden))))
        return hidden + added


class RelativeAttention(nn.Module):
    """Multi-head self-attention that tells near positions apart by their distance (Shaw et al. 2018, arXiv:1803.02155).

    A vector for each distance up to ±window_size, shared by the heads, is added to the keys, another to the values.
    """

    def __init__(self, hidden_size: int, num_heads: int, window_size: int, dropout: float = 0.0) -> None:
        super().__init__()
        if hidden_size % num_heads:
            raise ValueError(f"{hidden_size} features cannot be split into {num_heads} heads")
        size = hidden_size // num_heads
        self.num_heads, self.window_size = num_heads, window_size
        self.query, self.key, self.value, self.output = (nn.Linear(hidden_size, hidden_size) for _ in range(4))
        self.near_keys, self.near_values = (
            nn.Parameter(torch.randn(1, 2 * window_size + 1, size) * size**-0.5) for _ in range(2)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, hidden: Float[Tensor, "batch time features"], mask: Bool[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time features"]:
        """Return each position's mixture of the real positions."""
        batch, time, hidden_size = hidden.shape
        queries, keys, values = (
            project(hidden).view(batch, time, self.num_heads, -1).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        queries = queries * (hidden_size // self.num_heads) ** -0.5
        places = torch.arange(time, device=hidden.device)
        distances = places[None, :] - places[:, None] + self.window_size
        near = (distances >= 0) & (distances <= 2 * self.window_size)
        of_distance = (queries @ self.near_keys.transpose(1, 2)).gather(
            3, distances.clamp(0, 2 * self.window_size).expand(batch, self.num_heads, -1, -1)
        )
        scores = queries @ keys.transpose(2, 3) + of_distance * near
        weights = self.dropout(scores.masked_fill(~mask[:, None, None], -math.inf).softmax(-1))
        others = places[:, None] + torch.arange(-self.window_size, self.window_size + 1, device=hidden.device)
        real = (others >= 0) & (others < time)
        by_distance = weights.gather(3, others.clamp(min=0).clamp(max=time - 1).expand(batch, self.num_heads, -1, -1))
        mixed = weights @ values + (by_distance * real) @ self.near_values
        return self.output(mixed.transpose(1, 2).reshape(batch, time, hidden_size))


@dataclass(frozen=True)
class FeedForwardSizes:
    """Sizes of a feed-forward Transformer.

    Attributes:
        ffn_kernel_sizes: of the convolution that widens to ffn_size and of the one that narrows again.
        post_norm: normalise what a layer gives added to its input, as in the papers; otherwise what it takes, which
            trains without a long warm-up.
        interleaved: order of the sines and cosines that say the position.
    """

    hidden_size: int
    num_heads: int
    ffn_size: int
    ffn_kernel_sizes: tuple[int, int]
    dropout: float
    post_norm: bool = False
    interleaved: bool = False


class FeedForwardTransformerBlock(nn.Module):
    """Self-attention and a two-layer convolution, each added to its input (FastSpeech, arXiv:1905.09263, 3.1)."""

    def __init__(self, sizes: FeedForwardSizes) -> None:
        super().__init__()
        hidden_size, (wide, narrow) = sizes.hidden_size, sizes.ffn_kernel_sizes
        self.post_norm = sizes.post_norm
        self.attention_norm = nn.LayerNorm(hidden_size)
        self.attention = SelfAttention(hidden_size, sizes.num_heads, sizes.dropout)
        self.convolution_norm = nn.LayerNorm(hidden_size)
        self.widen = nn.Conv1d(hidden_size, sizes.ffn_size, wide, padding=wide // 2)
        self.narrow = nn.Conv1d(sizes.ffn_size, hidden_size, narrow, padding=narrow // 2)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(
        self, hidden: Float[Tensor, "batch time features"], mask: Bool[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time features"]:
        """Return the block's output, 0 on padding."""
        real = mask[..., None]
        if self.post_norm:
            hidden = self.attention_norm(hidden + self.dropout(self.attention(hidden, mask))) * real
            return self.convolution_norm(hidden + self.dropout(self._filtered(hidden, real))) * real
        hidden = hidden + self.dropout(self.attention(self.attention_norm(hidden), mask))
        filtered = self._filtered(self.convolution_norm(hidden) * real, real)
        return (hidden + self.dropout(filtered)) * real

    def _filtered(self, hidden: Tensor, real: Tensor) -> Tensor:
        wide = nn.functional.relu(self.widen(hidden.transpose(1, 2)))
        return self.narrow(wide * real.transpose(1, 2)).transpose(1, 2)


class FeedForwardTransformer(nn.Module):
    """Positions added once, then a stack of blocks."""

    def __init__(self, sizes: FeedForwardSizes, num_layers: int) -> None:
        super().__init__()
        self.interleaved = sizes.interleaved
        self.blocks = nn.ModuleList(FeedForwardTransformerBlock(sizes) for _ in range(num_layers))
        self.norm = nn.Identity() if sizes.post_norm else nn.LayerNorm(sizes.hidden_size)

    def forward(
        self, hidden: Float[Tensor, "batch time features"], mask: Bool[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time features"]:
        """Return the last block's output, normalised."""
        hidden = hidden + sinusoid_positions(hidden.shape[1], hidden.shape[2], hidden.device, self.interleaved)
        for block in self.blocks:
            hidden = block(hidden, mask)
        return self.norm(hidden)
