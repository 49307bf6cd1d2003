"""Long sound in pieces: the cuts of the whole sound, found without holding it."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from malsori.asr.longform import QuietCutter
from malsori.audio.mel import log_mel
from malsori.config import RECOGNITION_AUDIO, WHISPER_AUDIO, AudioConfig

RATE = 16000


def murmur(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise whose level changes every tenth of a second."""
    random = np.random.default_rng(seed)
    samples = round(seconds * RATE)
    level = np.repeat(random.random(samples // 1600 + 1) ** 3, 1600)[:samples]
    return (random.normal(0, 0.1, samples) * level).astype(np.float32)


def cuts_of_the_whole(wave: np.ndarray, audio: AudioConfig, max_seconds: float) -> list[tuple[int, int]]:
    """The same rule, over the level of the whole sound at once."""
    longest = int(max_seconds * RATE)
    level = log_mel(torch.from_numpy(wave)[None], audio)[0].mean(1).numpy()
    width = round(0.3 / audio.frame_seconds)
    smooth = np.convolve(level, np.ones(width) / width, mode="same")
    pieces, begin = [], 0
    while len(wave) - begin > longest:
        first, last = (begin + longest // 2) // audio.hop_samples, (begin + longest) // audio.hop_samples
        cut = (first + int(np.argmin(smooth[first:last]))) * audio.hop_samples
        pieces.append((begin, cut))
        begin = cut
    return [*pieces, (begin, len(wave))] if len(wave) - begin >= 0.1 * RATE else pieces


@settings(max_examples=25, deadline=None)
@given(
    st.floats(0.2, 45.0), st.sampled_from([3.0, 7.3, 18.0, 30.0]), st.integers(700, 200_000),
    st.sampled_from([RECOGNITION_AUDIO, WHISPER_AUDIO]), st.integers(0, 5),
)  # fmt: skip
def test_the_cuts_are_those_of_the_whole_sound_however_it_comes(
    seconds: float, max_seconds: float, size: int, audio: AudioConfig, seed: int
) -> None:
    wave = murmur(seconds, seed)
    cutter = QuietCutter(audio, max_seconds)
    pieces = list(cutter.pieces(wave[at : at + size] for at in range(0, len(wave), size)))
    found = [(round(piece.start * RATE), round(piece.start * RATE) + len(piece.wave)) for piece in pieces]
    assert found == cuts_of_the_whole(wave, audio, max_seconds)
    assert cutter.seconds == len(wave) / RATE
    for piece, (begin, end) in zip(pieces, found, strict=True):
        np.testing.assert_array_equal(piece.wave, wave[begin:end])
        assert len(piece.wave) <= max_seconds * RATE


def test_no_more_is_read_than_the_next_piece_needs_and_none_of_it_is_kept() -> None:
    came = 0

    def parts() -> Iterator[np.ndarray]:
        nonlocal came
        for second in range(600):
            came += 1
            yield murmur(1.0, second)

    cutter, end = QuietCutter(RECOGNITION_AUDIO, 18.0), 0.0
    for piece in cutter.pieces(parts()):
        end = piece.start + len(piece.wave) / RATE
        assert came <= piece.start + 18.0 + 2.0
        held = piece.wave.base if piece.wave.base is not None else piece.wave
        assert len(held) <= 40 * RATE  # a view of what was pending, not of all that came
    assert end == pytest.approx(600.0) and cutter.seconds == 600.0


def test_a_sound_too_short_for_a_syllable_is_passed_on_and_a_tail_of_that_length_is_not() -> None:
    short = murmur(0.05)
    (piece,) = QuietCutter(RECOGNITION_AUDIO, 18.0).pieces([short])
    assert piece.start == 0 and len(piece.wave) == len(short)
    wave = np.concatenate([murmur(9.9), np.zeros(800, np.float32), murmur(0.0625)])
    cutter = QuietCutter(RECOGNITION_AUDIO, 10.0)
    pieces = list(cutter.pieces([wave]))
    assert cutter.seconds == len(wave) / RATE
    assert all(len(one.wave) >= 0.1 * RATE for one in pieces)
    wanted = [begin for begin, _ in cuts_of_the_whole(wave, RECOGNITION_AUDIO, 10.0)]
    assert [round(one.start * RATE) for one in pieces] == wanted
