"""The shell around the commands: exit statuses, one clear line, imports that cost nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from malsori import cli
from malsori.errors import AudioError


@pytest.fixture
def failing_command(monkeypatch):
    """Return a function that makes the command line raise an error."""

    def fail_with(error: BaseException):
        def raise_it(*_arguments, **_options):
            raise error

        monkeypatch.setattr(cli, "app", raise_it)

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
    environment = os.environ | {"PYTHONPATH": str(Path(cli.__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_listed_and_an_unknown_one_is_refused():
    import malsori

    assert {"load_voice", "load_recognizer", "align", "score", "cer", "wer", "mcd"} <= set(dir(malsori))
    with pytest.raises(AttributeError, match="tts"):
        malsori.tts  # noqa: B018
