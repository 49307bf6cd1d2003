"""Every network of malsori at tiny sizes, as the harness wants it described. A new system adds itself here."""

import math
from typing import Any

import torch
from torch import Tensor

from malsori.audio.mel import log_mel
from malsori.config import AudioConfig
from malsori.losses.regression import l1_loss, l2_loss, log_duration_loss
from malsori.losses.sequence import ctc_loss
from malsori.models.conformer import ConformerConfig
from malsori.models.fastspeech import FastSpeechConfig
from malsori.models.fastspeech2 import FastSpeech2Config
from malsori.models.hifigan import HifiganConfig
from malsori.models.vocos import VocosConfig
from malsori.shapes import length_mask

from .harness import Item, Subject
from .subjects_attention import TACOTRON, TACOTRON2
from .subjects_vits import VITS
from .subjects_wav2vec2 import WAV2VEC2, WAV2VEC2_PRETRAINING
from .subjects_whisper import WHISPER

#: Small enough that a vocoder's whole receptive field fits into a short sound.
TINY_AUDIO = AudioConfig(
    sample_rate=8000, fft_samples=64, window_samples=64, hop_samples=16, mel_channels=10, max_hz=4000.0
)


def generator(seed: int) -> torch.Generator:
    """Return a source of random numbers of its own."""
    return torch.Generator().manual_seed(seed)


# Conformer: mel frames in, an output frame for every two


def _listening_items() -> list[Item]:
    sizes = (61, 37, 10)
    return [
        {"mel": torch.randn(size, 10, generator=generator(size)) * 3 - 5, "mel_lengths": torch.tensor(size)}
        for size in sizes
    ]


def _listening_real(output: Any, item: Item, index: int) -> dict[str, Tensor]:
    frames = 2 * math.ceil(math.ceil(len(item["mel"]) / 2) / 2)
    assert output.frame_lengths[index] == frames
    assert output.jamo.shape[2] == 9 and output.phonemes.shape[2] == 11
    return {"jamo": output.jamo[index, :frames], "phonemes": output.phonemes[index, :frames]}


def _listening_loss(output: Any, _batch: Item) -> Tensor:
    targets, lengths = torch.tensor([[1, 2, 2, 3], [4, 5, 8, 0], [6, 7, 0, 0]]), torch.tensor([4, 3, 2])
    jamo = ctc_loss(output.jamo, output.frame_lengths, targets, lengths)
    return jamo + ctc_loss(output.phonemes, output.frame_lengths, targets + 2, lengths)


CONFORMER = Subject(
    "conformer",
    ConformerConfig(
        mel_channels=10, hidden_size=24, num_layers=3, num_heads=2, kernel_size=7, ffn_expansion_factor=3,
        subsampling_channels=6,
        phoneme_ctc_layer=1, jamo_vocab=9, phoneme_vocab=11,
    ),
    _listening_items,
    _listening_real,
    _listening_loss,
    careless=("mel",),
)  # fmt: skip


# FastSpeech 2: tokens in, frames out


def _speaking_items() -> list[Item]:
    items = []
    for size, speaker in ((9, 0), (5, 2), (1, 1)):
        random = generator(size)
        durations = torch.randint(0, 5, (size,), generator=random)
        durations[0] = 3
        items.append(
            {
                "token_ids": torch.randint(1, 13, (size,), generator=random),
                "token_lengths": torch.tensor(size),
                "speaker_ids": torch.tensor(speaker),
                "durations": durations,
                "pitch": torch.randn(int(durations.sum()), generator=random),
                "energy": torch.randn(size, generator=random),
            }
        )
    return items


def _speaking_real(output: Any, item: Item, index: int) -> dict[str, Tensor]:
    tokens, frames = len(item["token_ids"]), int(item["durations"].sum())
    assert output.frame_lengths[index] == frames
    assert output.mel.shape[2] == 10
    lengths = {"mel": frames, "pitch": frames, "log_durations": tokens, "energy": tokens}
    rows = {name: getattr(output, name)[index] for name in lengths}
    assert all((rows[name][length:] == 0).all() for name, length in lengths.items())
    return {name: rows[name][:length] for name, length in lengths.items()}


def _speaking_loss(output: Any, batch: Item) -> Tensor:
    tokens = length_mask(batch["token_lengths"], batch["token_ids"].shape[1])
    frames = length_mask(batch["durations"].sum(1), output.mel.shape[1])
    wanted = torch.randn(output.mel.shape, generator=generator(3)) - 4
    predictions = l2_loss(output.pitch, batch["pitch"], frames) + l2_loss(output.energy, batch["energy"], tokens)
    return (
        l1_loss(output.mel, wanted, frames)
        + log_duration_loss(output.log_durations, batch["durations"], tokens)
        + predictions
    )


FASTSPEECH2 = Subject(
    "fastspeech2",
    FastSpeech2Config(
        vocab=13, speakers=3, mel_channels=10, hidden_size=24, num_encoder_layers=2, num_decoder_layers=1, num_heads=3,
        ffn_size=36, ffn_kernel_size=5, predictor_hidden_size=20,
    ),
    _speaking_items,
    _speaking_real,
    _speaking_loss,
    careless=("pitch",),
    framed=("pitch",),
)  # fmt: skip


# FastSpeech: the same without pitch and energy


def _timed_items() -> list[Item]:
    return [{name: item[name] for name in item if name not in ("pitch", "energy")} for item in _speaking_items()]


def _timed_real(output: Any, item: Item, index: int) -> dict[str, Tensor]:
    tokens, frames = len(item["token_ids"]), int(item["durations"].sum())
    assert output.frame_lengths[index] == frames and output.mel.shape[2] == 10
    assert (output.mel[index, frames:] == 0).all() and (output.log_durations[index, tokens:] == 0).all()
    return {"mel": output.mel[index, :frames], "log_durations": output.log_durations[index, :tokens]}


def _timed_loss(output: Any, batch: Item) -> Tensor:
    tokens = length_mask(batch["token_lengths"], batch["token_ids"].shape[1])
    frames = length_mask(batch["durations"].sum(1), output.mel.shape[1])
    wanted = torch.randn(output.mel.shape, generator=generator(3)) - 4
    return l1_loss(output.mel, wanted, frames) + log_duration_loss(output.log_durations, batch["durations"], tokens)


FASTSPEECH = Subject(
    "fastspeech",
    FastSpeechConfig(
        vocab=13, speakers=3, mel_channels=10, hidden_size=24, num_encoder_layers=2, num_decoder_layers=1, num_heads=3,
        ffn_size=36, ffn_kernel_sizes=(5, 3), predictor_hidden_size=20,
    ),
    _timed_items,
    _timed_real,
    _timed_loss,
)  # fmt: skip


# Vocoders: mel frames in, hop_samples samples a frame out


def buzz(frames: int, hertz: float, audio: AudioConfig = TINY_AUDIO) -> Tensor:
    """Return a buzz on a little noise (1, frames * hop_samples)."""
    time = torch.arange(frames * audio.hop_samples) / audio.sample_rate
    harmonics = sum(torch.sin(2 * torch.pi * hertz * k * time) / k for k in range(1, 8))
    return (0.2 * harmonics + 0.01 * torch.randn(time.shape, generator=generator(frames)))[None]


def _vocoder_items() -> list[Item]:
    return [{"mel": log_mel(buzz(frames, hertz), TINY_AUDIO)[0]} for frames, hertz in ((48, 140.0), (31, 220.0))]


def _vocoder_real(margin: int) -> Any:
    """Return what cuts a wave `margin` frames before its end, where it begins to see the padding."""

    def real(output: Any, item: Item, index: int) -> dict[str, Tensor]:
        frames = len(item["mel"])
        assert output.wave.shape[1] % TINY_AUDIO.hop_samples == 0
        assert output.wave.shape[1] >= frames * TINY_AUDIO.hop_samples
        return {"wave": output.wave[index, : (frames - margin) * TINY_AUDIO.hop_samples]}

    return real


def _vocoder_loss(output: Any, batch: Item) -> Tensor:
    return l1_loss(log_mel(output.wave, TINY_AUDIO), batch["mel"])


VOCOS = Subject(
    "vocos",
    VocosConfig(mel_channels=10, hidden_size=20, ffn_expansion_factor=2, num_layers=2, fft_samples=64, hop_samples=16),
    _vocoder_items,
    _vocoder_real(margin=11),  # three convolutions of 3 frames to each side, and half a window of 2
    _vocoder_loss,
)

HIFIGAN = Subject(
    "hifigan",
    HifiganConfig(
        mel_channels=10, channels=32, upsample_rates=(4, 2, 2), upsample_kernel_sizes=(8, 4, 4),
        resblock_kernel_sizes=(3, 5),
        resblock_dilations=((1, 3), (1, 2)),
    ),
    _vocoder_items,
    _vocoder_real(margin=10),
    _vocoder_loss,
)  # fmt: skip

_ALL = (
    CONFORMER,
    FASTSPEECH,
    FASTSPEECH2,
    VOCOS,
    HIFIGAN,
    WHISPER,
    TACOTRON,
    TACOTRON2,
    WAV2VEC2,
    WAV2VEC2_PRETRAINING,
    VITS,
)
SUBJECTS = {subject.system: subject for subject in _ALL}
