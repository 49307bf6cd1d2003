"""The encoders of networks trained by CTC, as PyTorch runs them: `malsori.asr.encode` says what they promise."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Float

from malsori.asr.encode import WINDOW_SECONDS, CtcPosteriors, EncoderOutput, checked_seconds
from malsori.audio.mel import log_mel
from malsori.config import AudioConfig
from malsori.models.conformer import FRAME_STRIDE, STEP_STRIDE
from malsori.models.wav2vec2 import standardize_wave
from malsori.pretrained.folder import SavedModel
from malsori.runtime.device import Runtime, runtime_of

_CONTEXT_SECONDS = 2.0  # at each end of a window that lies within a longer sound; only context for what lies between


class ConformerCtcEncoder:
    """A Conformer over log-mels. Raises: AudioError, from both methods, if the sound is too short."""

    def __init__(self, model: SavedModel, runtime: Runtime | None = None) -> None:
        self.runtime = runtime or runtime_of(model.network)
        self.network, self.audio = self.runtime.place(model.network), model.facts.audio
        self.sample_rate: int = self.audio.sample_rate
        self.frame_seconds: float = FRAME_STRIDE * self.audio.frame_seconds

    def posteriors(self, wave: Float[np.ndarray, " samples"]) -> CtcPosteriors:
        """Return the log-probabilities of jamo."""
        found = self.encode_stream([wave])
        return CtcPosteriors(found.jamo, 0, 0.0, found.frame_seconds, found.seconds)

    def encode_stream(self, pieces: Iterable[Float[np.ndarray, " _"]], with_jamo: bool = True) -> EncoderOutput:
        """Return both outputs of a sound that comes piece by piece; however it is cut, alike.

        Without jamo, which an alignment does not ask for, an hour takes half the memory.
        """
        audio, samples, frames = self.audio, 0, 0
        stores = (
            bytearray(),
            bytearray(),
            bytearray(),
        )  # they grow where they stand; a list of pieces would be held twice
        for window, first, last in _windows(pieces, audio):
            checked_seconds(window, audio.sample_rate)
            begin, end = (place // audio.hop_samples // FRAME_STRIDE for place in (first, last))
            jamo, phonemes, loudness = self._window(window)
            kinds = jamo if with_jamo else jamo[:, :0], phonemes, loudness
            for store, kind in zip(stores, kinds, strict=True):
                store += kind[begin : end if last < len(window) else None].tobytes()
            samples, frames = samples + last - first, len(stores[2]) // loudness.itemsize
        jamo, phonemes, loudness = (
            np.ndarray((frames, *kind.shape[1:]), kind.dtype, store) for store, kind in zip(stores, kinds, strict=True)
        )
        return EncoderOutput(jamo, phonemes, loudness, self.frame_seconds, samples / audio.sample_rate)

    def _window(self, wave: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return jamo, phonemes and loudness in each of the network's frames."""
        batch = torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))[None].to(self.runtime.device)
        mel = log_mel(batch, self.audio)
        with self.runtime.inference():
            output = self.network.infer(mel, torch.tensor([mel.shape[1]], device=mel.device))
        frames, loudness = int(output.frame_lengths[0]), mel[0].mean(1).cpu().numpy()
        index = np.minimum(np.arange(frames) * FRAME_STRIDE, len(loudness) - 1)  # the last one may be padded
        return output.jamo[0, :frames].cpu().numpy(), output.phonemes[0, :frames].cpu().numpy(), loudness[index]


class Wav2Vec2CtcEncoder:
    """A wav2vec 2.0 over the wave itself."""

    def __init__(self, model: SavedModel, runtime: Runtime | None = None) -> None:
        self.runtime = runtime or runtime_of(model.network)
        self.network, self.config = self.runtime.place(model.network), model.network.config
        self.sample_rate: int = model.facts.audio.sample_rate
        self.frame_seconds: float = self.config.frame_samples / self.sample_rate

    def posteriors(self, wave: Float[np.ndarray, " samples"]) -> CtcPosteriors:
        """Return the log-probabilities of its letters. Raises: AudioError if the sound is too short."""
        seconds, config = checked_seconds(wave, self.sample_rate), self.config
        batch = torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))[None]
        if config.standardized:
            batch = standardize_wave(batch, torch.tensor([batch.shape[1]]))
        with self.runtime.inference():
            logits = self.network.infer(batch.to(self.runtime.device)).logits[0]
        log_probs = logits.float().log_softmax(-1).cpu().numpy()
        first = (config.receptive_field_samples - config.frame_samples) / 2 / self.sample_rate
        return CtcPosteriors(log_probs, config.blank, first, self.frame_seconds, seconds)


def _windows(pieces: Iterable[np.ndarray], audio: AudioConfig) -> Iterator[tuple[np.ndarray, int, int]]:
    """Yield windows, each with the samples from which and up to which it answers; together these are all there are.

    They begin where the network's steps do. The last one reaches to the end.
    """
    longest, context = (
        round(seconds / audio.frame_seconds) // STEP_STRIDE * STEP_STRIDE * audio.hop_samples
        for seconds in (WINDOW_SECONDS, _CONTEXT_SECONDS)
    )
    pending, first = np.zeros(0, dtype=np.float32), 0
    for piece in pieces:
        pending = np.concatenate([pending, piece]) if len(pending) else piece
        while len(pending) - first > longest:
            last = longest - context
            yield pending[:longest], first, last
            pending, first = pending[last - context :], context
    yield pending, first, len(pending)
