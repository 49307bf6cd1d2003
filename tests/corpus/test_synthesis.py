"""Speech whose times are known: what espeak-ng speaks, matched with the reading, in a folder that can be prepared."""

import json
from pathlib import Path

import numpy as np
import pytest

from malsori import cli
from malsori.alignment.textgrid import load_textgrid
from malsori.audio.io import load_audio
from malsori.corpus import espeak, synthesis
from malsori.corpus.espeak import MARGIN_SECONDS, speak
from malsori.corpus.folder import load_corpus
from malsori.corpus.layouts import read_layout
from malsori.corpus.synthesis import SynthesisOptions, load_phones, sentences, synthesize
from malsori.errors import AlignmentError, ConfigError, CorpusError
from malsori.text.frontend import Frontend, Reading

FRONTEND = Frontend(morphology=False)


def spoken_symbols(reading: Reading) -> list[str]:
    return [symbol for symbol, word in zip(reading.phonemes, reading.phoneme_words, strict=True) if word >= 0]


@pytest.mark.parametrize(
    "text",
    [
        "안녕하세요, 국물이 좋습니다.",
        "까치 밥도 빨리 먹어요!",
        "값이 얼마예요? 천오백 원입니다.",
        "의사가 왜 웃었을까?",
        "3월 15일 hello",
    ],
)
@pytest.mark.parametrize("voice", ["ko", "ko+f2"])
def test_every_phoneme_of_a_reading_gets_a_time_and_spans_follow_one_another(text: str, voice: str) -> None:
    reading = FRONTEND.read(text)
    spoken = speak(reading, voice, 175)
    assert " ".join(span.text for span in spoken.phones).split() == spoken_symbols(reading)
    reached = MARGIN_SECONDS
    for span in spoken.phones:
        assert reached <= span.start + 1e-4 and span.start < span.end
        reached = span.end
    assert reached <= len(spoken.wave) / spoken.rate


def test_a_vowel_sounds_where_it_is_said_to_and_a_closure_belongs_to_its_stop() -> None:
    spoken = speak(FRONTEND.read("아빠"), "ko", 120)
    vowel, stop, last = spoken.phones
    assert (vowel.text, stop.text, last.text) == ("ㅏ", "ㅃ", "ㅏ")

    def loudness(begin: float, end: float) -> float:
        return float(np.sqrt(np.square(spoken.wave[round(begin * spoken.rate) : round(end * spoken.rate)]).mean()))

    assert loudness(0, vowel.start - 0.005) < 1e-3
    assert loudness(vowel.start, vowel.end) > 0.05 and loudness(last.start, last.end) > 0.05
    assert loudness(stop.start, stop.start + 0.02) < 1e-3  # silent, and still the stop's


def test_slower_is_longer() -> None:
    reading = FRONTEND.read("노래를 불러요.")
    assert len(speak(reading, "ko", 100).wave) > 1.5 * len(speak(reading, "ko", 250).wave)


def test_a_reading_that_espeak_does_not_speak_has_no_phones_but_its_own_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(espeak._PHONES, "ㅗ", "u")
    spoken = speak(FRONTEND.read("노래"), "ko", 175)
    assert spoken.phones == ()
    assert [span.text for span in spoken.own_phones] == ["n", "o", "*", "E"]


@pytest.mark.parametrize(("voice", "speed", "message"), [("ko+nobody", 175, "no voice"), ("ko", 20, "80 to 450")])
def test_a_voice_or_speed_that_is_not_there_is_refused_before_anything_is_written(
    tmp_path: Path, voice: str, speed: int, message: str
) -> None:
    with pytest.raises(CorpusError, match=message):
        synthesize(tmp_path / "out", SynthesisOptions(sentences=3, voices=(voice,), speeds=(speed,)))
    assert not (tmp_path / "out").exists()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_folder_can_be_prepared_tells_true_times_and_is_the_same_after_a_break(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = SynthesisOptions(sentences=12, voices=("ko", "ko+f2"))
    summary = synthesize(tmp_path / "whole", options)
    assert summary.utterances == {"train": 8, "dev": 2, "test": 2} and not summary.other_reading
    listing = read_layout(tmp_path / "whole")
    assert len(listing.utterances) == 12 and not listing.refused
    assert {item.speaker for item in listing.utterances} == {"ko", "ko-f2"}
    texts = {split: {item.spoken for item in listing.utterances if item.split == split} for split in ("train", "test")}
    assert not texts["train"] & texts["test"]
    speeds = {
        split: {item.id[-3:] for item in listing.utterances if item.split == split} for split in ("train", "test")
    }
    assert speeds["test"] <= {"120", "220"} and speeds["train"] <= {"140", "165", "190"}
    for item in listing.utterances[:5]:
        reading = Frontend().read(item.spoken)
        grid = item.audio_path.parents[1] / "textgrid" / f"{item.id}.TextGrid"
        ends = load_phones(grid, reading)
        known = ends[~np.isnan(ends)]
        assert (np.diff(known) >= 0).all() and len(known) > 0.9 * len(ends) - 1
        assert known[-1] <= len(load_audio(item.audio_path, 22050)) / 22050
        assert set(load_textgrid(grid)) == {"phones", "words", "espeak"}

    def breaks_off(*arguments: object) -> None:
        if len(written) == 7:
            raise KeyboardInterrupt
        written.append(write(*arguments))

    written: list[None] = []
    write = synthesis._write
    monkeypatch.setattr(synthesis, "_write", breaks_off)
    with pytest.raises(KeyboardInterrupt):
        synthesize(tmp_path / "broken", options)
    monkeypatch.undo()
    synthesize(tmp_path / "broken", options)
    assert contents(tmp_path / "whole") == contents(tmp_path / "broken")
    with pytest.raises(CorpusError, match="other options"):
        synthesize(tmp_path / "whole", SynthesisOptions(sentences=5))


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speak here: it is faster, and what is spoken need not be the same each time."""
    monkeypatch.setattr(synthesis, "run_in_order", lambda make, jobs, *_, **__: (make(job) for job in jobs))


@pytest.mark.usefixtures("in_this_process")
def test_hours_are_reached_and_no_more_than_needed(tmp_path: Path) -> None:
    summary = synthesize(tmp_path / "out", SynthesisOptions(sentences=100, hours=0.005))
    assert 18 <= summary.hours * 3600 < 18 + 15


@pytest.mark.usefixtures("in_this_process")
def test_given_lines_are_spoken_once_each_and_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    lines = ["안녕하세요.", "안녕 하세요", "ก๊ก", "?!", "", "반갑습니다."]
    summary = synthesize(tmp_path / "out", SynthesisOptions(sentences=10), lines)
    assert sum(summary.utterances.values()) == 2 and summary.unread == ("ก๊ก",)
    grid = next((tmp_path / "out").rglob("*-000000-*.TextGrid"))
    with pytest.raises(AlignmentError, match="where the reading has"):
        load_phones(grid, FRONTEND.read("다리를 건너요."))
    with pytest.raises(CorpusError, match="none of 1 lines"):
        synthesize(tmp_path / "none", SynthesisOptions(), ["ก๊ก"])
    with pytest.raises(ConfigError, match="sentences"):
        SynthesisOptions.parse({"sentences": 0}, "options")


def test_sentences_of_its_own_differ_and_can_all_be_read() -> None:
    found = sentences(300)
    assert len(set(found)) == 300 and found[:10] == sentences(10)
    for text in found[:40]:
        assert FRONTEND.read(text).words
    with pytest.raises(CorpusError, match="give a text of your own"):
        sentences(10**7)


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_durations_learnt_from_the_recordings_alone_lie_near_the_truth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "oracle", tmp_path / "corpus"
    assert cli.run(["corpus", "synthesize", str(source), "--sentences", "24", "--voices", "ko,ko+f2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["utterances"] == {"train": 18, "dev": 3, "test": 3}
    assert cli.run(["corpus", "prepare", str(source), str(out), "--align-from", "scratch", "--workers", "1"]) == 0
    corpus, errors = load_corpus(out), []
    for cut in (cut for split in corpus.cuts.values() for cut in split):
        durations = corpus.ground_truth(cut)["durations"]
        grid = source / cut.supervisions[0].speaker / "textgrid" / f"{cut.id}.TextGrid"
        truth = load_phones(grid, Frontend().read(cut.supervisions[0].text))
        errors.append(np.cumsum(durations) * corpus.audio.frame_seconds - truth)
    known = np.abs(np.concatenate(errors))
    known = known[~np.isnan(known)]
    assert np.median(known) < 0.012 and np.percentile(known, 90) < 0.06
