"""A file a line: named, gone on with, and not ended by a line that cannot be said; the command line around it."""

import json
from pathlib import Path

import numpy as np
import pytest

from malsori import cli
from malsori.alignment.textgrid import load_textgrid
from malsori.audio.io import load_audio
from malsori.corpus.layouts import read_layout
from malsori.tts.lines import INDEX, parse_lines

from .test_stream import network_vocoder, voice_with

TEXT = "나무가 높다.\n\n...\n바다가 깊다.\n이름\t가자!\n이름\t다시\n"


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the command line speak with a small voice, and return the texts that it is given."""
    voice, metronome = voice_with(network_vocoder("vocos"))
    texts: list[str] = []
    metronome.asked = texts  # type: ignore[assignment]
    monkeypatch.setattr("malsori.tts.voice.load_voice", lambda *_names, **_where: voice)
    return texts


def test_lines_are_named_by_number_or_by_themselves() -> None:
    lines = parse_lines("하나\n\n둘째\t둘\n../x\t셋\n둘째\t넷")
    assert [(line.number, line.name, line.text) for line in lines[:2]] == [(1, "0001", "하나"), (3, "둘째", "둘")]
    assert "cannot name a file" in lines[2].problem and "stands in line 3 already" in lines[3].problem


def test_a_file_a_line_is_written_and_a_bad_line_ends_nothing(spoken: list[str], tmp_path: Path, capsys) -> None:
    text, out = tmp_path / "book.txt", tmp_path / "out"
    text.write_text(TEXT, encoding="utf-8")
    arguments = ["say", str(text), "--lines", "-o", str(out), "--format", "flac", "--timing", ".TextGrid"]
    assert cli.run(arguments) == 2
    told = capsys.readouterr()
    assert "line 3: nothing to say" in told.err and "line 6: the name" in told.err
    assert "2 of 5 lines could not be spoken: 3, 6" in told.err and "3 lines spoken, 0 were there already" in told.out
    names = {path.name for path in out.iterdir()}
    assert names == {INDEX, "0001.flac", "0001.TextGrid", "0004.flac", "0004.TextGrid", "이름.flac", "이름.TextGrid"}
    rows = [json.loads(line) for line in (out / INDEX).read_text(encoding="utf-8").splitlines()]
    assert [(row["file"], row["text"]) for row in rows] == [
        ("0001.flac", "나무가 높다."), ("0004.flac", "바다가 깊다."), ("이름.flac", "가자!")
    ]  # fmt: skip
    assert load_textgrid(out / "0001.TextGrid")["words"][0].text == "나무가"

    made = len(spoken)
    text.write_text(TEXT.replace("깊다", "넓다"), encoding="utf-8")
    (out / "이름.flac").unlink()
    assert cli.run(arguments) == 2  # what changed and what is gone is spoken again, nothing else
    assert [sentence for sentence, _ in spoken[made:]] == ["바다가 넓다", "가자"]
    assert "2 lines spoken, 1 were there already" in capsys.readouterr().out


def test_a_pipe_gets_sound_and_nothing_else(spoken: list[str], capfdbinary) -> None:
    assert cli.run(["say", "나무가 높다. 가자.", "-o", "-"]) == 0
    wav = capfdbinary.readouterr().out
    assert cli.run(["say", "나무가 높다. 가자.", "-o", "-", "--format", "pcm"]) == 0
    pcm = capfdbinary.readouterr().out
    assert wav[:4] == b"RIFF" and wav[-len(pcm) :] == pcm and np.frombuffer(pcm, "<i2").any()


def test_a_file_holds_what_its_name_says_and_timing_what_its_own_does(spoken: list[str], tmp_path: Path) -> None:
    for name in ("a.mp3", "a.opus", "a.wav"):
        assert cli.run(["say", "나무가 높다.", "-o", str(tmp_path / name), "--timing", str(tmp_path / "a.json")]) == 0
        assert len(load_audio(tmp_path / name, 22050)) > 5000
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["words"][0]["text"] == "나무가"


def test_the_speakers_are_listed(spoken: list[str], capsys) -> None:
    assert cli.run(["say", "--list"]) == 0
    assert capsys.readouterr().out == "kim\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["나무", "-o", "{}/a.xyz"], "cannot write 'xyz'"),
        (["나무", "-o", "{}/a"], "cannot write"),
        (["나무"], "nowhere to say it: give -o FILE, -o - for a pipe, or --play"),
        (["-o", "{}/a.wav"], "nothing to say: give a text"),
        (["나무", "-o", "{}/a.wav", "--timing", "{}/a.lab"], "ends in none of .TextGrid"),
        (["나무", "-o", "{}/a.wav", "--format", "mp3"], "is for -o - and --lines"),
        (["나무", "-o", "-", "--format", "m4a"], "cannot be written to a pipe"),
        (["나무", "--lines", "-o", "-"], "give -o FOLDER"),
        (["나무", "--lines", "-o", "{}/out", "--format", "pcm"], "are for a pipe"),
        (["나무", "--lines", "-o", "{}/out", "--timing", "{}/a.srt"], "give its ending alone: .srt"),
        (["나무", "-o", "{}/a.wav", "--pitch", "100"], "'pitch' = 100.0"),
        (["나무", "-o", "{}/a.wav", "--lexicon", "{}/no.tsv"], "no.tsv: cannot be read"),
        (["나무", "-o", "{}/a.wav", "--lexicn", "x"], "--lexicn"),
    ],
)
def test_what_cannot_be_served_is_refused_before_a_voice_is_loaded(
    arguments: list[str], told: str, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("malsori.tts.voice.load_voice", lambda *_names, **_where: pytest.fail("a voice was loaded"))
    assert cli.run(["say", *(argument.format(tmp_path) for argument in arguments)]) == 2
    assert told in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_where_nothing_can_be_played_it_is_said_at_once(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sounddevice", None)
    assert cli.run(["say", "나무", "--play"]) == 2
    assert "pip install 'malsori[play]'" in capsys.readouterr().err


def test_what_was_spoken_is_a_corpus_of_what_it_says_now(spoken: list[str], tmp_path: Path) -> None:
    text, out = tmp_path / "book.txt", tmp_path / "out"
    text.write_text("나무가 높다.\n바다가 깊다.\n", encoding="utf-8")
    assert cli.run(["say", str(text), "--lines", "-o", str(out)]) == 0
    text.write_text("나무가 높다.\n바다가 넓다.\n", encoding="utf-8")
    assert cli.run(["say", str(text), "--lines", "-o", str(out)]) == 0
    listing = read_layout(out)
    assert [(one.audio_path.name, one.written) for one in listing.utterances] == [
        ("0001.wav", "나무가 높다."), ("0002.wav", "바다가 넓다.")
    ]  # fmt: skip
    assert not listing.refused
