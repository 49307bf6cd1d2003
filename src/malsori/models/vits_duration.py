"""How long each token lasts in VITS: searched for in a recording; of a text, drawn by a flow, or predicted.

    training    e ─► post flow, told the durations d ─► (u, ν)        u makes whole numbers continuous, ν adds a channel
                (log(d - u), ν) ─► flow, told the text ─► z           the more z looks like noise, the likelier d
    speaking    z ─► the flow backwards, told the text ─► log d       another z, another rhythm

Both predictors see the text through a detached tensor: durations teach the predictor alone.

Source: VITS (Kim et al. 2021, arXiv:2106.06103), 2.2.2 and appendix A.1.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from malsori.alignment.monotonic import align_monotonic_batch
from malsori.config import Config
from malsori.nn.conv import ConvolutionPredictor
from malsori.nn.flow import Affine, SeparableStack, SplineCoupling

_MIN_DURATION = 1e-5  # of d - u, whose logarithm is taken


class DurationConfig(Config):
    """Which predictor, and its sizes; the defaults are the paper's.

    hidden_size: width of the deterministic predictor; the stochastic one is as wide as the text encoder.
    num_flows, num_layers, num_bins, tail_bound: of the stochastic predictor's two flows.
    """

    stochastic: bool = True
    hidden_size: int = 256
    kernel_size: int = 3
    dropout: float = 0.5
    num_flows: int = 4
    num_layers: int = 3
    num_bins: int = 10
    tail_bound: float = 5.0


@dataclass(frozen=True)
class DurationFlow:
    """What the durations become, and what it takes to say how likely they were (`stochastic_duration_loss`).

    Attributes:
        latent: standard normal if the predictor is right (batch, tokens, channels).
        log_determinant: of the step from durations to latent (batch, tokens).
        noise: what u and ν were drawn from (batch, tokens, channels); no channels if nothing was drawn.
        noise_log_determinant: of the step from noise to (u, ν) (batch, tokens).
    """

    latent: Tensor
    log_determinant: Tensor
    noise: Tensor
    noise_log_determinant: Tensor


class SplineFlow(nn.Module):
    """An affine step, then spline couplings with the two channels changing places behind each."""

    def __init__(self, hidden_size: int, config: DurationConfig) -> None:
        super().__init__()
        sizes = (hidden_size, config.kernel_size, config.num_layers, config.num_bins, config.tail_bound)
        self.steps = nn.ModuleList([Affine(2), *(SplineCoupling(*sizes) for _ in range(config.num_flows))])

    def forward(
        self,
        values: Float[Tensor, "batch 2 tokens"],
        mask: Bool[Tensor, "batch 1 tokens"],
        condition: Float[Tensor, "batch features tokens"],
    ) -> tuple[Float[Tensor, "batch 2 tokens"], Float[Tensor, "batch tokens"]]:
        """Return the values behind the flow, and the log-determinant at each token."""
        affine, *couplings = self.steps
        values, log_determinant = affine(values, mask)
        for coupling in couplings:
            values, more = coupling(values, mask, condition)
            values, log_determinant = values.flip(1), log_determinant + more
        return values, log_determinant

    def undo(
        self,
        values: Float[Tensor, "batch 2 tokens"],
        mask: Bool[Tensor, "batch 1 tokens"],
        condition: Float[Tensor, "batch features tokens"],
    ) -> Float[Tensor, "batch tokens"]:
        """Return the first channel before the flow; the first coupling bends the second alone, so it is left out."""
        affine, _, *couplings = self.steps
        assert isinstance(affine, Affine)
        for coupling in reversed(couplings):
            values, _ = coupling(values.flip(1), mask, condition, reverse=True)
        return affine.undo(values.flip(1), mask)[:, 0]


class StochasticDurationPredictor(nn.Module):
    """A distribution over the durations of a text."""

    def __init__(self, hidden_size: int, speaker_embedding_size: int, config: DurationConfig) -> None:
        super().__init__()
        self.text_in, self.text_out = (nn.Conv1d(hidden_size, hidden_size, 1) for _ in range(2))
        self.text_stack = SeparableStack(hidden_size, config.kernel_size, config.num_layers, config.dropout)
        self.duration_in, self.duration_out = (nn.Conv1d(size, hidden_size, 1) for size in (1, hidden_size))
        self.duration_stack = SeparableStack(hidden_size, config.kernel_size, config.num_layers, config.dropout)
        self.flow, self.post_flow = (SplineFlow(hidden_size, config) for _ in range(2))
        if speaker_embedding_size:
            self.speaker = nn.Conv1d(speaker_embedding_size, hidden_size, 1)

    def forward(
        self,
        text: Float[Tensor, "batch tokens features"],
        mask: Bool[Tensor, "batch tokens"],
        durations: Int[Tensor, "batch tokens"],
        noise: Float[Tensor, "batch tokens 2"],
        speaker: Float[Tensor, "batch speaker_features"] | None = None,
    ) -> DurationFlow:
        """Return what the flows make of the durations, drawing u and ν from standard normal noise."""
        real = mask[:, None]
        condition = self._read(text, real, speaker)
        lengths = durations[:, None].to(text.dtype) * real
        told = self.duration_out(self.duration_stack(self.duration_in(lengths), real)) * real
        drawn = noise.transpose(1, 2) * real
        posterior, noise_log_determinant = self.post_flow(drawn, real, condition + told)
        u, extra = posterior.chunk(2, 1)
        squashed = (logsigmoid(u) + logsigmoid(-u))[:, 0] * mask  # u is squashed into (0, 1)
        log_rest = torch.log(((lengths - u.sigmoid()) * real).clamp(min=_MIN_DURATION)) * real
        latent, log_determinant = self.flow(torch.cat([log_rest, extra], 1), real, condition)
        return DurationFlow(
            latent.transpose(1, 2),
            log_determinant - log_rest[:, 0],
            drawn.transpose(1, 2),
            noise_log_determinant + squashed,
        )

    def log_durations(
        self,
        text: Float[Tensor, "batch tokens features"],
        mask: Bool[Tensor, "batch tokens"],
        noise: Float[Tensor, "batch tokens 2"],
        speaker: Float[Tensor, "batch speaker_features"] | None = None,
    ) -> Float[Tensor, "batch tokens"]:
        """Return the logarithm of the durations that belong to some noise."""
        real = mask[:, None]
        return self.flow.undo(noise.transpose(1, 2), real, self._read(text, real, speaker))

    def _read(self, text: Tensor, real: Tensor, speaker: Tensor | None) -> Tensor:
        """Return what is known of each token (batch, features, tokens)."""
        hidden = self.text_in(text.detach().transpose(1, 2))
        if speaker is not None:
            hidden = hidden + self.speaker(speaker.detach()[..., None])
        return self.text_out(self.text_stack(hidden, real)) * real


class DurationPredictor(nn.Module):
    """One duration a token, as in FastSpeech 2: the mean of a normal distribution of log-durations of deviation 1."""

    def __init__(self, hidden_size: int, speaker_embedding_size: int, config: DurationConfig) -> None:
        super().__init__()
        self.predictor = ConvolutionPredictor(hidden_size, config.hidden_size, config.kernel_size, config.dropout)
        if speaker_embedding_size:
            self.speaker = nn.Conv1d(speaker_embedding_size, hidden_size, 1)

    def forward(
        self,
        text: Float[Tensor, "batch tokens features"],
        mask: Bool[Tensor, "batch tokens"],
        durations: Int[Tensor, "batch tokens"],
        noise: Float[Tensor, "batch tokens 2"],
        speaker: Float[Tensor, "batch speaker_features"] | None = None,
    ) -> DurationFlow:
        """Return how far the log-durations lie from the predicted ones; nothing is drawn, nothing stretched."""
        error = (torch.log(durations.clamp(min=1)) - self.log_durations(text, mask, noise, speaker)) * mask
        return DurationFlow(error[..., None], torch.zeros_like(error), noise[..., :0], torch.zeros_like(error))

    def log_durations(
        self,
        text: Float[Tensor, "batch tokens features"],
        mask: Bool[Tensor, "batch tokens"],
        noise: Float[Tensor, "batch tokens 2"],
        speaker: Float[Tensor, "batch speaker_features"] | None = None,
    ) -> Float[Tensor, "batch tokens"]:
        """Return the predicted logarithm of the durations, whatever the noise."""
        hidden = text.detach()
        if speaker is not None:
            hidden = hidden + self.speaker(speaker.detach()[..., None]).transpose(1, 2)
        return self.predictor(hidden, mask)


@torch.no_grad()
def likelihoods(latent: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Return log N(f(z); μ, σ) of each frame under each token (batch, frames, tokens), without the constant.

    Source: VITS (arXiv:2106.06103), 2.2.1, eq. 5 and 6.
    """
    precision = torch.exp(-2 * log_std)
    of_token = -(log_std + 0.5 * mean.square() * precision).sum(-1)
    by_mean = latent @ (mean * precision).transpose(1, 2)
    return of_token[:, None] + by_mean - 0.5 * latent.square() @ precision.transpose(1, 2)


def search_durations(
    scores: Float[Tensor, "batch frames tokens"],
    frame_lengths: Int[Tensor, " batch"],
    token_lengths: Int[Tensor, " batch"],
    diagonal: float,
) -> Int[Tensor, "batch tokens"]:
    """Return how many frames each token lasts on the path that makes the latent likeliest.

    Args:
        diagonal: as `VitsConfig.diagonal` has it.
    """
    if diagonal:
        scores = scores - _off_diagonal(scores, frame_lengths, token_lengths, diagonal)
    # a broken batch's losses say so themselves, and the loop skips it
    return _monotonic_durations(torch.nan_to_num(scores), frame_lengths, token_lengths)


def _off_diagonal(scores: Tensor, frame_lengths: Tensor, token_lengths: Tensor, std: float) -> Tensor:
    """Return how unlikely each token is at each frame if all last alike, give or take `std` of the whole."""
    frames, tokens = (
        (torch.arange(count, device=scores.device) + 0.5) / lengths[:, None]
        for count, lengths in ((scores.shape[1], frame_lengths), (scores.shape[2], token_lengths))
    )
    return 0.5 * ((frames[:, :, None] - tokens[:, None]) / std).square()


@torch.library.custom_op("malsori::monotonic_durations", mutates_args=())
def _monotonic_durations(scores: Tensor, frame_lengths: Tensor, token_lengths: Tensor) -> Tensor:
    """The search as one operation that a compiler need not look into."""
    found = align_monotonic_batch(scores.cpu().numpy(), frame_lengths.cpu().numpy(), token_lengths.cpu().numpy())
    return torch.from_numpy(found).to(scores.device)


@_monotonic_durations.register_fake
def _no_durations(scores: Tensor, frame_lengths: Tensor, token_lengths: Tensor) -> Tensor:
    return scores.new_empty(scores.shape[0], scores.shape[2], dtype=torch.long)
