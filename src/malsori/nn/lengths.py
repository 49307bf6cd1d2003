"""From tokens to frames and back: repeat by durations, average over durations, durations that an attention shows."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

LONGEST_FRAMES = 2000  # of a token, whatever is predicted


def expand_by_durations(
    hidden: Float[Tensor, "batch tokens features"], durations: Int[Tensor, "batch tokens"], frames: int | None = None
) -> Float[Tensor, "batch frames features"]:
    """Repeat each token's vector for as many frames as it lasts.

    Args:
        hidden: encoder output (batch, tokens, features).
        durations: frames per token (batch, tokens), >= 0; 0 on padding.
        frames: how wide the result is; the longest sentence's total when not given.
    Returns: (batch, frames, features); what lies beyond a sentence's total is zero.
    Raises: ValueError naming the sentence, if it lasts 0 frames.
    Source: FastSpeech (Ren et al. 2019, arXiv:1905.09263), 3.2 Length Regulator.

    >>> expand_by_durations(torch.tensor([[[1.0], [2.0]]]), torch.tensor([[2, 1]])).flatten().tolist()
    [1.0, 1.0, 2.0]
    """
    totals = durations.sum(1)
    if not torch.compiler.is_compiling() and (totals <= 0).any():
        raise ValueError(f"sentence {int((totals <= 0).nonzero()[0])} of the batch lasts 0 frames")
    ends = durations.cumsum(1)
    longest = totals.max().item() if frames is None else frames  # not int(): an exported program leaves it open
    if frames is None and torch.compiler.is_exporting():
        torch._check(longest > 1)  # attention's kernel is chosen by it, once for all
    places = torch.arange(longest, device=hidden.device)
    token_of_frame = torch.searchsorted(ends, places.expand(len(hidden), -1).contiguous(), right=True)
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


@torch.no_grad()
def durations_of_attention(
    attention: Float[Tensor, "batch steps tokens"],
    token_lengths: Int[Tensor, " batch"],
    frame_lengths: Int[Tensor, " batch"],
    reduction: int = 1,
) -> Int[Tensor, "batch tokens"]:
    """Return how many frames each token is attended to on the best path that never goes back; they sum to the frames.

    The path takes one token a step, and of all paths that never go back has the greatest product of weights; a token
    may be skipped. It does what the argmax does where that goes from left to right, and a step astray costs a step.

    Args:
        attention: weights of the tokens at each step of a decoder (batch, steps, tokens).
        reduction: frames a step; the last step may have fewer.

    >>> durations_of_attention(torch.eye(3)[None], torch.tensor([3]), torch.tensor([5]), reduction=2).tolist()
    [[2, 2, 1]]
    """
    batch, steps, tokens = attention.shape
    index = torch.arange(tokens, device=attention.device)
    unreal = (index >= token_lengths[:, None])[:, None]
    scores = attention.clamp(min=1e-8).log().masked_fill(unreal, -torch.inf)
    frames = (frame_lengths[:, None] - reduction * torch.arange(steps, device=attention.device)).clamp(0, reduction)
    best, origins = scores[:, 0], []
    for step in range(1, steps):
        upto, origin = best.cummax(1)
        best = torch.where(frames[:, step, None] > 0, upto + scores[:, step], best)
        origins.append(torch.where(frames[:, step, None] > 0, origin, index))
    path = [best.argmax(1, keepdim=True)]
    for origin in reversed(origins):
        path.append(origin.gather(1, path[-1]))
    on = torch.cat(path[::-1], dim=1)
    return torch.zeros(batch, tokens, dtype=torch.long, device=on.device).scatter_add_(1, on, frames)


def durations_of(
    log_durations: Float[Tensor, "batch tokens"], mask: Bool[Tensor, "batch tokens"], speed: float
) -> Int[Tensor, "batch tokens"]:
    """Return whole frames a token from log(1 + frames); a sentence of none at all gets one, at its first token."""
    frames = torch.expm1(log_durations).clamp(min=0) / speed
    durations = (frames.round().long() * mask).clamp(max=LONGEST_FRAMES)
    durations[:, 0] += durations.sum(1) == 0
    return durations
