"""The loop: it resumes to the bit, skips what is broken, and names every disagreement."""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch

from malsori.errors import ConfigError, TrainingError
from malsori.pretrained.folder import open_model, read_weights
from malsori.systems import SYSTEMS
from malsori.train.fastspeech2 import FastSpeech2Task
from malsori.train.hifigan import VocoderTask
from malsori.train.loop import RunOptions, seed_everything, train
from malsori.train.recipe import read_recipe, recipe_names
from malsori.train.run_log import read_lines, read_warnings
from malsori.train.systems import build_task, parse_recipe
from malsori.train.tasks import Turn


def ending(run):
    """Return every tensor of a run's last checkpoint, and its state."""
    last = max((run / "checkpoints").glob("step_*"))
    parts = ("task", "ema", "optimizers")
    tensors = {f"{part}.{k}": v for part in parts for k, v in read_weights(last / f"{part}.safetensors").items()}
    return tensors, json.loads((last / "state.json").read_text())


def assert_same_end(one, other):
    (tensors, state), (expected, wanted) = ending(one), ending(other)
    assert tensors.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(tensors[name], expected[name])] == []
    assert state == wanted
    ours, theirs = (read_weights(run / "model" / "model.safetensors") for run in (one, other))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def stop_after(monkeypatch, steps):
    """Have the process be asked to terminate in the middle of a step."""
    from malsori.train import loop

    update, taken = loop.Ema.update, []

    def interrupted(*arguments):
        taken.append(1)
        if len(taken) == steps:
            os.kill(os.getpid(), signal.SIGTERM)
        return update(*arguments)

    monkeypatch.setattr(loop.Ema, "update", interrupted)


@pytest.mark.parametrize(
    "name",
    [
        "fastspeech2-small",
        "conformer-small",
        "vocos-small",
        pytest.param("wav2vec2-pretrain-small", marks=pytest.mark.slow),
        pytest.param("vits-small", marks=pytest.mark.slow),
        pytest.param("fastspeech2-finetune-small", marks=pytest.mark.slow),
    ],
)
def test_a_resumed_run_ends_as_an_unbroken_one_to_the_bit(small_run, small_setup, tmp_path, name, monkeypatch):
    whole = small_run("whole", name=name)
    stop_after(monkeypatch, 3)  # between two checkpoints: SIGTERM saves
    with pytest.raises(TrainingError, match="asked to stop at step 3, saved"):
        small_run("broken", name=name)
    monkeypatch.undo()
    assert_same_end(small_run("broken", name=name, resume=True), whole)
    steps = [entry["step"] for entry in read_lines(tmp_path / "broken" / "metrics.jsonl")]
    assert steps == [entry["step"] for entry in read_lines(tmp_path / "whole" / "metrics.jsonl")]


def test_workers_and_gathered_gradients_resume_to_the_bit(small_run, monkeypatch):
    settings = ("data.workers=2", "train.accumulate=2", "train.steps=4")
    whole = small_run("whole", *settings)
    stop_after(monkeypatch, 2)
    with pytest.raises(TrainingError, match="asked to stop"):
        small_run("broken", *settings)
    monkeypatch.undo()
    assert_same_end(small_run("broken", *settings, resume=True), whole)


def test_gathered_gradients_are_those_of_one_large_batch(small_setup, tmp_path):
    """Two halves of equal size, one after the other, move the weights as the whole does, but for rounding."""
    from malsori.train.loop import _Run

    ends = []
    for folder, count in (("whole", 1), ("halves", 2)):
        setup = small_setup("model.dropout=0.0", "model.predictor_dropout=0.0", f"train.accumulate={count}")
        (tmp_path / folder).mkdir()
        run = _Run(setup, RunOptions(out=tmp_path / folder, device="cpu"), torch.device("cpu"))
        batch = setup.task.example()
        run._turns(0, [batch] * count)
        ends.append({name: tensor.clone() for name, tensor in setup.task.state_dict().items()})
    assert all(torch.allclose(ends[0][name], ends[1][name], atol=1e-6) for name in ends[0])


def test_a_step_is_a_function_of_seed_and_step_alone():
    drawn = []
    for before in (1, 2):
        torch.rand(before)
        seed_everything(5, 17)
        drawn.append(torch.rand(4))
    assert torch.equal(*drawn)
    seed_everything(5, 18)
    assert not torch.equal(torch.rand(4), drawn[0])


def test_a_run_is_not_written_over_and_not_changed_in_secret(small_run):
    small_run("run", "train.steps=2")
    with pytest.raises(TrainingError, match="holds a run of 2 steps"):
        small_run("run", "train.steps=2")
    with pytest.raises(TrainingError, match=r"optimizers\.acoustic\.clip_norm \(.*→ 0\.25\), train\.steps \(2 → 4\)"):
        small_run("run", "train.steps=4", "optimizers.acoustic.clip_norm=0.25", resume=True)
    small_run("run", "train.steps=4", "optimizers.acoustic.clip_norm=0.25", resume=True, accept_changes=True)


def test_a_run_of_an_older_recipe_goes_on_where_new_keys_have_their_defaults(small_run):
    run = small_run("run", "train.steps=2")
    recipe = json.loads((run / "recipe.json").read_text())
    del recipe["train"]["accumulate"], recipe["optimizers"]["acoustic"]["modules"]
    (run / "recipe.json").write_text(json.dumps(recipe))
    small_run("run", "train.steps=2", resume=True)


def test_one_process_holds_a_run(small_run, tmp_path):
    hold = (
        "import sys; from pathlib import Path; from malsori.train.checkpoint import held\n"
        "with held(Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", hold, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(TrainingError, match="another process is training in it"):
            small_run("run")
        other.communicate("")
    small_run("run")


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("weights.acoustic.mell=1.0", r"'weights\.acoustic\.mell' is not of this task. Did you mean 'mel'"),
        (
            "optimizers.acustic={learning_rate=1.0}",
            r"'optimizers\.acustic' is not of this task. Did you mean 'acoustic'",
        ),
    ],
)
def test_weights_and_optimizers_must_name_the_tasks_own(small_run, override, told):
    with pytest.raises(ConfigError, match=told):
        small_run("run", override)


def test_a_missing_weight_is_an_error(small_setup, tmp_path):
    setup = small_setup()
    del setup.recipe.weights["acoustic"]["pitch"]
    with pytest.raises(ConfigError, match=r"'weights\.acoustic\.pitch' is missing"):
        train(setup, RunOptions(out=tmp_path / "run"))


class Poisoned(FastSpeech2Task):
    """FastSpeech 2 whose mel loss is not a number at some steps."""

    def __init__(self, network, steps):
        super().__init__(network)
        self.poisoned, self.taken = steps, 0
        self.register_buffer("running", torch.zeros(1))

    def losses(self, batch):
        self.taken += self.training
        factor = float("nan") if self.training and self.taken in self.poisoned else 1.0
        self.running += factor * self.training
        for turn in super().losses(batch):
            yield Turn(turn.name, turn.losses | {"mel": turn.losses["mel"] * factor})


def poison(setup, *steps):
    return type(setup)(**(vars(setup) | {"task": Poisoned(setup.task.network, steps)}))


def test_a_step_that_is_not_finite_is_kept_for_a_look_and_skipped(small_setup, tmp_path, caplog):
    setup = poison(small_setup(), 2)
    train(setup, RunOptions(out=tmp_path / "run"))
    assert torch.isfinite(torch.cat([tensor.flatten() for tensor in setup.task.state_dict().values()])).all()
    assert setup.task.running.item() == 5  # the broken step left no trace
    saved = read_weights(tmp_path / "run" / "broken" / "step_00000001.safetensors")
    assert saved["0.mel"].shape[0] == len(saved["0.token_lengths"])
    warned = read_warnings(tmp_path / "run")
    assert [(entry["warning"], entry["step"]) for entry in warned] == [("not finite", 1)]
    assert "acoustic/mel is nan" in warned[0]["message"] and "u" in warned[0]["message"]


def test_too_many_steps_that_are_not_finite_stop_the_run(small_setup, tmp_path):
    setup = poison(small_setup("train.broken_steps=2"), 2, 3, 4, 5)
    with pytest.raises(TrainingError, match=r"3 of the last 1000 steps were not finite.*acoustic/mel is nan"):
        train(setup, RunOptions(out=tmp_path / "run"))


class PoisonedVocoder(VocoderTask):
    """A vocoder whose generator's turn is not a number at its first step, while the discriminators are frozen."""

    taken = 0

    def losses(self, batch):
        self.taken += 1
        for turn in super().losses(batch):
            factor = float("nan") if self.taken == 1 and turn.name == "generator" else 1.0
            yield Turn(turn.name, {name: loss * factor for name, loss in turn.losses.items()})


def test_a_step_broken_in_its_second_turn_leaves_nothing_frozen(small_setup, tmp_path):
    setup = small_setup("train.steps=2", name="vocos-small")
    task = PoisonedVocoder(setup.task.generator, setup.task.discriminators, setup.task.audio)
    before = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    train(type(setup)(**(vars(setup) | {"task": task})), RunOptions(out=tmp_path / "run"))
    assert all(parameter.requires_grad for parameter in task.parameters())
    moved = {name.split(".")[0] for name, tensor in task.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {"generator", "discriminators"}


def test_an_infinite_gradient_is_not_stepped(small_setup, tmp_path):
    setup = small_setup("train.steps=1")
    weight = setup.task.network.project.weight
    before = weight.detach().clone()
    weight.register_hook(lambda gradient: gradient * float("inf"))
    train(setup, RunOptions(out=tmp_path / "run"))
    assert torch.equal(weight, before)
    assert "the gradient of 'acoustic' is" in read_warnings(tmp_path / "run")[0]["message"]


def test_a_precision_that_the_device_has_not_is_told(small_run, caplog):
    small_run("run", "train.steps=1", "train.precision=bfloat16")
    assert "bfloat16 is for GPUs of CUDA; on cpu float32 is computed" in caplog.text


def test_a_run_writes_down_what_made_it_and_what_its_losses_contribute(small_run, caplog):
    caplog.set_level("INFO", "malsori")
    run = small_run("run")
    assert "contributions to acoustic:  mel " in caplog.text
    (start,) = read_lines(run / "starts.jsonl")
    assert start["step"] == 0 and {"commit", "torch", "malsori", "python"} <= start.keys()
    logged = [entry for entry in read_lines(run / "balance.jsonl") if entry["step"] == 6]
    assert {entry["loss"] for entry in logged} == {"mel", "duration", "pitch", "energy"}
    assert sum(entry["share"] for entry in logged) == pytest.approx(1, abs=1e-4)
    of = {entry["loss"]: entry for entry in logged}
    assert "decoder" in of["mel"]["modules"] and "decoder" not in of["duration"]["modules"]
    assert "adaptor.duration_predictor" in of["duration"]["modules"]
    for entry in logged:
        assert entry["gradient_norm"] == pytest.approx(sum(n**2 for n in entry["modules"].values()) ** 0.5, rel=1e-4)
    assert open_model(run / "model").facts.trained["steps"] in (3, 6)


def smallest_recipe(system):
    """Return the built-in recipe of a system whose task has the fewest weights."""
    named = [parse_recipe(read_recipe(name), name) for name in recipe_names() if read_recipe(name)["system"] == system]
    return min(named, key=lambda recipe: sum(p.numel() for p in build_task(recipe).parameters()))


@pytest.mark.parametrize("system", sorted(SYSTEMS))
def test_every_task_overfits_one_batch(system):
    """The weighted losses of the last turn, which steps what is shipped, fall to less than half."""
    torch.manual_seed(0)
    recipe = smallest_recipe(system)
    task = build_task(recipe)
    batch = task.example()
    optimizers = {
        name: torch.optim.AdamW(part.parameters(), lr=2e-3) for name, part in task.optimized_modules().items()
    }
    totals = []
    for _ in range(25):
        for turn in task.losses(batch):
            own = {name: weight for name, weight in recipe.weights[turn.name].items()}
            total = sum(loss * own[name] for name, loss in turn.losses.items())
            optimizers[turn.name].zero_grad()
            total.backward()
            optimizers[turn.name].step()
        totals.append(total.item())
        if totals[-1] < 0.5 * totals[0]:
            return
    raise AssertionError(f"{system}: {totals[0]:.3f} fell only to {min(totals):.3f}")
