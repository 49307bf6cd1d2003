"""The mel loss that can be heard: a word's mel, changed by hand, and its L1, L2, feature and adversarial terms.

The last two need a discriminator. A small one is trained here, in a second, on pieces of mels of the built-in voice
against the same pieces blurred: two convolutions over time, scores a frame. It is a toy of those that judge waves.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, leaky_relu

from malsori.audio.griffin_lim import griffin_lim, linear_magnitude
from malsori.config import AudioConfig
from malsori.learn import figures
from malsori.learn.lesson import Clip, Language
from malsori.learn.packing import packed
from malsori.learn.voices import spoken
from malsori.losses.adversarial import discriminator_loss, feature_matching_loss, generator_loss
from malsori.losses.regression import l1_loss, l2_loss

WORD = "사랑해."
_TAUGHT = ("안녕하세요.", "오늘은 날씨가 참 좋네요.", "말소리를 들어 보세요.")
_WIDTH, _KERNEL, SLOPE = 8, 5, 0.1
_STEPS = 150


class FrameDiscriminator(nn.Module):
    """Two convolutions over the frames of a mel: maps of 8 features a frame, and a score a frame."""

    def __init__(self, mel_channels: int = 80) -> None:
        super().__init__()
        self.features = nn.Conv1d(mel_channels, _WIDTH, _KERNEL, padding=_KERNEL // 2)
        self.score = nn.Conv1d(_WIDTH, 1, _KERNEL, padding=_KERNEL // 2)

    def forward(self, mel: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return scores (batch, frames) and maps (batch, 8, frames) of mels (batch, frames, channels)."""
        maps = leaky_relu(self.features(mel.transpose(1, 2) / 4 + 1), SLOPE)
        return self.score(maps)[:, 0], maps


def blurred(mel: torch.Tensor, width: int = 5) -> torch.Tensor:
    """Return mels (batch, frames, channels) averaged over squares of frames and channels: what L2 makes of doubt."""
    return avg_pool2d(mel[:, None], width, 1, width // 2, count_include_pad=False)[:, 0]


def word_mel() -> torch.Tensor:
    """Return the log-mel (frames, 80) of the word, rounded as the toy is given it."""
    return torch.from_numpy(_rounded(spoken(WORD).mel))


@cache
def trained_discriminator() -> FrameDiscriminator:
    """Return the toy discriminator after its training, the same each time."""
    torch.manual_seed(0)
    judge = FrameDiscriminator()
    optimizer = torch.optim.AdamW(judge.parameters(), lr=3e-3)
    mels = [torch.from_numpy(spoken(text).mel)[None] for text in _TAUGHT]
    for step in range(_STEPS):
        real = mels[step % len(mels)]
        (true, _), (false, _) = judge(real), judge(blurred(real, (3, 5, 7)[step % 3]))
        loss = discriminator_loss([true], [false])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return judge.requires_grad_(False)


def terms(changed: torch.Tensor) -> dict[str, float]:
    """Return the four terms of a changed mel (frames, 80) against the word's own, by the losses that train."""
    judge, target = trained_discriminator(), word_mel()
    (_, real_maps), (scores, maps) = judge(target[None]), judge(changed[None])
    return {
        "l1": l1_loss(changed, target).item(),
        "l2": l2_loss(changed, target).item(),
        "features": feature_matching_loss([[real_maps]], [[maps]]).item(),
        "adversarial": generator_loss([scores]).item(),
    }


def variants() -> dict[str, torch.Tensor]:
    """Return the word's mel as it is, blurred, a frame late, and 6 dB down."""
    mel = word_mel()
    return {
        "same": mel,
        "blur": blurred(mel[None])[0],
        "late": torch.cat([mel[:1], mel[:-1]]),
        "quiet": mel - np.log(2.0),
    }


@cache
def mel_loss() -> dict[str, str]:
    """Return the four terms of each variant."""
    numbers = {"frames": str(len(word_mel())), "steps": str(_STEPS)}
    for name, mel in variants().items():
        numbers |= {f"{name}_{term}": f"{value:.3f}" for term, value in terms(mel).items()}
    return numbers


def mel_loss_answer() -> float:
    """Return the L1 of a mel that is 6 dB too quiet everywhere: ln 2."""
    return round(terms(variants()["quiet"])["l1"], 2)


def draw_mel_loss(language: Language) -> bytes:
    """Return the word's mel, and its blur."""
    mels = variants()
    titles = {
        "ko": ("정답 멜", "흐린 멜: L1은 작아도 소리는 웅얼거린다"),
        "en": ("the true mel", "blurred: a small L1, a mumbled sound"),
    }
    shown = (mels["same"].T.numpy(), mels["blur"].T.numpy())
    return figures.panels(dict(zip(titles[language], shown, strict=True)), figures.FRAMES[language])


def play_mel_loss() -> dict[str, Clip]:
    """Return the word and its blur, both through Griffin-Lim, as the toy makes them."""
    audio = spoken(WORD).audio
    return {
        name: Clip(griffin_lim(variants()[name][None], audio)[0].numpy(), audio.sample_rate)
        for name in ("same", "blur")
    }


def mel_toy() -> dict[str, Any]:
    """Return the word's mel, the discriminator, and the settings that turn a mel into a wave."""
    judge, audio = trained_discriminator(), spoken(WORD).audio
    return {
        "mel": packed(word_mel().numpy(), -12.0, 3.0),
        "audio": audio_settings(audio),
        "judge": {
            "features": judge.features.weight.flatten().tolist(),
            "featuresBias": judge.features.bias.tolist(),  # type: ignore[union-attr]
            "score": judge.score.weight.flatten().tolist(),
            "scoreBias": judge.score.bias.tolist(),  # type: ignore[union-attr]
            "width": _WIDTH,
            "kernel": _KERNEL,
            "slope": SLOPE,
        },
    }


def audio_settings(audio: AudioConfig) -> dict[str, Any]:
    """Return what the toys' Griffin-Lim has to know."""
    names = ("sample_rate", "fft_samples", "hop_samples", "mel_channels", "min_hz", "max_hz")
    return {name: getattr(audio, name) for name in names}


def spread(mel: torch.Tensor) -> np.ndarray:
    """Return the linear magnitudes (frames, bins) that the toy's Griffin-Lim begins from."""
    return linear_magnitude(mel[None], spoken(WORD).audio)[0].numpy()


def _rounded(mel: np.ndarray) -> np.ndarray:
    from malsori.learn.packing import unpacked

    return unpacked(packed(mel, -12.0, 3.0))
