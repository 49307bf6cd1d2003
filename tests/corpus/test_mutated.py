"""Folders of recordings that were spoiled: checked and prepared, or refused in one line, and every loss is told."""

import gzip
import json
import resource
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from malsori import cli

from .mutations import NAMES, mutate

COUNT = 105
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes and links")


def too_long(*_: object) -> None:
    raise TimeoutError("two minutes")


def tried(words: list[str], captured: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run a command, which may wait for nothing, and return its status and what it said."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # as the command line has its own
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(120)
    try:
        status = cli.run(words)
    finally:
        signal.alarm(0)
    told = captured.readouterr()
    assert status in (0, 2), told.err
    lines = sum(line.startswith("malsori: ") for line in told.err.splitlines())
    assert lines == (status == 2 and "training should not start" not in told.out), told.err
    return status, told.out


def whole(folder: Path) -> int:
    """Return how many utterances a prepared corpus has, each with its sound."""
    assert not [path for path in folder.rglob("*") if path.name.endswith(".partial")]
    rows = [json.loads(line) for line in gzip.decompress((folder / "cuts.jsonl.gz").read_bytes()).splitlines()]
    assert all((folder / source["source"]).is_file() for row in rows for source in row["recording"]["sources"])
    return len(rows)


@pytest.mark.slow
def test_spoiled_folders_are_prepared_or_refused_and_what_is_left_out_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="malsori")
    prepared, refused, fewer, before = 0, 0, 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(COUNT):
        what = f"seed {seed}: {mutate(tmp_path / 'recordings', seed)}"
        try:
            began = time.process_time()
            tried(["corpus", "check", str(tmp_path / "recordings"), "--workers", "1"], capsys)
            options = ["--align-with", "none", "--workers", "1"]
            prepare = ["corpus", "prepare", str(tmp_path / "recordings"), str(tmp_path / "out"), *options]
            status, said = tried(prepare, capsys)
            assert time.process_time() - began < 20
            utterances = whole(tmp_path / "out") if status == 0 else 0
            fewer += 0 < utterances < len(NAMES)
            told = ", 0 utterances skipped" not in said or "without a text, not used" in caplog.text
            assert status or utterances >= len(NAMES) or told, said
            caplog.clear()
        except (Exception, TimeoutError) as error:
            raise AssertionError(what) from error
        prepared, refused = prepared + (status == 0), refused + (status == 2)
        for name in ("recordings", "out"):
            shutil.rmtree(tmp_path / name, ignore_errors=True)
    with capsys.disabled():
        print(f"{COUNT} folders: {prepared} prepared, {fewer} of them without some utterances, {refused} refused")
    assert prepared > refused
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_500_000  # KB
