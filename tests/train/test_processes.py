"""Two processes over Gloo train as one that adds up the same batches; one that dies comes back."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

from malsori.errors import ConfigError
from malsori.pretrained.folder import read_weights
from malsori.train.loop import RunOptions, _Run
from malsori.train.processes import Processes, is_first, local_device, restarted
from malsori.train.recipe import read_recipe
from malsori.train.systems import build_task, parse_recipe
from malsori.train.tasks import Turn

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


def in_two_processes(work: Callable[[Processes], dict], folder: Path) -> list[dict]:
    """Fork two processes that do some work together, and return what each found."""
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
            torch.save(work(Processes(rank, 2)), folder / f"{rank}.pt")
            status = 0
        finally:
            os._exit(status)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in (0, 1)]


@pytest.mark.parametrize(
    "name", [name if name == "vocos-small" else pytest.param(name, marks=pytest.mark.slow) for name in TINY]
)
def test_two_processes_move_the_weights_as_one_with_both_batches_does(small_setup, tmp_path: Path, name: str) -> None:
    torch.set_num_threads(1)
    settings = ("train.accumulate=2", "train.steps=1", "data.batch_seconds=2.0")
    (tmp_path / "alone").mkdir()
    alone = step_of(small_setup(*settings, name=name), tmp_path / "alone", Processes())
    setup = small_setup(*settings, name=name)
    for shared in in_two_processes(lambda processes: step_of(setup, tmp_path / "run", processes), tmp_path):
        assert shared.keys() == alone.keys() and len(alone) > 10
        for key, wanted in alone.items():
            torch.testing.assert_close(
                shared[key], wanted, rtol=1e-4, atol=1e-6, msg=lambda told, at=key: f"{at}: {told}"
            )


def joined_batch(task) -> tuple[Any, list[Any]]:
    """Return four utterances of noise as one batch, and as two of other widths that hold as many real steps."""
    random = torch.Generator().manual_seed(1)
    example, longest = task.example(), 24
    fields = {
        name: torch.cat([value] * 2) if isinstance(value, torch.Tensor) else value * 2
        for name, value in vars(example).items()
    }
    frames = "frame_lengths" if "frame_lengths" in fields else "mel_lengths"
    fields["mel"] = torch.randn(4, longest, fields["mel"].shape[2], generator=random)
    fields[frames] = torch.tensor([longest, longest - 8, longest - 4, longest - 4])
    if "token_ids" in fields:
        fields["token_ids"] = torch.randint(1, task.network.config.vocab, (4, 8), generator=random)
        fields["token_lengths"] = torch.tensor([8, 6, 7, 7])
    halves = []
    for rows in (slice(0, 2), slice(2, 4)):
        half = {name: value[rows] for name, value in fields.items()}
        half["mel"] = half["mel"][:, : half[frames].max()]
        if "token_ids" in half:
            half["token_ids"], half["durations"] = (
                half[name][:, : half["token_lengths"].max()] for name in ("token_ids", "durations")
            )
        halves.append(type(example)(**half))
    return type(example)(**fields), halves


def gradients(task, batch, processes: Processes) -> dict[str, torch.Tensor]:
    """Return a task's gradients and running values by the losses that are means over all real steps or utterances."""
    losses = next(task.losses(batch)).losses
    sum(loss / processes.count for name, loss in losses.items() if name != "guided_attention").backward()
    processes.add_gradients(task)
    found = {name: parameter.grad for name, parameter in task.named_parameters() if parameter.grad is not None}
    return found | {name: value for name, value in task.named_buffers() if "running" in name}


@pytest.mark.parametrize("name", ["conformer-small", "tacotron-small", "tacotron2-small"])
def test_with_joined_batch_norm_two_processes_have_the_gradients_of_the_joined_batch(tmp_path, name: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    task = build_task(parse_recipe(read_recipe(name, [*TINY[name]]), name)).train()
    for part in task.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
        elif isinstance(getattr(part, "dropout", None), float):
            part.dropout = 0.0
    whole, halves = joined_batch(task)

    def half(processes: Processes, joined: bool = True) -> dict[str, torch.Tensor]:
        ours = deepcopy(task)
        assert not joined or processes.join_batch_norm(ours)
        return gradients(ours, halves[processes.rank], processes)

    alone = gradients(deepcopy(task), whole, Processes())
    (tmp_path / "apart").mkdir()
    apart, *_ = in_two_processes(partial(half, joined=False), tmp_path / "apart")
    for shared in in_two_processes(half, tmp_path):
        assert shared.keys() == alone.keys() and len(alone) > 10
        for key, wanted in alone.items():
            torch.testing.assert_close(
                shared[key], wanted, rtol=1e-4, atol=1e-6, msg=lambda told, at=key: f"{at}: {told}"
            )
    farthest = max((apart[key] - wanted).abs().max().item() for key, wanted in alone.items() if "running" not in key)
    assert farthest > 1e-3  # each batch by itself is another thing


def test_joined_batch_norm_is_refused_where_there_is_none(small_setup, tmp_path: Path) -> None:
    setup = small_setup("train.sync_batch_norm=true")
    with pytest.raises(
        ConfigError, match=r"train\.sync_batch_norm = true: this system has no batch norm; leave it out"
    ):
        step_of(setup, tmp_path, Processes())


def test_with_joined_batch_norm_a_step_is_measured_and_skipped_by_all_or_none(small_setup, tmp_path: Path) -> None:
    settings = ("train.accumulate=2", "train.sync_batch_norm=true", "train.contributions_every=1")
    setup, told = small_setup(*settings, name="conformer-small"), []
    losses = setup.task.losses

    def spoiled(batch: Any) -> Iterator[Turn]:  # only one of the two meets it, behind the last norm
        for turn in losses(batch):
            broken = torch.tensor(float("nan")) if dist.get_rank() == 1 and told else 1.0
            yield Turn(turn.name, {name: loss * broken for name, loss in turn.losses.items()}, turn.diagnostics)

    def two_steps(processes: Processes) -> dict[str, Any]:
        run = _Run(setup, RunOptions(out=tmp_path / "run", device="cpu"), torch.device("cpu"), processes)
        run.logger = SimpleNamespace(contributions=lambda step, turn, found: told.append(found))
        run.monitor = SimpleNamespace(warn=lambda step, what, words: told.append(words))
        batches = run._batches(0, 2)
        values, running = run._step(0, next(batches)), dict(setup.task.named_buffers())
        before = {name: value.clone() for name, value in running.items()}
        measured = [*told]
        told.append("spoil")
        skipped = run._step(1, next(batches))
        same = all(torch.equal(value, before[name]) for name, value in setup.task.named_buffers())
        return {"values": values, "running": before, "measured": measured, "skipped": skipped, "same": same}

    setup.task.losses = spoiled
    first, second = in_two_processes(two_steps, tmp_path)
    assert set(first["measured"][0]) == {"jamo_ctc", "phoneme_ctc"} and second["measured"] == []
    assert first["values"] == second["values"] != {} and first["skipped"] == second["skipped"] == {}
    assert first["same"] and second["same"] and (tmp_path / "run" / "broken" / "step_00000001.safetensors").is_file()
    assert all(torch.equal(value, second["running"][name]) for name, value in first["running"].items())


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
