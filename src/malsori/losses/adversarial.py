"""Losses of generators against discriminators, least squares, and what the generator learns from the maps between."""

import torch
from jaxtyping import Float
from torch import Tensor


def discriminator_loss(
    real_scores: list[Float[Tensor, "batch positions"]], fake_scores: list[Float[Tensor, "batch positions"]]
) -> Float[Tensor, ""]:
    """Return the sum over discriminators of mean (D(x) - 1)² + mean D(G(s))².

    Source: LSGAN (Mao et al. 2016, arXiv:1611.04076), eq. 9, as in HiFi-GAN (arXiv:2010.05646), eq. 1.

    >>> discriminator_loss([torch.ones(1, 2)], [torch.zeros(1, 2)]).item()
    0.0
    """
    pairs = zip(real_scores, fake_scores, strict=True)
    return torch.stack([(real - 1).square().mean() + fake.square().mean() for real, fake in pairs]).sum()


def generator_loss(fake_scores: list[Float[Tensor, "batch positions"]]) -> Float[Tensor, ""]:
    """Return the sum over discriminators of mean (D(G(s)) - 1)².

    Source: LSGAN (arXiv:1611.04076), eq. 9; HiFi-GAN (arXiv:2010.05646), eq. 2.

    >>> generator_loss([torch.zeros(1, 2), torch.ones(1, 2)]).item()
    1.0
    """
    return torch.stack([(fake - 1).square().mean() for fake in fake_scores]).sum()


def feature_matching_loss(real: list[list[Tensor]], fake: list[list[Tensor]]) -> Float[Tensor, ""]:
    """Return the sum over all maps between layers of the mean |real - fake|; real carries no gradient.

    Source: HiFi-GAN (arXiv:2010.05646), eq. 4, after MelGAN.

    >>> feature_matching_loss([[torch.ones(1, 2)]], [[torch.zeros(1, 2)]]).item()
    1.0
    """
    pairs = [
        (of_real.detach(), of_fake)
        for one_real, one_fake in zip(real, fake, strict=True)
        for of_real, of_fake in zip(one_real, one_fake, strict=True)
    ]
    return torch.stack([(of_real - of_fake).abs().mean() for of_real, of_fake in pairs]).sum()
