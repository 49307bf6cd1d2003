"""Results while sound still comes: partial ones that grow, final ones once, however the samples are pushed."""

import io
import json
import sys
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from malsori.asr import streaming
from malsori.asr.longform import SpeechWindow
from malsori.asr.options import DecodingOptions
from malsori.asr.streaming import LiveSession, LocalAgreement, StreamEvent, StreamOptions
from malsori.asr.vad import FRAME_SECONDS
from malsori.cli import run
from malsori.decode.transcript import TranscriptWord
from malsori.errors import OptionError

RATE = 16000
#: What is said in SOUND: word, first and last second; a pause of a second lies between two utterances.
SAID = [("나무", 0.5, 0.9), ("하늘", 0.9, 1.5), ("바다", 1.5, 2.2), ("산", 3.4, 3.8), ("강", 3.8, 4.6)]
UTTERANCES = ["나무 하늘 바다", "산 강"]


def sound(seconds: float = 5.6) -> np.ndarray:
    wave = np.zeros(round(seconds * RATE), np.float32)
    for _, start, end in SAID:
        wave[round(start * RATE) : round(end * RATE)] = 0.5
    return wave


class LoudnessDetector:
    """Speech is what is loud."""

    def __init__(self, rate: int) -> None:
        self.size, self.pending = round(FRAME_SECONDS * rate), np.zeros(0, np.float32)

    def push(self, part: np.ndarray, last: bool = False) -> np.ndarray:
        pending = np.concatenate([self.pending, part])
        whole = len(pending) // self.size * self.size
        self.pending = pending[whole:]
        found = (np.abs(pending[:whole].reshape(-1, self.size)).max(1) > 0.1).astype(np.float32)
        return np.append(found, np.float32(0)) if last and len(self.pending) else found


class Planted:
    """Hears the words that lie in its wave to their end, and of one that breaks off its first syllable."""

    languages, max_seconds, output_is_normalized = ("ko",), 30.0, True
    supported_options = frozenset({"beam", "temperatures"})

    def __init__(self) -> None:
        self.asked: list[tuple[float, float, DecodingOptions]] = []

    def check(self, options: DecodingOptions) -> None:
        assert options.language in (None, "ko")

    def detect_language(self, window: SpeechWindow) -> str:
        return "ko"

    def decode(self, window: SpeechWindow, options: DecodingOptions) -> tuple[TranscriptWord, ...]:
        offset = window.pieces[0].offset
        end = offset + len(window.wave) / RATE
        self.asked.append((offset, end, options))
        words = [
            TranscriptWord(word if last <= end else word[0] + "?", first - offset, min(last, end) - offset, 0.9)
            for word, first, last in SAID
            if offset <= first < end - 0.05
        ]
        assert options.language in (None, "ko")
        return tuple(words)


@pytest.fixture(autouse=True)
def loudness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "SpeechDetector", LoudnessDetector)


def heard(size: int, wave: np.ndarray | None = None, **stream: float) -> tuple[list[StreamEvent], Planted]:
    decoder = Planted()
    session = LiveSession(decoder, RATE, RATE, DecodingOptions(beam=4, language="auto"), StreamOptions(**stream))
    wave = sound() if wave is None else wave
    events = [event for at in range(0, len(wave), size) for event in session.push(wave[at : at + size])]
    return events + session.finish(), decoder


@pytest.mark.parametrize("size", [160, 1600, 7777, 1 << 20])
def test_each_utterance_is_final_once_whatever_is_pushed_at_a_time(size: int) -> None:
    events, _ = heard(size, chunk_seconds=0.5)
    finals = [event for event in events if event.kind == "final"]
    assert [event.text for event in finals] == [event.stable for event in finals] == UTTERANCES
    np.testing.assert_allclose([event.start for event in finals], [0.2, 3.1], atol=0.05)
    np.testing.assert_allclose([event.end for event in finals], [2.5, 4.9], atol=0.05)
    assert [round(word.start, 2) for word in finals[1].words] == [3.4, 3.8]


def test_partial_results_come_each_chunk_and_what_is_stable_stays() -> None:
    events, decoder = heard(800, chunk_seconds=0.5)
    first = events[: next(place for place, event in enumerate(events) if event.kind == "final")]
    assert [event.text for event in first][:4] == ["나무 하?", "나무 하늘", "나무 하늘 바?", "나무 하늘 바다"]
    assert [event.stable for event in first][:3] == ["", "나무", "나무 하늘"]
    for before, after in pairwise(first):
        assert after.stable.startswith(before.stable) and after.text.startswith(before.stable)
    np.testing.assert_allclose(np.diff([event.end for event in first]), 0.5, atol=0.06)
    assert {options.beam for _, _, options in decoder.asked} == {1, 4}  # partial ones by the quickest search


def test_sound_that_is_open_at_the_end_is_final_too() -> None:
    wave = sound()[: round(1.2 * RATE)]
    events, _ = heard(1600, wave, chunk_seconds=0.5)
    assert [event.text for event in events] == ["나무 하?", "나무 하?"][-len(events) :]
    assert events[-1].kind == "final" and [event.kind for event in events].count("final") == 1


def test_silence_brings_nothing() -> None:
    events, decoder = heard(1600, np.zeros(5 * RATE, np.float32))
    assert events == [] and decoder.asked == []


def test_a_partial_text_that_proves_to_be_no_speech_is_taken_back(monkeypatch) -> None:
    decode = Planted.decode

    def doubting(self, window, options):
        return decode(self, window, options) if options.beam == 1 else ()

    monkeypatch.setattr(Planted, "decode", doubting)
    events, _ = heard(1600, chunk_seconds=0.5)
    assert [event.text for event in events if event.kind == "final"] == ["", ""]


def test_a_knock_is_no_utterance_and_stands_in_none(monkeypatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "SAID", [("쿵", 0.512, 0.576), ("나무", 2.0, 2.4), ("하늘", 2.4, 3.0)])
    events, _ = heard(1600, sound(4.5), chunk_seconds=0.2)
    assert events[-1].text == "나무 하늘" and not any("쿵" in event.text for event in events)


@pytest.mark.parametrize("size", [1600, 1 << 20])
def test_utterances_with_a_short_pause_between_share_no_speech(monkeypatch, size: int) -> None:
    monkeypatch.setattr(sys.modules[__name__], "SAID", [("나무", 0.512, 0.896), ("하늘", 1.12, 1.7)])
    events, _ = heard(size, sound(3), pause_seconds=0.2)
    (_, first), (second, _) = [(event.start, event.end) for event in events if event.kind == "final"]
    assert first <= 1.12 and second >= 0.896


def test_an_utterance_longer_than_the_decoder_takes_is_cut(monkeypatch) -> None:
    monkeypatch.setattr(Planted, "max_seconds", 2.0)
    _, decoder = heard(1600, np.full(9 * RATE, 0.5, np.float32), chunk_seconds=0.5)
    finals = [(start, end) for start, end, options in decoder.asked if options.beam == 4]
    assert len(finals) >= 5 and max(end - start for start, end in finals) <= 2.0
    assert all(abs(after[0] - before[1]) < 0.01 for before, after in pairwise(finals))


def test_samples_of_another_rate_are_resampled() -> None:
    decoder = Planted()
    session = LiveSession(decoder, 8000, RATE, DecodingOptions(), StreamOptions())
    wave = sound()[::2]
    events = [event for at in range(0, len(wave), 800) for event in session.push(wave[at : at + 800])]
    assert [event.text for event in [*events, *session.finish()] if event.kind == "final"] == UTTERANCES


@pytest.mark.parametrize(
    ("options", "message"), [({"chunk_seconds": 0}, "chunk_seconds"), ({"pause_seconds": 9}, "pause_seconds")]
)
def test_stream_options_out_of_range_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        StreamOptions(**options)


def test_a_stream_cannot_do_without_voice_activity_detection() -> None:
    with pytest.raises(OptionError, match="vad False: a stream is cut into utterances by voice activity"):
        LiveSession(Planted(), RATE, RATE, DecodingOptions(vad=False))


def spoken(text: str) -> list[TranscriptWord]:
    return [TranscriptWord(word, float(place), place + 1.0, 1.0) for place, word in enumerate(text.split())]


def test_what_two_decodings_agree_on_is_stable() -> None:
    agreement = LocalAgreement()
    said = []
    for text in ("오늘은", "오늘은 날씨.", "오늘은 날씨가 참", "오늘은 날씨 가 참 좋", "오늘은 날씨가 참 좋네요."):
        said.append(" ".join(word.text for word in agreement.push(spoken(text))))
    stable = " ".join(word.text for word in agreement.stable)
    assert said[1] == "오늘은 날씨." and said[-1].endswith("좋네요.") and stable.startswith("오늘은")
    assert said[-1].startswith(stable)


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(["가", "나", "다라", "마"]), max_size=6), max_size=8))
def test_what_is_stable_is_never_taken_back(decodings: list[list[str]]) -> None:
    agreement, before = LocalAgreement(), ()
    for words in decodings:
        shown = agreement.push(spoken(" ".join(words)))
        assert agreement.stable[: len(before)] == before and shown[: len(agreement.stable)] == agreement.stable
        before = agreement.stable


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line's recognizer is the planted one."""
    from malsori.asr import recognizer

    def live(options, *, sample_rate, stream):
        return LiveSession(Planted(), sample_rate, RATE, options, stream)

    monkeypatch.setattr(recognizer, "load_recognizer", lambda *_, **__: SimpleNamespace(stream_live=live))


def give(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))


def pcm() -> bytes:
    return (sound() * 32767).astype("<i2").tobytes()


def test_standard_input_is_transcribed_as_it_comes(planted, monkeypatch, capsys) -> None:
    give(monkeypatch, pcm())
    assert run(["transcribe", "--stream", "-"]) == 0
    assert capsys.readouterr().out.splitlines() == UTTERANCES
    give(monkeypatch, pcm())
    assert run(["transcribe", "--stream", "-", "--json", "--chunk-seconds", "0.5"]) == 0
    rows = [json.loads(row) for row in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in rows if row["type"] == "final"] == UTTERANCES
    assert set(rows[0]) == {"type", "text", "stable", "start", "end", "words"}
    assert rows[-1]["words"][0]["text"] == "산"


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (["a.wav", "--rate", "8000"], "--rate 8000: is for --stream, which was not given"),
        (["a.wav", "--pause-seconds", "1"], "--pause-seconds 1.0: is for --stream"),
        (["--stream", "a.wav", "--rate", "8000"], "--rate 8000: is of raw samples on standard input"),
        (["--stream", "a.wav", "b.wav"], "--stream takes one source, not 2"),
        (["--stream", "-", "--format", "srt"], "--format srt and --stream: a stream is written as txt or json"),
        (["--stream", "-", "--chunk-seconds", "0"], "chunk_seconds"),
        (["--stream", "nowhere.wav"], "nowhere.wav: no such file"),
    ],
)
def test_what_cannot_be_streamed_is_refused(planted, capsys, told: list[str], message: str) -> None:
    assert run(["transcribe", *told]) == 2
    assert message in capsys.readouterr().err
