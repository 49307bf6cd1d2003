"""Invertible steps, and the stacks that steer them: what is computed one way in training is undone when speaking.

Every step takes values (batch, channels, time) and a mask (batch, 1, time), and returns 0 on padding; forwards it also
says the logarithm of how much it stretches space at each time (batch, time).
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

_MIN = 1e-3  # of a spline's widths and heights (as shares of the whole) and slopes: nothing collapses


class WaveNet(nn.Module):
    """Gated dilated convolutions; each layer adds to its input and to the output (WaveGlow's non-causal WaveNet).

    Args:
        channels: width of input and output.
        kernel_size, num_layers: of the dilated convolutions; layer n skips dilation ** n - 1 steps.
        condition_size: width of a vector that steers the whole stack (a speaker's); 0 for none.
    Source: WaveGlow (Prenger et al. 2018, arXiv:1811.00002), 2.3.
    """

    def __init__(
        self, channels: int, kernel_size: int, num_layers: int, dilation: int = 1, condition_size: int = 0
    ) -> None:
        super().__init__()
        self.dilated, self.skips = nn.ModuleList(), nn.ModuleList()
        for layer in range(num_layers):
            step = dilation**layer
            padding = step * (kernel_size - 1) // 2
            self.dilated.append(
                weight_norm(nn.Conv1d(channels, 2 * channels, kernel_size, dilation=step, padding=padding))
            )
            # the last layer's own input is added to nothing any more
            self.skips.append(weight_norm(nn.Conv1d(channels, channels * (1 if layer == num_layers - 1 else 2), 1)))
        if condition_size:
            self.condition = weight_norm(nn.Conv1d(condition_size, 2 * channels * num_layers, 1))

    def forward(
        self,
        hidden: Float[Tensor, "batch channels time"],
        mask: Bool[Tensor, "batch 1 time"],
        condition: Float[Tensor, "batch features"] | None = None,
    ) -> Float[Tensor, "batch channels time"]:
        """Return the sum of the layers' outputs."""
        channels, output = hidden.shape[1], torch.zeros_like(hidden)
        shifts = None if condition is None else self.condition(condition[..., None]).chunk(len(self.dilated), 1)
        for layer, (dilated, skip) in enumerate(zip(self.dilated, self.skips, strict=True)):
            gated = dilated(hidden) + (shifts[layer] if shifts else 0.0)
            told = skip(gated[:, :channels].tanh() * gated[:, channels:].sigmoid())
            output = output + told[:, -channels:]
            if told.shape[1] > channels:
                hidden = (hidden + told[:, :channels]) * mask
        return output * mask


class ShiftCoupling(nn.Module):
    """Shifts one half of the channels by what a WaveNet makes of the other: volume stays as it is.

    Source: VITS (Kim et al. 2021, arXiv:2106.06103), appendix A.1, after Glow-TTS: affine coupling without the scale.
    """

    def __init__(
        self, channels: int, hidden_size: int, kernel_size: int, num_layers: int, dilation: int, condition_size: int
    ) -> None:
        super().__init__()
        self.widen = nn.Conv1d(channels // 2, hidden_size, 1)
        self.wavenet = WaveNet(hidden_size, kernel_size, num_layers, dilation, condition_size)
        self.shift = _nearly_zero(nn.Conv1d(hidden_size, channels // 2, 1))

    def forward(
        self,
        values: Float[Tensor, "batch channels time"],
        mask: Bool[Tensor, "batch 1 time"],
        condition: Float[Tensor, "batch features"] | None = None,
        reverse: bool = False,
    ) -> Float[Tensor, "batch channels time"]:
        """Return the channels with the second half shifted, or shifted back."""
        kept, moved = values.chunk(2, 1)
        shift = self.shift(self.wavenet(self.widen(kept) * mask, mask, condition)) * mask
        return torch.cat([kept, (moved - shift if reverse else moved + shift) * mask], 1)


class ShiftFlow(nn.Module):
    """Shift couplings, between which the channels change places; volume stays as it is."""

    def __init__(
        self, num_flows: int, channels: int, hidden_size: int, kernel_size: int, num_layers: int, **more: int
    ) -> None:
        super().__init__()
        self.steps = nn.ModuleList(
            ShiftCoupling(channels, hidden_size, kernel_size, num_layers, **more) for _ in range(num_flows)
        )

    def forward(
        self,
        values: Float[Tensor, "batch time channels"],
        mask: Bool[Tensor, "batch time"],
        condition: Float[Tensor, "batch features"] | None = None,
        reverse: bool = False,
    ) -> Float[Tensor, "batch time channels"]:
        """Return the values behind the flow, or, in reverse, those before it."""
        values, mask = values.transpose(1, 2), mask[:, None]
        for step in reversed(self.steps) if reverse else self.steps:
            values = step(values.flip(1), mask, condition, True) if reverse else step(values, mask, condition).flip(1)
        return values.transpose(1, 2)


class Affine(nn.Module):
    """Each channel scaled and moved by numbers that are learnt."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.move = nn.Parameter(torch.zeros(channels, 1))
        self.log_scale = nn.Parameter(torch.zeros(channels, 1))

    def forward(
        self, values: Float[Tensor, "batch channels time"], mask: Bool[Tensor, "batch 1 time"]
    ) -> tuple[Float[Tensor, "batch channels time"], Float[Tensor, "batch time"]]:
        """Return the moved values, and the log-determinant at each time."""
        return (self.move + self.log_scale.exp() * values) * mask, (self.log_scale * mask).sum(1)

    def undo(
        self, values: Float[Tensor, "batch channels time"], mask: Bool[Tensor, "batch 1 time"]
    ) -> Float[Tensor, "batch channels time"]:
        """Return the values before they were moved."""
        return (values - self.move) * (-self.log_scale).exp() * mask


class SeparableStack(nn.Module):
    """Depthwise dilated and pointwise convolutions in turn, normalised, each pair added to its input.

    Source: VITS (arXiv:2106.06103), appendix A.1: "dilated and depth-separable convolutional layers".
    """

    def __init__(self, channels: int, kernel_size: int, num_layers: int, dropout: float = 0.0) -> None:
        super().__init__()
        steps = [kernel_size**layer for layer in range(num_layers)]
        self.depthwise = nn.ModuleList(
            nn.Conv1d(
                channels, channels, kernel_size, groups=channels, dilation=step, padding=step * (kernel_size - 1) // 2
            )
            for step in steps
        )
        self.pointwise = nn.ModuleList(nn.Conv1d(channels, channels, 1) for _ in steps)
        self.norms_1 = nn.ModuleList(nn.LayerNorm(channels) for _ in steps)
        self.norms_2 = nn.ModuleList(nn.LayerNorm(channels) for _ in steps)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, hidden: Float[Tensor, "batch channels time"], mask: Bool[Tensor, "batch 1 time"]
    ) -> Float[Tensor, "batch channels time"]:
        """Return the last layer's output."""
        parts = zip(self.depthwise, self.norms_1, self.pointwise, self.norms_2, strict=True)
        for depthwise, norm_1, pointwise, norm_2 in parts:
            seen = nn.functional.gelu(norm_1(depthwise(hidden * mask).transpose(1, 2)).transpose(1, 2))
            told = nn.functional.gelu(norm_2(pointwise(seen).transpose(1, 2)).transpose(1, 2))
            hidden = hidden + self.dropout(told)
        return hidden * mask


class SplineCoupling(nn.Module):
    """Bends the second of two channels by a spline that the first, and what is known of the text, chooses.

    Args:
        hidden_size: width of the stack that chooses, and of the condition.
        kernel_size, num_layers: of the stack.
        num_bins, tail_bound: of the spline; beyond ±tail_bound nothing is bent.
    Source: Neural Spline Flows (Durkan et al. 2019, arXiv:1906.04032), 3; VITS (arXiv:2106.06103), appendix A.1.
    """

    def __init__(self, hidden_size: int, kernel_size: int, num_layers: int, num_bins: int, tail_bound: float) -> None:
        super().__init__()
        self.hidden_size, self.num_bins, self.tail_bound = hidden_size, num_bins, tail_bound
        self.widen = nn.Conv1d(1, hidden_size, 1)
        self.stack = SeparableStack(hidden_size, kernel_size, num_layers)
        self.choose = _nearly_zero(nn.Conv1d(hidden_size, 3 * num_bins - 1, 1))

    def forward(
        self,
        values: Float[Tensor, "batch 2 time"],
        mask: Bool[Tensor, "batch 1 time"],
        condition: Float[Tensor, "batch features time"],
        reverse: bool = False,
    ) -> tuple[Float[Tensor, "batch 2 time"], Float[Tensor, "batch time"]]:
        """Return the bent values, or, in reverse, the straightened ones; and the log-determinant at each time."""
        kept, bent = values.chunk(2, 1)
        chosen = self.choose(self.stack(self.widen(kept) + condition, mask)).transpose(1, 2) * mask.transpose(1, 2)
        widths, heights, slopes = chosen.split([self.num_bins, self.num_bins, self.num_bins - 1], 2)
        shares = [part / math.sqrt(self.hidden_size) for part in (widths, heights)]
        bent, log_slope = rational_quadratic_spline(bent[:, 0], shares[0], shares[1], slopes, self.tail_bound, reverse)
        return torch.cat([kept, bent[:, None]], 1) * mask, log_slope * mask[:, 0]


def rational_quadratic_spline(
    values: Float[Tensor, "..."],
    widths: Float[Tensor, "... bins"],
    heights: Float[Tensor, "... bins"],
    slopes: Float[Tensor, "... inner"],
    bound: float,
    reverse: bool = False,
) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
    """Return values on a rising curve through bins + 1 knots, or back from it, and the logarithm of its slope there.

    Args:
        widths, heights: of the bins, before the softmax that makes them shares of 2 * bound.
        slopes: at the inner knots, before the softplus; at the outer two the slope is 1.
        bound: beyond ±bound values stay as they are.
    Source: Neural Spline Flows (Durkan et al. 2019, arXiv:1906.04032), eq. 4 to 8.
    """
    lefts, wide = _knots(widths, bound)
    bottoms, high = _knots(heights, bound)
    steep = nn.functional.pad(_MIN + nn.functional.softplus(slopes), (1, 1), value=1.0)
    inside = values.clamp(-bound, bound)
    edges = bottoms if reverse else lefts
    bin_of = ((inside[..., None] >= edges).sum(-1, keepdim=True) - 1).clamp(min=0)
    left, width, bottom, height = (part.gather(-1, bin_of)[..., 0] for part in (lefts, wide, bottoms, high))
    before, after = (part.gather(-1, bin_of)[..., 0] for part in (steep[..., :-1], steep[..., 1:]))
    chord = height / width
    bow = before + after - 2 * chord
    if reverse:
        rise = inside - bottom
        a, b, c = height * (chord - before) + rise * bow, height * before - rise * bow, -chord * rise
        share = 2 * c / (-b - (b.square() - 4 * a * c).clamp(min=0).sqrt())
        result = left + share * width
    else:
        share = (inside - left) / width
        rise = height * (chord * share.square() + before * share * (1 - share))
        result = bottom + rise / (chord + bow * share * (1 - share))
    middle = share * (1 - share)
    slope = chord.square() * (after * share.square() + 2 * chord * middle + before * (1 - share).square())
    log_slope = slope.log() - 2 * (chord + bow * middle).log()
    within = values.abs() <= bound
    return torch.where(within, result, values), torch.where(within, -log_slope if reverse else log_slope, 0.0)


def _knots(shares: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """Return where each bin begins, and how far it reaches: together from -bound to bound."""
    bins = shares.shape[-1]
    ends = (_MIN + (1 - _MIN * bins) * shares.softmax(-1)).cumsum(-1)[..., :-1]
    knots = bound * (2 * nn.functional.pad(nn.functional.pad(ends, (1, 0)), (0, 1), value=1.0) - 1)
    return knots[..., :-1], knots[..., 1:] - knots[..., :-1]


def _nearly_zero(convolution: nn.Conv1d) -> nn.Conv1d:
    """Return the convolution with weights so small that a flow begins by changing next to nothing."""
    nn.init.normal_(convolution.weight, std=1e-3)
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    return convolution
