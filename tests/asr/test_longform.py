"""Long sound in windows of speech: the same ones however it comes, nothing lost, every place known."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from malsori.asr import longform
from malsori.asr.longform import SpeechWindow, SpeechWindows, WindowPiece
from malsori.asr.vad import FRAME_SECONDS
from malsori.decode.transcript import TranscriptWord
from malsori.errors import AudioError

RATE = 16000


class LoudIsSpeech:
    """Takes a frame for speech where it is loud, and says so when the frame is whole."""

    def __init__(self, sample_rate: int) -> None:
        self.frame, self.pending = FRAME_SECONDS * sample_rate, np.zeros(0, np.float32)

    def push(self, part: np.ndarray, last: bool = False) -> np.ndarray:
        self.pending = np.concatenate([self.pending, part])
        count = int(-(-len(self.pending) // self.frame) if last else len(self.pending) // self.frame)
        edges = np.round(np.arange(count + 1) * self.frame).astype(int)
        found = [float(np.abs(self.pending[a:b]).max() > 0.05) for a, b in itertools.pairwise(edges)]
        self.pending = self.pending[edges[-1] :]
        return np.array(found, dtype=np.float32)


@pytest.fixture(autouse=True)
def loud_is_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(longform, "SpeechDetector", LoudIsSpeech)


def murmur(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise whose level changes every tenth of a second."""
    random = np.random.default_rng(seed)
    samples = round(seconds * RATE)
    level = np.repeat(random.random(samples // 1600 + 1) ** 3, 1600)[:samples]
    return (random.normal(0, 0.1, samples) * level).astype(np.float32)


def windows(parts, max_seconds: float, threshold: float | None = None) -> tuple[list[SpeechWindow], float]:
    speech = SpeechWindows(RATE, max_seconds, threshold)
    found = list(speech.windows(parts))
    return found, speech.seconds


def places(window: SpeechWindow) -> list[tuple[int, int]]:
    """First and last sample of each piece in the sound."""
    pairs = [(piece.start + piece.offset, piece.end + piece.offset) for piece in window.pieces]
    return [(round(start * RATE), round(end * RATE)) for start, end in pairs]


@settings(max_examples=10, deadline=None)
@given(st.floats(0.2, 45.0), st.sampled_from([3.0, 7.3, 18.0, 30.0]), st.integers(3_000, 200_000), st.integers(0, 5))
def test_without_a_detector_all_of_a_sound_lies_in_windows_however_it_comes(
    seconds: float, max_seconds: float, size: int, seed: int
) -> None:
    wave = murmur(seconds, seed)
    found, length = windows((wave[at : at + size] for at in range(0, len(wave), size)), max_seconds)
    whole, _ = windows([wave], max_seconds)
    assert list(map(places, found)) == list(map(places, whole)) and length == len(wave) / RATE
    end = 0
    for window in found:
        ((first, last),) = places(window)
        assert first == end and last - first == len(window.wave) <= max_seconds * RATE
        np.testing.assert_array_equal(window.wave, wave[first:last])
        end = last
    assert end == len(wave)


def test_a_cut_lies_where_the_second_half_of_a_window_is_quietest() -> None:
    wave = murmur(25.0)
    wave[round(6.2 * RATE) : round(6.6 * RATE)] *= 1e-4
    wave[round(13.0 * RATE) : round(13.4 * RATE)] *= 1e-4
    wave[round(2.0 * RATE) : round(2.4 * RATE)] *= 1e-6  # quieter, but in the first half
    found, _ = windows([wave], 10.0)
    starts = [window.pieces[0].offset for window in found]
    assert starts[:3] == pytest.approx([0.0, 6.4, 13.2], abs=0.1)


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.3, 9.0), st.floats(0.0, 8.0)), min_size=1, max_size=5),
    st.integers(5_000, 100_000),
    st.sampled_from([5.0, 10.0, 30.0]),
)
def test_windows_hold_all_speech_and_no_long_silence(
    spans: list[tuple[float, float]], size: int, max_seconds: float
) -> None:
    parts = [
        part
        for spoken, silent in spans
        for part in (np.full(round(spoken * RATE), 0.3), np.zeros(round(silent * RATE)))
    ]
    wave = np.concatenate(parts).astype(np.float32)
    found, seconds = windows((wave[at : at + size] for at in range(0, len(wave), size)), max_seconds, 0.5)
    whole, _ = windows([wave], max_seconds, 0.5)
    assert list(map(places, found)) == list(map(places, whole)) and seconds == len(wave) / RATE
    covered = np.zeros(len(wave), dtype=int)
    for window in found:
        assert len(window.wave) <= max_seconds * RATE
        np.testing.assert_array_equal(window.wave, np.concatenate([wave[first:last] for first, last in places(window)]))
        for first, last in places(window):
            covered[first:last] += 1
    assert covered.max() == 1 and (wave[covered == 0] == 0).all()
    silence = np.flatnonzero((wave == 0) & (covered == 1))
    speech = np.flatnonzero(wave)
    nearest = np.abs(silence - speech[np.clip(np.searchsorted(speech, silence), 0, len(speech) - 1)])
    before = np.abs(silence - speech[np.clip(np.searchsorted(speech, silence) - 1, 0, len(speech) - 1)])
    assert not len(silence) or np.minimum(nearest, before).max() <= 0.7 * RATE  # 0.3 s, or within a short pause


def test_each_span_has_a_window_of_its_own_where_they_are_not_packed() -> None:
    wave = np.concatenate([part for _ in range(3) for part in (np.full(RATE, 0.3), np.zeros(2 * RATE))])
    for packs, count in ((True, 1), (False, 3)):
        found = list(SpeechWindows(RATE, 10.0, 0.5, packs).windows([wave.astype(np.float32)]))
        assert len(found) == count and sum(len(window.pieces) for window in found) == 3


def test_where_nobody_speaks_there_is_no_window() -> None:
    found, seconds = windows([np.zeros(5 * RATE, np.float32)], 10.0, 0.5)
    assert found == [] and seconds == 5.0


def test_no_more_is_held_than_the_next_window_needs() -> None:
    came, speech = 0, SpeechWindows(RATE, 18.0, None)

    def parts() -> Iterator[np.ndarray]:
        nonlocal came
        for second in range(600):
            came += 1
            yield murmur(1.0, second)

    for window in speech.windows(parts()):
        assert came <= window.pieces[0].offset + 18.0 * 2 + 2.0
        assert len(speech._held) <= 20 * RATE
    assert window.end == pytest.approx(600.0) and speech.seconds == 600.0
    hush = SpeechWindows(RATE, 18.0, 0.5)
    sound = [np.full(RATE, 0.3, np.float32), *(np.zeros(RATE, np.float32) for _ in range(600))]
    assert len(list(hush.windows(sound))) == 1 and len(hush._held) <= 2 * RATE


def test_a_sound_too_short_for_a_syllable_is_refused() -> None:
    for threshold in (None, 0.5):
        with pytest.raises(AudioError, match=r"0\.050 s of sound is too short"):
            windows([murmur(0.05)], 18.0, threshold)


def test_words_go_to_the_piece_in_which_they_are_spoken_and_end_there() -> None:
    pieces = (
        WindowPiece(0.0, 2.0, 0.0, 0.3, 1.7),
        WindowPiece(2.0, 4.0, 18.0, 2.3, 3.7),
        WindowPiece(4.0, 5.0, 50.0, 4.3, 4.7),
    )
    said = [("나", 0.3, 0.9), ("무", 0.9, 2.3), ("하늘", 2.3, 3.6), ("바다", 3.6, 3.9)]
    window = SpeechWindow(np.zeros(5 * RATE, np.float32), pieces)
    segments = list(window.segments(TranscriptWord(text, start, end, 0.9) for text, start, end in said))
    assert [segment.text for segment in segments] == ["나 무", "하늘 바다"]
    found = [(word.text, word.start, word.end) for segment in segments for word in segment.words]
    wanted = [("나", 0.3, 0.9), ("무", 0.9, 1.7 + FRAME_SECONDS), ("하늘", 20.3, 21.6), ("바다", 21.6, 21.9)]
    assert [word for word, _, _ in found] == [word for word, _, _ in wanted]
    np.testing.assert_allclose([row[1:] for row in found], [row[1:] for row in wanted])
    assert (segments[0].start, segments[0].end) == pytest.approx((0.3, 1.7 + FRAME_SECONDS))
    assert (segments[1].start, segments[1].end) == pytest.approx((20.3, 21.9)) and window.end == 55.0
