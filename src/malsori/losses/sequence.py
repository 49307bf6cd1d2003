"""Losses between a sound and a sequence of labels, and of the attention that joins them."""

import logging

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from malsori.errors import AlignmentError
from malsori.shapes import length_mask, masked_mean

log = logging.getLogger("malsori")


def frames_needed(targets: Int[Tensor, "batch tokens"], target_lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
    """Return the fewest frames in which CTC can spell each target: its tokens and a blank between equal neighbours.

    >>> frames_needed(torch.tensor([[1, 2, 2, 3]]), torch.tensor([4])).tolist()
    [5]
    """
    positions = torch.arange(1, targets.shape[1], device=targets.device)
    repeats = (targets[:, 1:] == targets[:, :-1]) & (positions[None, :] < target_lengths[:, None])
    return target_lengths + repeats.sum(1)


def infeasible(
    targets: Int[Tensor, "batch tokens"], target_lengths: Int[Tensor, " batch"], frame_lengths: Int[Tensor, " batch"]
) -> Bool[Tensor, " batch"]:
    """Return True for each utterance whose target cannot be spelt in its frames."""
    return frames_needed(targets, target_lengths) > frame_lengths


def ctc_loss(
    log_probs: Float[Tensor, "batch frames vocab"],
    frame_lengths: Int[Tensor, " batch"],
    targets: Int[Tensor, "batch tokens"],
    target_lengths: Int[Tensor, " batch"],
    blank: int = 0,
    skip_infeasible: bool = False,
    names: list[str] | None = None,
) -> Float[Tensor, ""]:
    """Return the mean over utterances of -log P(target | sound) / tokens, P summed over every alignment.

    Args:
        log_probs: log-softmax over the vocabulary (batch, frames, vocab).
        frame_lengths: real frames (batch,).
        targets: label ids (batch, tokens), padded with anything.
        target_lengths: real labels (batch,), at least 1.
        blank: index of the blank.
        skip_infeasible: take the mean over the utterances that can be spelt, and warn of the others by name,
            where it is better to go on than to stop (PyTorch's zero_infinity, but told).
        names: of the utterances, for the message; their numbers in the batch without.
    Raises: AlignmentError naming the utterances whose target needs more frames than there are.
    Source: Graves et al. 2006, Connectionist Temporal Classification, ICML, eq. 8 and 14.

    >>> even = torch.full((1, 2, 2), 0.5).log()  # of _a, a_, aa, __ three spell "a"
    >>> round(ctc_loss(even, torch.tensor([2]), torch.tensor([[1]]), torch.tensor([1])).exp().item(), 4)  # 1 / (3/4)
    1.3333
    """
    hopeless = infeasible(targets, target_lengths, frame_lengths)
    if hopeless.any():
        message = _what_does_not_fit(hopeless, frames_needed(targets, target_lengths), frame_lengths, names)
        if not skip_infeasible or hopeless.all():
            raise AlignmentError(f"{message}. Leave them out, or use a model that writes more frames a second.")
        log.warning("%s; skipped", message)
    losses = torch.nn.functional.ctc_loss(
        log_probs.transpose(0, 1), targets, frame_lengths, target_lengths, blank, reduction="none", zero_infinity=True
    )
    return masked_mean(losses / target_lengths.clamp(min=1), ~hopeless)


def blank_share(
    log_probs: Float[Tensor, "batch frames vocab"], frame_lengths: Int[Tensor, " batch"], blank: int = 0
) -> Float[Tensor, ""]:
    """Return the share of real frames whose best label is the blank; 1 means that nothing is written.

    >>> blank_share(torch.tensor([[[0.9, 0.1], [0.2, 0.8]]]).log(), torch.tensor([2])).item()
    0.5
    """
    best = log_probs.detach().argmax(-1) == blank
    return masked_mean(best.float(), length_mask(frame_lengths, best.shape[1]))


def cross_entropy_loss(
    logits: Float[Tensor, "batch tokens vocab"],
    targets: Int[Tensor, "batch tokens"],
    mask: Bool[Tensor, "batch tokens"] | None = None,
    label_smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """Return the mean over real tokens of -(1 - ε) log p(y) - ε mean_v log p(v).

    Args:
        logits: before the softmax (batch, tokens, vocab).
        targets: label ids (batch, tokens); on padding any id of the vocabulary.
        label_smoothing: ε, the share of probability spread over the whole vocabulary.
    Source: Szegedy et al. 2015 (arXiv:1512.00567), section 7, with a uniform u.

    >>> round(cross_entropy_loss(torch.zeros(1, 1, 4), torch.tensor([[2]])).item(), 4)  # log 4
    1.3863
    """
    log_probs = logits.log_softmax(-1)
    chosen = log_probs.gather(-1, targets[..., None])[..., 0]
    return masked_mean(-(1 - label_smoothing) * chosen - label_smoothing * log_probs.mean(-1), mask)


def stop_loss(
    logits: Float[Tensor, "batch frames"], frame_lengths: Int[Tensor, " batch"], positive_weight: float = 1.0
) -> Float[Tensor, ""]:
    """Return the mean binary cross-entropy of "speech ends here": 1 on an utterance's last real frame, 0 before.

    Args:
        positive_weight: of the one frame that ends, against the many that do not.
    Source: Tacotron 2 (Shen et al. 2017, arXiv:1712.05884), 2.2, the stop token.

    >>> round(stop_loss(torch.zeros(1, 2), torch.tensor([2])).item(), 4)  # log 2
    0.6931
    """
    real = length_mask(frame_lengths, logits.shape[1])
    last = torch.arange(logits.shape[1], device=logits.device)[None, :] == frame_lengths[:, None] - 1
    softplus = torch.nn.functional.softplus
    return masked_mean(torch.where(last, positive_weight * softplus(-logits), softplus(logits)), real)


def guided_attention_loss(
    attention: Float[Tensor, "batch frames tokens"],
    frame_lengths: Int[Tensor, " batch"],
    token_lengths: Int[Tensor, " batch"],
    width: float = 0.2,
) -> Float[Tensor, ""]:
    """Return the mean over real entries of A(t, n) (1 - exp(-(n/N - t/T)² / 2g²)): attention off the diagonal costs.

    Args:
        attention: weights of the tokens at each frame (batch, frames, tokens).
        width: g.
    Source: Tachibana, Uenoyama and Aihara 2017 (arXiv:1710.08969), 4.1.

    >>> guided_attention_loss(torch.eye(3)[None], torch.tensor([3]), torch.tensor([3])).item()
    0.0
    """
    distance, real = _off_diagonal(attention, frame_lengths, token_lengths)
    penalty = 1 - torch.exp(-distance.square() / (2 * width**2))
    return masked_mean(attention * penalty.to(attention.dtype), real)


def aligned_attention_loss(
    attention: Float[Tensor, "batch steps tokens"],
    path: Int[Tensor, "batch steps"],
    step_lengths: Int[Tensor, " batch"],
    tolerance: int = 1,
) -> Float[Tensor, ""]:
    """Return the mean over real steps of -log of the attention that lies on a known path or next to it.

    Args:
        path: the token that an aligner hears at each step (batch, steps).
        tolerance: tokens to each side that are as good: an aligner's boundaries are not exact.
    Source: the idea of Zhu et al. 2019, Pre-Alignment Guided Attention (ASRU), with a probability for a distance.

    >>> round(aligned_attention_loss(torch.full((1, 1, 4), 0.25), torch.tensor([[3]]), torch.tensor([1])).item(), 4)
    0.6931
    """
    tokens = torch.arange(attention.shape[2], device=attention.device)
    near = (tokens - path[..., None]).abs() <= tolerance
    on_path = (attention * near).sum(-1).clamp(min=1e-6)
    return masked_mean(-on_path.log(), length_mask(step_lengths, attention.shape[1]))


def attention_diagonality(
    attention: Float[Tensor, "batch frames tokens"],
    frame_lengths: Int[Tensor, " batch"],
    token_lengths: Int[Tensor, " batch"],
    width: float = 0.2,
) -> Float[Tensor, ""]:
    """Return the share of attention within `width` of the diagonal n/N = t/T; attention spread evenly has 0.36.

    >>> attention_diagonality(torch.eye(3)[None], torch.tensor([3]), torch.tensor([3])).item()
    1.0
    """
    distance, real = _off_diagonal(attention, frame_lengths, token_lengths)
    weights = attention.detach() * real
    return (weights * (distance.abs() <= width)).sum() / weights.sum()


def _off_diagonal(attention: Tensor, frame_lengths: Tensor, token_lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return n/N - t/T and which entries are real, both (batch, frames, tokens)."""
    frames, tokens = attention.shape[1:]
    of_frame = torch.arange(frames, device=attention.device)[None, :, None] / frame_lengths[:, None, None]
    of_token = torch.arange(tokens, device=attention.device)[None, None, :] / token_lengths[:, None, None]
    real = length_mask(frame_lengths, frames)[:, :, None] & length_mask(token_lengths, tokens)[:, None, :]
    return of_token - of_frame, real


def _what_does_not_fit(hopeless: Tensor, needed: Tensor, frame_lengths: Tensor, names: list[str] | None) -> str:
    numbers = hopeless.nonzero().flatten().tolist()
    who = [names[number] for number in numbers] if names else numbers
    need, have = needed[hopeless].tolist(), frame_lengths[hopeless].tolist()
    return f"CTC: utterances {who} of the batch need {need} frames and have {have}"
