"""Convolution stacks over time."""

from jaxtyping import Bool, Float
from torch import Tensor, nn


class ConvolutionPredictor(nn.Module):
    """Two convolutions with ReLU, LayerNorm and dropout, then one number a token.

    Source: FastSpeech 2 (Ren et al. 2020, arXiv:2006.04558), 2.3, the predictor of durations, pitch and energy.
    """

    def __init__(self, input_size: int, hidden_size: int, kernel_size: int, dropout: float) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv1d(before, hidden_size, kernel_size, padding=kernel_size // 2)
            for before in (input_size, hidden_size)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(hidden_size) for _ in range(2))
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(hidden_size, 1)

    def forward(
        self, tokens: Float[Tensor, "batch tokens features"], mask: Bool[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch tokens"]:
        """Return one number a token, 0 on padding."""
        hidden = tokens
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            masked = (hidden * mask[..., None]).transpose(1, 2)
            hidden = self.dropout(norm(nn.functional.relu(convolution(masked)).transpose(1, 2)))
        return self.project(hidden)[..., 0] * mask
