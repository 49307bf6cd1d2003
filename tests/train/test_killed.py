"""A run that is killed with SIGKILL, or meets a full disk, and is resumed ends in the same bytes as one that is not."""

import subprocess
import sys
from pathlib import Path

import pytest

import malsori

SOURCE = Path(malsori.__file__).parent.parent


def outcome(corpus: Path, folder: Path, *words: str) -> str:
    """Return what the script says at its end; it must end well."""
    script = Path(__file__).with_name("killed.py")
    done = subprocess.run(
        [sys.executable, str(script), str(corpus), str(folder), *words],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1", "PATH": ""},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("kills", [20])
def test_a_run_killed_at_random_moments_ends_in_the_same_bytes(planted_corpus, tmp_path, kills):
    assert int(outcome(planted_corpus, tmp_path, str(kills), "1")) >= kills // 2


@pytest.mark.slow
def test_a_run_on_a_disk_full_at_random_bytes_goes_on_to_the_same_bytes(planted_corpus, tmp_path):
    assert outcome(planted_corpus, tmp_path, "20", "1", "full") == "20"
