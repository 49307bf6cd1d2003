"""Checkpoints: whole or not at all, damage found out, a full disk survived."""

import errno
import json
import logging
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from malsori.errors import ModelError, TrainingError
from malsori.train.checkpoint import Checkpoints, Trained, held
from malsori.train.optim import Ema, OptimizerConfig, build_optimizer
from malsori.train.run_log import RunLogger, read_lines


def trained(seed: int = 0, width: int = 3) -> Trained:
    torch.manual_seed(seed)
    task = nn.Linear(width, 2)
    optimizer = build_optimizer(task, OptimizerConfig(learning_rate=0.1))
    task(torch.randn(4, width)).sum().backward()
    optimizer.step()
    return Trained(task, Ema(task, 0.9), {"turn": optimizer})


@pytest.fixture
def saved(tmp_path) -> Checkpoints:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (10, 20, 30):
        checkpoints.save(step, trained(step), {"best": None})
    return checkpoints


def weight(of: Trained) -> torch.Tensor:
    return of.task.weight.detach()


def test_the_last_k_are_kept_and_the_last_is_put_back(saved):
    assert saved.steps() == [20, 30]
    other = trained(99)
    assert saved.restore(other)["step"] == 30
    assert torch.equal(weight(other), weight(trained(30)))
    state, wanted = other.optimizers["turn"].state_dict()["state"], trained(30).optimizers["turn"].state_dict()["state"]
    assert all(torch.equal(state[i][key], wanted[i][key]) for i in wanted for key in wanted[i])


def test_nothing_saved_is_nothing_restored(tmp_path):
    assert Checkpoints(tmp_path, keep=1).restore(trained()) is None


def tear(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 16
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [tear, flip, Path.unlink])
@pytest.mark.parametrize("name", ["task", "ema", "optimizers"])
def test_a_damaged_checkpoint_is_set_aside_for_the_one_before(saved, harm, name, caplog):
    harm(saved.folder / "step_00000030" / f"{name}.safetensors")
    other = trained(99)
    assert saved.restore(other)["step"] == 20
    assert torch.equal(weight(other), weight(trained(20)))
    assert f"{name}.safetensors: damaged" in caplog.text
    assert saved.steps() == [20] and (saved.folder / "damaged_step_00000030").is_dir()


def test_torn_json_is_found_out_too(saved):
    tear(saved.folder / "step_00000030" / "state.json")
    assert saved.restore(trained(99))["step"] == 20


def test_a_run_without_a_whole_checkpoint_says_so(saved):
    for step in (20, 30):
        tear(saved.folder / f"step_{step:08d}" / "task.safetensors")
    with pytest.raises(TrainingError, match="no checkpoint can be read"):
        saved.restore(trained(99))


def test_a_checkpoint_of_another_model_is_refused_not_set_aside(saved):
    with pytest.raises(ModelError, match="'weight' has shape"):
        saved.restore(trained(99, width=5))
    assert saved.steps() == [20, 30]


def test_a_checkpoint_of_the_time_before_checksums_is_read(saved):
    path = saved.folder / "step_00000030" / "state.json"
    state = json.loads(path.read_text())
    del state["files"]
    path.write_text(json.dumps(state))
    assert saved.restore(trained(99))["step"] == 30


def no_room(*_arguments, **_options):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_costs_no_earlier_checkpoint_and_leaves_no_half_one(saved, monkeypatch):
    monkeypatch.setattr("safetensors.torch.save_file", no_room)
    with pytest.raises(TrainingError, match=r"cannot be written.*no space left on device.*Make room"):
        saved.save(40, trained(40), {})
    assert saved.steps() == [20, 30] and len(list(saved.folder.iterdir())) == 2


def test_a_run_goes_on_while_the_disk_is_full_and_saves_when_there_is_room(small_run, monkeypatch, tmp_path, caplog):
    original, refused = safetensors.torch.save_file, []

    def sometimes(*arguments):
        if not refused or refused[-1] < 3:
            refused.append(len(refused) + 1)
            no_room()
        original(*arguments)

    monkeypatch.setattr("safetensors.torch.save_file", sometimes)
    run = small_run("run", "train.save_every=1")
    assert Checkpoints(run, 2).steps() == [5, 6] and "Make room" in caplog.text


def test_a_full_disk_costs_lines_not_the_run(tmp_path, monkeypatch, caplog):
    logger = RunLogger(tmp_path, 0, 10)
    logger.validation(1, {"cer": 0.5})
    monkeypatch.setattr(Path, "open", no_room)
    logger.validation(2, {"cer": 0.4})
    logger.validation(3, {"cer": 0.3})
    monkeypatch.undo()
    logger.validation(4, {"cer": 0.2})
    assert [entry["step"] for entry in read_lines(tmp_path / "metrics.jsonl")] == [1, 4]
    assert caplog.text.count("No space left") == 1


def test_a_resumed_run_log_drops_what_came_after_and_a_torn_line(tmp_path):
    first = RunLogger(tmp_path, 0, 10)
    for step in (2, 4, 6):
        first.validation(step, {"cer": 1 / step})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "cer')
    RunLogger(tmp_path, 4, 10)
    assert [entry["step"] for entry in read_lines(tmp_path / "metrics.jsonl")] == [2, 4]


def test_a_killed_replacement_is_undone_or_finished(tmp_path):
    (tmp_path / ".model.x1.old").mkdir()
    (tmp_path / ".model.x1.old" / "card.md").write_text("before")
    (tmp_path / ".model.x1.partial").mkdir()
    with held(tmp_path):
        assert (tmp_path / "model" / "card.md").read_text() == "before"
    (tmp_path / ".model.x2.old").mkdir()
    with held(tmp_path):
        assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["model"]


def test_a_run_is_written_down_without_tensorboard_too_and_says_so(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    caplog.set_level(logging.INFO, "malsori")
    with RunLogger(tmp_path, 0, 2) as logger:
        logger.step(1, {"loss": 2.0}, force=True)
    assert read_lines(tmp_path / "metrics.jsonl")[0]["loss"] == 2.0 and not (tmp_path / "tensorboard").exists()
    assert "pip install 'malsori[tensorboard]'" in caplog.text
