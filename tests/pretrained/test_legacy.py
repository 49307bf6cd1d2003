"""Keys of older files: each under its name of today, wherever it stands, and never under two names at once."""

import json
from importlib import resources
from pathlib import Path

import pytest

from malsori.errors import ConfigError
from malsori.pretrained.legacy import current_facts, current_key, current_recipe
from malsori.train.recipe import read_recipe
from malsori.train.systems import parse_recipe


def test_a_model_s_folder_with_old_keys_says_the_same_as_ever():
    place = Path(str(resources.files("malsori") / "assets" / "fastspeech2-ko" / "config.json"))
    saved = json.loads(place.read_text(encoding="utf-8"))
    facts = current_facts(saved, str(place))
    assert facts["license"] == saved["licence"] and "licence" not in facts


def test_a_key_under_its_old_and_its_new_name_is_an_error_that_names_both(tmp_path):
    values = json.dumps(read_recipe("vocos-small", ["license=MIT"])).replace('"license"', '"licence": "MIT", "license"')
    with pytest.raises(ConfigError, match=r"mine\.toml: has 'licence' and 'license', its name today\. Keep 'license'"):
        current_recipe(json.loads(values), "mine.toml")


def test_an_override_by_an_old_key_sets_the_key_of_today():
    recipe = parse_recipe(read_recipe("vocos-small", ["licence=MIT"]), "vocos-small")
    assert recipe.license == "MIT"


def test_keys_that_never_had_another_name_stay():
    assert current_key({"system": "vocos"}, "train.steps") == "train.steps"
    values = {"system": "vocos", "train": {"steps": 2}, "anything": [1]}
    assert current_recipe(values, "recipe") == values


def test_a_recipe_of_one_s_own_with_old_keys_is_read(tmp_path):
    (tmp_path / "mine.toml").write_text('system = "vocos"\nlicence = "MIT"\n', encoding="utf-8")
    assert read_recipe(str(tmp_path / "mine.toml")) == {"system": "vocos", "license": "MIT"}
