"""ConvNeXt's block for one dimension, which Vocos and what hears a pitch in its mels are made of."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ConvNextBlock(nn.Module):
    """Depthwise convolution, LayerNorm, two pointwise layers with GELU, a learnt scale; added to its input.

    Source: Vocos (Siuzdak 2023, arXiv:2306.00814), 3.3.
    """

    def __init__(self, hidden_size: int, ffn_expansion_factor: int, initial_scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(hidden_size, hidden_size, 7, padding=3, groups=hidden_size)
        self.norm = nn.LayerNorm(hidden_size, eps=1e-6)
        self.widen = nn.Linear(hidden_size, hidden_size * ffn_expansion_factor)
        self.narrow = nn.Linear(hidden_size * ffn_expansion_factor, hidden_size)
        self.scale = nn.Parameter(torch.full((hidden_size,), initial_scale))

    def forward(self, hidden: Float[Tensor, "batch channels frames"]) -> Float[Tensor, "batch channels frames"]:
        """Return the block's output."""
        mixed = self.norm(self.depthwise(hidden).transpose(1, 2))
        mixed = self.scale * self.narrow(nn.functional.gelu(self.widen(mixed)))
        return hidden + mixed.transpose(1, 2)


class ConvNext(nn.Module):
    """A convolution and blocks at frame rate, normalized before and after; a subclass or an owner calls `encode`.

    Source: as the block.
    """

    def __init__(self, channels: int, hidden_size: int, num_layers: int, ffn_expansion_factor: int = 3) -> None:
        super().__init__()
        self.conv_in = nn.Conv1d(channels, hidden_size, 7, padding=3)
        self.norm_in = nn.LayerNorm(hidden_size, eps=1e-6)
        scale = 1 / num_layers
        self.blocks = nn.ModuleList(ConvNextBlock(hidden_size, ffn_expansion_factor, scale) for _ in range(num_layers))
        self.norm_out = nn.LayerNorm(hidden_size, eps=1e-6)

    def encode(self, mel: Float[Tensor, "batch frames channels"]) -> Float[Tensor, "batch frames hidden_size"]:
        """Return what each frame has become of itself and its neighbors."""
        hidden = self.norm_in(self.conv_in(mel.transpose(1, 2)).transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            hidden = block(hidden)
        return self.norm_out(hidden.transpose(1, 2))
