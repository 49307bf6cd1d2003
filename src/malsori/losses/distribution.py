"""Losses between distributions: KL divergences, likelihoods under a flow, contrasts, diversity of codes."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from malsori.shapes import masked_mean


def gaussian_kl_loss(
    mean: Float[Tensor, "batch time channels"],
    log_std: Float[Tensor, "batch time channels"],
    prior_mean: Float[Tensor, "batch time channels"],
    prior_log_std: Float[Tensor, "batch time channels"],
    mask: Bool[Tensor, "batch time"] | None = None,
) -> Float[Tensor, ""]:
    """Return KL(q ‖ p) of diagonal Gaussians, summed over channels, its mean over real steps.

        log σ_p - log σ_q - 1/2 + (σ_q² + (μ_q - μ_p)²) / (2 σ_p²)

    Source: Kingma and Welling 2013 (arXiv:1312.6114), appendix B, for any prior.

    >>> zero = torch.zeros(1, 1, 2)
    >>> gaussian_kl_loss(zero + 1, zero, zero, zero).item()  # 1/2 a channel
    1.0
    """
    spread = torch.exp(2 * (log_std - prior_log_std))
    distance = (mean - prior_mean).square() * torch.exp(-2 * prior_log_std)
    kl = prior_log_std - log_std - 0.5 + 0.5 * (spread + distance)
    return masked_mean(kl.sum(-1), mask)


def sampled_kl_loss(
    latent: Float[Tensor, "batch time channels"],
    log_std: Float[Tensor, "batch time channels"],
    prior_mean: Float[Tensor, "batch time channels"],
    prior_log_std: Float[Tensor, "batch time channels"],
    mask: Bool[Tensor, "batch time"] | None = None,
) -> Float[Tensor, ""]:
    """Return VITS's KL term, summed over channels, its mean over real frames.

        log σ_p - log σ_q - 1/2 + (f(z) - μ_p)² / (2 σ_p²)

    The prior lies behind the flow, so q's mean has no closed form there: one sample f(z) stands for it.

    Args:
        latent: f(z), the posterior's sample after the flow.
        log_std: log σ_q of the posterior encoder.
        prior_mean, prior_log_std: of the text encoder, stretched to frames by the alignment.
    Source: VITS (Kim, Kong and Son 2021, arXiv:2106.06103), eq. 3 and 4, and its public code (losses.py, kl_loss).

    >>> zero = torch.zeros(1, 1, 2)
    >>> sampled_kl_loss(zero + 1, zero, zero, zero).item()
    0.0
    """
    distance = (latent - prior_mean).square() * torch.exp(-2 * prior_log_std)
    return masked_mean((prior_log_std - log_std - 0.5 + 0.5 * distance).sum(-1), mask)


def stochastic_duration_loss(
    latent: Float[Tensor, "batch tokens flow_channels"],
    log_determinant: Float[Tensor, "batch tokens"],
    noise: Float[Tensor, "batch tokens noise_channels"],
    noise_log_determinant: Float[Tensor, "batch tokens"],
    mask: Bool[Tensor, "batch tokens"] | None = None,
) -> Float[Tensor, ""]:
    """Return an upper bound of -log p(durations | text), its mean over real tokens.

        -log N(z; 0, 1) - log |dz/d(d - u, ν)|  +  log N(e; 0, 1) - log |d(u, ν)/de|

    Durations are whole numbers: u makes them continuous, ν gives the flow a second dimension; both are drawn through
    a flow of their own from e.

    Args:
        latent: z, what the predictor's flow makes of (d - u, ν).
        log_determinant: of that flow, by token.
        noise: e, standard normal, from which u and ν were drawn.
        noise_log_determinant: of the flow from e to (u, ν), by token.
    Source: VITS (arXiv:2106.06103), eq. 7, and its public code (models.py, StochasticDurationPredictor).

    >>> still = torch.zeros(1, 3)
    >>> stochastic_duration_loss(torch.ones(1, 3, 2), still, torch.zeros(1, 3, 2), still).item()
    1.0
    """
    surprise = _standard_normal_surprise(latent) - log_determinant
    drawn = -_standard_normal_surprise(noise) - noise_log_determinant
    return masked_mean(surprise + drawn, mask)


def contrastive_loss(
    context: Float[Tensor, "batch frames features"],
    target: Float[Tensor, "batch frames features"],
    distractors: Float[Tensor, "batch frames distractors features"],
    mask: Bool[Tensor, "batch frames"] | None = None,
    temperature: float = 0.1,
) -> Float[Tensor, ""]:
    """Return the mean over masked frames of -log of the target's share among itself and the distractors.

        -log  exp(cos(c, q) / κ) / Σ_q' exp(cos(c, q') / κ)

    Args:
        context: the transformer's output c at each frame.
        target: the quantised latent q that was masked there.
        distractors: quantised latents of other masked frames; one equal to the target does not count.
        mask: True where a frame was masked (these alone are predicted).
        temperature: κ.
    Source: wav2vec 2.0 (Baevski et al. 2020, arXiv:2006.11477), eq. 3.

    >>> one = torch.ones(1, 1, 4)
    >>> round(contrastive_loss(one, one, -torch.ones(1, 1, 3, 4), temperature=1.0).item(), 4)  # log(1 + 3 e^-2)
    0.3408
    """
    candidates = torch.cat([target[:, :, None], distractors], dim=2)
    similarity = torch.nn.functional.cosine_similarity(context[:, :, None], candidates, dim=-1) / temperature
    same = (distractors == target[:, :, None]).all(-1)
    similarity = torch.cat([similarity[..., :1], similarity[..., 1:].masked_fill(same, -math.inf)], dim=-1)
    return masked_mean(similarity.logsumexp(-1) - similarity[..., 0], mask)


def draw_distractors(
    mask: Bool[Tensor, "batch frames"], count: int, generator: torch.Generator | None = None
) -> Int[Tensor, "batch frames {count}"]:
    """Return for each masked frame the indices of `count` other masked frames of the same utterance; 0 elsewhere.

    Raises: ValueError naming the utterance, if it has fewer than two masked frames.
    Source: wav2vec 2.0 (arXiv:2006.11477), 3.2: uniformly, from the same utterance.
    """
    drawn = torch.zeros(*mask.shape, count, dtype=torch.long, device=mask.device)
    for number, row in enumerate(mask):
        places = row.nonzero().flatten()
        if len(places) < 2:
            raise ValueError(f"utterance {number} of the batch has {len(places)} masked frames, at least 2 are needed")
        # drawn from one fewer, and moved on by one from the frame itself on: never the frame itself
        other = torch.randint(len(places) - 1, (len(places), count), generator=generator, device=mask.device)
        own = torch.arange(len(places), device=mask.device)[:, None]
        drawn[number, places] = places[other + (other >= own)]
    return drawn


def diversity_loss(
    probabilities: Float[Tensor, "batch frames groups codes"], mask: Bool[Tensor, "batch frames"] | None = None
) -> Float[Tensor, ""]:
    """Return 1 - Σ_g exp(H(p̄_g)) / (groups * codes): 0 when all codes of a codebook are used alike.

    p̄_g is the mean softmax of codebook g over real frames, exp(H) its perplexity.

    Source: wav2vec 2.0 (arXiv:2006.11477), eq. 4, in the form of the authors' public code, which takes the perplexity
        where the paper writes the entropy; the weights in use (0.1) belong to this form.

    >>> diversity_loss(torch.full((1, 3, 2, 4), 0.25)).item()
    0.0
    """
    groups, codes = probabilities.shape[2:]
    means = torch.stack([masked_mean(one, mask) for one in probabilities.flatten(2).unbind(-1)]).view(groups, codes)
    entropy = -(means * torch.log(means + torch.finfo(means.dtype).tiny)).sum(-1)
    return 1 - entropy.exp().sum() / (groups * codes)


def _standard_normal_surprise(values: Tensor) -> Tensor:
    """Return -log N(v; 0, 1) summed over the last axis."""
    return 0.5 * (math.log(2 * math.pi) + values.square()).sum(-1)
