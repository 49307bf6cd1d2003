"""A signal to the whole process group, as timeout, Slurm, systemd and containers send it, loses no step."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import malsori
from malsori.train.checkpoint import Checkpoints, _read

from .conftest import TINY

SOURCE = Path(malsori.__file__).parent.parent
SHORT = ("train.steps=100000", "train.log_every=1", "train.validate_every=100000", "train.save_every=100000")


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)])
def test_a_signal_to_the_whole_process_group_finishes_the_step_and_saves(planted_corpus, tmp_path, number):
    settings = [*TINY["fastspeech2-small"], *SHORT, "data.batch_seconds=3.0", "data.workers=2"]
    words = [word for setting in settings for word in ("--set", setting)]
    command = ["train", "fastspeech2-small", "--corpus", str(planted_corpus), "--out", str(tmp_path / "run"), *words]
    told = tmp_path / "told.txt"
    with told.open("w") as file:
        run = subprocess.Popen(
            [sys.executable, "-m", "malsori", *command],
            stdout=file,
            stderr=file,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"},
        )
        try:
            ends = time.monotonic() + 300
            while "step 3/" not in told.read_text(encoding="utf-8") and run.poll() is None:
                assert time.monotonic() < ends, told.read_text(encoding="utf-8")
                time.sleep(0.05)
            os.killpg(run.pid, number)
            status = run.wait(120)
        finally:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
                run.wait()
    last = told.read_text(encoding="utf-8").strip().splitlines()[-1]
    assert status == 2, last
    asked = re.fullmatch(r"malsori: .*run: asked to stop at step (\d+), saved\. Go on with --resume\.", last)
    assert asked, last
    steps = Checkpoints(tmp_path / "run", 2).steps()
    assert steps == [int(asked[1])]
    assert _read(tmp_path / "run" / "checkpoints" / f"step_{steps[0]:08d}")[0]["step"] == steps[0]
