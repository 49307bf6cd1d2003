"""Preparing that is killed, or meets a full disk, loses nothing: the same command ends in the same bytes."""

import os
import random
import re
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from malsori import cli
from malsori.corpus.folder import load_corpus

from .conftest import SENTENCES, write_emotiontts

MOMENTS = 20
pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="forks")]


def command(source: Path, out: Path, *more: str) -> list[str]:
    return ["corpus", "prepare", str(source), str(out), "--align-with", "none", "--workers", "1", *more]


def contents(folder: Path) -> dict[str, bytes]:
    """Return what a corpus holds, by the names of its files."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def child(source: Path, out: Path, limit: int = 0, *more: str) -> int:
    """Fork a preparation, which may write no file longer than the limit, and return the process's id."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        import resource

        os.setsid()
        if limit:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        with Path(os.devnull).open("w", encoding="utf-8") as nothing:
            os.dup2(nothing.fileno(), 1)
            status = cli.run(command(source, out, *more))
    finally:
        os._exit(status)


@pytest.fixture
def whole(tmp_path: Path) -> tuple[Path, Path, float]:
    """Recordings, what an unbroken preparation makes of them, and how long it takes."""
    source = write_emotiontts(tmp_path / "recordings", SENTENCES)
    assert cli.run(command(source, tmp_path / "whole")) == 0
    began = time.monotonic()
    assert os.waitstatus_to_exitcode(os.waitpid(child(source, tmp_path / "timed"), 0)[1]) == 0
    return source, tmp_path / "whole", time.monotonic() - began


def test_a_preparation_killed_at_random_moments_ends_in_the_same_bytes(whole, tmp_path: Path) -> None:
    source, wanted, seconds = whole
    dice, killed, made = random.Random(MOMENTS), 0, 0
    for moment in range(5 * MOMENTS):
        if killed == MOMENTS:
            break
        out = tmp_path / f"killed-{moment}"
        process = child(source, out)
        time.sleep(dice.uniform(0, seconds))
        os.kill(process, signal.SIGKILL)
        killed += os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL
        made += (out / "corpus.json").is_file()
        assert os.waitstatus_to_exitcode(os.waitpid(child(source, out), 0)[1]) == 0
        assert contents(out) == contents(wanted)
        shutil.rmtree(out)
    print(f"{killed} of {moment} killed before their end, {made} of all had their corpus.json")
    assert killed == MOMENTS


def test_a_merge_killed_at_random_moments_keeps_the_first_and_ends_in_the_same_bytes(whole, tmp_path: Path) -> None:
    _, first, seconds = whole
    second, wanted = write_emotiontts(tmp_path / "more", SENTENCES[::-1]), tmp_path / "merged"
    shutil.copytree(first, wanted)
    assert cli.run(command(second, wanted, "--merge")) == 0
    assert len(load_corpus(wanted).cuts["train"]) > len(load_corpus(first).cuts["train"])
    held = {name: content for name, content in contents(first).items() if name.startswith(("wave", "ground_truth"))}
    dice, killed = random.Random(MOMENTS), 0
    for moment in range(5 * MOMENTS):
        if killed == MOMENTS:
            break
        out = tmp_path / f"killed-{moment}"
        shutil.copytree(first, out)
        process = child(second, out, 0, "--merge")
        time.sleep(dice.uniform(0, seconds))
        os.kill(process, signal.SIGKILL)
        killed += os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL
        assert sum(map(len, load_corpus(out).cuts.values())) >= len(held) // 2
        assert held.items() <= contents(out).items()
        assert os.waitstatus_to_exitcode(os.waitpid(child(second, out, 0, "--merge"), 0)[1]) == 0
        assert contents(out) == contents(wanted)
        shutil.rmtree(out)
    print(f"{killed} of {moment} killed before their end")
    assert killed == MOMENTS


def test_a_disk_that_is_full_at_random_bytes_loses_nothing(
    whole, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, wanted, _ = whole
    longest = max(map(len, contents(wanted).values()))
    dice, refused = random.Random(MOMENTS), 0
    for _ in range(MOMENTS):
        out = tmp_path / "full"
        capfd.readouterr()
        status = os.waitstatus_to_exitcode(os.waitpid(child(source, out, dice.randrange(1, longest)), 0)[1])
        told = [line for line in capfd.readouterr().err.splitlines() if line.startswith("malsori:")]
        assert status == 2 and len(told) == 1 and re.search("cannot be written: .*file too large", told[0], re.I), told
        refused += 1
        assert not any(path.name.endswith(".partial") for path in out.rglob("*"))
        assert os.waitstatus_to_exitcode(os.waitpid(child(source, out), 0)[1]) == 0
        assert contents(out) == contents(wanted)
        shutil.rmtree(out)
    assert refused == MOMENTS
