"""Runs made before keys were renamed: taken up again, looked at and spoken from as if nothing had happened.

The folders in old_runs were made at commit f6d9d62 on the planted corpus: recipes fastspeech2-small and vocos-small,
made tiny, three steps; the last checkpoint was taken out, so that the third step is to be done again.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch

from malsori.corpus.folder import load_corpus
from malsori.errors import TrainingError
from malsori.evaluation.corpus import evaluate
from malsori.pretrained.hub import load_saved
from malsori.pretrained.legacy import current_facts, current_recipe, current_record
from malsori.report.curves import save_curves
from malsori.report.diagram import schematic
from malsori.train.loop import RunOptions, train
from malsori.train.recipe import read_recipe
from malsori.train.systems import parse_recipe, set_up
from malsori.tts.voice import load_voice

OLD = Path(__file__).parent / "old_runs"
SYSTEMS = ("fastspeech2", "vocos")
#: What `malsori train` was told when the runs were made, in the words of that time.
SETTINGS = {
    "fastspeech2": (
        "model.features=8", "model.filter_features=8", "model.predictor_features=8", "model.encoder_layers=1",
        "model.decoder_layers=1", "model.heads=1", "licence=CC0-1.0",
    ),
    "vocos": (
        "model.features=4", "model.fft_samples=512", "model.blocks=1", "waves.periods=[2]",
        "resolutions.fft_samples=[512]", "resolutions.channels=2", "waves.width=0.01", "data.segment_frames=16",
        "model.expansion=1",
    ),
}  # fmt: skip
#: The recipes that they were made from: today's, or, where that would make another network, as it was.
RECIPES = {"fastspeech2": "fastspeech2-small", "vocos": str(OLD / "vocos-small.toml")}
SHORT = (
    "train.steps=3", "train.log_every=1", "train.balance_every=1", "train.validate_every=2", "train.save_every=2",
    "data.batch_size=2", "data.batch_seconds=3.0", "data.workers=0",
)  # fmt: skip


@pytest.fixture
def old_run(tmp_path):
    """A function that copies an old run's folder and returns the copy's."""
    return lambda system: Path(shutil.copytree(OLD / system, tmp_path / system))


def resume(run: Path, corpus: Path, *settings: str) -> None:
    torch.set_num_threads(1)
    values = read_recipe(RECIPES[run.name], [*SETTINGS[run.name], *SHORT, *settings])
    setup = set_up(parse_recipe(values, run.name), load_corpus(corpus))
    train(setup, RunOptions(out=run, resume=True, device="cpu"))


#: What the mel loss of a vocoder goes into: it has reached to half the sample rate since those runs.
OF_THE_MEL_LOSS = {"generator/mel", "generator/gradient_norm", "validation/mel_l1"}


def losses(run: Path, step: int) -> dict[str, float]:
    """Return what a run wrote down of a step, but for how fast it was and what is reckoned otherwise today."""
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    numbers = {name: value for entry in entries if entry["step"] == step for name, value in entry.items()}
    return {name: value for name, value in numbers.items() if name not in {"steps_per_second", *OF_THE_MEL_LOSS}}


@pytest.mark.parametrize("system", SYSTEMS)
def test_an_old_run_goes_on_with_the_very_numbers_of_its_own_time(old_run, planted_corpus, system):
    run = old_run(system)
    before = losses(run, 3)
    resume(run, planted_corpus)
    after = losses(run, 3)
    assert list(after.values()) == pytest.approx(list(before.values()), rel=1e-4)
    assert (run / "checkpoints" / "step_00000003" / "state.json").is_file()


def test_what_has_really_changed_in_an_old_recipe_is_still_told_alone(old_run, planted_corpus):
    with pytest.raises(TrainingError, match=r"with another recipe: seed \(1 → 2\)\. Go on"):
        resume(old_run("fastspeech2"), planted_corpus, "seed=2")


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_resumed_old_run_writes_no_old_key(old_run, planted_corpus, system):
    run = old_run(system)
    resume(run, planted_corpus)
    recipe, facts = (json.loads((run / name).read_text()) for name in ("recipe.json", "model/config.json"))
    assert current_recipe(recipe, "recipe") == recipe
    if system != "vocos":  # whose best model, by another mel loss, is kept as it is
        assert current_facts(facts, "facts") == facts
    for name in ("metrics", "balance"):
        lines = [json.loads(line) for line in (run / f"{name}.jsonl").read_text().splitlines()]
        assert lines == [current_record(line) for line in lines]


def test_an_old_model_keeps_what_it_says_of_itself(old_run):
    facts = load_saved(str(old_run("fastspeech2"))).facts
    assert facts.license == "CC0-1.0" and facts.trained["steps"] == 3


def test_an_old_voice_and_its_vocoder_speak(old_run):
    voice = load_voice(str(old_run("fastspeech2")), vocoder=str(old_run("vocos")))
    assert len(voice.say("말소리.").wave) > 0


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_diagram_of_an_old_run_carries_what_it_measured(old_run, system):
    what = schematic(str(old_run(system)))
    drawn = {(turn.name, loss.name) for turn in what.turns for loss in turn.losses}
    assert what.step == 3 and set(what.measured) == drawn
    assert {turn: set(weights) for turn, weights in what.weights.items()} == {
        turn.name: {loss.name for loss in turn.losses} for turn in what.turns
    }


def test_old_runs_are_drawn_as_curves_under_the_names_of_today(old_run, tmp_path):
    runs = [old_run(system) for system in SYSTEMS]
    save_curves(runs, tmp_path / "runs.html")
    assert "acoustic/duration" in (tmp_path / "runs.html").read_text(encoding="utf-8")


def test_an_old_vocoder_is_measured_on_a_corpus(old_run, planted_corpus):
    found = evaluate(str(old_run("vocos")), load_corpus(planted_corpus), "dev")
    assert found.system == "vocos" and len(found.rows) == 2
