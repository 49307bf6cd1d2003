"""VITS at tiny sizes: tokens and a spectrogram in, a wave and all that is compared out."""

from typing import Any

import torch
from torch import Tensor

from malsori.losses.distribution import sampled_kl_loss, stochastic_duration_loss
from malsori.losses.regression import l1_loss
from malsori.models.hifigan import HifiganConfig
from malsori.models.vits import VitsConfig
from malsori.models.vits_duration import DurationConfig
from malsori.shapes import length_mask

from .harness import Item, Subject

_MARGIN = 10  # frames before an item's end from which on the decoder sees what lies beyond it


def _items() -> list[Item]:
    items = []
    for size, frames, speaker in ((9, 31, 0), (5, 24, 2), (1, 12, 1)):
        random = torch.Generator().manual_seed(size)
        items.append(
            {
                "token_ids": torch.randint(0, 13, (size,), generator=random),
                "token_lengths": torch.tensor(size),
                "speaker_ids": torch.tensor(speaker),
                "spectrogram": torch.rand(frames, 17, generator=random),
                "frame_lengths": torch.tensor(frames),
                "noise": torch.randn(frames, 8, generator=random),
                "duration_noise": torch.randn(size, 2, generator=random),
            }
        )
    return items


def _real(output: Any, item: Item, index: int) -> dict[str, Tensor]:
    tokens, frames = len(item["token_ids"]), len(item["spectrogram"])
    assert output.durations[index].sum() == frames and (output.durations[index, :tokens] > 0).all()
    assert output.wave.shape[1] % 16 == 0 and output.wave.shape[1] >= 16 * frames
    of_frames = ("latent", "log_std", "prior_mean", "prior_log_std")
    of_tokens = ("duration_latent", "duration_noise", "duration_log_determinant", "duration_noise_log_determinant")
    rows = {name: (getattr(output, name)[index], frames) for name in of_frames}
    rows |= {name: (getattr(output, name)[index], tokens) for name in (*of_tokens, "durations")}
    assert all((row[length:] == 0).all() for row, length in rows.values())
    wave = output.wave[index, : 16 * (frames - _MARGIN)]
    return {"wave": wave} | {name: row[:length] for name, (row, length) in rows.items()}


def _loss(output: Any, batch: Item) -> Tensor:
    frames = length_mask(batch["frame_lengths"], output.latent.shape[1])
    tokens = length_mask(batch["token_lengths"], output.durations.shape[1])
    time = torch.arange(output.wave.shape[1]) / 50
    kl = sampled_kl_loss(output.latent, output.log_std, output.prior_mean, output.prior_log_std, frames)
    duration = stochastic_duration_loss(
        output.duration_latent,
        output.duration_log_determinant,
        output.duration_noise,
        output.duration_noise_log_determinant,
        tokens,
    )
    return kl + duration + 20 * l1_loss(output.wave, (0.5 * time.sin()).expand_as(output.wave))


VITS = Subject(
    "vits",
    VitsConfig(
        vocab=13, speakers=3, speaker_embedding_size=7, spectrogram_bins=17, hidden_size=12, latent_channels=8,
        num_encoder_layers=1, num_heads=3,
        ffn_size=20, window_size=2, num_posterior_layers=2, num_flows=2, num_flow_layers=2, wavenet_kernel_size=3,
        durations=DurationConfig(num_flows=2, num_layers=2, num_bins=4),
        decoder=HifiganConfig(
            mel_channels=8, channels=16, upsample_rates=(4, 4), upsample_kernel_sizes=(8, 8),
            resblock_kernel_sizes=(3, 5),
            resblock_dilations=((1, 3), (1, 2)),
        ),
    ),
    _items,
    _real,
    _loss,
    careless=("spectrogram", "noise", "duration_noise"),
)  # fmt: skip
