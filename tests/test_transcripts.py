"""What transcribe writes: a file for each sound and form, and nothing that was asked is ignored."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from malsori.asr.options import DecodingOptions
from malsori.cli.transcripts import TranscriptForm, transcribe_files, wanted_of
from malsori.decode.transcript import Segment, Transcript, TranscriptWord
from malsori.errors import AudioError, BatchError, ConfigError, OptionError

WORDS = (TranscriptWord("안녕하세요.", 0.1, 0.9, 0.9), TranscriptWord("반갑습니다.", 1.0, 1.8, 0.8))


def transcript(text: str) -> Transcript:
    return Transcript(text, "ko", 2.0, (Segment(0.1, 1.8, text, WORDS),))


def recognizer(heard: list[str]) -> Any:
    """One that hears a file's name, and cannot read those that are called broken."""

    def transcribe(sound: Path, options: DecodingOptions, on_progress: Any = None) -> Transcript:
        if "broken" in str(sound):
            raise AudioError(f"{sound}: is no sound")
        heard.append(sound.name)
        return transcript(sound.stem)

    return SimpleNamespace(transcribe=transcribe)


def asked(**given: Any) -> dict[str, Any]:
    return {"form": None, "out": None, "as_json": False, "skip_existing": False, "cue": None} | given


def run(files: list[Path], **given: Any) -> list[str]:
    heard: list[str] = []
    transcribe_files(recognizer(heard), files, DecodingOptions(), wanted_of(asked(**given)))
    return heard


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("말/하나.wav", "말/안/둘.mp3", "셋.wav", ".숨은.wav", "읽지않음.txt"):
        (tmp_path / "소리" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "소리" / name).write_bytes(b"")
    return tmp_path / "소리"


def test_a_folder_becomes_a_file_for_each_sound_and_form(folder: Path, tmp_path: Path) -> None:
    assert run([folder], out=tmp_path / "out", form="all") == ["셋.wav", "하나.wav", "둘.mp3"]
    written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    endings = [form.ending for form in TranscriptForm]
    assert written == {name + ending for name in ("셋", "말/하나", "말/안/둘") for ending in endings}
    assert (tmp_path / "out/셋.txt").read_text("utf-8") == "셋\n"
    assert (tmp_path / "out/셋.tsv").read_text("utf-8") == "start\tend\ttext\n100\t1800\t셋\n"
    assert json.loads((tmp_path / "out/셋.json").read_text("utf-8"))["segments"][0]["words"][0]["text"] == "안녕하세요."
    assert "00:00:00.100 --> 00:00:00" in (tmp_path / "out/셋.vtt").read_text("utf-8")


def test_one_bad_file_does_not_end_the_batch(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "broken.wav").write_bytes(b"")
    with pytest.raises(BatchError, match=r"1 of 4 failed: .*broken\.wav"):
        run([folder], out=tmp_path / "out")
    assert len(list((tmp_path / "out").rglob("*.txt"))) == 3
    assert "broken.wav: is no sound" in capsys.readouterr().err


def test_what_is_written_already_can_be_left_out(folder: Path, tmp_path: Path) -> None:
    run([folder / "셋.wav"], out=tmp_path / "out", form="txt,srt")
    assert run([folder], out=tmp_path / "out", form="txt,srt", skip_existing=True) == ["하나.wav", "둘.mp3"]
    (tmp_path / "out/셋.srt").unlink()
    assert run([folder], out=tmp_path / "out", form="txt,srt", skip_existing=True) == ["셋.wav"]


def test_two_sounds_never_share_a_result(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "셋.wav").write_bytes(b"")
    with pytest.raises(OptionError, match=r"would both be written to .*셋\.txt"):
        run([folder, tmp_path / "셋.wav"], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_files_are_printed_in_order_without_a_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run([folder / "셋.wav", folder / "말/하나.wav"])
    assert capsys.readouterr().out == "셋\n하나\n"
    run([folder / "셋.wav"], as_json=True)
    assert json.loads(capsys.readouterr().out)["text"] == "셋"


def test_cues_have_the_shape_that_is_asked_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run([folder / "셋.wav"], form="srt", cue=["max_row_characters=3", "max_rows=1"])
    assert "안녕하\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"form": "doc"}, OptionError, "'doc' is none of txt, json, srt, vtt, tsv, textgrid, all"),
        ({"form": "txt,srt"}, OptionError, "several forms need a folder"),
        ({"form": "srt", "as_json": True}, OptionError, "--format srt and --json: give one of the two"),
        ({"skip_existing": True}, OptionError, "nothing exists on standard output"),
        ({"cue": ["max_rows=1"]}, OptionError, "neither srt nor vtt is written"),
        ({"form": "srt", "cue": ["max_rows"]}, OptionError, "write NAME=VALUE"),
        ({"form": "srt", "cue": ["max_row=1"]}, ConfigError, "max_rows"),
        ({"form": "srt", "cue": ["max_rows=no"]}, ConfigError, "max_rows"),
    ],
)
def test_what_cannot_be_written_is_refused(given: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        wanted_of(asked(**given))


def test_a_file_is_no_folder_for_transcripts(folder: Path) -> None:
    with pytest.raises(OptionError, match="is a file; -o names the folder"):
        wanted_of(asked(out=folder / "셋.wav"))


@pytest.mark.parametrize("command", ["transcribe", "align"])
def test_a_sound_that_cannot_be_read_is_told_before_anything_is_loaded(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from malsori.cli import command_line

    def load(*_args: Any, **_more: Any) -> Any:
        raise AssertionError("loaded")

    monkeypatch.setattr("malsori.asr.recognizer.load_recognizer", load)
    bad = tmp_path / "소리.wav"
    for content, told in ((None, "no such file"), (b"RIFF nothing of the kind", "소리.wav")):
        if content:
            bad.write_bytes(content)
        found = CliRunner().invoke(command_line(), [command, str(bad), *(["안녕하세요"] if command == "align" else [])])
        assert isinstance(found.exception, AudioError) and told in str(found.exception)
