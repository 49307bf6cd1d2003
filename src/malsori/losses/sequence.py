"""Losses between a sound and a sequence of labels."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from malsori.errors import AlignmentError


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
) -> Float[Tensor, ""]:
    """Return the mean over utterances of -log P(target | sound) / tokens, summed over every alignment.

    Args:
        log_probs: log-softmax over the vocabulary (batch, frames, vocab); index 0 is the blank.
        frame_lengths: real frames (batch,).
        targets: label ids (batch, tokens), padded with anything.
        target_lengths: real labels (batch,), at least 1.
    Raises: AlignmentError naming the utterances of the batch whose target needs more frames than there are.
    Source: Graves et al. 2006, Connectionist Temporal Classification, ICML.
    """
    hopeless = infeasible(targets, target_lengths, frame_lengths).nonzero().flatten().tolist()
    if hopeless:
        need, have = frames_needed(targets, target_lengths)[hopeless].tolist(), frame_lengths[hopeless].tolist()
        raise AlignmentError(
            f"CTC: utterances {hopeless} of the batch need {need} frames and have {have}. "
            "Leave them out, or use a model that writes more frames a second."
        )
    return torch.nn.functional.ctc_loss(
        log_probs.transpose(0, 1), targets, frame_lengths, target_lengths, blank=0, reduction="mean"
    )
