"""From tokens to frames and back: repeat by durations, average over durations."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def expand_by_durations(
    hidden: Float[Tensor, "batch tokens features"], durations: Int[Tensor, "batch tokens"]
) -> Float[Tensor, "batch frames features"]:
    """Repeat each token's vector for as many frames as it lasts.

    Args:
        hidden: encoder output (batch, tokens, features).
        durations: frames per token (batch, tokens), >= 0; 0 on padding.
    Returns: (batch, frames, features); frames is the longest sentence's total, the rest zero.
    Raises: ValueError naming the sentence, if it lasts 0 frames.
    Source: FastSpeech (Ren et al. 2019, arXiv:1905.09263), 3.2 Length Regulator.

    >>> expand_by_durations(torch.tensor([[[1.0], [2.0]]]), torch.tensor([[2, 1]])).flatten().tolist()
    [1.0, 1.0, 2.0]
    """
    totals = durations.sum(1)
    if not torch.compiler.is_compiling() and (totals <= 0).any():
        raise ValueError(f"sentence {int((totals <= 0).nonzero()[0])} of the batch lasts 0 frames")
    ends = durations.cumsum(1)
    longest = totals.max().item()  # not int(): an exported program leaves it open
    if torch.compiler.is_exporting():
        torch._check(longest > 1)  # attention's kernel is chosen by it, once for all
    frames = torch.arange(longest, device=hidden.device)
    token_of_frame = torch.searchsorted(ends, frames.expand(len(hidden), -1).contiguous(), right=True)
    real = token_of_frame < hidden.shape[1]
    index = token_of_frame.clamp(max=hidden.shape[1] - 1)[..., None].expand(-1, -1, hidden.shape[2])
    return hidden.gather(1, index) * real[..., None]


def average_by_durations(
    values: Float[Tensor, "batch frames"], durations: Int[Tensor, "batch tokens"]
) -> Float[Tensor, "batch tokens"]:
    """Return each token's mean over the frames it lasts; 0 where it lasts none.

    Args:
        values: one number a frame (batch, frames), such as pitch.
        durations: frames per token (batch, tokens), >= 0.

    >>> average_by_durations(torch.tensor([[1.0, 3.0, 5.0]]), torch.tensor([[2, 0, 1]])).tolist()
    [[2.0, 0.0, 5.0]]
    """
    sums = torch.nn.functional.pad(values.double().cumsum(1), (1, 0))
    ends = durations.cumsum(1).clamp(max=values.shape[1])
    starts = torch.nn.functional.pad(ends, (1, 0))[:, :-1]
    means = (sums.gather(1, ends) - sums.gather(1, starts)) / durations.clamp(min=1)
    return means.to(values.dtype)
