"""From tokens to frames and back, against the plainest loop that does the same."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from malsori.nn.lengths import average_by_durations, durations_of_attention, expand_by_durations

#: Sentences of unequal length: durations, some of them 0, but at least a frame in each sentence.
SENTENCES = st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=7).filter(any), min_size=1, max_size=4)


def padded(sentences: list[list[int]]) -> torch.Tensor:
    longest = max(map(len, sentences))
    return torch.tensor([sentence + [0] * (longest - len(sentence)) for sentence in sentences])


@settings(deadline=None)
@given(SENTENCES)
def test_expanding_repeats_each_token_as_long_as_it_lasts_and_pads_with_zero(sentences):
    durations = padded(sentences)
    hidden = torch.randn(*durations.shape, 3)
    expanded = expand_by_durations(hidden, durations)
    assert expanded.shape == (len(sentences), max(map(sum, sentences)), 3)
    for row, sentence, vectors in zip(expanded, sentences, hidden, strict=True):
        wanted = [vector for vector, frames in zip(vectors, sentence, strict=False) for _ in range(frames)]
        torch.testing.assert_close(row[: len(wanted)], torch.stack(wanted), rtol=0, atol=0)
        assert (row[len(wanted) :] == 0).all()


@settings(deadline=None)
@given(SENTENCES)
def test_averaging_is_the_mean_over_a_tokens_own_frames(sentences):
    durations = padded(sentences)
    values = torch.randn(len(sentences), max(map(sum, sentences))) + 5
    averaged = average_by_durations(values, durations)
    for row, sentence, frames in zip(averaged.tolist(), sentences, values, strict=True):
        begin = 0
        for mean, length in zip(row, sentence, strict=False):
            own = frames[begin : begin + length]
            assert mean == pytest.approx(own.mean().item() if length else 0.0, abs=1e-5)
            begin += length


@settings(deadline=None)
@given(SENTENCES)
def test_averaging_undoes_expanding_wherever_a_token_sounds(sentences):
    durations = padded(sentences)
    values = torch.randn(*durations.shape)
    again = average_by_durations(expand_by_durations(values[..., None], durations)[..., 0], durations)
    torch.testing.assert_close(again, values * (durations > 0), atol=1e-5, rtol=1e-5)


def test_averaging_keeps_its_precision_over_a_long_sound():
    # a float32 running sum over these frames would be off by tenths
    values = torch.full((1, 200_000), 7.3)
    durations = torch.tensor([[199_999, 1]])
    torch.testing.assert_close(average_by_durations(values, durations), torch.full((1, 2), 7.3))


def test_a_sentence_that_lasts_no_frame_is_named():
    with pytest.raises(ValueError, match="sentence 1 of the batch lasts 0 frames"):
        expand_by_durations(torch.zeros(2, 3, 1), torch.tensor([[1, 0, 2], [0, 0, 0]]))


def test_the_gradient_of_a_token_counts_its_frames():
    hidden = torch.zeros(1, 3, 2, requires_grad=True)
    expand_by_durations(hidden, torch.tensor([[3, 0, 2]])).sum().backward()
    assert hidden.grad is not None and hidden.grad[0, :, 0].tolist() == [3, 0, 2]


@settings(deadline=None)  # the first call compiles
@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3))
def test_durations_of_an_attention_follow_the_best_path_that_leaves_no_token_out(seed, steps, tokens, reduction):
    attention = torch.rand(1, steps + 1, tokens + 1, generator=torch.Generator().manual_seed(seed))
    frames = steps * reduction - seed % reduction
    found = durations_of_attention(attention, torch.tensor([tokens]), torch.tensor([frames]), reduction)[0].tolist()
    assert sum(found) == frames and found[tokens:] == [0]
    if frames < tokens:
        assert set(found) == {0, 1}
        return

    def product(durations: tuple[int, ...]) -> float:
        at = [token for token, lasts in enumerate(durations) for _ in range(lasts)]
        return math.prod(attention[0, frame // reduction, token].item() for frame, token in enumerate(at))

    every = itertools.product(range(1, frames + 1), repeat=tokens)
    best = max(product(durations) for durations in every if sum(durations) == frames)
    assert min(found[:tokens]) >= 1 and product(found) == pytest.approx(best)


def test_durations_of_an_attention_do_not_depend_on_the_batch():
    attention, lengths, frames = torch.rand(3, 9, 6), torch.tensor([6, 4, 1]), torch.tensor([18, 11, 3])
    together = durations_of_attention(attention, lengths, frames, 2)
    assert together.sum(1).tolist() == [18, 11, 3]
    for index, (tokens, length) in enumerate(zip(lengths.tolist(), frames.tolist(), strict=True)):
        row = attention[index : index + 1, : -(-length // 2), :tokens]
        alone = durations_of_attention(row, lengths[index : index + 1], frames[index : index + 1], 2)
        assert alone[0].tolist() == together[index, :tokens].tolist()
