"""Tiny batches of noise in each kind's shapes: what `malsori diagram` traces and the tests overfit."""

import numpy as np
import torch
from torch import Tensor

from malsori.audio.mel import log_mel
from malsori.config import AudioConfig
from malsori.corpus.batches import ListenBatch, SegmentBatch, SpeakBatch
from malsori.models.fastspeech2 import FastSpeech2Config
from malsori.text.hangul import to_jamo
from malsori.text.symbols import JAMO, PHONEMES

_BATCH = 2
_HUMS = (140.0, 210.0)  # Hz


def example_segments(audio: AudioConfig, frames: int = 16) -> SegmentBatch:
    """Return two pieces of a humming noise, their log-mels, and a pitch."""
    wave = _noise(frames * audio.hop_samples, audio)
    log_pitch = torch.tensor(_HUMS).log()[:, None].expand(-1, frames)
    return SegmentBatch(log_mel(wave, audio), wave, log_pitch, torch.arange(frames).expand(_BATCH, -1) > 3)


def example_speech(config: FastSpeech2Config, tokens: int = 8) -> SpeakBatch:
    """Return two sentences of unequal length with durations, pitch, energy and mel."""
    random = torch.Generator().manual_seed(0)
    token_lengths = torch.tensor([tokens, tokens - 2])
    real = torch.arange(tokens)[None, :] < token_lengths[:, None]
    durations = torch.randint(1, 5, (_BATCH, tokens), generator=random) * real
    frames = int(durations.sum(1).max())
    return SpeakBatch(
        token_ids=torch.randint(1, config.vocab, (_BATCH, tokens), generator=random) * real,
        token_lengths=token_lengths,
        speaker_ids=torch.arange(_BATCH) % config.speakers,
        durations=durations,
        pitch=torch.randn(_BATCH, frames, generator=random),
        energy=torch.randn(_BATCH, tokens, generator=random) * real,
        mel=torch.randn(_BATCH, frames, config.mel_channels, generator=random),
        frame_lengths=durations.sum(1),
    )


def example_listening(audio: AudioConfig, seconds: float = 0.8) -> ListenBatch:
    """Return two short sounds with a text each."""
    mel = log_mel(_noise(round(seconds * audio.sample_rate), audio), audio)
    lengths = torch.tensor([mel.shape[1], mel.shape[1] - 8])
    texts = ["말소리", "소리"]
    jamo, jamo_lengths = _padded([JAMO.encode(to_jamo(text)) for text in texts])
    phonemes, phoneme_lengths = _padded(
        [PHONEMES.encode(["ㅁ", "ㅏ", "-ㄹ", "ㅅ", "ㅗ", "ㄹ", "ㅣ"]), [20, 30, 25, 41]]
    )
    return ListenBatch(mel, lengths, jamo, jamo_lengths, phonemes, phoneme_lengths, texts)


def example_waves(audio: AudioConfig, seconds: float = 0.8) -> tuple[Tensor, Tensor]:
    """Return two short sounds (batch, samples) and their lengths."""
    samples = round(seconds * audio.sample_rate)
    return _noise(samples, audio), torch.tensor([samples, samples - samples // 8])


def _noise(samples: int, audio: AudioConfig) -> Tensor:
    """Return two hums with noise (batch, samples)."""
    time = np.arange(samples) / audio.sample_rate
    hums = [0.2 * np.sin(2 * np.pi * hertz * time) for hertz in _HUMS]
    noise = np.random.default_rng(0).normal(0, 0.02, (_BATCH, samples))
    return torch.from_numpy((np.stack(hums) + noise).astype(np.float32))


def _padded(ids: list[list[int]]) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(one) for one in ids])
    return torch.tensor([one + [0] * (int(lengths.max()) - len(one)) for one in ids]), lengths
