"""A Whisper as PyTorch computes it: waves in, states that take and give arrays."""

import functools
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from malsori.asr.short_window import SilentWindow
from malsori.asr.silent_steps import MARGIN_SECONDS
from malsori.audio.mel import whisper_log_mel
from malsori.models.whisper import Whisper, WhisperConfig
from malsori.pretrained.folder import SavedModel
from malsori.runtime.device import Runtime, runtime_of


@dataclass(frozen=True)
class NetworkState:
    """A network's own state, as a search knows it (`malsori.decode.seq2seq.DecoderState`)."""

    state: Any

    def step(
        self, token_ids: Int[np.ndarray, "rows new"]
    ) -> tuple[Float[np.ndarray, "rows new vocab"], "NetworkState"]:
        """Return the logits behind each new token of every row, and the state after them."""
        logits, after = self.state.step(torch.from_numpy(token_ids))
        return logits.float().cpu().numpy(), NetworkState(after)

    def select(self, rows: Int[np.ndarray, " kept"]) -> "NetworkState":
        """Return the state of some of the rows, in that order."""
        return NetworkState(self.state.select(torch.from_numpy(rows)))

    def score(
        self, token_ids: Int[np.ndarray, "rows new"], heads: tuple[tuple[int, int], ...]
    ) -> tuple[Float[np.ndarray, "rows new vocab"], Float[np.ndarray, "rows heads new time"]]:
        """Return the logits behind each token, and where in the sound some heads (block, head) look from it."""
        logits, looks = self.state.score(torch.from_numpy(token_ids), heads)
        return logits.float().cpu().numpy(), looks.float().cpu().numpy()


class NetworkWhisper:
    """A Whisper's network, on its device (`malsori.asr.whisper.WhisperEngine`)."""

    def __init__(self, model: SavedModel, runtime: Runtime | None = None) -> None:
        self.runtime = runtime or runtime_of(model.network)
        self.network: Any = self.runtime.place(model.network)
        self.config: WhisperConfig = model.network.config
        self.audio = model.facts.audio
        behind = 0.0 if self.config.whole_window else self.config.trailing_silence
        self.max_seconds: float = self.config.window_frames * self.audio.frame_seconds - behind

    def computing(self) -> AbstractContextManager[None]:
        """Return a block without a graph, in the runtime's precision."""
        return self.runtime.inference()

    def start(self, waves: Float[np.ndarray, "batch samples"]) -> NetworkState:
        """Return the decoder's state under sounds; short ones are encoded without the silence that fills the window."""
        config, audio, rate = self.config, self.audio, self.audio.sample_rate
        longest = config.window_frames * audio.hop_samples - round(MARGIN_SECONDS * rate)
        short = config.whole_window and isinstance(self.network, Whisper) and waves.shape[1] < longest
        silence = MARGIN_SECONDS if short else 0.0 if config.whole_window else config.trailing_silence
        frames = config.window_frames if config.whole_window and not short else 0
        mel = self._log_mel(np.pad(waves, ((0, 0), (0, round(silence * rate)))), frames)
        return NetworkState(self._silent_window.start(mel) if short else self.network.start(mel))

    @functools.cached_property
    def _silent_window(self) -> SilentWindow:
        return SilentWindow.of(cast(Whisper, self.network))

    def _log_mel(self, waves: np.ndarray, window_frames: int) -> Tensor:
        mel = whisper_log_mel(torch.from_numpy(np.ascontiguousarray(waves)), self.audio, window_frames)
        return mel.to(self.runtime.device)
