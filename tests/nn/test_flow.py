"""Flows: what goes through comes back, and they say how far they stretch space."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from malsori.nn.flow import Affine, SeparableStack, ShiftFlow, SplineCoupling, WaveNet, rational_quadratic_spline

MASK = torch.tensor([[True] * 9, [True] * 6 + [False] * 3])


def shaken(module: nn.Module) -> nn.Module:
    """Return the module in float64 with weights far from zero: flows begin with next to none."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.4)
    return module.double().eval()


def spline(values: Tensor, seed: int, reverse: bool = False) -> tuple[Tensor, Tensor]:
    """Return values bent by a spline of five bins between -2 and 2."""
    random = torch.Generator().manual_seed(seed)
    widths, heights = (3 * torch.randn(*values.shape, 5, generator=random, dtype=torch.float64) for _ in range(2))
    slopes = 3 * torch.randn(*values.shape, 4, generator=random, dtype=torch.float64)
    return rational_quadratic_spline(values, widths, heights, slopes, 2.0, reverse)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_spline_is_undone_and_its_log_slope_is_that_of_its_derivative(seed: int) -> None:
    values = torch.linspace(-3, 3, 101, dtype=torch.float64, requires_grad=True)
    bent, log_slope = spline(values, seed)
    torch.testing.assert_close(torch.autograd.grad(bent.sum(), values)[0].log(), log_slope)
    straight, log_back = spline(bent.detach(), seed, reverse=True)
    torch.testing.assert_close(straight, values.detach())
    torch.testing.assert_close(log_back, -log_slope)


def test_a_spline_rises_everywhere_and_leaves_alone_what_lies_beyond_its_bound() -> None:
    values = torch.linspace(-3, 3, 2001, dtype=torch.float64)
    weights = [torch.randn(size, dtype=torch.float64).expand(2001, size) for size in (5, 5, 4)]
    bent, log_slope = rational_quadratic_spline(values, *weights, 2.0)
    assert (bent.diff() > 0).all()
    beyond = values.abs() > 2
    assert torch.equal(bent[beyond], values[beyond]) and not log_slope[beyond].any()
    assert (bent[~beyond] != values[~beyond]).sum() > 1000


@pytest.mark.parametrize(
    "step", [Affine(2), SplineCoupling(6, 3, 2, num_bins=5, tail_bound=2.0)], ids=["affine", "spline"]
)
def test_a_steps_log_determinant_is_that_of_its_jacobian_at_each_time(step: nn.Module) -> None:
    shaken(step)
    values = torch.randn(1, 2, 9, dtype=torch.float64)
    mask, condition = MASK[:1, None], torch.randn(1, 6, 9, dtype=torch.float64)
    arguments = (mask,) if isinstance(step, Affine) else (mask, condition)
    jacobian = torch.autograd.functional.jacobian(lambda v: step(v, *arguments)[0], values).view(18, 18)
    torch.testing.assert_close(torch.linalg.slogdet(jacobian)[1], step(values, *arguments)[1].sum())


def test_a_spline_coupling_and_an_affine_step_are_undone_and_touch_no_padding() -> None:
    coupling, affine = shaken(SplineCoupling(6, 3, 2, num_bins=5, tail_bound=2.0)), shaken(Affine(2))
    values, condition = torch.randn(2, 2, 9, dtype=torch.float64), torch.randn(2, 6, 9, dtype=torch.float64)
    mask = MASK[:, None]
    bent, log_slope = coupling(values, mask, condition)
    torch.testing.assert_close(coupling(bent, mask, condition, reverse=True)[0], values * mask)
    moved, _ = affine(values, mask)
    torch.testing.assert_close(affine.undo(moved, mask), values * mask)
    assert not bent[1, :, 6:].any() and not moved[1, :, 6:].any() and not log_slope[1, 6:].any()
    assert (bent - values * mask).abs().max() > 0.1


@pytest.mark.parametrize("speaker", [0, 5])
def test_a_shift_flow_is_undone_and_keeps_volume(speaker: int) -> None:
    flow = shaken(ShiftFlow(3, 4, 6, 3, 2, dilation=2, condition_size=speaker))
    values = torch.randn(2, 9, 4, dtype=torch.float64)
    condition = torch.randn(2, speaker, dtype=torch.float64) if speaker else None
    there = flow(values, MASK, condition)
    assert (there - values).abs().max() > 0.1 and not there[1, 6:].any()
    torch.testing.assert_close(flow(there, MASK, condition, reverse=True), values * MASK[..., None])
    first = None if condition is None else condition[:1]
    jacobian = torch.autograd.functional.jacobian(lambda v: flow(v, MASK[:1], first), values[:1]).view(36, 36)
    torch.testing.assert_close(torch.linalg.slogdet(jacobian)[1], torch.tensor(0.0, dtype=torch.float64))


def test_a_wavenet_sees_as_far_as_its_dilations_reach_and_no_padding() -> None:
    wavenet = shaken(WaveNet(4, 3, 3, dilation=2))
    hidden = torch.randn(1, 4, 31, dtype=torch.float64, requires_grad=True)
    mask = torch.ones(1, 1, 31, dtype=torch.bool)
    wavenet(hidden, mask)[0, :, 15].sum().backward()
    assert hidden.grad is not None
    assert hidden.grad[0].abs().sum(0).nonzero().flatten().tolist() == list(range(15 - 7, 15 + 8))
    padded = torch.cat([hidden.detach(), torch.full((1, 4, 5), 7.0)], 2) * (torch.arange(36) < 31)
    longer = wavenet(padded, (torch.arange(36) < 31)[None, None])
    torch.testing.assert_close(longer[:, :, :31], wavenet(hidden.detach(), mask))
    assert not longer[:, :, 31:].any()


def test_a_separable_stack_sees_a_kernels_power_to_each_side() -> None:
    stack = shaken(SeparableStack(4, 3, 3))
    hidden = torch.randn(1, 4, 41, dtype=torch.float64, requires_grad=True)
    stack(hidden, torch.ones(1, 1, 41, dtype=torch.bool))[0, :, 20].sum().backward()
    assert hidden.grad is not None
    assert hidden.grad[0].abs().sum(0).nonzero().flatten().tolist() == list(range(20 - 13, 20 + 14))
