"""The table of systems: every name in it leads somewhere, and none leads there before it is asked for."""

import dataclasses
import subprocess
import sys

import pytest

from malsori.config import Config
from malsori.systems import SYSTEMS, systems_of
from malsori.train.recipe import recipe_names
from malsori.train.setup import SystemSpec

PARTS = [field.name for field in dataclasses.fields(next(iter(SYSTEMS.values()))) if field.name != "role"]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", SYSTEMS)
def test_every_name_of_the_table_leads_somewhere(name, part):
    if getattr(SYSTEMS[name], part):
        assert SYSTEMS[name].resolve(part) is not None


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_parts_of_a_system_belong_together(name):
    system = SYSTEMS[name]
    config, network, training = (system.resolve(part) for part in ("config", "network", "training"))
    assert issubclass(config, Config) and network.__init__.__annotations__["config"] is config
    assert isinstance(training, SystemSpec)


def test_every_system_has_a_recipe_and_every_recipe_a_system():
    assert {name.removesuffix("-small") for name in recipe_names()} >= set(SYSTEMS)


def test_each_system_does_one_thing():
    roles = ("acoustic model", "end-to-end voice", "vocoder", "recognizer", "encoder")
    assert sorted(name for role in roles for name in systems_of(role)) == sorted(SYSTEMS)


OPENED = """
import sys
from malsori.pretrained.hub import load_saved
load_saved("vocos-ko")
print(*sorted(name for name in sys.modules if name.startswith("malsori.")))
"""


def test_opening_one_system_imports_one_system_and_no_recognizer():
    run = subprocess.run([sys.executable, "-c", OPENED], capture_output=True, text=True, check=True)
    opened = set(run.stdout.split())
    models = {name for name in opened if name.startswith("malsori.models.")}
    # whose discriminators it is trained with, and what it filters
    assert models == {f"malsori.models.{name}" for name in ("vocos", "hifigan", "excitation")}
    assert not {name for name in opened if name.startswith(("malsori.asr", "malsori.tts", "malsori.train"))}
