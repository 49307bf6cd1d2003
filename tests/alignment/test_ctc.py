"""CTC alignment against every path there is, on scores whose sums are exact in floating point."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from malsori.alignment import ctc
from malsori.alignment.ctc import align_ctc, needed_frames
from malsori.errors import AlignmentError


def every_path(frames: int, tokens: list[int]):
    """Yield each allowed path as its states, from a definition that shares nothing with the search.

    A path is any sequence of symbols that collapses to the text; here the runs of equal states are dealt out directly:
    state 2n is the blank behind the n-th token, 2n - 1 the n-th token itself.
    """
    last = 2 * len(tokens)
    for states in itertools.combinations_with_replacement(range(last + 1), frames):
        if states[0] > 1 or states[-1] < last - 1:
            continue
        for before, after in itertools.pairwise(states):
            same_token = after % 2 == 1 and after >= 3 and tokens[after // 2] == tokens[after // 2 - 1]
            if after - before > 2 or (after - before == 2 and (after % 2 == 0 or same_token)):
                break
        else:
            yield states


def oracle(log_probs: np.ndarray, tokens: list[int], blank: int) -> tuple[float, list[int]]:
    """Return the best score, and of the paths that reach it the one furthest on, read from the last frame back."""

    def score(path: tuple[int, ...]) -> float:
        symbols = [tokens[state // 2] if state % 2 else blank for state in path]
        return sum(float(row[symbol]) for row, symbol in zip(log_probs, symbols, strict=True))

    best, backwards = max((score(path), path[::-1]) for path in every_path(len(log_probs), tokens))
    return best, [state // 2 if state % 2 else -1 for state in backwards[::-1]]


@st.composite
def problems(draw):
    """Draw scores from few values, so that ties abound, and a text that fits."""
    vocab = draw(st.integers(2, 4))
    blank = draw(st.integers(0, vocab - 1))
    symbols = [symbol for symbol in range(vocab) if symbol != blank]
    tokens = draw(st.lists(st.sampled_from(symbols), max_size=4))
    needed = len(tokens) + sum(before == after for before, after in itertools.pairwise(tokens))
    frames = draw(st.integers(max(1, needed), 8))
    values = st.sampled_from([0.0, -0.5, -1.0, -1.5, -4.0])
    scores = draw(st.lists(values, min_size=frames * vocab, max_size=frames * vocab))
    return np.array(scores, dtype=np.float32).reshape(frames, vocab), tokens, blank


@settings(max_examples=150, deadline=None)
@given(problems(), st.sampled_from([0, 2**20]))
def test_align_finds_the_best_of_all_paths_and_the_promised_one_of_equals(problem, pointer_bytes):
    log_probs, tokens, blank = problem
    kept, ctc.POINTER_BYTES = ctc.POINTER_BYTES, pointer_bytes
    try:
        path = align_ctc(log_probs, tokens, blank)
    finally:
        ctc.POINTER_BYTES = kept
    score, frame_tokens = oracle(log_probs, tokens, blank)
    assert path.score == score
    assert path.frame_tokens.tolist() == frame_tokens


def test_checkpoints_change_nothing_on_a_longer_text(monkeypatch):
    random = np.random.default_rng(1)
    log_probs = np.log(random.dirichlet(np.ones(9), size=1500)).astype(np.float32)
    tokens = random.integers(1, 9, size=400)
    whole = align_ctc(log_probs, tokens)
    monkeypatch.setattr(ctc, "POINTER_BYTES", 0)
    pieces = align_ctc(log_probs, tokens)
    assert whole.score == pieces.score
    np.testing.assert_array_equal(whole.frame_tokens, pieces.frame_tokens)


def test_a_planted_path_is_found_with_its_frames_and_scores():
    planted = [0, 2, 2, 0, 0, 1, 0, 1, 3, 3]
    log_probs = np.full((10, 4), math.log(0.1), dtype=np.float64)
    log_probs[np.arange(10), planted] = math.log(0.7)
    path = align_ctc(log_probs, [2, 1, 1, 3])
    assert path.frame_tokens.tolist() == [-1, 0, 0, -1, -1, 1, -1, 2, 3, 3]
    assert path.starts.tolist() == [1, 5, 7, 8]
    assert path.ends.tolist() == [3, 6, 8, 10]
    assert path.token_log_probs == pytest.approx([math.log(0.7)] * 4)
    assert path.score == pytest.approx(10 * math.log(0.7))


def test_the_score_is_at_most_the_loss_that_sums_all_paths():
    import torch

    random = torch.Generator().manual_seed(3)
    log_probs = torch.randn(40, 6, generator=random, dtype=torch.float64).log_softmax(-1)
    tokens = [1, 1, 4, 5, 2]
    loss = torch.nn.functional.ctc_loss(log_probs[:, None], torch.tensor([tokens]), (40,), (5,), reduction="sum")
    path = align_ctc(log_probs.numpy(), tokens)
    assert path.score < -loss.item() < path.score + 40 * math.log(11)


def test_an_empty_text_stays_in_the_blank():
    path = align_ctc(np.array([[-1.0, -2.0], [-0.5, -2.0]]), [])
    assert path.frame_tokens.tolist() == [-1, -1]
    assert path.score == -1.5
    assert len(path.starts) == len(path.ends) == len(path.token_log_probs) == 0


def test_each_token_needs_a_frame_and_each_pair_of_equals_one_more():
    assert [needed_frames(tokens) for tokens in ([], [3], [3, 3, 4], [5, 5, 5])] == [0, 1, 4, 5]


def test_too_few_frames_are_refused_with_the_number_that_is_needed():
    with pytest.raises(AlignmentError, match=r"3 frames are too few for 3 tokens and 1 blanks .* 4 are needed"):
        align_ctc(np.zeros((3, 3)), [1, 1, 2])


@pytest.mark.parametrize(
    ("log_probs", "tokens", "told"),
    [
        (np.zeros((4, 3)), [1, 3], "token 3"),
        (np.zeros((4, 3)), [0], "token 0"),
        (np.full((4, 3), np.nan), [1], "NaN"),
        (np.full((4, 3), -np.inf), [1], "forbidden"),
    ],
)
def test_what_cannot_be_aligned_is_refused(log_probs, tokens, told):
    with pytest.raises(AlignmentError, match=told):
        align_ctc(log_probs, tokens)
