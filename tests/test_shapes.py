"""Masks and lengths: padding must never reach a number."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from malsori.shapes import length_mask, masked_mean, pad_stack


def test_a_length_mask_is_true_where_a_step_is_real():
    assert length_mask(torch.tensor([0, 2, 3])).tolist() == [[False] * 3, [True, True, False], [True] * 3]
    assert length_mask(torch.tensor([1, 2]), 4).sum(1).tolist() == [1, 2]
    assert length_mask(torch.tensor([1, 2]), 4).shape == (2, 4)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_the_masked_mean_is_the_mean_of_what_is_real(lengths):
    mask = length_mask(torch.tensor(lengths))
    values = torch.randn(*mask.shape, 3)
    spoilt = torch.where(mask[..., None], values, torch.nan)
    wanted = torch.cat([row[:length] for row, length in zip(values, lengths, strict=True)]).mean()
    torch.testing.assert_close(masked_mean(spoilt, mask), wanted)


def test_the_masked_mean_without_a_mask_counts_everything():
    assert masked_mean(torch.tensor([1.0, 2.0, 6.0])).item() == 3.0


def test_no_gradient_reaches_padding():
    values = torch.ones(2, 3, requires_grad=True)
    masked_mean(values, torch.tensor([[True, False, False], [True, True, False]])).backward()
    assert values.grad is not None
    torch.testing.assert_close(values.grad, torch.tensor([[1.0, 0, 0], [1.0, 1.0, 0]]) / 3)


def test_a_mean_over_nothing_is_refused():
    with pytest.raises(ValueError, match=r"\(2, 3\) in which nothing is real"):
        masked_mean(torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.bool))


def test_stacking_pads_behind_and_keeps_the_lengths():
    stacked, lengths = pad_stack([torch.ones(2, 3), torch.full((4, 3), 2.0)], value=-1.0)
    assert stacked.shape == (2, 4, 3) and lengths.tolist() == [2, 4]
    assert stacked[0, :, 0].tolist() == [1, 1, -1, -1] and (stacked[1] == 2).all()
