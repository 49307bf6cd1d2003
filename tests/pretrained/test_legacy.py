"""Keys of older files: each under its name of today, wherever it stands, and never under two names at once."""

import json
from pathlib import Path

import pytest

from malsori.errors import ConfigError
from malsori.pretrained.hub import load_saved
from malsori.pretrained.legacy import (
    MODELS,
    RECIPES,
    SYSTEM_RECIPES,
    current_facts,
    current_key,
    current_recipe,
    current_record,
)
from malsori.systems import SYSTEMS
from malsori.train.recipe import read_recipe
from malsori.train.systems import parse_recipe


def test_a_model_s_folder_with_old_keys_says_the_same_as_ever():
    place = Path(__file__).parents[1] / "train" / "old_runs" / "fastspeech2" / "model" / "config.json"
    saved = json.loads(place.read_text(encoding="utf-8"))
    facts = current_facts(saved, str(place))
    assert facts["license"] == saved["licence"] and "licence" not in facts
    assert facts["model"]["hidden_size"] == saved["model"]["features"] == 8
    for speaker, known in saved["statistics"].items():
        assert facts["statistics"][speaker]["pitch_std"] == known["pitch_deviation"]
    assert list(facts["model"].values()) == list(saved["model"].values())


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_old_size_has_become_one_that_the_model_has(system):
    for old, new in MODELS.get(system, {}).items():
        section, config = old.split(".")[:-1], SYSTEMS[system].resolve("config")
        for part in section:
            config = config.model_fields[part].annotation
        assert new in config.model_fields and old.split(".")[-1] not in config.model_fields, f"{system}: {old}"


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_old_key_of_a_recipe_has_become_one_that_the_recipe_has(system):
    for old, new in (RECIPES | SYSTEM_RECIPES.get(system, {})).items():
        section, config = old.split(".")[:-1], SYSTEMS[system].resolve("training").recipe
        if section[:1] in (["weights"], ["optimizers"]):
            continue  # free names: the task's turns and losses, which the next tests ask for
        for part in section:
            config = config.model_fields[part].annotation
        assert new in config.model_fields and old.split(".")[-1] not in config.model_fields, old


@pytest.mark.parametrize("name", ["vocos-small", "hifigan-small", "vits-small"])
def test_a_recipe_that_weighs_features_weighs_feature_matching(name):
    old = json.loads(json.dumps(read_recipe(name)).replace("feature_matching", "features"))
    assert parse_recipe(old, name) == parse_recipe(read_recipe(name), name)


@pytest.mark.parametrize("name", ["wav2vec2-pretrain", "wav2vec2-pretrain-small"])
def test_a_recipe_that_steps_a_listener_steps_the_encoder(name):
    today = read_recipe(name)
    old = {
        key: {"listener": value["encoder"]} if "encoder" in value else value
        for key, value in today.items()
        if key in ("optimizers", "weights")
    }
    assert [*old["optimizers"]] == [*old["weights"]] == ["listener"]
    assert parse_recipe(today | old, name) == parse_recipe(today, name)
    assert (
        parse_recipe(read_recipe(name, ["weights.listener.diversity=0.5"]), name).weights["encoder"]["diversity"] == 0.5
    )


def test_the_records_of_a_run_name_its_losses_as_today():
    entry = {"step": 3, "generator/features": 0.5, "generator/mel": 1.0, "discriminator/features": 2}
    assert list(current_record(entry)) == [
        "step",
        "generator/feature_matching",
        "generator/mel",
        "discriminator/features",
    ]
    assert current_record({"listener/contrastive": 2.0}) == {"encoder/contrastive": 2.0}
    assert current_record({"turn": "listener", "loss": "diversity"}) == {"turn": "encoder", "loss": "diversity"}
    balance = {"step": 3, "turn": "generator", "loss": "features", "value": 0.5}
    assert current_record(balance) == balance | {"loss": "feature_matching"}


def test_a_key_under_its_old_and_its_new_name_is_an_error_that_names_both(tmp_path):
    values = json.dumps(read_recipe("vocos-small", ["license=MIT"])).replace('"license"', '"licence": "MIT", "license"')
    with pytest.raises(ConfigError, match=r"mine\.toml: has 'licence' and 'license', its name today\. Keep 'license'"):
        current_recipe(json.loads(values), "mine.toml")


def test_an_override_by_an_old_key_sets_the_key_of_today():
    settings = ["licence=MIT", "model.features=32", "waves.periods=[2]", "data.longest_seconds=3.5"]
    recipe = parse_recipe(read_recipe("vocos-small", settings), "vocos-small")
    assert recipe.license == "MIT" and recipe.model.hidden_size == 32
    assert recipe.discriminator.periods == (2,) and recipe.data.max_seconds == 3.5


def test_keys_that_never_had_another_name_stay():
    assert current_key({"system": "vocos"}, "train.steps") == "train.steps"
    values = {"system": "vocos", "train": {"steps": 2}, "anything": [1]}
    assert current_recipe(values, "recipe") == values


def test_a_recipe_of_one_s_own_with_old_keys_is_read(tmp_path):
    (tmp_path / "mine.toml").write_text('system = "vocos"\nlicence = "MIT"\n', encoding="utf-8")
    assert read_recipe(str(tmp_path / "mine.toml")) == {"system": "vocos", "license": "MIT"}


def test_corpora_prepared_before_keys_were_renamed_still_know_their_aligner() -> None:
    assert load_saved("conformer-ko").facts.fingerprint() == "3577ba04c7d1"
