"""Many files by one command: names of results, what is told of those that fail, and the status at the end."""

from pathlib import Path

import pytest

from malsori.cli.batch import result_paths, run_each, sounds_below
from malsori.errors import AudioError, BatchError, OptionError


def test_results_lie_as_their_sounds_do_and_two_of_one_name_keep_their_endings() -> None:
    sounds = [Path("in") / name for name in ("가.wav", "b/가.wav", "b/c.mp3", "b/c.wav", "d.e.flac")]
    wanted = ["가.srt", "b/가.srt", "b/c.mp3.srt", "b/c.wav.srt", "d.e.srt"]
    assert result_paths(sounds, Path("in"), Path("out"), ".srt") == [Path("out") / name for name in wanted]
    assert result_paths([Path("else/a.wav")], Path("in"), Path("out"), ".json") == [Path("out/a.json")]


def test_the_sounds_of_a_folder_are_found_in_order_without_hidden_ones(tmp_path: Path) -> None:
    for name in ("b.WAV", "a.mp3", "x/c.opus", ".hidden.wav", ".git/d.wav", "a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert sounds_below(tmp_path) == [tmp_path / name for name in ("a.mp3", "b.WAV", "x/c.opus")]
    with pytest.raises(OptionError, match="no sound file in it"):
        sounds_below(tmp_path / ".git" / "none")


def ignore(item: str, result: object) -> None:
    pass


def test_one_that_fails_does_not_end_the_batch_and_is_named_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    done = []

    def work(name: str) -> None:
        if name == "b.wav":
            raise AudioError("b.wav: is an empty file")
        if name == "c.wav":
            raise ZeroDivisionError("division by zero")
        done.append(name)

    with pytest.raises(BatchError, match=r"^2 of 4 failed: b.wav, c.wav$"):
        run_each(["a.wav", "b.wav", "c.wav", "d.wav"], work, ignore, str)
    assert done == ["a.wav", "d.wav"]
    told = capsys.readouterr().err
    assert "malsori: b.wav: is an empty file\n" in told
    assert "malsori: c.wav: ZeroDivisionError: division by zero\n" in told
    assert "d.wav: done, 4 of 4" in told
    run_each(["a.wav"], work, ignore, str)


def test_the_last_line_names_the_first_ten_that_failed() -> None:
    def work(name: str) -> None:
        raise FileNotFoundError(2, "No such file or directory", name)

    with pytest.raises(BatchError, match=r"12 of 12 failed: 0, 1, .*, 9 and 2 more$"):
        run_each([str(number) for number in range(12)], work, ignore, str)


def test_an_interruption_and_a_closed_pipe_end_the_batch() -> None:
    for error in (KeyboardInterrupt, BrokenPipeError):

        def work(name: str, error: type[BaseException] = error) -> None:
            raise error

        with pytest.raises(error):
            run_each(["a"], work, ignore, str)
