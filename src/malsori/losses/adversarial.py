"""Losses of generators against discriminators, and what the generator learns from the maps between their layers.

Each takes one tensor of scores (batch, positions) a discriminator, and sums over discriminators; a mask a
discriminator, where positions are padding. Three kinds: least squares (LSGAN, as HiFi-GAN and VITS use), hinge (as
Vocos), and the original.
"""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import relu, softplus

from malsori.shapes import masked_mean

Kind = Literal["least squares", "hinge", "original"]
Masks = list[Bool[Tensor, "batch _"]] | None


def discriminator_loss(
    real_scores: list[Float[Tensor, "batch _"]],
    fake_scores: list[Float[Tensor, "batch _"]],
    kind: Kind = "least squares",
    masks: Masks = None,
) -> Float[Tensor, ""]:
    """Return the sum over discriminators of what each loses by misjudging.

        least squares   mean (D(x) - 1)² + mean D(G(s))²
        hinge           mean max(0, 1 - D(x)) + mean max(0, 1 + D(G(s)))
        original        -mean log σ(D(x)) - mean log(1 - σ(D(G(s))))

    Source: LSGAN (Mao et al. 2016, arXiv:1611.04076), eq. 9, as in HiFi-GAN (arXiv:2010.05646), eq. 1; Geometric GAN
        (Lim and Ye 2017, arXiv:1705.02894), eq. 13; GAN (Goodfellow et al. 2014, arXiv:1406.2661), eq. 1.

    >>> discriminator_loss([torch.ones(1, 2)], [torch.zeros(1, 2)]).item()
    0.0
    >>> discriminator_loss([torch.zeros(1, 2)], [torch.zeros(1, 2)], kind="hinge").item()
    2.0
    """
    real, fake = {
        "least squares": (lambda score: (score - 1).square(), torch.square),
        "hinge": (lambda score: relu(1 - score), lambda score: relu(1 + score)),
        "original": (lambda score: softplus(-score), softplus),
    }[kind]
    return _summed(real_scores, masks, real) + _summed(fake_scores, masks, fake)


def generator_loss(
    fake_scores: list[Float[Tensor, "batch _"]], kind: Kind = "least squares", masks: Masks = None
) -> Float[Tensor, ""]:
    """Return the sum over discriminators of what the generator loses by being found out.

        least squares   mean (D(G(s)) - 1)²
        hinge           -mean D(G(s))
        original        -mean log σ(D(G(s)))      (the form that does not saturate)

    Source: as `discriminator_loss`; the last from Goodfellow et al. 2014, section 3.

    >>> generator_loss([torch.zeros(1, 2), torch.ones(1, 2)]).item()
    1.0
    """
    loss = {
        "least squares": lambda score: (score - 1).square(),
        "hinge": torch.neg,
        "original": lambda score: softplus(-score),
    }[kind]
    return _summed(fake_scores, masks, loss)


def feature_matching_loss(
    real: list[list[Float[Tensor, "batch ..."]]], fake: list[list[Float[Tensor, "batch ..."]]]
) -> Float[Tensor, ""]:
    """Return the sum over all maps between layers of the mean |real - fake|; real carries no gradient.

    Source: HiFi-GAN (arXiv:2010.05646), eq. 4, after MelGAN (Kumar et al. 2019, arXiv:1910.06711), eq. 4. Pieces of
        equal length are compared, so there is no padding to mask.

    >>> feature_matching_loss([[torch.ones(1, 2)]], [[torch.zeros(1, 2)]]).item()
    1.0
    """
    pairs = [
        (of_real.detach(), of_fake)
        for one_real, one_fake in zip(real, fake, strict=True)
        for of_real, of_fake in zip(one_real, one_fake, strict=True)
    ]
    return torch.stack([masked_mean((of_real - of_fake).abs()) for of_real, of_fake in pairs]).sum()


def discriminator_accuracy(
    real_scores: list[Float[Tensor, "batch _"]],
    fake_scores: list[Float[Tensor, "batch _"]],
    boundary: float = 0.5,
) -> Float[Tensor, ""]:
    """Return how often discriminators judge right: real above the boundary, generated below it; 0.5 is guessing.

    Args:
        boundary: 0.5 for least squares, 0 for the others.

    >>> discriminator_accuracy([torch.tensor([[0.9, 0.4]])], [torch.tensor([[0.1, 0.2]])]).item()
    0.75
    """
    right = [score > boundary for score in real_scores] + [score < boundary for score in fake_scores]
    return torch.cat([one.flatten() for one in right]).float().mean()


def _summed(scores: list[Tensor], masks: Masks, loss: Callable[[Tensor], Tensor]) -> Tensor:
    of_each: list[Tensor | None] = [*masks] if masks else [None] * len(scores)
    return torch.stack([masked_mean(loss(score), mask) for score, mask in zip(scores, of_each, strict=True)]).sum()
