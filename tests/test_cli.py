"""The shell around the commands: exit statuses, one clear line, imports that cost nothing."""

import importlib
import io
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer

from malsori import cli
from malsori.alignment.spans import Alignment, Span
from malsori.alignment.textgrid import load_textgrid
from malsori.audio.io import load_audio, save_audio
from malsori.corpus import espeak
from malsori.errors import AudioError
from malsori.extras import EXTRAS


@pytest.fixture
def failing_command(monkeypatch):
    """Return a function that makes the command line raise an error."""

    def fail_with(error: BaseException):
        def raise_it(*_arguments, **_options):
            raise error

        monkeypatch.setattr(cli, "command_line", lambda _arguments: raise_it)

    return fail_with


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (AudioError("a.wav: not a sound file.\nGive WAV."), 2, "malsori: a.wav: not a sound file. Give WAV.\n"),
        (FileNotFoundError(2, "No such file or directory", "a.wav"), 2, "malsori: a.wav: no such file or directory.\n"),
        (KeyboardInterrupt(), 130, "malsori: interrupted.\n"),
    ],
)
def test_an_error_becomes_one_line_and_an_exit_status(failing_command, capsys, error, status, message):
    failing_command(error)
    assert cli.run([]) == status
    assert capsys.readouterr().err == message


def test_a_fault_of_ours_leaves_with_1_and_hides_the_trace(failing_command, capsys):
    failing_command(ZeroDivisionError("division by zero"))
    assert cli.run([]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "ZeroDivisionError" in told and "--debug" in told


def test_the_trace_is_shown_when_asked_for(failing_command, capsys, monkeypatch):
    monkeypatch.setenv("MALSORI_DEBUG", "1")
    failing_command(ZeroDivisionError("division by zero"))
    assert cli.run([]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["sya"], ["--nope"], ["text", "nope"]])
def test_a_wrong_word_on_the_command_line_leaves_with_2_and_one_line(capsys, arguments):
    assert cli.run(arguments) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and arguments[-1] in told and "--help" in told


def test_version_and_help_leave_with_0(capsys):
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("malsori 0.")
    assert cli.run(["--help"]) == 0


def test_importing_malsori_and_its_command_line_loads_nothing_heavy():
    heavy = "{'torch', 'numba', 'matplotlib', 'lhotse', 'kiwipiepy', 'scipy', 'av', 'parselmouth', 'numpy'}"
    code = f"import sys, malsori, malsori.cli; sys.exit(', '.join({heavy} & set(sys.modules)) or None)"
    environment = os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("matplotlib", ["demo", "--out", "{}/demo"]),
        ("matplotlib", ["diagram", "vits", "-o", "{}/vits.svg"]),
        ("matplotlib", ["runs", "{}", "-o", "{}/runs.html"]),
        ("matplotlib", ["evaluate", "vocos-ko", "--corpus", "{}", "--out", "{}/evaluation"]),
        ("matplotlib", ["corpus", "check", "{}", "--html", "{}/check.html"]),
        ("matplotlib", ["corpus", "show", "{}", "-o", "{}/pictures"]),
        ("espeakng_loader", ["corpus", "synthesize", "{}/spoken"]),
    ],
)
def test_a_command_whose_extra_is_missing_says_so_at_once_and_makes_nothing(
    tmp_path, capsys, monkeypatch, module, arguments
):
    espeak._engine.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    assert cli.run([argument.format(tmp_path) for argument in arguments]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and f"pip install 'malsori[{EXTRAS[module]}]'" in told
    assert not any(tmp_path.iterdir())


def test_every_public_name_is_listed_and_an_unknown_one_is_refused():
    import malsori

    assert {"load_voice", "load_recognizer", "align", "score", "cer", "wer", "mcd"} <= set(dir(malsori))
    assert {"DecodingOptions", "SayOptions"} <= set(dir(malsori))
    assert all(getattr(malsori, name).__name__ == name for name in malsori.__all__ if name != "__version__")
    with pytest.raises(AttributeError, match="speak"):
        malsori.speak  # noqa: B018


def test_no_module_takes_the_place_of_a_public_name():
    import malsori

    modules = {module.name for module in pkgutil.iter_modules(malsori.__path__)}
    assert {"alignment", "evaluation"} <= modules and not modules & set(malsori.__all__)


@pytest.fixture
def aligned_texts(monkeypatch):
    """Put a recogniser in place that lays anything over anything, and return the texts that it was given."""
    texts = []

    class Recognizer:
        def align(self, sound, text, *, on_progress=None):
            texts.append(text)
            if Path(sound).name.startswith("bad"):
                raise AudioError(f"{sound}: damaged or cut short")
            score, words = (-5.0, ()) if text == "틀린 글" else (-0.5, ())
            if text == "반만 맞다":
                words = (Span("맞다", 1.0, 2.5),)
            return Alignment((Span(text, 0.25, 1.0),), (), (Span("ㅏ", 0.5, 1.0),), 1.5, score, words)

    monkeypatch.setattr("malsori.asr.recognizer.load_aligner", lambda name, **_where: Recognizer())
    monkeypatch.setattr("malsori.cli.alignment.require_sound", lambda path: None)
    return texts


def test_align_prints_the_form_that_is_asked_for(aligned_texts, capsys):
    assert cli.run(["align", "a.wav", "사랑해", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "words": [{"text": "사랑해", "start": 0.25, "end": 1.0}],
        "syllables": [],
        "phones": [{"text": "ㅏ", "start": 0.5, "end": 1.0}],
        "score": -0.5,
        "mismatches": [],
    }
    assert cli.run(["align", "a.wav", "사랑해", "-f", "srt"]) == 0
    assert capsys.readouterr().out == "1\n00:00:00,250 --> 00:00:01,080\n사랑해\n"
    assert cli.run(["align", "a.wav", "사랑해"]) == 0
    assert capsys.readouterr().out.startswith('File type = "ooTextFile"')


def test_align_reads_a_sound_from_standard_input_and_tells_what_it_lacks(monkeypatch, capsys, tmp_path):
    save_audio(tmp_path / "a.wav", np.zeros(16000), 16000)
    heard = []

    class Recognizer:
        def align(self, sound, text, *, on_progress=None):
            heard.append(len(load_audio(sound)) + len(load_audio(sound)))  # a sound may be read twice
            return Alignment((Span(text, 0.25, 1.0),), (), (), duration=1.5)

    monkeypatch.setattr("malsori.asr.recognizer.load_aligner", lambda *_arguments, **_where: Recognizer())
    for content in ((tmp_path / "a.wav").read_bytes(), (tmp_path / "a.wav").read_bytes()[:24044], b"no sound"):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        assert cli.run(["align", "-", "사랑해", "--json"]) == (2 if content == b"no sound" else 0)
    assert heard == [32000, 24000]
    cut, refused = capsys.readouterr().err.splitlines()
    assert cut == "malsori: standard input: cut short: 0.750 of 1.000 s are there"
    assert refused.startswith("malsori: standard input: not a sound file that can be read")
    assert cli.run(["align", "-", "-"]) == 2
    assert "cannot both be standard input" in capsys.readouterr().err


def test_align_writes_what_the_files_name_ends_in(aligned_texts, tmp_path):
    for name in ("a.TextGrid", "a.json", "a.srt"):
        assert cli.run(["align", "a.wav", "사랑해", "-o", str(tmp_path / name)]) == 0
    assert load_textgrid(tmp_path / "a.TextGrid")["words"] == (Span("사랑해", 0.25, 1.0),)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["words"][0]["text"] == "사랑해"
    assert "00:00:00,250" in (tmp_path / "a.srt").read_text(encoding="utf-8")


def test_align_writes_webvtt_as_transcribe_does(aligned_texts, tmp_path):
    assert cli.run(["align", "a.wav", "사랑해", "-o", str(tmp_path / "a.vtt")]) == 0
    text = (tmp_path / "a.vtt").read_text(encoding="utf-8")
    assert text.startswith("WEBVTT\n\n00:00:00.250 --> 00:00:01.080\n사랑해")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["align", "a.wav", "사랑해", "--format", "srt", "--json"], "--format srt and --json: give one of the two"),
        (["transcribe", "a.wav", "--format", "vtt", "--json"], "--format vtt and --json: give one of the two"),
        (["say", "사랑해", "-o", "{}/a.wav", "--timing", "{}/a.lab"], "a.lab: ends in none of .TextGrid, .json, .srt"),
        (["corpus", "synthesize", "{}/out", "--sentences", "0"], "Invalid value for '--sentences'"),
        (["corpus", "synthesize", "{}/out", "--hours", "-1"], "Invalid value for '--hours'"),
        (["text", "model", "{}/a.txt", "-o", "{}/b.safetensors", "--min-count", "0"], "'--min-count'"),
        (["train", "vits", "--corpus", "{}", "--out", "{}/run", "--accept-changes"], "give --resume too"),
        (
            ["corpus", "prepare", "{}", "{}/out", "--align-with", "none", "--align-from", "scratch"],
            "--align-with none and --align-from scratch: give one of the two",
        ),
        (["corpus", "prepare", "{}", "{}/out", "--align-with", "vocos-ko"], "a vocos is no recognizer"),
        (["corpus", "prepare", "{}", "{}/out", "--align-with", "whisper-base-ko"], "a whisper has no phoneme output"),
        (["mcd", "a.wav", "b.wav", "--workers", "2"], "--workers 2: is for folders"),
    ],
)
def test_options_that_cannot_be_served_are_refused_at_once(tmp_path, capsys, arguments, told):
    assert cli.run([argument.format(tmp_path) for argument in arguments]) == 2
    assert told in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_align_takes_the_text_itself_or_a_file_of_it(aligned_texts, tmp_path, capsys):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeff사랑해".encode())
    long = "아주 긴 글. " * 400
    assert cli.run(["align", "a.wav", str(path)]) == cli.run(["align", "a.wav", long]) == 0
    assert aligned_texts == ["사랑해", long]
    path.write_bytes("사랑해".encode("cp949"))
    assert cli.run(["align", "a.wav", str(path)]) == 2
    assert "not UTF-8" in capsys.readouterr().err
    assert cli.run(["align", "a.wav", str(tmp_path / "no.txt")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_align_takes_the_text_beside_a_sound_and_a_folder_to_write_into(aligned_texts, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    sound = tmp_path / "a.wav"
    assert cli.run(["align", str(sound)]) == 2
    assert f"{sound}: has no text; write it into {tmp_path / 'a.txt'}, or give it" in capsys.readouterr().err
    (tmp_path / "a.txt").write_text("사랑해", encoding="utf-8")
    assert cli.run(["align", str(sound), "-o", str(tmp_path / "out"), "-f", "vtt"]) == 0
    assert aligned_texts == ["사랑해"]
    assert (tmp_path / "out" / "a.vtt").read_text(encoding="utf-8").startswith("WEBVTT")


def test_align_tells_where_text_and_sound_do_not_belong_together(aligned_texts, tmp_path, capsys):
    assert cli.run(["align", "a.wav", "틀린 글"]) == 0
    assert "malsori: a.wav: the text does not seem to be what is said: score -5.0" in capsys.readouterr().err
    assert cli.run(["align", "a.wav", "반만 맞다"]) == 0
    assert "a.wav: text and sound do not seem to belong together at 1.0-2.5 s (맞다)" in capsys.readouterr().err
    assert cli.run(["align", "a.wav", "사랑해"]) == 0
    assert not capsys.readouterr().err


def test_a_folder_is_aligned_file_by_file_and_what_fails_is_named_at_the_end(aligned_texts, tmp_path, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    for name, text in (("가", "사랑해"), ("bad", "사랑해"), ("sub/c", "틀린 글"), ("none", None), ("latin", "사랑해")):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / f"{name}.wav").touch()
        if text:
            (source / f"{name}.txt").write_bytes(text.encode("cp949" if name == "latin" else "utf-8"))
    assert cli.run(["align", str(source)]) == 2
    assert "is a folder: give the folder for its alignments with -o FOLDER" in capsys.readouterr().err
    assert cli.run(["align", str(source), "-o", str(out), "-f", "json"]) == 2
    told = capsys.readouterr().err
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.json")) == ["sub/c.json", "가.json"]
    assert "bad.wav: damaged or cut short" in told and "none.txt, or give it" in told and "latin.txt: not UTF-8" in told
    assert "c.wav: the text does not seem to be what is said" in told
    assert told.splitlines()[-1].startswith("malsori: 3 of 5 failed: ")


def test_a_folders_texts_may_stand_in_a_table_or_in_a_known_layout(aligned_texts, tmp_path, capsys):
    source = tmp_path / "in"
    source.mkdir()
    (source / "a.wav").touch()
    (source / "metadata.csv").write_text("a|사랑해\nb|없다\n", encoding="utf-8")
    (tmp_path / "table.tsv").write_text("a.wav\t다른 글\n", encoding="utf-8")
    assert cli.run(["align", str(source), "-o", str(tmp_path / "out")]) == 2
    assert "metadata.csv:2: no sound file 'b'" in capsys.readouterr().err
    assert (tmp_path / "out" / "a.TextGrid").is_file() and aligned_texts == ["사랑해"]
    assert cli.run(["align", str(source), str(tmp_path / "table.tsv"), "-o", str(tmp_path / "other")]) == 0
    assert aligned_texts[1:] == ["다른 글"]
    assert cli.run(["align", str(source), "사랑해", "-o", str(tmp_path / "other")]) == 2
    assert "for a folder give a table" in capsys.readouterr().err


def test_a_long_sound_tells_its_progress_in_a_log_a_line_a_minute_of_it(tmp_path: Path, capsys) -> None:
    from malsori.cli.terminal import sound_progress

    with sound_progress(tmp_path / "talk.wav") as done:
        for seconds in (20.0, 61.0, 90.0, 121.0, 130.0):
            done(seconds)
    out, err = capsys.readouterr()
    assert out == "" and [line.split(",")[0] for line in err.splitlines()] == [
        f"{tmp_path}/talk.wav: {seconds} s done" for seconds in (61, 121)
    ]
    assert all(line.endswith("x real time") for line in err.splitlines())


def test_every_subject_has_the_commands_that_it_is_looked_up_by():
    for subject, commands in cli.SUBJECTS.items():
        part = importlib.import_module(f"malsori.cli.{subject}").app
        assert set(typer.main.get_group(part).commands) == set(commands)
    whole = typer.main.get_group(cli.command_line())
    assert list(whole.commands) == [name for commands in cli.SUBJECTS.values() for name in commands]
    assert list(typer.main.get_group(cli.command_line(["--debug", "say", "text"])).commands) == ["say"]


@pytest.mark.parametrize(
    ("around", "threads"),
    [({}, "1"), ({"OMP_NUM_THREADS": "3"}, "3"), ({"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "2"}, "2")],
)
def test_numpy_computes_on_one_thread_unless_others_are_asked_for(monkeypatch, around, threads):
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in around.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(cli, "run", lambda _arguments: int(os.environ["OPENBLAS_NUM_THREADS"]))
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == int(threads)
