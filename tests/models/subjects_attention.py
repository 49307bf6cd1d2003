"""The Tacotrons at tiny sizes: tokens and the recording's mel in, its mel out."""

import math
from typing import Any

import torch
from torch import Tensor

from malsori.losses.regression import l1_loss
from malsori.losses.sequence import guided_attention_loss, stop_loss
from malsori.models.tacotron import TacotronConfig
from malsori.models.tacotron2 import Tacotron2Config
from malsori.shapes import length_mask

from .harness import Item, Subject

#: Without the pre-net's dropout, which draws for as many steps as there are, padding and all.
TINY = {"vocab": 13, "speakers": 3, "mel_channels": 10, "prenet_dropout": 0.0, "reduction": 2}


def items() -> list[Item]:
    """Return sentences of unequal length with their mels, in none of which the steps end with the frames but one."""
    made = []
    for tokens, frames, speaker in ((9, 25, 0), (5, 12, 2), (1, 3, 1)):
        random = torch.Generator().manual_seed(tokens)
        made.append(
            {
                "token_ids": torch.randint(1, 13, (tokens,), generator=random),
                "token_lengths": torch.tensor(tokens),
                "speaker_ids": torch.tensor(speaker),
                "mel": torch.randn(frames, 10, generator=random) - 5,
                "frame_lengths": torch.tensor(frames),
            }
        )
    return made


def real(output: Any, item: Item, index: int) -> dict[str, Tensor]:
    """Return the real part of each output of an example."""
    tokens, frames = len(item["token_ids"]), len(item["mel"])
    steps = math.ceil(frames / 2)
    assert output.frame_lengths[index] == frames and output.step_lengths[index] == steps
    assert output.mel.shape[2] == 10 and output.mel.shape[1] <= 2 * output.stop.shape[1]
    assert (output.mel[index, frames:] == 0).all() and (output.attention[index, :, tokens:] == 0).all()
    torch.testing.assert_close(output.attention[index, :steps].sum(-1), torch.ones(steps))
    rows = {"mel": output.mel[index, :frames], "coarse": output.coarse[index, :frames]}
    return rows | {"stop": output.stop[index, :steps], "attention": output.attention[index, :steps, :tokens]}


def loss(output: Any, batch: Item) -> Tensor:
    """Return what a Tacotron is trained on."""
    frames = length_mask(batch["frame_lengths"], batch["mel"].shape[1])
    distance = l1_loss(output.mel, batch["mel"], frames) + l1_loss(output.coarse, batch["mel"], frames)
    guided = guided_attention_loss(output.attention, output.step_lengths, batch["token_lengths"])
    return distance + stop_loss(output.stop, output.step_lengths) + guided


TACOTRON = Subject(
    "tacotron",
    TacotronConfig(
        **TINY, embedding_size=14, prenet_sizes=(12, 11), hidden_size=9, num_encoder_banks=3, num_postnet_banks=2,
        postnet_hidden_size=15, num_highway_layers=1, decoder_rnn_size=20, attention_size=17,
    ),
    items,
    real,
    loss,
    careless=("mel",),
    learning_rate=2e-2,
    steps=60,
)  # fmt: skip

TACOTRON2 = Subject(
    "tacotron2",
    Tacotron2Config(
        **TINY, hidden_size=18, num_encoder_layers=2, kernel_size=5, decoder_rnn_size=22, attention_size=12,
        location_filters=4, location_kernel_size=7, prenet_sizes=(16, 14), postnet_hidden_size=15, num_postnet_layers=3,
        dropout=0.2,
    ),
    items,
    real,
    loss,
    careless=("mel",),
    learning_rate=2e-2,
    steps=60,
)  # fmt: skip
