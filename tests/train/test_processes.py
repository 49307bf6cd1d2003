"""Two processes over Gloo train as one that adds up the same batches; one that dies comes back."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from malsori.errors import ConfigError
from malsori.pretrained.folder import read_weights
from malsori.train.loop import RunOptions, _Run
from malsori.train.processes import Processes, is_first, local_device, restarted

from .conftest import SHORT, TINY

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks")


def step_of(setup, out: Path, processes: Processes) -> dict[str, torch.Tensor]:
    """Take one step and return every gradient by which it moved the weights, and what was measured."""
    run, found = _Run(setup, RunOptions(out=out, device="cpu"), torch.device("cpu"), processes), {}
    update = run._update

    def watched(turn: str, step: int) -> dict[str, float]:
        processes.add_gradients(run.optimized[turn])  # as update does first
        for name, parameter in run.optimized[turn].named_parameters():
            if parameter.grad is not None:
                found[f"{turn}.{name}"] = parameter.grad.clone()
                parameter.grad /= processes.count  # and it will again
        return update(turn, step)

    run._update = watched
    values = run._step(0, next(run._batches(0, 1)))
    return found | {f"value.{name}": torch.tensor(value) for name, value in values.items()}


def in_two_processes(setup, folder: Path) -> None:
    """Fork two processes that take one step together; each writes what it found."""
    children = []
    for rank in (0, 1):
        if child := os.fork():
            children.append(child)
            continue
        status = 1
        try:
            torch.set_num_threads(1)
            store = f"file://{folder / 'meeting'}"
            dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2, timeout=timedelta(minutes=5))
            torch.save(step_of(setup, folder / "run", Processes(rank, 2)), folder / f"{rank}.pt")
            status = 0
        finally:
            os._exit(status)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]


@pytest.mark.parametrize(
    "name", [name if name == "vocos-small" else pytest.param(name, marks=pytest.mark.slow) for name in TINY]
)
def test_two_processes_move_the_weights_as_one_with_both_batches_does(small_setup, tmp_path: Path, name: str) -> None:
    torch.set_num_threads(1)
    settings = ("train.accumulate=2", "train.steps=1", "data.batch_seconds=2.0")
    (tmp_path / "alone").mkdir()
    alone = step_of(small_setup(*settings, name=name), tmp_path / "alone", Processes())
    in_two_processes(small_setup(*settings, name=name), tmp_path)
    for rank in (0, 1):
        shared = torch.load(tmp_path / f"{rank}.pt")
        assert shared.keys() == alone.keys() and len(alone) > 10
        for key, wanted in alone.items():
            torch.testing.assert_close(
                shared[key], wanted, rtol=1e-4, atol=1e-6, msg=lambda told, at=key: f"{at}: {told}"
            )


def test_processes_share_the_batches_of_a_step_evenly() -> None:
    assert [Processes(rank, 3).numbers(6) for rank in range(3)] == [[0, 3], [1, 4], [2, 5]]
    with pytest.raises(ConfigError, match=r"train\.accumulate = 1: 2 processes .* --set train\.accumulate=2"):
        Processes(0, 2).numbers(1)


def test_what_torchrun_says_is_understood(monkeypatch) -> None:
    assert is_first() and not restarted() and local_device("auto") == "auto"
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert not is_first() and restarted()
    assert [local_device(name) for name in ("auto", "cuda", "cuda:0", "cpu")] == ["cuda:1", "cuda:1", "cuda:0", "cpu"]


def torchrun(corpus: Path, out: Path, *settings: str) -> subprocess.Popen:
    """Start two processes that train a tiny FastSpeech 2, and may start again once."""
    recipe = [*TINY["fastspeech2-small"], *SHORT, "train.accumulate=2", *settings]
    words = ["--standalone", "--nproc-per-node", "2", "--max-restarts", "1", "-m", "malsori", "train"]
    words += [
        "fastspeech2-small",
        "--corpus",
        str(corpus),
        "--out",
        str(out),
        *(w for s in recipe for w in ("--set", s)),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ranks(agent: int) -> list[int]:
    """Return the processes that an agent of torchrun has started."""
    found = subprocess.run(["pgrep", "-P", str(agent)], capture_output=True, text=True, check=False).stdout
    return [int(number) for number in found.split()]


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_comes_back_and_the_run_ends_as_another(planted_corpus, tmp_path, rank: int) -> None:
    settings = ("train.steps=40", "train.save_every=1", "train.validate_every=20")
    whole = torchrun(planted_corpus, tmp_path / "whole", *settings)
    told, errors = whole.communicate(timeout=600)
    assert whole.returncode == 0 and told.count("The best model lies in") == 1, errors
    broken = torchrun(planted_corpus, tmp_path / "broken", *settings)
    while not list((tmp_path / "broken" / "checkpoints").glob("step_*/state.json")):
        assert broken.poll() is None
        time.sleep(0.05)
    os.kill(ranks(broken.pid)[rank], signal.SIGKILL)
    told, errors = broken.communicate(timeout=600)
    assert broken.returncode == 0, errors
    starts = [json.loads(line)["step"] for line in (tmp_path / "broken" / "starts.jsonl").read_text().splitlines()]
    assert len(starts) == 2 and 0 < starts[1] < 40
    for part in ("task", "ema", "optimizers"):
        ours, theirs = (
            read_weights(tmp_path / name / "checkpoints" / "step_00000040" / f"{part}.safetensors")
            for name in ("broken", "whole")
        )
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in theirs)
