"""Recipes: every built-in one binds, every slip is named with the nearest right name."""

import pytest

from malsori.config import AudioConfig
from malsori.errors import ConfigError
from malsori.systems import SYSTEMS
from malsori.train.recipe import read_recipe, recipe_names
from malsori.train.systems import build_task, parse_recipe

RECIPES = recipe_names()
#: Those with a paper's sizes take seconds each to build.
MARKED = [name if name.endswith("-small") else pytest.param(name, marks=pytest.mark.slow) for name in RECIPES]


def parsed(*overrides: str, name: str = "vocos-small"):
    return parse_recipe(read_recipe(name, list(overrides)), name)


@pytest.mark.parametrize("name", MARKED)
def test_every_built_in_recipe_names_exactly_its_tasks_turns_and_losses(name):
    recipe = parsed(name=name)
    task = build_task(recipe)
    turns = {turn.name: set(turn.losses) for turn in task.losses(task.example())}
    assert {turn: set(weights) for turn, weights in recipe.weights.items()} == turns
    assert set(recipe.optimizers) == set(turns) == set(task.optimized_modules())


def test_every_system_has_a_recipe_that_comes_with_malsori():
    assert {read_recipe(name)["system"] for name in RECIPES} == set(SYSTEMS)


def test_set_reads_numbers_lists_truth_and_text():
    values = read_recipe(
        "conformer-small",
        ["train.steps=7", "data.speed_perturbation=[1.0, 1.5]", "half=false", "data.speakers=['kim']", "a.b=ㄱ"],
    )

    assert (
        values["train"]["steps"] == 7 and values["data"]["speed_perturbation"] == [1.0, 1.5] and values["half"] is False
    )
    assert values["data"]["speakers"] == ["kim"] and values["a"] == {"b": "ㄱ"}


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("train.stepz=5", "unknown key 'train.stepz'. Did you mean 'steps'"),
        ("trian.steps=5", "unknown key 'trian'. Did you mean 'train'"),
        ("train.steps=many", "'train.steps' = 'many'"),
        ("optimizers.generator.schedule=lineal", "'optimizers.generator.schedule' = 'lineal'"),
        ("optimizers.generator.momentun=0.5", "'optimizers.generator.momentun'. Did you mean 'momentum'"),
        ("system=vocoz", "system = 'vocoz' is not known. Did you mean 'vocos'"),
        ("train.steps.more=1", "'steps' is a value, not a section"),
        ("train.steps", "expected key=value"),
        ("train.steps=0", "'train.steps' = 0: Input should be greater than or equal to 1"),
        ("train.save_every=0", "'train.save_every' = 0"),
        ("train.ema_decay=1.0", "'train.ema_decay' = 1.0: Input should be less than 1"),
        ("optimizers.generator.learning_rate=-1", "'optimizers.generator.learning_rate' = -1"),
        ("optimizers.generator.learning_rate=nan", "'optimizers.generator.learning_rate' = nan"),
        ("optimizers.generator.betas=[0.9,1.0]", "'optimizers.generator.betas.1' = 1.0"),
        ("optimizers.generator.clip_norm=0", "'optimizers.generator.clip_norm' = 0"),
        ("data.batch_size=0", "'data.batch_size' = 0"),
        ("data.speed_perturbation=[1.0,0.0]", "'data.speed_perturbation.1' = 0.0"),
        ("data.workers=-1", "'data.workers' = -1"),
    ],
)
def test_a_slip_in_a_recipe_is_named_with_the_nearest_right_name(override, told):
    with pytest.raises(ConfigError) as error:
        parsed(override)
    assert told in str(error.value)


def test_a_missing_key_is_named(tmp_path):
    text = 'system = "vocos"\n[train]\nlog_every = 5\n[data]\n[optimizers]\n[weights]\n'
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.toml: missing key 'train\.steps'"):
        parsed(name=str(tmp_path / "mine.toml"))


def test_an_unknown_recipe_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'vocos-small'"):
        read_recipe("vocos-smal")


def test_a_recipe_may_say_only_what_differs_in_the_audio():
    assert parsed("audio.max_hz=7600.0").audio == AudioConfig(max_hz=7600.0)
