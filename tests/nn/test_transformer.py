"""Attention against PyTorch's own, positions against their formulas."""

import math

import pytest
import torch

from malsori.nn.transformer import RelativeAttention, SelfAttention, rotate_by_position, sinusoid_positions
from malsori.shapes import length_mask


@pytest.fixture
def hidden():
    return torch.randn(3, 7, 12, generator=torch.Generator().manual_seed(0))


def test_attention_is_the_one_of_pytorch(hidden):
    torch.manual_seed(0)
    ours, oracle = SelfAttention(12, 3).eval(), torch.nn.MultiheadAttention(12, 3, batch_first=True).eval()
    oracle.in_proj_weight.data, oracle.in_proj_bias.data = ours.project_in.weight.data, ours.project_in.bias.data
    oracle.out_proj.load_state_dict(ours.project_out.state_dict())
    mask = length_mask(torch.tensor([7, 4, 1]))
    wanted, _ = oracle(hidden, hidden, hidden, key_padding_mask=~mask, need_weights=False)
    torch.testing.assert_close(ours(hidden, mask)[mask], wanted[mask], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("rotary", [False, True])
def test_attention_never_looks_at_padding(hidden, rotary):
    attention = SelfAttention(12, 3, rotary=rotary).eval()
    mask = length_mask(torch.tensor([7, 4, 1]))
    spoilt = torch.where(mask[..., None], hidden, 1e3)
    torch.testing.assert_close(attention(spoilt, mask)[mask], attention(hidden, mask)[mask])


def test_attention_without_positions_sees_a_set_and_with_them_a_sequence(hidden):
    mask = torch.ones(3, 7, dtype=torch.bool)
    for rotary in (False, True):
        attention = SelfAttention(12, 3, rotary=rotary).eval()
        flipped = attention(hidden.flip(1), mask).flip(1)
        assert torch.allclose(flipped, attention(hidden, mask), atol=1e-5) != rotary


def test_attention_drops_weights_in_training_only(hidden):
    attention, mask = SelfAttention(12, 3, dropout=0.5), torch.ones(3, 7, dtype=torch.bool)
    assert not torch.equal(attention(hidden, mask), attention(hidden, mask))
    attention.eval()
    assert torch.equal(attention(hidden, mask), attention(hidden, mask))


def test_heads_must_divide_features():
    with pytest.raises(ValueError, match="10 features cannot be split into 3 heads"):
        SelfAttention(10, 3)


def test_products_of_rotated_vectors_depend_on_their_distance_only():
    query, key = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))
    queries = rotate_by_position(query.expand(1, 1, 40, 8))[0, 0]
    keys = rotate_by_position(key.expand(1, 1, 40, 8))[0, 0]
    products = queries @ keys.T
    for distance in (-9, 0, 1, 9):
        along = products.diagonal(distance)
        torch.testing.assert_close(along, along[:1].expand_as(along), atol=1e-4, rtol=1e-4)
    assert products[0, 0] != products[0, 9]
    torch.testing.assert_close(products[0, 0], query @ key)  # position 0 is not turned


def test_rotation_turns_each_pair_of_features_by_its_own_rate():
    # features i and i + half are one pair; its rate is 10000^(-i / half) (RoFormer, eq. 34)
    turned = rotate_by_position(torch.tensor([1.0, 1.0, 0.0, 0.0]).expand(1, 1, 6, 4))[0, 0]
    for time, (first, second, third, fourth) in enumerate(turned.tolist()):
        assert (first, third) == pytest.approx((math.cos(time), math.sin(time)), abs=1e-6)
        assert (second, fourth) == pytest.approx((math.cos(time / 100), math.sin(time / 100)), abs=1e-6)


def test_sinusoids_are_those_of_the_paper_sines_first():
    positions = sinusoid_positions(50, 8)
    assert positions.shape == (50, 8)
    for time in (0, 1, 49):
        for pair in range(4):
            angle = time / 10000 ** (2 * pair / 8)
            assert positions[time, pair].item() == pytest.approx(math.sin(angle), abs=1e-5)
            assert positions[time, 4 + pair].item() == pytest.approx(math.cos(angle), abs=1e-5)


def test_relative_attention_adds_a_vector_for_each_near_distance_to_keys_and_values():
    torch.manual_seed(0)
    attention = RelativeAttention(12, 3, window_size=2).double()
    hidden, mask = torch.randn(1, 7, 12, dtype=torch.float64), torch.tensor([[True] * 6 + [False]])
    queries, keys, values = (
        project(hidden)[0].view(7, 3, 4) for project in (attention.query, attention.key, attention.value)
    )
    wanted = torch.zeros(7, 3, 4, dtype=torch.float64)
    for at in range(7):
        for head in range(3):
            near = {other: other - at + 2 for other in range(6) if abs(other - at) <= 2}
            nothing = torch.zeros(4, dtype=torch.float64)
            scores, told = [], []
            for other in range(6):
                of_key = attention.near_keys[0, near[other]] if other in near else nothing
                of_value = attention.near_values[0, near[other]] if other in near else nothing
                scores.append(queries[at, head] @ (keys[other, head] + of_key) / 2)  # the root of 4
                told.append(values[other, head] + of_value)
            weights = torch.stack(scores).softmax(0)
            wanted[at, head] = (weights[:, None] * torch.stack(told)).sum(0)
    torch.testing.assert_close(attention(hidden, mask)[0], attention.output(wanted.flatten(1)))
