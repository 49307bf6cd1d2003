"""A run that is killed with SIGKILL and resumed ends in the same bytes as one that is not."""

import subprocess
import sys
from pathlib import Path

import pytest

import malsori

SOURCE = Path(malsori.__file__).parent.parent


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_run_killed_at_random_moments_ends_in_the_same_bytes(planted_corpus, tmp_path, kills):
    script = Path(__file__).with_name("killed.py")
    done = subprocess.run(
        [sys.executable, str(script), str(planted_corpus), str(tmp_path), str(kills), "1"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1", "PATH": ""},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) >= kills // 2
