"""Voice activity: speech is found, whatever its level, and nothing else is."""

import numpy as np
import pytest

from malsori.asr.recognizer import load_recognizer
from malsori.asr.vad import FRAME_SECONDS, SpanTracker, SpeechDetector, SpeechSpan, built_in, frame_levels
from malsori.audio.resampling import resample
from malsori.models.silero_vad import FRAME_SAMPLES, _sigmoid
from malsori.tts.voice import load_voice

from .no_speech import KINDS, RATE, make

#: Probabilities that the authors' ONNX file (silero_vad.onnx of silero-vad 6.2.3) gives `buzz`, every fourth frame.
ONNX = (
    0.0918, 0.1590, 0.2770, 0.0497, 0.4381, 0.3789, 0.3437, 0.0290, 0.1000, 0.0993, 0.0076,
    0.0032, 0.0733, 0.1539, 0.0335, 0.0030, 0.0924, 0.2561, 0.0166, 0.0031, 0.0023, 0.1450,
    0.0106, 0.0017, 0.0809, 0.0403, 0.0243, 0.0039, 0.0399, 0.0489, 0.0126, 0.0064,
)  # fmt: skip


def buzz(seconds: float = 4.0) -> np.ndarray:
    """A pulse train through three resonances that move, in syllables: enough like speech for the network."""
    time = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(120 + 25 * np.sin(2 * np.pi * 0.7 * time)) / RATE
    wave = np.zeros(len(time))
    for k in range(1, 40):
        hertz = 120 * k
        peaks = (500 + 250 * np.sin(2 * np.pi * 1.7 * time), 1400 + 500 * np.cos(2 * np.pi * 1.1 * time), 2600)
        gain = sum(np.exp(-(((hertz - peak) / 130) ** 2)) for peak in peaks)
        wave += gain * np.sin(k * phase)
    return (0.1 * wave * np.maximum(0, np.sin(2 * np.pi * 2 * time)) ** 0.5).astype(np.float32)


def probabilities(wave: np.ndarray, rate: int = RATE, size: int = 1 << 30) -> np.ndarray:
    detector = SpeechDetector(rate)
    parts = [detector.push(wave[at : at + size]) for at in range(0, len(wave), size)]
    return np.concatenate([*parts, detector.push(np.zeros(0, np.float32), last=True)])


def test_the_network_is_the_authors_own() -> None:
    found = probabilities(buzz())
    np.testing.assert_allclose(found[::4], ONNX, atol=2e-4)
    assert found.max() > 0.5 and found.min() < 0.01


@pytest.mark.parametrize("size", [100, 5000, 16000])
def test_the_probabilities_do_not_depend_on_how_the_sound_comes(size: int) -> None:
    wave = buzz()[:-77]
    whole = probabilities(wave)
    assert len(whole) == -(-len(wave) // FRAME_SAMPLES)
    np.testing.assert_allclose(probabilities(wave, size=size), whole, atol=1e-5)


def test_a_sound_of_another_rate_is_heard_alike() -> None:
    wave, at_44100 = buzz(), resample(buzz(), RATE, 44100)
    found, whole = probabilities(at_44100, 44100, 10000), probabilities(wave)
    assert len(found) == len(whole) and np.abs(found - whole).mean() < 0.05


def test_half_a_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="700 samples are no whole frames of 512"):
        built_in().infer(np.zeros(700, np.float32), built_in().start())


def track(probabilities: list[float], **settings) -> list[SpeechSpan]:
    tracker = SpanTracker(pause_frames=5, **settings)
    return [*tracker.push(probabilities, [0.0] * len(probabilities)), *tracker.finish()]


def test_a_span_begins_at_the_threshold_and_ends_before_a_pause() -> None:
    no, maybe, yes = [0.1], [0.4], [0.9]
    assert track(no * 3 + maybe * 3 + yes * 4 + maybe * 3 + no * 9) == [SpeechSpan(6, 13)]  # what began goes on
    assert track(yes * 6 + no * 4 + yes * 6) == [SpeechSpan(0, 16)]  # a gap is no pause
    assert track(yes * 6 + no * 5 + yes * 6) == [SpeechSpan(0, 6), SpeechSpan(11, 17)]
    assert track(no * 5 + yes * 3 + no * 9) == []  # a knock
    assert track((yes * 3 + no) * 5) == []  # and five of them
    assert track(maybe * 20, threshold=0.3) == [SpeechSpan(0, 20)]


def test_a_span_too_long_is_cut_where_it_is_quiet() -> None:
    levels = [0.0] * 50
    levels[27:36] = [-30.0] * 9
    tracker = SpanTracker(max_frames=45)
    spans = [*tracker.push([0.9] * 50, levels), *tracker.finish()]
    assert spans == [SpeechSpan(0, 31, cut=True), SpeechSpan(31, 50, joined=True)]


def test_levels_are_of_the_frames_of_any_rate() -> None:
    wave = np.concatenate([np.full(706, 0.1), np.full(705, 1.0), np.zeros(300)]).astype(np.float32)
    found = frame_levels(wave, 3, FRAME_SECONDS * 22050)
    np.testing.assert_allclose(found[:2], [-20, 0], atol=0.05)
    assert found[2] == pytest.approx(-100, abs=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_speaks_in_what_is_no_speech(kind: str) -> None:
    for gain in (1.0, 0.1):
        tracker, wave = SpanTracker(), gain * make(kind)
        found = probabilities(wave)
        assert [*tracker.push(found.tolist(), [0.0] * len(found)), *tracker.finish()] == []


def say(text: str) -> np.ndarray:
    speech = load_voice().say(text)
    return resample(speech.wave, speech.sample_rate, RATE)


def test_a_word_a_cough_before_one_and_a_whisper_quiet_sentence_are_heard() -> None:
    quiet = 0.001 * np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    sounds = {
        "a word": (say("네."), 0.3),
        "after a cough": (np.concatenate([make("coughs", 2.0), quiet, say("네.")]), 3.3),
        "very quiet": (0.01 * say("오늘은 날씨가 참 좋네요."), 0.3),
    }
    for name, (wave, start) in sounds.items():
        found = probabilities(np.concatenate([quiet[:4800], wave, quiet]))
        tracker = SpanTracker()
        spans = [*tracker.push(found.tolist(), [0.0] * len(found)), *tracker.finish()]
        assert len(spans) == 1, name
        assert spans[0].start * FRAME_SECONDS == pytest.approx(start, abs=0.4), name  # 0.25 s are kept around it


def test_a_ctc_recognizer_writes_nothing_where_nobody_speaks_unless_it_must() -> None:
    from malsori.asr.options import DecodingOptions

    recognizer, wave = load_recognizer("conformer-ko"), make("rain", 4.0)
    assert recognizer.transcribe(wave, sample_rate=RATE).text == ""
    assert recognizer.transcribe(wave, DecodingOptions(vad=False), sample_rate=RATE).duration == pytest.approx(4.0)
    assert recognizer.transcribe(say("안녕하세요."), sample_rate=RATE).text


@pytest.mark.filterwarnings("error")
def test_a_gate_that_is_wide_open_or_shut_says_nothing() -> None:
    assert _sigmoid(np.array([-1000, 0, 1000], dtype=np.float32)).tolist() == [0.0, 0.5, 1.0]
