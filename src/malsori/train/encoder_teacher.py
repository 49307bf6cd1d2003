"""A Whisper's encoder as the teacher of another encoder: its states, every 20 ms, are to be guessed from the pupil's.

    wave ─► Whisper's encoder, which stays as it is ─► states ──┐
    wave ─► pupil ─► hidden ─► projection ─► guess of states ───┴─ states loss

What hundreds of thousands of hours taught the one is learnt from each frame, not from each text alone, so that a small
network with few hours of speech hears letters sooner. The projection is thrown away.

Source: DistilHuBERT (Chang, Yang and Lee 2021, arXiv:2110.01900), 2.2; one layer here, whose states are normalized.
"""

import functools
from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from malsori.asr.short_window import SilentWindow
from malsori.asr.silent_steps import MARGIN_SECONDS
from malsori.audio.mel import whisper_log_mel
from malsori.config import AudioConfig
from malsori.errors import ConfigError
from malsori.losses.regression import l1_loss
from malsori.models.wav2vec2 import EncoderConfig
from malsori.models.whisper import Whisper
from malsori.pretrained.hub import load_saved
from malsori.shapes import length_mask, pad_stack

_KEPT_BYTES = 3 << 30  # of states that are kept: 16 hours of speech
_LEVEL = 0.1  # of a standardized wave, whose standard deviation is 1: as loud as recordings are


class EncoderTeacher(nn.Module):
    """A Whisper that learns nothing, and the projection from a pupil's hidden states to its own, which learns.

    Raises: ConfigError if the pupil's frames are not as long as the Whisper's steps.
    """

    def __init__(self, whisper: Whisper, audio: AudioConfig, pupil: EncoderConfig) -> None:
        super().__init__()
        step = audio.hop_samples * whisper.config.frame_stride
        if pupil.frame_samples != step:
            raise ConfigError(f"teacher: its steps are of {step} samples, model's frames of {pupil.frame_samples}")
        self.audio, self.standardized = audio, pupil.standardized
        self.begin = round((pupil.receptive_field_samples - 1) / 2 / step)  # the step at the first frame's center
        self.projection = nn.Linear(pupil.hidden_size, whisper.config.hidden_size)
        #: In a tuple, so that it is no part of what is averaged and kept in checkpoints.
        self._held = (whisper.float().requires_grad_(False).eval(),)
        self._heard: dict[tuple[str, int], Tensor] = {}
        self._bytes = 0

    @functools.cached_property
    def window(self) -> SilentWindow:
        """The network in a window of silence, which is encoded when it is first asked."""
        return SilentWindow.of(self._held[0])

    @torch.no_grad()
    def states(self, wave: Float[Tensor, "batch samples"], frames: int) -> Float[Tensor, "batch frames features"]:
        """Return the Whisper's states at a pupil's frames, each of mean 0 and standard deviation 1."""
        longest = self.audio.hop_samples * self._held[0].config.window_frames
        margin = round(MARGIN_SECONDS * self.audio.sample_rate)
        sound = nn.functional.pad(wave * (_LEVEL if self.standardized else 1.0), (0, margin))[:, :longest]
        states = self.window.states(whisper_log_mel(sound, self.audio))[:, self.begin : self.begin + frames]
        return nn.functional.layer_norm(states, states.shape[-1:])

    def forward(
        self,
        wave: Float[Tensor, "batch samples"],
        names: Sequence[str],
        hidden: Float[Tensor, "batch frames hidden"],
        frame_lengths: Int[Tensor, " batch"],
    ) -> Float[Tensor, ""]:
        """Return the mean absolute difference of guessed states and the teacher's, over real frames.

        Args:
            names: a recording at one speed is heard by the teacher once, as long as there is room for its states.
        """
        keys = list(zip(names, frame_lengths.tolist(), strict=True))
        fresh = [row for row, key in enumerate(keys) if key not in self._heard]
        new: Sequence[Tensor] = list(self.states(wave[fresh], hidden.shape[1]).half()) if fresh else []
        kept = {keys[row]: states[: keys[row][1]].clone() for row, states in zip(fresh, new, strict=True)}
        taught = pad_stack([kept[key] if key in kept else self._heard[key] for key in keys])[0].to(hidden)
        self._heard |= {key: states for key, states in kept.items() if self._room(states)}
        guessed = self.projection(hidden[:, : taught.shape[1]])
        return l1_loss(guessed, taught, length_mask(frame_lengths.clamp(max=taught.shape[1]), taught.shape[1]))

    def _room(self, states: Tensor) -> bool:
        self._bytes += states.nbytes
        return self._bytes <= _KEPT_BYTES


def open_teacher(name: str, pupil: EncoderConfig) -> EncoderTeacher:
    """Return a recipe's teacher. Raises: ConfigError if it is no Whisper that hears whole windows."""
    model = load_saved(name)
    if model.facts.system != "whisper":
        raise ConfigError(f"teacher = {name!r} is a {model.facts.system}; a whisper can teach, such as whisper-base-ko")
    if not (whisper := cast(Whisper, model.network)).config.whole_window:
        raise ConfigError("teacher: a Whisper that was tuned to short windows cannot teach; name another")
    return EncoderTeacher(whisper, model.facts.audio, pupil)
