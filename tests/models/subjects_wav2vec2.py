"""wav2vec 2.0 for the harness: waves in, a frame out for every 20 samples, with a mask vector in some frames."""

from typing import Any

import torch
from torch import Tensor

from malsori.losses.distribution import contrastive_loss, diversity_loss, draw_distractors
from malsori.losses.sequence import ctc_loss
from malsori.models.wav2vec2 import Wav2Vec2Config, Wav2Vec2PretrainingConfig
from malsori.shapes import length_mask

from .harness import Item, Subject

# group norm hears the padding of a batch, so the harness holds the other norm
_SIZES = {
    "conv_channels": (6, 8, 10),
    "conv_kernel_sizes": (10, 3, 2),
    "conv_strides": (5, 2, 2),
    "norm": "layer",
    "norm_first": True,
    "hidden_size": 16,
    "num_layers": 2,
    "num_heads": 4,
    "ffn_size": 20,
    "position_kernel_size": 6,
    "position_groups": 2,
    "layer_drop": 0.0,
}
_LONGEST = 813  # 13 more samples make no frame more


def _items() -> list[Item]:
    items = []
    for samples in (_LONGEST, 500, 107):
        random = torch.Generator().manual_seed(samples)
        mask = torch.rand(_frames(samples), generator=random) < 0.4
        mask[:2] = True
        items.append(
            {
                "wave": torch.randn(samples, generator=random),
                "sample_lengths": torch.tensor(samples),
                "frame_mask": mask,
            }
        )
    return items


def _frames(samples: int) -> int:
    return (samples - 30) // 20 + 1


def _real(*names: str) -> Any:
    def real(output: Any, item: Item, index: int) -> dict[str, Tensor]:
        frames = _frames(len(item["wave"]))
        assert output.frame_lengths[index] == frames
        return {name: getattr(output, name)[index, :frames] for name in names}

    return real


def _letters_loss(output: Any, _batch: Item) -> Tensor:
    targets, lengths = torch.tensor([[1, 2, 2, 3], [4, 5, 6, 0], [3, 0, 0, 0]]), torch.tensor([4, 3, 1])
    return ctc_loss(output.logits.log_softmax(-1), output.frame_lengths, targets, lengths, blank=7)


def _contrast_loss(output: Any, batch: Item) -> Tensor:
    real = length_mask(output.frame_lengths, output.context.shape[1])
    mask = batch["frame_mask"] & real
    drawn = draw_distractors(mask, 5, torch.Generator().manual_seed(3))
    distractors = output.target[torch.arange(len(mask))[:, None, None], drawn]
    contrast = contrastive_loss(output.context, output.target, distractors, mask)
    return contrast + 0.1 * diversity_loss(output.probabilities, mask)


WAV2VEC2 = Subject(
    "wav2vec2",
    Wav2Vec2Config(**_SIZES, vocab=9, blank=7),
    _items,
    _real("logits"),
    _letters_loss,
    careless=("wave",),
    framed=("frame_mask",),
)

WAV2VEC2_PRETRAINING = Subject(
    "wav2vec2-pretrain",
    Wav2Vec2PretrainingConfig(**_SIZES, num_codebooks=2, codebook_size=5, codevector_size=12, projection_size=14),
    _items,
    _real("context", "target", "probabilities", "energy"),
    _contrast_loss,
    careless=("wave",),
    framed=("frame_mask",),
)
