"""Whisper at tiny sizes: mel frames and the tokens so far in, logits of the next tokens out."""

from typing import Any

import torch
from torch import Tensor

from malsori.losses.sequence import cross_entropy_loss
from malsori.models.whisper import WhisperConfig

from .harness import Item, Subject

_TOKENS = (7, 5, 3)


def _items() -> list[Item]:
    items = []
    for size, tokens in zip((61, 37, 10), _TOKENS, strict=True):
        random = torch.Generator().manual_seed(size)
        items.append(
            {
                "mel": torch.randn(size, 10, generator=random),
                "token_ids": torch.randint(0, 21, (tokens,), generator=random),
                "mel_lengths": torch.tensor(size),
            }
        )
    return items


def _real(output: Any, item: Item, index: int) -> dict[str, Tensor]:
    assert output.logits.shape[2] == 21
    return {"logits": output.logits[index, : len(item["token_ids"])]}


def _loss(output: Any, batch: Item) -> Tensor:
    lengths = torch.tensor(_TOKENS)
    mask = torch.arange(batch["token_ids"].shape[1])[None] < lengths[:, None]
    return cross_entropy_loss(output.logits, (3 * batch["token_ids"] + 1) % 21, mask)


WHISPER = Subject(
    "whisper",
    WhisperConfig(
        vocab=21, mel_channels=10, hidden_size=24, num_encoder_layers=2, num_encoder_heads=2, encoder_ffn_size=36,
        encoder_positions=50, num_decoder_layers=2, num_decoder_heads=3, decoder_ffn_size=40, decoder_positions=30,
        dropout=0.1,
    ),
    _items,
    _real,
    _loss,
    careless=("mel", "token_ids"),
)  # fmt: skip
