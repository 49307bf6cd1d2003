"""What machines refuse and terminals lack: one line, status 2, nothing torn."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

import malsori
from malsori import cli
from malsori.cli.terminal import text_of
from malsori.errors import TextError


def in_a_process(arguments, **more):
    """Return what a command did in a process of its own; no torch is needed for those that read text."""
    environment = os.environ | {"PYTHONPATH": str(Path(malsori.__file__).parents[1])} | more.pop("environment", {})
    return subprocess.run(
        [sys.executable, "-m", "malsori", *arguments], capture_output="stdout" not in more, check=False,
        env=environment, **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", rb"\uc624\uc804 \uc138 \uc2dc"),
        ("cp949", "오전 세 시".encode("cp949")),
        ("latin-1", rb"\uc624\uc804 "),
    ],
)
def test_a_terminal_that_lacks_signs_shows_them_as_escapes(encoding, shown):
    done = in_a_process(["text", "normalize", "오전 3시 ☃"], environment={"PYTHONIOENCODING": encoding})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(shown) and b"\\u2603" in done.stdout
    assert b"Traceback" not in done.stderr and done.stderr.startswith(b"malsori: line 1")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_standard_output_is_told_in_one_line():
    with Path("/dev/full").open("w") as full:
        done = in_a_process(["score", "사랑해", "사량해"], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stderr.decode() == "malsori: cannot be written: no space left on device.\n"


def test_a_text_that_is_no_text_is_refused(monkeypatch, capsys):
    assert cli.run(["say", "말\udcff", "-o", "a.wav"]) == 2
    assert "'\\ub9d0\\udcff': not UTF-8 text (at position 1)" in capsys.readouterr().err
    for content, encoding, wanted in (
        (b"\xef\xbb\xbf\xeb\xa7\x90", "ascii", "말"),
        ("말".encode("cp949"), "cp949", "말"),
    ):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding=encoding))
        assert text_of("-") == wanted
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe\x00"), encoding="ascii"))
    with pytest.raises(TextError, match="standard input: not UTF-8 text"):
        text_of("-")


@pytest.mark.parametrize(
    "arguments",
    [
        ["say", "말", "-o", "{}/a.wav"], ["say", "말", "-o", "ok.wav", "--timing", "{}/a.json"],
        ["say", "말", "--lines", "-o", "{}/lines"], ["align", "a.wav", "말", "-o", "{}/a.TextGrid"],
        ["align", ".", "-o", "{}/all"], ["transcribe", "a.wav", "-o", "{}/texts"], ["demo", "--out", "{}/demo"],
        ["corpus", "check", ".", "--html", "{}/c.html"], ["score", "가", "나", "--html", "{}/s.html"],
        ["evaluate", "vocos-ko", "--corpus", ".", "--out", "{}/e"], ["runs", ".", "-o", "{}/r.html"],
    ],
    ids=lambda arguments: " ".join(arguments[:1] + arguments[-2:]),
)  # fmt: skip
def test_a_place_that_nothing_can_be_written_to_is_told_before_any_work(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    for bad in (tmp_path / "file", tmp_path / ("n" * 300)):
        assert cli.run([word.format(bad) for word in arguments]) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1 and ("is a file, not a folder" in told or "file name too long" in told), told
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
