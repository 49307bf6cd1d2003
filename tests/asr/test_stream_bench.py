"""What `bench/stream.py` says of a stream: when each result is there, when a word is for good, what was taken back."""

import importlib.util
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from malsori.asr import streaming
from malsori.asr.recognizer import Recognizer
from malsori.asr.streaming import LiveSession, StreamEvent
from malsori.decode.transcript import Segment, Transcript, TranscriptWord
from malsori.text.frontend import Frontend

from .test_streaming import RATE, SAID, LoudnessDetector, Planted, sound

TEXT = " ".join(word for word, _, _ in SAID)


@pytest.fixture(scope="module")
def bench():
    path = Path(__file__).parents[2] / "bench" / "stream.py"
    spec = importlib.util.spec_from_file_location("stream_bench", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def result(bench, at: float, stable: str, words: str = ""):
    """A result: partial, or final if its words are given, which last half a second each."""
    said = tuple(TranscriptWord(word, k / 2, k / 2 + 0.5, 1.0) for k, word in enumerate(words.split()))
    return bench.Shown(at, StreamEvent("final" if words else "partial", words or stable + "…", stable, 0.0, at, said))


def followed(bench, *results):
    heard = bench.Heard()
    bench.follow(results, heard)
    return heard


class PlantedRecognizer(Recognizer):
    """Hears what is said, and a stream of it as the planted decoder does."""

    def __init__(self) -> None:
        self.decoder, self.frontend = Planted(), Frontend()

    def transcribe(self, *_, **__):
        words = tuple(TranscriptWord(word, start, end, 1.0) for word, start, end in SAID)
        return Transcript(TEXT, "ko", 5.6, (Segment(0.5, 4.6, TEXT, words),))

    def stream_live(self, options, *, sample_rate, stream):
        return LiveSession(self.decoder, sample_rate, RATE, options, stream)


def test_pushes_queue_behind_a_slow_one(bench):
    now, event = [0.0], StreamEvent("final", "", "", 0.0, 0.0)
    costs = iter([0.01, 0.25, 0.02, 0.0, 0.03])

    def push(_=None):
        now[0] += next(costs)
        return [event]

    session = SimpleNamespace(push=push, finish=push)
    shown, computing = bench.play(session, np.zeros(360, np.float32), 1000, lambda: now[0])
    np.testing.assert_allclose([each.at for each in shown], [0.11, 0.45, 0.47, 0.47, 0.50])
    assert computing == pytest.approx(0.31)


def test_a_word_is_there_for_good_from_the_first_result_that_keeps_it(bench):
    heard = followed(
        bench,
        result(bench, 0.8, "가나"),
        result(bench, 1.4, "가나 다마,"),
        result(bench, 2.0, "가나! 다라.", "가나! 다라. … 바"),
    )
    np.testing.assert_allclose(heard.words, [0.8 - 0.5, 2.0 - 1.0, 2.0 - 2.0])  # marks alone are no word
    assert heard.first == [0.8] and (heard.stable, heard.back_by_partial, heard.back_by_final) == (2, 0, 1)


def test_spaces_are_not_compared_but_places_are(bench):
    heard = followed(bench, result(bench, 1.0, "이십육 일부터 네"), result(bench, 2.0, "", "이십 육일부터 네 네 네"))
    np.testing.assert_allclose(heard.words, [0.5, 0.0, -0.5, 0.0, -0.5])
    assert heard.back_by_final == 0


def test_a_stable_word_that_a_partial_result_changes_is_counted(bench):
    heard = followed(
        bench, result(bench, 1.0, "가 나 다"), result(bench, 1.5, "가 라"), result(bench, 2.0, "", "가 나 다")
    )
    assert (heard.back_by_partial, heard.stable, heard.back_by_final) == (2, 2, 1)
    np.testing.assert_allclose(heard.words, [0.5, 1.0, 0.5])


def test_all_of_an_utterance_that_proves_to_be_no_speech_is_taken_back(bench):
    heard = followed(bench, result(bench, 1.0, "가 나"), bench.Shown(2.0, StreamEvent("final", "", "", 0.0, 2.0)))
    assert heard.words == heard.first == [] and (heard.stable, heard.back_by_final) == (2, 2)


def test_a_planted_recognizer_makes_no_error_and_is_as_late_as_its_chunks(bench, monkeypatch):
    monkeypatch.setattr(streaming, "SpeechDetector", LoudnessDetector)
    monkeypatch.setattr(bench, "load_recognizer", lambda _: PlantedRecognizer())
    monkeypatch.setattr(bench.time, "perf_counter", lambda: 0.0)
    asked = Namespace(beam=None, cpu=False, chunks="0.5", pause=0.6, model=["planted"])
    whole, live = bench.rows(asked, [bench.recorded(sound(), RATE, TEXT, asked.pause)])
    assert whole["cer_no_space"]["value"] == live["cer_no_space"]["value"] == 0 and live["real_time_factor"] == 0
    assert whole["word_seconds_median"] == pytest.approx(5.6 - 2.2)
    assert live["word_seconds_90"] < 1.2 and live["first_text_seconds_median"] == pytest.approx(0.5, abs=0.1)
    assert (live["taken_back_by_partial"], live["taken_back_by_final"], live["words"]) == (0, 0, 5)
    assert bench.line(live).startswith("| planted | 0.5 | 0.0 | ")
    assert bench.line(whole).count("|") == len(bench.COLUMNS) + 1
