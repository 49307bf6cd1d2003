"""Every loss against an independent formula in float64, and with more padding: nothing changes."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import signal

from malsori.audio.mel import log_mel
from malsori.config import AudioConfig
from malsori.errors import AlignmentError
from malsori.losses.adversarial import (
    discriminator_accuracy,
    discriminator_loss,
    feature_matching_loss,
    generator_loss,
)
from malsori.losses.distribution import (
    contrastive_loss,
    diversity_loss,
    draw_distractors,
    gaussian_kl_loss,
    sampled_kl_loss,
    stochastic_duration_loss,
)
from malsori.losses.regression import (
    huber_loss,
    l1_loss,
    l2_loss,
    l2_norm,
    log_duration_loss,
    mel_loss,
    multi_resolution_stft_loss,
    spectral_convergence,
)
from malsori.losses.sequence import (
    aligned_attention_loss,
    attention_diagonality,
    blank_share,
    cross_entropy_loss,
    ctc_loss,
    frames_needed,
    guided_attention_loss,
    stop_loss,
)

RANDOM = np.random.default_rng(7)
LENGTHS = (5, 3)
MASK = np.arange(5)[None, :] < np.array(LENGTHS)[:, None]
REAL = [(item, step) for item, length in enumerate(LENGTHS) for step in range(length)]
A, B, C, D = RANDOM.normal(size=(4, 2, 5, 3))
SCORES = RANDOM.normal(size=(2, 2, 4)), RANDOM.normal(size=(2, 2, 4))
DURATIONS = RANDOM.integers(0, 9, (2, 5))
OTHERS = RANDOM.normal(size=(2, 5, 6, 3))
OTHERS[0, 1, 2] = B[0, 1]  # a distractor that is the target itself
LOGITS = RANDOM.normal(size=(2, 5, 4))
TARGETS = RANDOM.integers(0, 4, (2, 5))


def tensor(array):
    return torch.from_numpy(np.asarray(array))


def mean(function):
    """Return the mean of a function of (item, step) over real steps."""
    return sum(function(item, step) for item, step in REAL) / len(REAL)


def softmax(values):
    powers = np.exp(values - values.max())
    return powers / powers.sum()


def log_sigmoid(value):
    return -math.log1p(math.exp(-value))


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def huber(error, delta):
    return 0.5 * error**2 if abs(error) <= delta else delta * (abs(error) - 0.5 * delta)


def contrast(i, t, temperature=0.1):
    others = [q for q in OTHERS[i, t] if not np.array_equal(q, B[i, t])]
    scores = np.array([cosine(A[i, t], q) for q in [B[i, t], *others]]) / temperature
    return -math.log(softmax(scores)[0])


def perplexities():
    """Return exp(H) of each of two codebooks of three codes, of the mean softmax over real frames."""
    books = []
    for values in (A, B):
        share = sum(softmax(values[i, t]) for i, t in REAL) / len(REAL)
        books.append(math.exp(-sum(p * math.log(p) for p in share)))
    return books


CODES = np.stack([np.apply_along_axis(softmax, -1, A), np.apply_along_axis(softmax, -1, B)], axis=2)
PAIRS = [(score, index) for score in range(2) for index in range(2)]

TABLE = {
    "L1": (lambda: l1_loss(tensor(A), tensor(B), tensor(MASK)), lambda: mean(lambda i, t: np.abs(A - B)[i, t].mean())),
    "L2": (lambda: l2_loss(tensor(A), tensor(B), tensor(MASK)), lambda: mean(lambda i, t: ((A - B) ** 2)[i, t].mean())),
    "L2 norm": (
        lambda: l2_norm(tensor(A), tensor(B), tensor(MASK)),
        lambda: math.sqrt(sum(((A - B) ** 2)[i, t].sum() for i, t in REAL)),
    ),
    "Huber": (
        lambda: huber_loss(tensor(A), tensor(B), tensor(MASK), delta=0.7),
        lambda: mean(lambda i, t: np.mean([huber(e, 0.7) for e in (A - B)[i, t]])),
    ),
    "log duration": (
        lambda: log_duration_loss(tensor(A[..., 0]), tensor(DURATIONS), tensor(MASK)),
        lambda: mean(lambda i, t: (A[i, t, 0] - math.log(1 + DURATIONS[i, t])) ** 2),
    ),
    "spectral convergence": (
        lambda: spectral_convergence(tensor(A), tensor(B), tensor(MASK)),
        lambda: np.linalg.norm((A - B)[MASK]) / np.linalg.norm(B[MASK]),
    ),
    "KL of Gaussians": (
        lambda: gaussian_kl_loss(tensor(A), tensor(B), tensor(C), tensor(D), tensor(MASK)),
        lambda: mean(
            lambda i, t: sum(
                math.log(math.exp(sp - sq)) + (math.exp(sq) ** 2 + (mq - mp) ** 2) / (2 * math.exp(sp) ** 2) - 0.5
                for mq, sq, mp, sp in zip(A[i, t], B[i, t], C[i, t], D[i, t], strict=True)
            )
        ),
    ),
    "KL of a sample": (
        lambda: sampled_kl_loss(tensor(A), tensor(B), tensor(C), tensor(D), tensor(MASK)),
        lambda: mean(
            lambda i, t: sum(
                sp - sq - 0.5 + (z - mp) ** 2 / (2 * math.exp(2 * sp))
                for z, sq, mp, sp in zip(A[i, t], B[i, t], C[i, t], D[i, t], strict=True)
            )
        ),
    ),
    "stochastic duration": (
        lambda: stochastic_duration_loss(tensor(A), tensor(B[..., 0]), tensor(C), tensor(D[..., 0]), tensor(MASK)),
        lambda: mean(
            lambda i, t: -sum(math.log(math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)) for z in A[i, t]) - B[i, t, 0]
            + sum(math.log(math.exp(-(e**2) / 2) / math.sqrt(2 * math.pi)) for e in C[i, t]) - D[i, t, 0]
        ),
    ),
    "contrastive": (
        lambda: contrastive_loss(tensor(A), tensor(B), tensor(OTHERS), tensor(MASK)),
        lambda: mean(contrast),
    ),
    "diversity": (
        lambda: diversity_loss(tensor(CODES), tensor(MASK)),
        lambda: 1 - sum(perplexities()) / 6,
    ),
    "cross-entropy": (
        lambda: cross_entropy_loss(tensor(LOGITS), tensor(TARGETS), tensor(MASK)),
        lambda: mean(lambda i, t: -math.log(softmax(LOGITS[i, t])[TARGETS[i, t]])),
    ),
    "cross-entropy, smoothed": (
        lambda: cross_entropy_loss(tensor(LOGITS), tensor(TARGETS), tensor(MASK), label_smoothing=0.1),
        lambda: mean(
            lambda i, t: -sum(
                (0.9 * (v == TARGETS[i, t]) + 0.1 / 4) * math.log(p) for v, p in enumerate(softmax(LOGITS[i, t]))
            )
        ),
    ),
    "stop": (
        lambda: stop_loss(tensor(A[..., 0]), torch.tensor(LENGTHS), positive_weight=5.0),
        lambda: mean(
            lambda i, t: -5 * log_sigmoid(A[i, t, 0]) if t == LENGTHS[i] - 1 else -log_sigmoid(-A[i, t, 0])
        ),
    ),
    "least squares, discriminator": (
        lambda: discriminator_loss([*tensor(SCORES[0])], [*tensor(SCORES[1])]),
        lambda: sum(np.mean((SCORES[0][k] - 1) ** 2) + np.mean(SCORES[1][k] ** 2) for k in range(2)),
    ),
    "least squares, generator": (
        lambda: generator_loss([*tensor(SCORES[1])]),
        lambda: sum(np.mean((SCORES[1][k] - 1) ** 2) for k in range(2)),
    ),
    "hinge, discriminator": (
        lambda: discriminator_loss([*tensor(SCORES[0])], [*tensor(SCORES[1])], kind="hinge"),
        lambda: sum(np.mean(np.maximum(0, 1 - SCORES[0][k]) + np.maximum(0, 1 + SCORES[1][k])) for k in range(2)),
    ),
    "hinge, generator": (
        lambda: generator_loss([*tensor(SCORES[1])], kind="hinge"),
        lambda: -sum(np.mean(SCORES[1][k]) for k in range(2)),
    ),
    "original, discriminator": (
        lambda: discriminator_loss([*tensor(SCORES[0])], [*tensor(SCORES[1])], kind="original"),
        lambda: -sum(
            np.mean([log_sigmoid(x) for x in SCORES[0][k].flat]) + np.mean([log_sigmoid(-x) for x in SCORES[1][k].flat])
            for k in range(2)
        ),
    ),
    "original, generator": (
        lambda: generator_loss([*tensor(SCORES[1])], kind="original"),
        lambda: -sum(np.mean([log_sigmoid(x) for x in SCORES[1][k].flat]) for k in range(2)),
    ),
    "feature matching": (
        lambda: feature_matching_loss([[tensor(A), tensor(B)], [tensor(C)]], [[tensor(B), tensor(C)], [tensor(D)]]),
        lambda: np.abs(A - B).mean() + np.abs(B - C).mean() + np.abs(C - D).mean(),
    ),
    "discriminators' accuracy": (
        lambda: discriminator_accuracy([*tensor(SCORES[0])], [*tensor(SCORES[1])]).double(),
        lambda: ((SCORES[0] > 0.5).mean() + (SCORES[1] < 0.5).mean()) / 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_a_loss_is_its_formula(name):
    ours, independent = TABLE[name]
    assert ours().item() == pytest.approx(float(independent()), rel=1e-6 if "accuracy" in name else 1e-12)


def ctc_by_enumeration(log_probs, target, blank):
    """Return -log of the summed probability of every path that collapses to the target."""
    total = 0.0
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        collapsed = [label for label, _ in itertools.groupby(path) if label != blank]
        if collapsed == target:
            total += math.exp(sum(log_probs[frame, label] for frame, label in enumerate(path)))
    return -math.log(total)


@pytest.mark.parametrize("blank", [0, 3])
def test_ctc_sums_over_every_alignment(blank):
    log_probs = np.log(np.apply_along_axis(softmax, -1, LOGITS))
    targets = [[1, 1], [2]]
    ours = ctc_loss(
        tensor(log_probs), torch.tensor(LENGTHS), torch.tensor([[1, 1], [2, 2]]), torch.tensor([2, 1]), blank
    )
    each = [ctc_by_enumeration(log_probs[i, :n], targets[i], blank) / len(targets[i]) for i, n in enumerate(LENGTHS)]
    assert ours.item() == pytest.approx(sum(each) / 2, rel=1e-9)


def test_an_utterance_that_cannot_be_spelt_is_named_or_skipped_aloud(caplog):
    log_probs = torch.full((2, 4, 3), 1 / 3).log()
    frames, targets, tokens = torch.tensor([4, 2]), torch.tensor([[1, 2], [1, 1]]), torch.tensor([2, 2])
    assert frames_needed(targets, tokens).tolist() == [2, 3]
    with pytest.raises(AlignmentError, match=r"\['b'\] of the batch need \[3\] frames and have \[2\]"):
        ctc_loss(log_probs, frames, targets, tokens, names=["a", "b"])
    left = ctc_loss(log_probs, frames, targets, tokens, skip_infeasible=True, names=["a", "b"])
    assert left.item() == pytest.approx(ctc_loss(log_probs[:1], frames[:1], targets[:1], tokens[:1]).item())
    assert "['b']" in caplog.text and "skipped" in caplog.text
    with pytest.raises(AlignmentError):
        ctc_loss(log_probs[1:], frames[1:], targets[1:], tokens[1:], skip_infeasible=True)


def test_guided_attention_and_diagonality_follow_their_formula():
    attention = np.apply_along_axis(softmax, -1, RANDOM.normal(size=(2, 5, 4)))
    frames, tokens, g = (5, 3), (4, 2), 0.31  # no entry lies on the border
    entries = [(i, t, n) for i in range(2) for t in range(frames[i]) for n in range(tokens[i])]
    apart = {(i, t, n): n / tokens[i] - t / frames[i] for i, t, n in entries}
    expected = [attention[e] * (1 - math.exp(-(apart[e] ** 2) / (2 * g**2))) for e in entries]
    arguments = tensor(attention), torch.tensor(frames), torch.tensor(tokens)
    assert guided_attention_loss(*arguments, width=g).item() == pytest.approx(np.mean(expected), rel=1e-6)
    near = sum(attention[e] for e in entries if abs(apart[e]) <= g) / sum(attention[e] for e in entries)
    assert attention_diagonality(*arguments, width=g).item() == pytest.approx(near, rel=1e-6)


def test_attention_on_an_aligners_path_or_beside_it_costs_nothing():
    attention = np.apply_along_axis(softmax, -1, RANDOM.normal(size=(2, 5, 6)))
    path, steps = RANDOM.integers(0, 6, (2, 5)), (5, 3)
    near = [attention[i, t, max(0, path[i, t] - 1) : path[i, t] + 2].sum() for i in range(2) for t in range(steps[i])]
    found = aligned_attention_loss(tensor(attention), torch.tensor(path), torch.tensor(steps)).item()
    assert found == pytest.approx(np.mean(-np.log(near)), rel=1e-6)
    sharp = torch.nn.functional.one_hot(torch.tensor(path), 6).double()
    assert aligned_attention_loss(sharp, torch.tensor(path), torch.tensor(steps)).item() == pytest.approx(0, abs=1e-9)
    exact = aligned_attention_loss(tensor(attention), torch.tensor(path), torch.tensor(steps), tolerance=0).item()
    assert exact > found


def test_the_multi_resolution_loss_is_scipys_spectra_compared():
    waves = RANDOM.normal(size=(2, 1, 600)) * 0.1
    sizes = ((64, 16, 64), (128, 32, 128))
    expected = []
    for size, hop, _ in sizes:
        spectra = []
        for wave in waves:
            padded = np.pad(wave[0], size // 2)
            frames = np.stack([padded[start : start + size] for start in range(0, len(padded) - size + 1, hop)])
            power = np.abs(np.fft.rfft(frames * signal.windows.hann(size, sym=False))) ** 2
            spectra.append(np.sqrt(np.maximum(power, 1e-7)))
        ours, theirs = spectra
        convergence = np.linalg.norm(theirs - ours) / np.linalg.norm(theirs)
        expected.append(convergence + np.abs(np.log(ours) - np.log(theirs)).mean())
    loss = multi_resolution_stft_loss(tensor(waves[0]), tensor(waves[1]), resolutions=sizes)
    assert loss.item() == pytest.approx(np.mean(expected), rel=1e-9)


def test_the_mel_loss_is_the_mean_distance_of_log_mels():
    waves = tensor(RANDOM.normal(size=(2, 2, 4096)).astype(np.float32) * 0.1)
    whole = AudioConfig(max_hz=11025.0)
    expected = (log_mel(waves[0], whole) - log_mel(waves[1], whole)).abs().mean()
    assert mel_loss(waves[0], waves[1], AudioConfig()).item() == pytest.approx(expected.item())


def test_the_mel_loss_hears_a_whistle_above_the_vocoders_mels():
    audio = AudioConfig()
    noise = tensor(RANDOM.normal(size=(1, 8192)).astype(np.float32) * 0.01)
    whistle = 0.1 * torch.sin(2 * torch.pi * 9700 / audio.sample_rate * torch.arange(8192))
    assert mel_loss(noise + whistle, noise, audio).item() > 0.03


def test_spectra_hear_a_whistle_at_half_the_sample_rate_which_mels_do_not():
    noise = 0.1 * torch.randn(1, 8192, generator=torch.Generator().manual_seed(0))
    whistle = noise + 0.8 * torch.cos(torch.pi * torch.arange(8192))
    assert mel_loss(whistle, noise, AudioConfig()).item() < 0.01
    assert multi_resolution_stft_loss(whistle, noise).item() > 5


def padded(array, more, value):
    """Return an array with `more` further steps of rubbish on its second axis."""
    return tensor(np.concatenate([array, np.full((2, more, *array.shape[2:]), value, array.dtype)], axis=1))


def masked_as(values, more):
    mask = np.concatenate([MASK, np.zeros((2, more), bool)], axis=1)
    return [padded(value, more, 3) for value in values], tensor(mask)


WITH_MASK = {
    "L1": (l1_loss, (A, B)),
    "L2": (l2_loss, (A, B)),
    "L2 norm": (l2_norm, (A, B)),
    "Huber": (huber_loss, (A, B)),
    "log duration": (log_duration_loss, (A[..., 0], DURATIONS)),
    "spectral convergence": (spectral_convergence, (A, B)),
    "KL of Gaussians": (gaussian_kl_loss, (A, B, C, D)),
    "KL of a sample": (sampled_kl_loss, (A, B, C, D)),
    "stochastic duration": (stochastic_duration_loss, (A, B[..., 0], C, D[..., 0])),
    "contrastive": (contrastive_loss, (A, B, OTHERS)),
    "diversity": (diversity_loss, (CODES,)),
    "cross-entropy": (cross_entropy_loss, (LOGITS, TARGETS)),
}


@pytest.mark.parametrize("name", WITH_MASK)
def test_more_padding_changes_no_loss(name):
    loss, values = WITH_MASK[name]
    (first, mask), (second, longer) = masked_as(values, 0), masked_as(values, 4)
    assert loss(*first, mask).item() == pytest.approx(loss(*second, longer).item(), rel=1e-12)


def test_more_padding_changes_no_loss_between_sequences():
    log_probs, lengths = np.log(np.apply_along_axis(softmax, -1, LOGITS)), torch.tensor(LENGTHS)
    targets, tokens = np.array([[1, 2], [3, 0]]), torch.tensor([2, 1])
    attention = np.apply_along_axis(softmax, -1, A)
    for more in (0, 4):
        found = (
            ctc_loss(padded(log_probs, more, 0.5), lengths, padded(targets, more, 1), tokens).item(),
            blank_share(padded(log_probs, more, 0.5), lengths).item(),
            stop_loss(padded(A[..., 0], more, 9.0), lengths).item(),
            guided_attention_loss(padded(attention, more, 0.7), lengths, torch.tensor([3, 2])).item(),
            attention_diagonality(padded(attention, more, 0.7), lengths, torch.tensor([3, 2])).item(),
        )
        expected = found if more == 0 else expected
    assert found == pytest.approx(expected, rel=1e-12)


def test_more_padding_changes_no_loss_between_scores():
    masks = [tensor(MASK)] * 2
    for more in (0, 3):
        real, fake = [padded(A[..., 0], more, 9.0), padded(B[..., 0], more, 9.0)], [padded(C[..., 0], more, 9.0)] * 2
        of = [torch.nn.functional.pad(mask, (0, more)) for mask in masks]
        found = [
            loss.item()
            for kind in ("least squares", "hinge", "original")
            for loss in (discriminator_loss(real, fake, kind, of), generator_loss(fake, kind, of))
        ]
        expected = found if more == 0 else expected
    assert found == pytest.approx(expected, rel=1e-12)


def test_more_silence_behind_waves_changes_no_spectral_loss():
    lengths, audio = torch.tensor([6144, 4096]), AudioConfig()
    predicted, target = tensor(RANDOM.normal(size=(2, 2, 6144)).astype(np.float32) * 0.1)
    found = []
    for more in (0, 2048):
        ours, theirs = (torch.nn.functional.pad(wave, (0, more), value=0.3) for wave in (predicted, target))
        found.append(
            (multi_resolution_stft_loss(ours, theirs, lengths).item(), mel_loss(ours, theirs, audio, lengths).item())
        )
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_features_of_the_recording_carry_no_gradient():
    real, fake = torch.ones(1, 2, requires_grad=True), torch.zeros(1, 2, requires_grad=True)
    feature_matching_loss([[real]], [[fake]]).backward()
    assert real.grad is None and fake.grad.tolist() == [[-0.5, -0.5]]


def test_distractors_are_other_masked_frames_of_the_same_utterance():
    mask = torch.tensor([[True, False, True, True], [False, True, True, False]])
    drawn = draw_distractors(mask, 200, torch.Generator().manual_seed(0))
    assert set(drawn[0, 0].tolist()) == {2, 3} and set(drawn[0, 2].tolist()) == {0, 3}
    assert set(drawn[1, 1].tolist()) == {2} and drawn[0, 1].tolist() == [0] * 200
    with pytest.raises(ValueError, match="utterance 0 of the batch has 1 masked frames"):
        draw_distractors(torch.tensor([[True, False]]), 3)


def test_a_loss_over_nothing_real_is_refused():
    with pytest.raises(ValueError, match="nothing is real"):
        l1_loss(tensor(A), tensor(B), torch.zeros(2, 5, dtype=torch.bool))
