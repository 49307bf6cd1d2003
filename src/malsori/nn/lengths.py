"""From tokens to frames and back: repeat by durations, average over durations, durations that an attention shows."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from malsori.alignment.monotonic import align_monotonic

MAX_FRAMES_PER_TOKEN = 2000  # of a token, whatever is predicted
_MIN_WEIGHT = 1e-8  # of attention, where it has to pass all the same


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
    totals, traced = durations.sum(1), torch.jit.is_tracing()  # type: ignore[attr-defined]
    if not (torch.compiler.is_compiling() or traced) and (totals <= 0).any():
        raise ValueError(f"sentence {int((totals <= 0).nonzero()[0])} of the batch lasts 0 frames")
    ends = durations.cumsum(1)
    max_frames: Any = frames  # not int(): an exported program leaves it open, a traced one the tensor
    if frames is None:
        max_frames = totals.max() if traced else totals.max().item()
    if frames is None and torch.compiler.is_exporting():
        torch._check(max_frames > 1)  # attention's kernel is chosen by it, once for all
    places = torch.arange(max_frames, device=hidden.device)
    token_of_frame = (ends[:, None] <= places[:, None]).sum(-1)  # a search would be in no graph of ONNX
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
    """Return how many frames each token is attended to, from left to right; they sum to the frames.

    Of all paths that give every token a frame or more, the one along the greatest product of weights; where there are
    fewer frames than tokens, the frames are dealt out evenly.

    Args:
        attention: weights of the tokens at each step of a decoder (batch, steps, tokens).
        reduction: frames a step; the last step may have fewer.

    >>> durations_of_attention(torch.eye(3)[None], torch.tensor([3]), torch.tensor([5]), reduction=2).tolist()
    [[2, 2, 1]]
    """
    scores = attention.clamp(min=_MIN_WEIGHT).log().repeat_interleave(reduction, dim=1).cpu().double().numpy()
    durations = torch.zeros(attention.shape[0], attention.shape[2], dtype=torch.long)
    for number, (tokens, frames) in enumerate(zip(token_lengths.tolist(), frame_lengths.tolist(), strict=True)):
        if tokens <= frames:
            dealt = torch.from_numpy(align_monotonic(scores[number, :frames, :tokens]))
        else:
            dealt = torch.linspace(0, frames, tokens + 1).round().long().diff()
        durations[number, :tokens] = dealt
    return durations.to(attention.device)


def durations_of(
    log_durations: Float[Tensor, "batch tokens"], mask: Bool[Tensor, "batch tokens"], speed: float
) -> Int[Tensor, "batch tokens"]:
    """Return whole frames a token from log(1 + frames); a sentence of none at all gets one, at its first token."""
    frames = (log_durations.exp() - 1).clamp(min=0) / speed
    durations = (frames.round().long() * mask).clamp(max=MAX_FRAMES_PER_TOKEN)
    nothing = durations.sum(1, keepdim=True) == 0
    return torch.cat([durations[:, :1] + nothing, durations[:, 1:]], 1)
