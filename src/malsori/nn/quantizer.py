"""Vectors replaced by codes from a book, in a way that can be learnt."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Quantizer(nn.Module):
    """Each frame's choice of one code from every codebook, drawn with Gumbel noise in training.

    Source: wav2vec 2.0 (Baevski et al. 2020, arXiv:2006.11477), 2, eq. 1.
    """

    def __init__(self, channels: int, num_codebooks: int, codebook_size: int, codevector_size: int) -> None:
        super().__init__()
        self.num_codebooks, self.codebook_size = num_codebooks, codebook_size
        self.score = nn.Linear(channels, num_codebooks * codebook_size)
        nn.init.normal_(self.score.weight)
        nn.init.zeros_(self.score.bias)
        self.codebooks = nn.Parameter(torch.rand(1, num_codebooks * codebook_size, codevector_size // num_codebooks))

    def forward(
        self, latent: Float[Tensor, "batch frames channels"], temperature: float
    ) -> tuple[Float[Tensor, "batch frames codevector_size"], Float[Tensor, "batch frames groups codes"]]:
        """Return the chosen codes' vectors, side by side, and the probability of every code."""
        scores = self.score(latent).view(-1, self.codebook_size).float()
        if self.training:
            chosen = nn.functional.gumbel_softmax(scores, tau=temperature, hard=True)
        else:
            chosen = nn.functional.one_hot(scores.argmax(-1), self.codebook_size).to(scores.dtype)
        chosen = chosen.view(-1, self.num_codebooks, self.codebook_size)
        vectors = torch.einsum("ngc,gcf->ngf", chosen, self.codebooks.view(self.num_codebooks, self.codebook_size, -1))
        probabilities = scores.softmax(-1).view(*latent.shape[:2], self.num_codebooks, self.codebook_size)
        return vectors.reshape(*latent.shape[:2], -1), probabilities
